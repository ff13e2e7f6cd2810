"""``dispatchgym/MemoryMapping-v0``: serve the uses of a program's buffers from fast memory or from slow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import jax.numpy as jnp

from dispatchgym.envs.core import Array, Environment
from dispatchgym.envs.graph import GraphObservation
from dispatchgym.envs.memory.moves import MemoryState, Moves, consider, play
from dispatchgym.envs.memory.observation import observe
from dispatchgym.envs.memory.problem import NEVER, MemoryProblem, prepare
from dispatchgym.envs.memory.simulate import simulated_latency
from dispatchgym.envs.memory.space import empty
from dispatchgym.envs.memory.spec import graph_spec
from dispatchgym.instances.base import DispatchGymError
from dispatchgym.instances.memory.instance import MemoryInstance, MemorySize
from dispatchgym.instances.memory.plan import NONE

CHOICES = {"evictions": ("charged", "free"), "reward": ("latency", "benefit")}
MAX_IMAGE = 512


class MemoryMapping(Environment[MemoryInstance, MemoryProblem, MemoryState]):
    """The game of mapping a compiled program's buffers to memories (after Wang et al. 2023, arXiv 2305.07440, reconstructed).

    Every use of a buffer is decided once, in the order of the program: 0 Drop, from slow memory; 1 NoCopy, from fast memory
    without a copy; 2 Copy, from fast memory with a copy in just before a read, or a copy back right after a write. The
    environment chooses the times of copies and, by first fit, the address. ``docs/memory.md`` states the rules in full.

    * ``evictions``: "charged": what is defined in fast memory stays there to its last use or is copied back behind the
      program; "free": copies back cost nothing and are always done (as the paper may have it).
    * ``reward``: "latency": ticks by which the program gets shorter; "benefit": ticks that the use would save alone, a
      proxy that is linear in the moves and counts too much where a step is bound by computation. It does not sum to
      the objective.
    * ``image``: (height, width) of a picture, time x address, that comes along as ``image`` f32[3, height, width].

    The objective is the model latency in ticks of 2**-34 s. At the end, ``metrics`` has the latency of a simulation in which
    copies and computation share the bandwidth of slow memory.
    """

    family = "memory"
    sense = "min"
    unit = "ticks"
    render_modes = ("rgb_array", "ansi")

    def __init__(
        self,
        size: MemorySize,
        evictions: str = "charged",
        reward: str = "latency",
        image: tuple[int, int] | None = None,
    ) -> None:
        for option, value in (("evictions", evictions), ("reward", reward)):
            if value not in CHOICES[option]:
                raise DispatchGymError(f"unknown {option} {value!r}; choose one of {', '.join(CHOICES[option])}")
        if image is not None:
            whole = isinstance(image, (tuple, list)) and len(image) == 2
            if not whole or not all(type(n) is int and 1 <= n <= MAX_IMAGE for n in image):
                raise DispatchGymError(f"image is {image!r}; give (height, width), each in 1..{MAX_IMAGE}, or None")
            image = (image[0], image[1])
        self.size = size
        self.free = evictions == "free"
        self.reward = reward
        self.image = image
        self.graph = graph_spec(size, image)
        self.action_space = gymnasium.spaces.Discrete(3)
        self.max_steps = size.events

    def prepare(self, instance: MemoryInstance) -> MemoryProblem:
        return prepare(instance)

    def reset(self, problem: MemoryProblem) -> MemoryState:
        given = problem.instance
        none = jnp.full(given.define.shape, NONE, jnp.int32)
        undecided = jnp.full(given.gain.shape, NONE - 1, jnp.int32)
        first = MemoryState(
            k=jnp.int32(0),
            space=empty(self.size.events),
            inward=problem.supply,
            outward=problem.supply,
            saved=jnp.zeros_like(given.compute),
            load=jnp.zeros_like(given.compute),
            latency=problem.all_slow,
            low=none,
            held=none,
            ready=jnp.where(given.define < 0, jnp.int32(-1), NEVER),
            copy_in=undecided,
            copy_out=undecided,
            moves=Moves(*(jnp.zeros(3, jnp.int32) for _ in range(9))),
        )
        return self._look(problem, first)

    def advance(self, problem: MemoryProblem, state: MemoryState, action: Array) -> tuple[MemoryState, Array]:
        after, shorter, benefit = play(problem, state, action)
        reward = shorter if self.reward == "latency" else benefit
        return self._look(problem, after), reward.astype(jnp.float32)

    def _look(self, problem: MemoryProblem, state: MemoryState) -> MemoryState:
        return replace(state, moves=consider(problem, state, self.free))

    def action_mask(self, problem: MemoryProblem, state: MemoryState) -> Array:
        return state.moves.legal | self.terminated(problem, state)

    def terminated(self, problem: MemoryProblem, state: MemoryState) -> Array:
        return state.k >= problem.instance.n_events

    def objective(self, problem: MemoryProblem, state: MemoryState) -> Array:
        return state.latency

    def offset(self, problem: MemoryProblem) -> Array:
        return problem.all_slow

    def metrics(self, problem: MemoryProblem, state: MemoryState) -> dict[str, Array]:
        """The simulated latency in ticks, and how often the program became faster; the validator reports the rest."""
        return {
            "simulated": simulated_latency(problem, state),
            "speedup": problem.all_slow / jnp.maximum(state.latency, 1),
        }

    def observe(self, problem: MemoryProblem, state: MemoryState) -> GraphObservation:
        return observe(problem, state, self.image)

    def render(self, problem: MemoryProblem, state: MemoryState, mode: str) -> Any:
        """Fast memory so far, time x address: also "svg", a string; and "waterfall", an SVG of what each buffer saved."""
        from dispatchgym.envs.memory import render  # only who draws needs it

        if mode not in (*self.render_modes, "svg", "waterfall"):
            return super().render(problem, state, mode)
        return render.draw(problem, state, mode)
