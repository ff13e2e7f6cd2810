"""Time jumanji's JobShop with random legal actions on complete schedules.

How it is run: ``jax.vmap`` over the batch and ``jax.lax.scan`` over blocks of 64 unit-time steps inside one jitted
call. Finished environments are reset between two blocks, all in one vmapped reset; this is cheaper on a CPU than
jumanji's ``AutoResetWrapper`` under ``vmap``, which computes a reset in every step. Steps that an environment takes
between its end and the next block are timed but not counted.

Policy: every machine takes a job uniformly among its legal ones and the no-op only when no job is legal, so that an
episode never ends by the "all machines idle" penalty; one uniform number per job and step is drawn for this.

The observation of every step feeds a checksum in the carry, so the compiler cannot drop it.

``schedules`` is the number of counted unit steps divided by the mean episode length. An episode of jumanji takes as
many steps as its makespan, about 1,000 here, and a step costs the same at any point of an episode (no
data-dependent control flow), so this gives the rate of complete schedules in the long run also for a batch too big
to finish within the time budget. The mean comes from a batch of 256 run to completion, each schedule verified,
before the timing.
"""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
from common import MAX_DURATION, check_schedule, main, make_instances
from jumanji.environments import JobShop
from jumanji.environments.packing.job_shop.generator import Generator
from jumanji.environments.packing.job_shop.types import State

BLOCK = 64
POOL = 1024
PILOT = 256


class PoolGenerator(Generator):
    """Draw one instance from a fixed pool at every reset."""

    def __init__(self, machine_of, duration):
        _, jobs, machines = machine_of.shape
        super().__init__(num_jobs=jobs, num_machines=machines, max_num_ops=machines, max_op_duration=MAX_DURATION)
        self.machine_of, self.duration = jnp.asarray(machine_of), jnp.asarray(duration)

    def __call__(self, key):
        """Return the initial state of a random instance of the pool."""
        key, draw = jax.random.split(key)
        index = jax.random.randint(draw, (), 0, self.machine_of.shape[0])
        shape = self.machine_of.shape[1:]
        return State(
            ops_machine_ids=self.machine_of[index],
            ops_durations=self.duration[index],
            ops_mask=jnp.ones(shape, bool),
            machines_job_ids=jnp.full(self.num_machines, self.num_jobs, jnp.int32),
            machines_remaining_times=jnp.zeros(self.num_machines, jnp.int32),
            action_mask=None,
            step_count=jnp.int32(0),
            scheduled_times=jnp.full(shape, -1, jnp.int32),
            key=key,
        )


def random_actions(key, mask):
    """Draw for every machine a legal job, or the no-op (last) if there is none; ``mask`` is (batch, M, J + 1)."""
    legal = mask[..., :-1]
    score = jax.random.uniform(key, (mask.shape[0], 1, legal.shape[-1]))
    job = jnp.argmax(jnp.where(legal, score, -1.0), axis=-1)
    return jnp.where(legal.any(-1), job, legal.shape[-1]).astype(jnp.int32)


def checksum(observation):
    """Return one number per environment that depends on every field of the observation."""
    return sum(jnp.sum(leaf, axis=tuple(range(1, leaf.ndim)), dtype=jnp.int32) for leaf in observation)


def make_block(env):
    """Return (start, block): the first resets, and 64 unit steps of all environments after resets of the finished."""

    def start(key, batch):
        state, timestep = jax.vmap(env.reset)(jax.random.split(key, batch))
        done = jnp.zeros(batch, bool)
        return state, timestep.observation, done, jnp.zeros(batch, bool), jnp.zeros(batch, jnp.int32)

    def restart(carry, key):
        state, observation, done, bad, total = carry
        fresh, timestep = jax.vmap(env.reset)(jax.random.split(key, done.shape[0]))

        def pick(new, old):
            return jnp.where(done.reshape(done.shape + (1,) * (old.ndim - 1)), new, old)

        state, observation = jax.tree.map(pick, (fresh, timestep.observation), (state, observation))
        return state, observation, jnp.zeros_like(done), bad, total

    def step(carry, key):
        state, observation, done, bad, total = carry
        action = random_actions(key, observation.action_mask)
        state, timestep = jax.vmap(env.step)(state, action)
        counted = ~done
        bad = bad | (counted & (timestep.reward < -1.0))
        done = done | timestep.last()
        return (state, timestep.observation, done, bad, total + checksum(timestep.observation)), counted.sum()

    @functools.partial(jax.jit, static_argnames="reset", donate_argnums=0)
    def block(carry, key, reset):
        key, draw = jax.random.split(key)
        if reset:
            carry = restart(carry, draw)
        carry, counted = jax.lax.scan(step, carry, jax.random.split(key, BLOCK))
        return carry, counted.sum(), carry[2].sum()

    return jax.jit(start, static_argnames="batch"), block


def pilot(start, block, key):
    """Run 256 episodes to completion, verify the schedules and return the mean makespan."""
    keys = jax.random.split(key, 10_000)
    carry = start(keys[0], PILOT)
    steps = finished = 0
    for draw in keys[1:]:
        carry, counted, finished = block(carry, draw, reset=False)
        steps += int(counted)
        if int(finished) == PILOT:
            break
    state, _, _, bad, _ = carry
    if int(finished) != PILOT or bool(bad.any()):
        raise AssertionError("an episode did not end with a complete schedule")
    arrays = (np.asarray(state.ops_machine_ids), np.asarray(state.ops_durations), np.asarray(state.scheduled_times))
    makespans = [check_schedule(*instance) for instance in zip(*arrays, strict=True)]
    if steps != sum(makespans):
        raise AssertionError("the number of unit steps differs from the sum of the makespans")
    return float(np.mean(makespans))


def measure(args):
    """Time blocks of unit steps until the budget is spent."""
    jax.config.update("jax_platforms", "cpu")
    env = JobShop(generator=PoolGenerator(*make_instances(POOL, args.jobs, args.machines, args.seed)))
    start, block = make_block(env)
    key = jax.random.PRNGKey(args.seed)
    mean_makespan = pilot(start, block, key)
    key, first, draw = jax.random.split(key, 3)
    jax.block_until_ready(block(start(first, args.batch), draw, reset=True))
    carry = start(first, args.batch)
    steps = total = ended = 0
    begin = time.perf_counter()
    while time.perf_counter() - begin < args.seconds:
        key, draw = jax.random.split(key)
        carry, counted, finished = block(carry, draw, reset=True)
        steps, total, ended = steps + int(counted), total + args.batch * BLOCK, ended + int(finished)
    seconds = time.perf_counter() - begin
    if bool(carry[3].any()):
        raise AssertionError("an episode ended with the penalty")
    notes = (
        f"jax {jax.__version__} cpu; one step = one unit of time for all machines, no-op only when nothing else is "
        f"legal; schedules = {steps} counted unit steps / mean length {mean_makespan:.1f} of {PILOT} verified complete "
        f"episodes; {ended} episodes ended within the timing; {total - steps} steps after an end timed, not counted"
    )
    return {
        "schedules": steps / mean_makespan,
        "seconds": seconds,
        "steps": steps,
        "mean_makespan": mean_makespan,
        "notes": notes,
    }


if __name__ == "__main__":
    main("jumanji JobShop", "jumanji", __doc__, measure)
