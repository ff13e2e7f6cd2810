"""dispatchgym: scheduling and resource allocation as Gymnasium environments.

Importing it registers the ids with Gymnasium and loads nothing heavy. :func:`make` returns the functional core of an id,
``gymnasium.make`` and ``gymnasium.make_vec`` its usual faces.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from dispatchgym.envs.registry import REGISTRY, Entry, make, register

if TYPE_CHECKING:
    from dispatchgym.envs.core import Environment, rollout

try:
    __version__ = version("dispatchgym")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["REGISTRY", "Entry", "Environment", "__version__", "make", "register", "rollout"]


def __getattr__(name: str) -> Any:
    if name in ("Environment", "rollout"):  # these import jax
        from dispatchgym.envs import core

        return getattr(core, name)
    raise AttributeError(f"module 'dispatchgym' has no attribute {name!r}")
