"""Optional dependencies: ask for one where it is used, so that a core-only install imports everything."""

from __future__ import annotations

import importlib
from types import ModuleType

from dispatchgym.instances.base import DispatchGymError


class MissingExtraError(DispatchGymError, ImportError):
    """A package of an optional extra is not installed; the message holds the install command."""


def require(module: str, extra: str, purpose: str = "this") -> ModuleType:
    """The imported ``module`` (dotted names allowed) of the extra ``extra``; ``purpose`` says who needs it.

    Raises MissingExtraError if its package is not installed; a package that is there but broken raises its own error.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise MissingExtraError(
            f'{purpose} needs {package}; install it with pip install "dispatchgym[{extra}]"', name=package
        ) from error
