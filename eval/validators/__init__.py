"""Independent validators, one a family: plain NumPy, importing instances alone."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from dispatchgym.eval.validators.base import Verdict
from dispatchgym.instances.base import DispatchGymError


def validator(family: str) -> Callable[[Any, Any, dict[str, Any]], Verdict]:
    """``validate`` of a family. Raises DispatchGymError if it has none: results that nobody checked are not reported."""
    name = f"dispatchgym.eval.validators.{family}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise DispatchGymError(f"family {family!r} has no validator; write one as the module {name}") from None
    validate: Callable[[Any, Any, dict[str, Any]], Verdict] = module.validate
    return validate
