"""One episode at a time: the ``gymnasium.Env`` behind ``gymnasium.make``."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import jax
import numpy as np
from gymnasium.error import ResetNeeded

from dispatchgym.envs.adapters.actions import check_policy, parse, refuse
from dispatchgym.envs.adapters.fused import kernels
from dispatchgym.envs.adapters.lanes import plain_seed, step_limit
from dispatchgym.envs.registry import lookup
from dispatchgym.instances.base import DispatchGymError, UnknownNameError

RESET_OPTIONS = ("instance",)


class SingleEnv(gymnasium.Env[dict[str, np.ndarray], Any]):
    """A registered environment with NumPy observations: fresh, writable arrays in the flat Dict of ``GraphSpec.space``.

    ``instance``, ``suite``, ``generator`` and ``size`` say where instances come from; ``options`` are the family's own,
    such as ``scheme="non_delay"``. An illegal integer action is a no-op at reward 0 that ``info["invalid_action"]``
    reports, or with ``invalid_action="raise"`` an InvalidActionError; the time limit of ``core.max_steps`` counts it.

    info: ``action_mask`` (bool[A]), ``invalid_action`` (bool); after reset ``instance`` (its name); once terminated
    ``objective`` and, if the family has any, ``metrics`` (a dict of numbers). Raises DispatchGymError or a subclass for
    bad arguments, and ``gymnasium.error.ResetNeeded`` for a step outside an episode.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array", "ansi"], "render_fps": 4}  # type: ignore[misc]

    def __init__(
        self,
        env_id: str,
        *,
        instance: Any = None,
        suite: str | None = None,
        generator: Any = None,
        size: Any = None,
        invalid_action: str = "ignore",
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        entry = lookup(env_id)
        self.source = entry.source(instance, suite, generator, size)
        self.core = entry.build(self.source.size, **options)
        self.options = options
        self.metadata = {**self.metadata, "render_modes": list(self.core.render_modes)}  # type: ignore[misc]
        if render_mode is not None and render_mode not in self.core.render_modes:
            raise UnknownNameError("render_mode", render_mode, self.core.render_modes)
        self.render_mode = render_mode
        self.invalid_action = check_policy(invalid_action)
        self.observation_space = self.core.graph.space()  # type: ignore[assignment]
        self.action_space = self.core.action_space
        self._limit = step_limit(self.core, max_episode_steps)
        self._kernels = kernels(self.core)
        self._device = jax.devices()[0]
        self._state: Any = None
        self._over = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode. ``options={"instance": object | name | path}`` overrides the drawn instance once."""
        super().reset(seed=plain_seed(seed))
        for name in options or {}:
            if name not in RESET_OPTIONS:
                raise UnknownNameError("reset option", name, RESET_OPTIONS)
        chosen = (options or {}).get("instance")
        if chosen is None:
            ticket = self.source.ticket(self.np_random)
            instance, name = self.source.instance(ticket), self.source.name(ticket)
        else:
            instance = self.source.coerce(chosen)
            name = str(chosen) if isinstance(chosen, str) or hasattr(chosen, "__fspath__") else type(chosen).__name__
        self._problem, self._state, shown = self._kernels.begin(jax.device_put(instance, self._device))
        self._elapsed, self._over = 0, False
        observation = self._fresh(shown)
        return observation, {"action_mask": self.action_masks(), "invalid_action": False, "instance": name}

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Take one decision. Raises ActionError for what is no action at all; nothing changes then."""
        if self._state is None:
            raise ResetNeeded("no episode is running; call reset() before step()")
        if self._over:
            raise ResetNeeded("the episode is over; call reset() before the next step()")
        value = parse(self.core.action_space, action)
        if self.invalid_action == "raise":
            refuse(value, self._mask)
        self._state, shown, flags = self._kernels.take(self._problem, self._state, value)
        reward, terminated, invalid = np.asarray(flags).tolist()
        self._elapsed += 1
        truncated = not terminated and self._elapsed >= self._limit
        self._over = bool(terminated) or truncated
        observation = self._fresh(shown)
        info: dict[str, Any] = {"action_mask": self.action_masks(), "invalid_action": bool(invalid)}
        if terminated:
            info |= self._result()
        return observation, reward, bool(terminated), truncated, info

    def action_masks(self) -> np.ndarray:
        """bool[A] of the current observation, as MaskablePPO asks for it."""
        if self._state is None:
            raise ResetNeeded("no episode is running; call reset() before action_masks()")
        return self._mask.copy()

    def render(self) -> Any:
        """The current state in ``render_mode``: u8[H, W, 3] or text."""
        if self.render_mode is None:
            raise DispatchGymError(
                f"nothing to render; pass render_mode={' or '.join(map(repr, self.core.render_modes))}"
            )
        if self._state is None:
            raise ResetNeeded("no episode is running; call reset() before render()")
        return self.core.render(self._problem, self._state, self.render_mode)

    def _fresh(self, shown: dict[str, jax.Array]) -> dict[str, np.ndarray]:
        observation = {name: np.array(value) for name, value in shown.items()}
        self._mask = observation["action_mask"].astype(bool)
        return observation

    def _result(self) -> dict[str, Any]:
        objective, metrics = self._kernels.result(self._problem, self._state)
        numbers = {name: value.item() for name, value in metrics.items()}
        return {"objective": objective.item(), **({"metrics": numbers} if numbers else {})}
