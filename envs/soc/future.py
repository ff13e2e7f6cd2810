"""Another future of a stream, for the tests that demand that no observation depends on it."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp

from dispatchgym.envs.core import Array
from dispatchgym.envs.soc.problem import NEVER, SocProblem, run_lengths
from dispatchgym.envs.soc.state import SocState


def perturb(problem: SocProblem, state: SocState, key: Array) -> SocProblem:
    """The problem with other multipliers of tasks that have not started, templates of jobs not admitted, and later releases.

    The finish of a running task is in the state already, and stays; releases that lie ahead still do.
    """
    noise_key, template_key, gap_key = jax.random.split(key, 3)
    jobs = problem.template.shape[0]
    index = jnp.arange(jobs)
    inside = index < state.admitted
    started = (state.pe >= 0) & (state.queued == NEVER)
    fixed = (
        jnp.zeros(problem.multiplier.shape, bool)
        .at[jnp.where(state.job >= 0, state.job, jobs)]
        .set(started, mode="drop")
    )
    noise = jax.random.randint(noise_key, problem.multiplier.shape, 100, 3001, jnp.int32)
    real = (problem.n_tasks > 0).sum()
    other = jax.random.randint(template_key, (jobs,), 0, real, jnp.int32)
    drawn = jax.random.randint(gap_key, (jobs,), 0, 200, jnp.int32)
    first = index == state.admitted
    # Closed: the next release follows the last admission; it stays ahead, or stays past if the source is blocked.
    past = state.last_admission + problem.gap <= state.now
    ahead = state.now - state.last_admission + 1 + drawn
    closed_gap = jnp.where(inside | (first & past), problem.gap, jnp.where(first, ahead, drawn))
    known = problem.arrival <= state.now
    last = jnp.where(known, problem.arrival, 0).max()
    next_ = known.sum()
    later = state.now - last + 1 + drawn
    open_gap = jnp.where(known, problem.gap, jnp.where(index == next_, later, drawn))
    gap = jnp.where(problem.closed, closed_gap, open_gap)
    real_job = index < problem.n_jobs
    return replace(
        problem,
        multiplier=jnp.where(fixed, problem.multiplier, noise),
        template=jnp.where(inside, problem.template, other),
        gap=gap,
        arrival=jnp.where(real_job & ~problem.closed, jnp.cumsum(gap), NEVER),
        together=run_lengths(gap, problem.n_jobs),
    )
