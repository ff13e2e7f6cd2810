"""Many episodes at once: the ``gymnasium.vector.VectorEnv`` behind ``gymnasium.make_vec``, one device call a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from dispatchgym.envs.adapters.actions import check_policy, refuse
from dispatchgym.envs.adapters.fused import Step
from dispatchgym.envs.adapters.infos import device_infos, final_infos, host_infos
from dispatchgym.envs.adapters.lanes import Lanes, generators, plain_seed, step_limit
from dispatchgym.envs.registry import lookup
from dispatchgym.instances.base import DispatchGymError, UnknownNameError

OUTPUTS = ("jax", "numpy")
RESET_OPTIONS = ("reset_mask",)


class DeviceVectorEnv(gymnasium.vector.VectorEnv[dict[str, Any], Any, Any]):
    """``num_envs`` lanes on the device that take their instances from a pool, in order: one sweep uses each once.

    With ``output="jax"`` (default) everything returned stays on the device and ``infos["pool_row"]`` (i32[num_envs])
    tells which instance a lane plays, ``envs.lanes.tickets[row]`` its ticket in ``envs.source``; with ``"numpy"`` all
    is copied to writable arrays and equals what ``SyncVectorEnv`` returns, ``infos["instance"]`` included. Observations
    are in the batched Dict space, so masks are int8; ``infos["action_mask"]`` is bool. Final observations
    (``autoreset_mode="SAME_STEP"``) are always NumPy, made only when an episode ended. Wrappers that write into
    rewards, such as Gymnasium's RecordEpisodeStatistics, need ``"numpy"``.

    The pool: a fixed list in order, whatever the seed; of a generator ``pool_size`` fresh instances (default 256 or
    twice the lanes), the first ``num_envs`` being those that single environments with the same seeds draw. ``reset``
    without a seed goes on in the pool; :meth:`refill` renews it. Neither recompiles.
    """

    def __init__(
        self,
        env_id: str,
        num_envs: int = 1,
        *,
        instance: Any = None,
        suite: str | None = None,
        generator: Any = None,
        size: Any = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        pool_size: int | None = None,
        output: str = "jax",
        invalid_action: str = "ignore",
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        entry = lookup(env_id)
        self.source = entry.source(instance, suite, generator, size)
        self.core = entry.build(self.source.size, **options)
        if output not in OUTPUTS:
            raise UnknownNameError("output", str(output), OUTPUTS)
        if render_mode is not None and render_mode not in self.core.render_modes:
            raise UnknownNameError("render_mode", render_mode, self.core.render_modes)
        mode = _mode(autoreset_mode)
        self.lanes = Lanes(self.core, self.source, num_envs, mode, pool_size, step_limit(self.core, max_episode_steps))
        self.num_envs = num_envs
        self.options = options
        self.output = output
        self.invalid_action = check_policy(invalid_action)
        self.render_mode = render_mode
        self.autoreset_mode = mode
        self.metadata = {"render_modes": list(self.core.render_modes), "render_fps": 4, "autoreset_mode": mode}
        self.single_observation_space = self.core.graph.space()
        self.single_action_space = self.core.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._last: Step | None = None  # its arrays may be viewed: those of the carry are donated

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start all episodes, or those of ``options["reset_mask"]``; an int seeds lane i with seed + i."""
        who = self._reset_mask(options)
        if who is not None and (seed is not None or self.lanes.carry is None):
            remedy = "leave out the seed: the lanes share one pool" if seed is not None else "reset all lanes first"
            raise DispatchGymError(f"reset_mask resets some lanes of a running batch; {remedy}")
        if seed is not None:
            rngs = generators(self._seeds(seed))
            self._np_random, self._np_random_seed = rngs[0], self._seeds(seed)[0]
            self.lanes.fill(rngs)
        elif self.lanes.pool is None:
            self.lanes.fill([self.np_random])
        step = self.lanes.restart(who)
        self._last = step
        return self._arrays(step.observation), self._infos(step, np.ones(self.num_envs, bool) if who is None else who)

    def step(self, actions: Any) -> tuple[dict[str, Any], Any, Any, Any, dict[str, Any]]:
        """Step all lanes with actions [num_envs] of NumPy or the device. Raises ActionError or ResetNeeded."""
        self._check_running()
        action = self.lanes.parse(actions)
        if self.invalid_action == "raise":
            self._refuse(np.asarray(action), actions)
        step = self.lanes.step(action)
        self._last = step
        infos = self._infos(step)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and (ended := np.asarray(step.fresh)).any():
            infos |= final_infos(step, self.lanes.last_observations(step, np.flatnonzero(ended)))
        if self.output == "jax":
            return step.observation, step.reward, step.terminated, step.truncated, infos
        flags = np.array(step.terminated), np.array(step.truncated)
        return self._arrays(step.observation), np.asarray(step.reward).astype(np.float64), *flags, infos

    def refill(self) -> None:
        """Draw fresh instances for all rows of the pool that no lane is playing (a fixed list stays as it is)."""
        self._check_running(finished=True)
        self.lanes.refill(self.np_random)

    def action_masks(self) -> np.ndarray:
        """bool[num_envs, A] of the current observations, a copy on the host."""
        self._check_running(finished=True)
        return np.array(self._shown.mask)

    def render(self) -> tuple[Any, ...]:
        """One picture per lane in ``render_mode``."""
        if self.render_mode is None:
            raise DispatchGymError(
                f"nothing to render; pass render_mode={' or '.join(map(repr, self.core.render_modes))}"
            )
        self._check_running(finished=True)
        return tuple(self.core.render(*self.lanes.row(lane), self.render_mode) for lane in range(self.num_envs))

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """``action_masks`` and ``render`` by lane; other attributes are common to the lanes, and called if possible."""
        if name in ("action_masks", "render"):
            return tuple(getattr(self, name)(*args, **kwargs))
        value = getattr(self if hasattr(self, name) else self.core, name)
        return (value(*args, **kwargs) if callable(value) else value,) * self.num_envs

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """The attribute once per lane. Raises AttributeError."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute that the lanes have in common: one value, or a list of equal ones."""
        many = list(values) if isinstance(values, (list, tuple)) else [values]
        if len(many) not in (1, self.num_envs) or any(value != many[0] for value in many):
            raise ValueError(f"the lanes have {name!r} in common; give one value, or {self.num_envs} equal ones")
        setattr(self, name, many[0])

    def _seeds(self, seed: Any) -> list[int | None]:
        if isinstance(seed, (list, tuple, np.ndarray)):
            if len(seed) != self.num_envs:
                raise ValueError(
                    f"{len(seed)} seeds for {self.num_envs} environments; give one for each, or one integer"
                )
            return [plain_seed(value) for value in seed]
        first = plain_seed(seed)
        assert first is not None
        return [first + i for i in range(self.num_envs)]

    def _reset_mask(self, options: dict[str, Any] | None) -> np.ndarray | None:
        for name in options or {}:
            if name == "instance":
                raise DispatchGymError(
                    "a batch takes its instances from its pool; give them to make_vec(instance=[...])"
                )
            if name not in RESET_OPTIONS:
                raise UnknownNameError("reset option", name, RESET_OPTIONS)
        mask = options.pop("reset_mask", None) if options else None
        if mask is None:
            return None
        if not (
            isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == (self.num_envs,) and mask.any()
        ):
            raise ValueError(
                f"reset_mask must be a NumPy bool array of shape ({self.num_envs},) with at least one True"
            )
        return mask

    @property
    def _shown(self) -> Step:
        assert self._last is not None
        return self._last

    def _check_running(self, finished: bool = False) -> None:
        if self.lanes.carry is None:
            raise ResetNeeded("no episodes are running; call reset() first")
        if not finished and self.autoreset_mode is AutoresetMode.DISABLED:
            over = np.flatnonzero(np.asarray(self._shown.over))
            if len(over):
                raise ResetNeeded(
                    f"the episodes of lanes {over.tolist()[:10]} are over; reset them with options['reset_mask']"
                )

    def _refuse(self, actions: np.ndarray, given: Any) -> None:
        """``actions`` as parsed, ``given`` as passed."""
        said = np.asarray(given)
        mask, waiting = np.asarray(self._shown.mask), np.asarray(self._shown.over)
        for lane, action in enumerate(actions):
            if not waiting[lane]:  # its action is ignored: the lane resets in this step
                refuse(action, mask[lane], f" of lane {lane}", said[lane])

    def _arrays(self, tree: Any) -> Any:
        return tree if self.output == "jax" else jax.tree.map(np.array, tree)

    def _infos(self, step: Step, started: np.ndarray | None = None) -> dict[str, Any]:
        """``started``: the lanes of an explicit reset."""
        there = np.ones(self.num_envs, bool) if started is None else started
        results = started is None and self.autoreset_mode is not AutoresetMode.SAME_STEP
        if self.output == "jax":
            return device_infos(step, there, results)
        return host_infos(step, there, self.lanes.names, results)


def _mode(mode: AutoresetMode | str) -> AutoresetMode:
    """An AutoresetMode from itself, its value ("NextStep") or its name ("NEXT_STEP"), in any spelling of either."""
    if isinstance(mode, AutoresetMode):
        return mode
    for known in AutoresetMode:
        if str(mode).replace("_", "").lower() == known.value.replace("_", "").lower():
            return known
    raise UnknownNameError("autoreset_mode", str(mode), [known.name for known in AutoresetMode])
