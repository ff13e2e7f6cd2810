"""Random programs for training, drawn with ``jax.random`` on the device: a forward pass and mostly a backward pass.

Nothing here is a model of one network. What matters to a mapping is drawn: how long storages live (a backward pass reads
activations in reverse), how often parameters are read, how sizes spread, how much of the time is arithmetic, what is
updated in place and what is an output.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.memory.checks import MAX_EVENTS, MAX_STEPS
from dispatchgym.instances.memory.instance import READ, UPDATE, WRITE, MemoryInstance, MemorySize

LARGEST = 512  # granules of a storage: 32 MiB
MAX_RATE = 4000  # ticks per granule of slow memory; a TPUv4i needs 1834, an H100 336
STEP_TICKS, ALL_TICKS = (
    2**21,
    2**26,
)  # of traffic; with eight times that of arithmetic, within the limits of an instance


class _Draws(NamedTuple):
    """Numbers of U[0, 1), all from one call: a program of many small draws would take long to compile."""

    program: jax.Array  # f32[15], the last four a palette of sizes
    step: jax.Array  # f32[8, T]
    buffer: jax.Array  # f32[4, B]
    parameter: jax.Array  # f32[4, P]


class _Candidates(NamedTuple):
    """Possible use-events; arrays [N]. No two real ones have one buffer and step."""

    buffer: jax.Array
    step: jax.Array
    kind: jax.Array
    granules: jax.Array  # that it moves, at least 1
    real: jax.Array  # bool


class _Roles(NamedTuple):
    """What steps and storages are; storages are numbered with the parameters first, then in the order of definition."""

    parameters: jax.Array  # i32[]
    storages: jax.Array  # i32[]
    forward: jax.Array  # i32[]  steps before the backward pass, all of them if there is none
    defines: jax.Array  # bool[T]
    own: jax.Array  # i32[T]  the storage that a step defines, if it does
    newest: jax.Array  # i32[T]  the storage last defined before a step, if there is one
    exists: jax.Array  # bool[T]  whether there is one


@dataclass(frozen=True)
class RandomProgram:
    """Programs of ``steps`` steps and at most ``buffers`` storages, on a random machine with a random capacity.

    Between a twelfth and a quarter of the storages are parameters; the others are defined by steps drawn at random, so that
    some steps define none (their result is small). Sizes are 2^U[0, s] granules with s in U[4, 9] for the whole program, mostly
    from a palette of four. Six in seven programs have a backward pass, of half the steps or a little more. The capacity is
    2^U[-4, -1] of the peak of live granules. Raises InstanceError for sizes beyond those of an instance.
    """

    steps: int
    buffers: int

    def __post_init__(self) -> None:
        for what, value, most in (
            ("steps", self.steps, min(MAX_STEPS, MAX_EVENTS // 4)),
            ("buffers", self.buffers, 4 * self.steps // 3),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or not 4 <= value <= most:
                raise InstanceError(f"{what} is {value!r}; give an integer in 4..{most}")

    @property
    def _most_parameters(self) -> int:
        return max(1, self.buffers // 4)

    @property
    def size(self) -> MemorySize:
        """Static sizes that every sample fits in."""
        return MemorySize(self.steps, self.buffers, 2 * self.steps + self.steps // 2 + 3 * self._most_parameters)

    def __call__(self, key: jax.Array) -> MemoryInstance:
        """One instance: arrays [steps], [buffers] and [events]."""
        draws = self._draws(key)
        roles = self._roles(draws)
        granules = jnp.where(jnp.arange(self.buffers) < roles.storages, self._sizes(draws), 0)
        candidates = _join(*self._of_steps(draws, roles, granules), *self._of_parameters(draws, roles, granules))
        output = self._outputs(draws, roles, candidates)
        where = jnp.where(roles.defines, roles.own, self.buffers)
        number = jnp.arange(self.steps, dtype=jnp.int32)
        define = jnp.full(self.buffers, -1, jnp.int32).at[where].set(number, mode="drop")
        share = jnp.exp2(-4 + 3 * draws.program[0])
        capacity = jnp.maximum(1, (share * self._peak(granules, define, output, candidates)).astype(jnp.int32))
        return self._timed(draws, roles.storages, capacity, granules, define, output, candidates)

    def _draws(self, key: jax.Array) -> _Draws:
        shapes = ((15,), (8, self.steps), (4, self.buffers), (4, self._most_parameters))
        ends = np.cumsum([prod(shape) for shape in shapes])
        parts = jnp.split(jax.random.uniform(key, (int(ends[-1]),)), ends[:-1].tolist())
        return _Draws(*(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)))

    def _roles(self, draws: _Draws) -> _Roles:
        _, drawn, turned, half, *_ = draws.program
        parameters = _between(drawn, max(1, self.buffers // 12), self._most_parameters + 1)
        defined = jnp.minimum(self.buffers - parameters, self.steps)
        turn = _between(half, 2 * self.steps // 5, self.steps // 2 + 1)
        forward = jnp.where(turned < 6 / 7, turn, self.steps)
        defines = jnp.argsort(jnp.argsort(draws.step[0])) < defined
        own = parameters - 1 + jnp.cumsum(defines, dtype=jnp.int32)
        newest = own - defines.astype(jnp.int32)
        return _Roles(parameters, parameters + defined, forward, defines, own, newest, newest >= parameters)

    def _sizes(self, draws: _Draws) -> jax.Array:
        """i32[B] granules in 1..LARGEST."""
        own, free, pick, _ = draws.buffer
        scale, palette = 4 + 5 * draws.program[4], draws.program[11:]
        exponent = scale * jnp.where(own < 0.3, free, palette[_between(pick, 0, 4)])
        return jnp.clip(jnp.exp2(exponent).astype(jnp.int32), 1, LARGEST)

    def _of_steps(self, draws: _Draws, roles: _Roles, granules: jax.Array) -> list[_Candidates]:
        """For each step what it defines or updates in place, the newest storage, and another one that it reads."""
        _, update, part, another, further, *_ = draws.step
        step = jnp.arange(self.steps, dtype=jnp.int32)
        read = jnp.full(self.steps, READ, jnp.int32)
        rate = jnp.maximum(0.0, 0.6 * draws.program[5] - 0.3)  # none in half the programs
        updates = ~roles.defines & roles.exists & (update < rate)
        quarters = jnp.maximum(1, granules[roles.newest] * _between(part, 1, 5) // 2)  # of it, read and written
        moved = jnp.where(roles.defines, granules[roles.own], quarters)
        # Backward steps read what the forward step read that is as far from the turn; forward ones may skip a few.
        behind = step >= roles.forward
        pace = jnp.maximum(self.steps - roles.forward, 1)
        mirrored = roles.forward - 1 - (step - roles.forward) * roles.forward // pace
        skip = roles.newest - _between(further, 1, 9)
        other = jnp.where(behind, roles.newest[jnp.clip(mirrored, 0, self.steps - 1)], skip)
        wanted = (another < jnp.where(behind, 0.8, 0.3)) & roles.exists
        wanted &= (other >= roles.parameters) & (other != roles.newest)
        wanted &= jnp.cumsum(wanted) <= self.steps // 2  # what ``size`` has room for
        kind = jnp.where(roles.defines, WRITE, UPDATE)
        target = jnp.where(roles.defines, roles.own, roles.newest)
        return [
            _Candidates(target, step, kind, moved, roles.defines | updates),
            _Candidates(roles.newest, step, read, granules[roles.newest], roles.exists & ~updates),
            _Candidates(other, step, read, granules[other], wanted),
        ]

    def _of_parameters(self, draws: _Draws, roles: _Roles, granules: jax.Array) -> list[_Candidates]:
        """For each parameter a read forward, in order, perhaps one backward, and perhaps an update in place after that."""
        jitter, again, changed, when = draws.parameter
        n = self._most_parameters
        number = jnp.arange(n, dtype=jnp.int32)
        real = number < roles.parameters
        place = (number + jitter) / roles.parameters * roles.forward
        first = jnp.clip(place.astype(jnp.int32), 0, roles.forward - 1)
        pace = self.steps - roles.forward
        second = roles.forward + (roles.forward - 1 - first) * pace // roles.forward
        backward = real & (pace > 0)
        read = jnp.full(n, READ, jnp.int32)
        update = _between(when, second + 1, self.steps + 1)
        rate = jnp.where(draws.program[6] < 0.5, 0.8, 0.0)
        updated = backward & (changed < rate) & (update < self.steps)
        moved = granules[:n]
        return [
            _Candidates(number, first, read, moved, real),
            _Candidates(number, second, read, moved, backward & (again < 0.8)),
            _Candidates(number, update, jnp.full(n, UPDATE, jnp.int32), 2 * moved, updated),
        ]

    def _outputs(self, draws: _Draws, roles: _Roles, candidates: _Candidates) -> jax.Array:
        """i32[B]: the last storage defined, updated parameters, and some others, mostly of the backward pass."""
        number = jnp.arange(self.buffers)
        turn = roles.newest[jnp.minimum(roles.forward, self.steps - 1)]
        chance = jnp.where(number < roles.parameters, 0.0, jnp.where(number > turn, 0.2, 0.03))
        drawn = (draws.buffer[3] < chance) & (number < roles.storages) | (number == roles.storages - 1)
        updated = candidates.real & (candidates.kind == UPDATE) & (candidates.buffer < roles.parameters)
        where = jnp.where(updated, candidates.buffer, self.buffers)
        return drawn.astype(jnp.int32).at[where].set(1, mode="drop")

    def _peak(self, granules: jax.Array, define: jax.Array, output: jax.Array, candidates: _Candidates) -> jax.Array:
        """i32[]: the most granules live in one step; parameters live from the start, outputs to the end."""
        last = (
            jnp.zeros(self.buffers, jnp.int32)
            .at[candidates.buffer]
            .max(jnp.where(candidates.real, candidates.step, 0), mode="drop")
        )
        end = jnp.where(output == 1, self.steps, last + 1)
        change = jnp.zeros(self.steps + 1, jnp.int32).at[jnp.maximum(define, 0)].add(granules).at[end].add(-granules)
        return jnp.cumsum(change).max()

    def _timed(
        self,
        draws: _Draws,
        storages: jax.Array,
        capacity: jax.Array,
        granules: jax.Array,
        define: jax.Array,
        output: jax.Array,
        candidates: _Candidates,
    ) -> MemoryInstance:
        """The instance on a machine with random rates, its events in the order of ``Program.instance``."""
        *_, rated, copied, rationed, often = draws.program[:11]
        *_, lesser, laden, share = draws.step
        real = candidates.real
        moved = jnp.where(real, candidates.granules, 0)
        per_step = jnp.zeros(self.steps, jnp.int32).at[candidates.step].add(moved, mode="drop")
        rate = _between(rated, 300, MAX_RATE + 1)
        rate = jnp.minimum(rate, jnp.minimum(STEP_TICKS // per_step.max(), ALL_TICKS // per_step.sum()))
        copy = rate * jnp.array([2, 2, 2, 3, 4])[_between(copied, 0, 5)] // 2  # mostly as fast as slow memory
        ratio = jnp.array([4, 8, 10, 16, 20, 20, 32])[_between(rationed, 0, 7)]
        memory = per_step * rate + _between(lesser, 1, 2 + rate // 8)  # with arrays that are no storages
        exponent = jnp.where(laden < 0.4 * often, -1 + 4 * share, -8 + 7 * share)
        compute = (jnp.exp2(exponent) * memory).astype(jnp.int32)
        traffic = moved * rate
        gain = traffic * (ratio - 1) // ratio
        at = jnp.where(real, candidates.step, 0)
        alone = jnp.maximum(compute, memory)[at]
        benefit = alone - jnp.maximum(compute[at], memory[at] - gain)
        reads = (candidates.kind == READ).astype(jnp.int32)
        when = jnp.where(real, candidates.step, self.steps)
        size = granules[jnp.where(real, candidates.buffer, 0)]
        order = jnp.lexsort((candidates.buffer, -size, -benefit, reads, when))
        columns = (candidates.buffer, candidates.step, candidates.kind, gain, traffic)
        events = [
            jnp.where(real, column, filling)[order][: self.size.events].astype(jnp.int32)
            for column, filling in zip(columns, (0, 0, -1, 0, 0), strict=True)
        ]
        counts = (jnp.int32(self.steps), storages, real.sum(dtype=jnp.int32))
        return MemoryInstance(compute, memory, *counts, capacity, granules, define, output, granules * copy, *events)


def _between(number: jax.Array, low: jax.Array | int, high: jax.Array | int) -> jax.Array:
    """i32 in low..high - 1 from a number in [0, 1)."""
    return (low + (number * (high - low)).astype(jnp.int32)).astype(jnp.int32)


def _join(*tables: _Candidates) -> _Candidates:
    """The candidates of all, one after the other."""
    return _Candidates(*(jnp.concatenate(columns) for columns in zip(*tables, strict=True)))
