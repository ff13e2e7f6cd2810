"""Stable-Baselines3's ``VecEnv`` over device lanes, for PPO and MaskablePPO. Needs the extra ``train``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from dispatchgym.envs.adapters.vector import DeviceVectorEnv
from dispatchgym.instances.base import DispatchGymError
from dispatchgym.instances.extras import require

require("stable_baselines3", "train", "SB3VecEnv")
from stable_baselines3.common.vec_env import VecEnv  # noqa: E402


class SB3VecEnv(VecEnv):
    """``num_envs`` lanes in SB3's dialect; keyword arguments are those of :class:`DeviceVectorEnv`.

    Arrays are writable NumPy (SB3 adds to the rewards in place). ``infos[i]``: ``invalid_action``,
    ``TimeLimit.truncated``, and at the end ``terminal_observation``, ``instance`` (the name) and, if terminated,
    ``objective`` and ``metrics``. Masks: ``env_method("action_masks")``. After ``seed(s)`` lane i's first instance of
    a generator is that of ``SingleEnv.reset(seed=s + i)``; a fixed list is swept in order, whatever the seed.
    """

    def __init__(self, env_id: str, num_envs: int = 1, **kwargs: Any) -> None:
        for name in ("autoreset_mode", "output"):
            if name in kwargs:
                raise DispatchGymError(f"SB3 fixes {name}; leave it out")
        self.render_mode = kwargs.get("render_mode")
        self.lanes = DeviceVectorEnv(env_id, num_envs, autoreset_mode=AutoresetMode.SAME_STEP, output="numpy", **kwargs)
        self._names: list[str] = []
        self._actions: Any = None
        self._mask: np.ndarray | None = None
        super().__init__(num_envs, self.lanes.single_observation_space, self.lanes.single_action_space)

    def reset(self) -> dict[str, np.ndarray]:
        """Start all episodes; a seed set by :meth:`seed` is used once."""
        if any(self._options):
            raise DispatchGymError("SB3VecEnv has no reset options; give instances to make_sb3(instance=[...])")
        seeded = any(seed is not None for seed in self._seeds)
        observation, infos = self.lanes.reset(seed=self._seeds if seeded else None)
        self._names = infos["instance"].tolist()
        self._mask = infos["action_mask"]
        self.reset_infos = [
            {"instance": name, "action_mask": row} for name, row in zip(self._names, self._mask, strict=True)
        ]
        self._reset_seeds()
        self._reset_options()
        return observation

    def step_async(self, actions: Any) -> None:
        """Keep the actions for :meth:`step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """(observations, rewards f32, dones, infos); lanes that ended are reset already."""
        observation, reward, terminated, truncated, infos = self.lanes.step(self._actions)
        self._mask = infos["action_mask"]
        done = terminated | truncated
        told = [{"invalid_action": flag, "TimeLimit.truncated": False} for flag in infos["invalid_action"].tolist()]
        for lane in np.flatnonzero(done):
            told[lane] = self._ending(int(lane), bool(terminated[lane]), infos)
            self._names[lane] = infos["instance"][lane]
        return observation, reward.astype(np.float32), done, told

    def _ending(self, lane: int, terminated: bool, infos: dict[str, Any]) -> dict[str, Any]:
        final = infos["final_info"]
        told = {
            "invalid_action": bool(final["invalid_action"][lane]),
            "TimeLimit.truncated": not terminated,
            "terminal_observation": infos["final_obs"][lane],
            "instance": self._names[lane],
        }
        if terminated:
            told["objective"] = final["objective"][lane].item()
            if "metrics" in final:
                told["metrics"] = {k: v[lane].item() for k, v in final["metrics"].items() if not k.startswith("_")}
        return told

    def action_masks(self) -> np.ndarray:
        """bool[num_envs, A] of the observations just returned."""
        if self._mask is None:
            raise ResetNeeded("no episodes are running; call reset() first")
        return self._mask

    def close(self) -> None:
        """Release the lanes."""
        self.lanes.close()

    def has_attr(self, attr_name: str) -> bool:
        """Whether the lanes have the attribute."""
        return hasattr(self, attr_name) or hasattr(self.lanes, attr_name) or hasattr(self.lanes.core, attr_name)

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        """The attribute once per lane. Raises AttributeError."""
        owner = next((o for o in (self.lanes, self.lanes.core) if hasattr(o, attr_name)), self.lanes)
        return [getattr(owner, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None) -> None:
        """Set an attribute of all lanes; they have it in common."""
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError(f"the lanes have {attr_name!r} in common; set it for all of them")
        self.lanes.set_attr(attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: int | Iterable[int] | None = None, **method_kwargs: Any
    ) -> list[Any]:
        """``action_masks`` or ``render`` lane by lane, else a method common to the lanes."""
        if method_name == "action_masks":
            return [self.action_masks()[i] for i in self._get_indices(indices)]
        results = self.lanes.call(method_name, *method_args, **method_kwargs)
        return [results[i] for i in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: int | Iterable[int] | None = None) -> list[bool]:
        """No lane is wrapped (VecMonitor is how SB3 records episodes of a VecEnv)."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """One picture per lane under ``render_mode="rgb_array"``."""
        return list(self.lanes.render())


def make_sb3(env_id: str, num_envs: int, **kwargs: Any) -> SB3VecEnv:
    """The SB3 VecEnv of a registered id; arguments as for ``make_vec``, but no ``autoreset_mode``, ``output``."""
    return SB3VecEnv(env_id, num_envs, **kwargs)
