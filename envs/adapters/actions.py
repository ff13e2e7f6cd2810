"""What a user passes as an action, checked before anything is changed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import jax
import numpy as np

from dispatchgym.instances.base import DispatchGymError, UnknownNameError

INVALID_ACTION = ("ignore", "raise")


class ActionError(DispatchGymError, ValueError):
    """An action of the wrong kind, or one that is refused under ``invalid_action="raise"``."""


class InvalidActionError(ActionError):
    """A masked or out-of-range action under ``invalid_action="raise"``."""


def check_policy(invalid_action: str) -> str:
    """``invalid_action`` as it is. Raises UnknownNameError unless it is "ignore" or "raise"."""
    if invalid_action not in INVALID_ACTION:
        raise UnknownNameError("invalid_action", str(invalid_action), INVALID_ACTION)
    return invalid_action


def action_dtype(space: gymnasium.Space) -> type[np.generic]:
    """What :func:`parse` makes of an action."""
    return np.float32 if isinstance(space, gymnasium.spaces.Box) else np.int32


def describe(space: gymnasium.Space) -> str:
    """What one action is, in words."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return f"an integer in 0..{int(space.n) - 1}"
    if isinstance(space, gymnasium.spaces.MultiDiscrete):
        return f"integers of shape {space.shape}, each from 0 to below {np.asarray(space.nvec).tolist()}"
    return f"finite numbers of shape {space.shape}"


def parse(space: gymnasium.Space, action: Any, lanes: int | None = None) -> np.ndarray:
    """An action, or a batch of ``lanes`` actions, as i32 or f32 on the host; integers out of range stay out of range.

    Raises ActionError that names the action and what is legal: for a wrong shape, booleans, floats where integers are
    due, and numbers that are not finite.
    """
    shape = space.shape or ()
    shape = shape if lanes is None else (lanes, *shape)
    what = "action" if lanes is None else "actions"
    try:
        array = np.asarray(action)
    except (TypeError, ValueError, RuntimeError):  # ragged lists; tensors that refuse to leave their device or graph
        raise ActionError(f"{what} {_short(action)} cannot be read as an array; give {_wanted(space, lanes)}") from None
    if isinstance(space, gymnasium.spaces.Box):
        if array.dtype.kind not in "iuf" or array.shape != shape or not np.isfinite(array).all():
            raise ActionError(f"{what} {_short(action)} is not legal; give {_wanted(space, lanes)}")
        return array.astype(np.float32)
    big = array.dtype == object and all(isinstance(x, int) for x in array.ravel())  # Python integers beyond int64
    if array.dtype.kind not in "iu" and not big:
        raise ActionError(f"{what} {_short(action)} holds {array.dtype} values; give {_wanted(space, lanes)}")
    if array.shape != shape:
        raise ActionError(f"{what} {_short(action)} has shape {array.shape}, not {shape}; give {_wanted(space, lanes)}")
    top = int(np.max(getattr(space, "nvec", getattr(space, "n", 0))))
    return np.asarray(np.clip(array, -1, top), np.int32)  # so that no large integer wraps around to a legal one


def parse_one(space: gymnasium.Space) -> Callable[[Any], np.ndarray]:
    """:func:`parse` for one action, with a short way for plain and NumPy integers where actions are Discrete."""
    if not isinstance(space, gymnasium.spaces.Discrete):
        return partial(parse, space)
    top = int(space.n)

    def short(action: Any) -> np.ndarray:
        if type(action) is int or isinstance(action, np.integer):
            return np.array(min(max(action, -1), top), np.int32)
        return parse(space, action)

    return short


def parse_device(space: gymnasium.Space, actions: jax.Array, lanes: int) -> jax.Array:
    """A batch of actions that is on a device already: kind and shape are checked, the values stay there."""
    shape = (lanes, *(space.shape or ()))
    wanted = action_dtype(space)
    kinds = "iuf" if wanted is np.float32 else "iu"
    if actions.dtype.kind not in kinds or actions.shape != shape:
        have = f"{actions.dtype} of shape {actions.shape}"
        raise ActionError(f"actions hold {have}; give {_wanted(space, lanes)}")
    return actions if actions.dtype == wanted else actions.astype(wanted)


def refuse(action: Any, mask: np.ndarray, where: str = "", given: Any = None) -> None:
    """Raise InvalidActionError if the integer ``action`` is outside ``mask`` (bool[A]); it names what was ``given``."""
    if np.ndim(action) == 0 and not (0 <= action < len(mask) and mask[action]):
        legal = np.flatnonzero(mask)
        some = ", ".join(map(str, legal[:20])) + (f", ... ({len(legal)} in all)" if len(legal) > 20 else "")
        said = _short(int(action if given is None else given))
        raise InvalidActionError(f"action {said}{where} is not legal now; legal actions: {some}")


def _wanted(space: gymnasium.Space, lanes: int | None) -> str:
    return describe(space) if lanes is None else f"{lanes} actions, each {describe(space)}"


def _short(action: Any) -> str:
    text = " ".join(repr(action).split())
    return text if len(text) <= 80 else text[:77] + "..."
