"""dispatchgym: scheduling and resource allocation as Gymnasium environments.

Importing it registers the ids with Gymnasium. :func:`make` returns the functional core of an id, ``gymnasium.make`` and
``gymnasium.make_vec`` its usual faces.
"""

from importlib.metadata import PackageNotFoundError, version

from dispatchgym.envs.core import Environment, rollout
from dispatchgym.envs.registry import REGISTRY, Entry, make, register

try:
    __version__ = version("dispatchgym")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["REGISTRY", "Entry", "Environment", "__version__", "make", "register", "rollout"]
