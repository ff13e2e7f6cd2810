"""Gymnasium's vector infos: arrays over lanes, each ``key`` with a ``_key`` mask of the lanes that have it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from dispatchgym.envs.adapters.fused import Step

WIDE = {"i": np.int64, "u": np.int64, "f": np.float64}  # SyncVectorEnv collects Python numbers


def device_infos(step: Step, there: np.ndarray, results: bool) -> dict[str, Any]:
    """Infos that stay on the device; ``there`` (bool[B]) has the lanes that were reset or stepped."""
    infos = {"action_mask": step.mask, "invalid_action": step.invalid, "pool_row": step.row}
    infos |= {f"_{name}": there.copy() for name in infos}
    if results:
        infos |= _paired({"objective": step.objective}, step.terminated)
        if step.metrics:
            infos |= {"metrics": _paired(step.metrics, step.terminated), "_metrics": step.terminated}
    return infos


def host_infos(
    step: Step, there: np.ndarray, names: Callable[[np.ndarray], list[str]], results: bool
) -> dict[str, Any]:
    """The same in writable NumPy arrays, as SyncVectorEnv builds them; ``names`` turns rows of the pool into names."""
    mask, invalid, fresh = np.array(step.mask), np.array(step.invalid), np.array(step.fresh)
    mask[~there] = False
    infos = {
        "action_mask": mask,
        "_action_mask": there.copy(),
        "invalid_action": invalid,
        "_invalid_action": there.copy(),
    }
    if fresh.any():
        instance = np.full(len(fresh), None, object)
        instance[fresh] = names(np.asarray(step.row)[fresh])
        infos |= {"instance": instance, "_instance": fresh}
    return infos | (host_results(step) if results else {})


def host_results(step: Step) -> dict[str, Any]:
    """Objective and metrics of the episodes that terminated, 0 elsewhere; nothing if none did."""
    ended = np.array(step.terminated)
    if not ended.any():
        return {}

    def zeroed(value: Any) -> np.ndarray:
        array = np.asarray(value)
        return np.where(ended, array, 0).astype(WIDE.get(array.dtype.kind, array.dtype))

    infos: dict[str, Any] = _paired({"objective": zeroed(step.objective)}, ended)
    metrics = {name: zeroed(value) for name, value in step.metrics.items()}
    return infos | ({"metrics": _paired(metrics, ended), "_metrics": ended.copy()} if metrics else {})


def final_infos(step: Step, observations: Iterable[tuple[int, dict[str, np.ndarray]]]) -> dict[str, Any]:
    """``final_obs`` and ``final_info`` of a SAME_STEP step in which the episodes of lanes ``step.fresh`` ended.

    ``observations``: (lane, unbatched final observation) of each.
    """
    ended = np.array(step.fresh)
    final_obs = np.full(len(ended), None, object)
    mask = np.zeros(step.mask.shape, bool)
    for lane, observation in observations:
        final_obs[lane] = observation
        mask[lane] = observation["action_mask"].astype(bool)
    info = _paired({"action_mask": mask, "invalid_action": np.array(step.last_invalid) & ended}, ended) | host_results(
        step
    )
    return {"final_obs": final_obs, "_final_obs": ended, "final_info": info, "_final_info": ended.copy()}


def _paired(values: dict[str, Any], there: Any) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for name, value in values.items():
        pairs |= {name: value, f"_{name}": there.copy() if isinstance(there, np.ndarray) else there}
    return pairs
