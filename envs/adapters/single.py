"""One episode at a time: the ``gymnasium.Env`` behind ``gymnasium.make``."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import jax
import numpy as np
from gymnasium.error import ResetNeeded

from dispatchgym.envs.adapters.actions import check_policy, parse_one, refuse
from dispatchgym.envs.adapters.lanes import plain_seed, step_limit
from dispatchgym.envs.adapters.packed import Packed, packed
from dispatchgym.envs.registry import lookup
from dispatchgym.instances.base import DispatchGymError, UnknownNameError

RESET_OPTIONS = ("instance",)


class SingleEnv(gymnasium.Env[dict[str, np.ndarray], Any]):
    """A registered environment with NumPy observations: fresh, writable arrays in the flat Dict of ``GraphSpec.space``.

    ``instance``, ``suite``, ``generator`` and ``size`` say where instances come from; ``options`` are the family's own,
    such as ``scheme="non_delay"``. An illegal integer action is a no-op at reward 0 that ``info["invalid_action"]``
    reports, or with ``invalid_action="raise"`` an InvalidActionError. The time limit counts it: ``max_episode_steps``, by
    default ``core.max_steps``, which suffices for legal actions. (``gymnasium.make`` keeps an argument of that name for a
    wrapper of its own, which can only shorten episodes; for longer ones make a SingleEnv.)

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
        self._parse = parse_one(self.core.action_space)
        self._raises = invalid_action == "raise"
        self._words: Any = None  # of the problem, on the device
        self._state_words: Any = None
        self._told: Any = None  # what the last call said: read-only, on the device
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
        instance = jax.tree.map(np.asarray, instance)
        self._calls: Packed = packed(self.core, instance)
        self._words, self._state_words, self._told = self._calls.begin(instance)
        self._template = np.asarray(self._told)
        self._record, self._n_told, self._names = self._calls.record, self._calls.told, self._calls.names
        self._elapsed, self._over = 0, False
        shown = np.ndarray((), self._record, self._template.copy())
        observation = {key: shown[key] for key in self._names}
        return observation, {"action_mask": shown["mask"], "invalid_action": False, "instance": name}

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Take one decision. Raises ActionError for what is no action at all; nothing changes then."""
        if self._told is None:
            raise ResetNeeded("no episode is running; call reset() before step()")
        if self._over:
            raise ResetNeeded("the episode is over; call reset() before the next step()")
        value = self._parse(action)
        if self._raises:
            refuse(value, self.action_masks(), given=action)
        self._state_words, self._told = self._calls.take(self._words, self._state_words, value)
        words = self._template.copy()  # fresh memory: nothing that was handed out before changes
        words[: self._n_told] = self._told
        shown = np.ndarray((), self._record, words)
        reward, terminated, invalid = shown["flags"].tolist()
        self._elapsed += 1
        over = terminated != 0
        truncated = not over and self._elapsed >= self._limit
        self._over = over or truncated
        info: dict[str, Any] = {"action_mask": shown["mask"], "invalid_action": invalid != 0}
        if over:
            info |= self._result()
        return {name: shown[name] for name in self._names}, reward, over, truncated, info

    def action_masks(self) -> np.ndarray:
        """bool[A] of the current observation, as MaskablePPO asks for it."""
        if self._told is None:
            raise ResetNeeded("no episode is running; call reset() before action_masks()")
        words = np.zeros_like(self._template)
        words[: self._n_told] = np.asarray(self._told)[: self._n_told]
        return np.ndarray((), self._record, words)["mask"]

    def render(self) -> Any:
        """The current state in ``render_mode``: u8[H, W, 3] or text."""
        if self.render_mode is None:
            raise DispatchGymError(
                f"nothing to render; pass render_mode={' or '.join(map(repr, self.core.render_modes))}"
            )
        if self._told is None:
            raise ResetNeeded("no episode is running; call reset() before render()")
        return self.core.render(*self.snapshot(), self.render_mode)

    def snapshot(self) -> tuple[Any, Any]:
        """(problem, state) of the functional core now, as ordinary JAX arrays."""
        opened = jax.tree.map(np.asarray, self._calls.open(self._words, self._state_words))
        return jax.device_put(opened, jax.devices()[0])

    def _result(self) -> dict[str, Any]:
        objective, metrics = self._calls.result(self._words, self._state_words)
        numbers = {name: value.item() for name, value in metrics.items()}
        return {"objective": objective.item(), **({"metrics": numbers} if numbers else {})}
