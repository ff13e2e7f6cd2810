"""The latency of a finished plan where copies and computation share the bandwidth of slow memory.

The game lets a copy hide behind a step for the whole time that the step takes with everything in slow memory, although the
step itself uses that memory (as XLA does). Here copies get what the steps leave over, the earliest deadline first, and a
step waits for the copies it depends on. ``docs/memory.md`` states it in full.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dispatchgym.envs.core import Array
from dispatchgym.envs.memory.moves import MemoryState
from dispatchgym.envs.memory.problem import NEVER, MemoryProblem
from dispatchgym.instances.memory.plan import NONE


def simulated_latency(problem: MemoryProblem, state: MemoryState) -> Array:
    """u32[]: ticks; of the decided events, the others being served from slow memory."""
    given = problem.instance
    steps = given.compute.shape[0]
    served = (state.copy_in >= NONE) & (given.event_kind >= 0)
    use = given.event_step
    demand = given.demand[given.event_buffer]
    freed = jnp.zeros(steps, jnp.int32).at[use].add(jnp.where(served, given.traffic, 0))
    duration = jnp.maximum(given.compute, given.memory - state.saved)
    idle = duration - jnp.maximum(given.memory - freed, 0)

    # Two jobs an event, copy-in before copy-out: (copying to be done, first step, deadline).
    comes, goes = served & (state.copy_in > NONE), served & (state.copy_out > NONE)
    rest = jnp.stack([jnp.where(comes, demand, 0), jnp.where(goes, demand, 0)], axis=1).ravel()
    release = jnp.stack([state.copy_in + 1, use + 1], axis=1).ravel()
    deadline = jnp.stack([jnp.where(comes, use, NEVER), jnp.where(goes, state.copy_out + 1, NEVER)], axis=1).ravel()
    order = jnp.argsort(deadline, stable=True)
    rest, release, deadline = rest[order], release[order], deadline[order]

    def step(carry: tuple[Array, Array], t: Array) -> tuple[tuple[Array, Array], None]:
        time, rest = carry
        due = deadline <= t
        wait = jnp.where(due, rest, 0).astype(jnp.uint32).sum()
        rest = jnp.where(due, 0, rest)
        open_ = jnp.where(release <= t, rest, 0)
        ahead = jnp.cumsum(open_) - open_
        rest = rest - jnp.clip(idle[t] - ahead, 0, open_)
        return (time + wait + duration[t].astype(jnp.uint32), rest), None

    (time, rest), _ = jax.lax.scan(step, (jnp.uint32(0), rest), jnp.arange(steps))
    return time + rest.astype(jnp.uint32).sum()
