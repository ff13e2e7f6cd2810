"""The job shop's validator agrees with known makespans and the environment, and refuses what is not a schedule."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatchgym.agents.rules.job_shop import RULES
from dispatchgym.envs.job_shop.env import SCHEMES, JobShop
from dispatchgym.eval.validators.job_shop import check_schedule, replay, starts, validate
from dispatchgym.instances.job_shop import JobShopInstance, JobShopSize, named

SIZE = JobShopSize(jobs=4, machines=3, operations=4, visits=4)

# Ragged, recirculating, with zero durations.
operation = st.tuples(st.integers(0, 2), st.sampled_from([0, 0, 1, 2, 3, 5, 8]))
shops = st.lists(st.lists(operation, min_size=1, max_size=4), min_size=1, max_size=4).map(JobShopInstance.from_jobs)
relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def shuffled(instance: JobShopInstance, seed: int) -> list[int]:
    """A random action list, legal under the schemes semi_active and left_shift."""
    jobs = np.repeat(np.arange(len(instance.n_operations)), instance.n_operations)
    return np.random.default_rng(seed).permutation(jobs).tolist()


@cache
def stepper(scheme: str) -> tuple[JobShop, Any, Any, Any]:
    env = JobShop(SIZE, scheme)
    return env, jax.jit(env.prepare), jax.jit(env.step), jax.jit(env.action_mask)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(instance=shops, seed=st.integers(0, 2**32 - 1))
@settings(relaxed, max_examples=25)
def test_replays_what_the_environment_does(scheme: str, instance: JobShopInstance, seed: int) -> None:
    env, prepare, step, action_mask = stepper(scheme)
    rng = np.random.default_rng(seed)
    padded = instance.pad(SIZE)
    problem = prepare(padded)
    state, actions = env.reset(problem), []
    for _ in range(int(instance.n_operations.sum())):
        mask = np.asarray(action_mask(problem, state))
        for action in np.flatnonzero(~mask):
            assert not validate(padded, [*actions, int(action)], {"scheme": scheme}).valid
            assert f"action {len(actions)}:" in replay(padded, [*actions, int(action)], scheme)[1].errors[0]
        actions.append(int(rng.choice(np.flatnonzero(mask))))
        state = step(problem, state, actions[-1]).state
    verdict = validate(padded, actions, {"scheme": scheme})
    assert verdict.valid, verdict.errors
    assert verdict.objective == int(env.objective(problem, state))
    np.testing.assert_array_equal(starts(padded, actions, {"scheme": scheme}), state.start)
    assert check_schedule(instance, starts(instance, actions, {"scheme": scheme})) == verdict


LISTED = ("spt", "lpt", "mwkr", "lwkr", "mopnr", "fdd_mwkr", "fifo")
TABLE = {  # their makespans
    ("ft06", "non_delay"): (88, 77, 61, 83, 59, 67, 65),
    ("ft06", "giffler_thompson"): (94, 86, 67, 96, 60, 62, 65),
    ("ft06", "left_shift"): (83, 79, 67, 94, 60, 62, 65),
    ("ft10", "non_delay"): (1074, 1295, 1108, 1334, 1163, 1097, 1184),
    ("ft10", "giffler_thompson"): (1429, 1355, 1178, 1520, 1215, 1260, 1184),
    ("ft10", "left_shift"): (1399, 1534, 1178, 1530, 1219, 1212, 1184),
}


@pytest.mark.parametrize(("name", "scheme"), TABLE)
def test_rules_reach_their_known_makespans(name: str, scheme: str) -> None:
    instance = named(name).instance
    env = JobShop(instance.size, scheme)
    policies = [RULES[rule].make(env.graph) for rule in LISTED]
    key = jax.random.key(0)

    @jax.jit
    @jax.vmap
    def play(rule: jax.Array) -> jax.Array:  # all rules side by side: one compilation
        problem = env.prepare(instance)

        def step(state: Any, _: None) -> tuple[Any, jax.Array]:
            seen = env.observe(problem, state)
            action = jnp.stack([policy(seen, key) for policy in policies])[rule]
            return env.step(problem, state, action).state, action

        return jax.lax.scan(step, env.reset(problem), length=env.max_steps)[1]

    for actions, known in zip(np.asarray(play(jnp.arange(len(LISTED)))), TABLE[name, scheme], strict=True):
        assert validate(instance, actions.tolist(), {"scheme": scheme}).objective == known


@given(instance=shops, seed=st.integers(0, 2**32 - 1), scheme=st.sampled_from(["semi_active", "left_shift"]))
@relaxed
def test_wrong_counts_of_actions_are_named(instance: JobShopInstance, seed: int, scheme: str) -> None:
    actions, rng = shuffled(instance, seed), np.random.default_rng(seed)
    total, options = len(actions), {"scheme": scheme}
    assert validate(instance, actions, options).valid
    missing = validate(instance, actions[:-1], options)
    assert missing == type(missing).refuse(*missing.errors)
    assert f"action {total - 1}: the trace ends with 1 of {total} operations unscheduled" in missing.errors[0]
    assert f"action {total}: the schedule is complete" in validate(instance, [*actions, 0], options).errors[0]
    if len(instance.n_operations) > 1:
        at = int(rng.integers(total))
        other = (actions[at] + 1) % len(instance.n_operations)
        assert not validate(instance, [*actions[:at], other, *actions[at + 1 :]], options).valid


@pytest.mark.parametrize("action", [-1, 6, 10**30, 0.0, 0.5, float("nan"), "0", None, [0]])
def test_actions_that_are_no_jobs_are_refused(action: object) -> None:
    verdict = validate(named("ft06").instance, [0, 1, action], {"scheme": "semi_active"})
    assert not verdict.valid
    assert verdict.objective is None
    assert verdict.errors[0].startswith("action 2: ")


def test_unknown_schemes_are_refused() -> None:
    assert "unknown scheme 'fast'" in validate(named("ft06").instance, [0], {"scheme": "fast"}).errors[0]


def test_padded_jobs_keep_their_numbers() -> None:
    instance = JobShopInstance(np.array([[0], [0], [0]]), np.array([[2], [0], [3]]), np.array([1, 0, 1]))
    assert validate(instance, [2, 0]).objective == 5
    assert "job 1 has no operation left" in validate(instance, [1, 0]).errors[0]


@given(instance=shops, seed=st.integers(0, 2**32 - 1), data=st.data())
@relaxed
def test_a_moved_operation_is_judged_by_the_definition(
    instance: JobShopInstance, seed: int, data: st.DataObject
) -> None:
    schedule, _ = replay(instance, shuffled(instance, seed), "semi_active")
    j = data.draw(st.integers(0, len(instance.n_operations) - 1))
    k = data.draw(st.integers(0, int(instance.n_operations[j]) - 1))
    schedule[j, k] = data.draw(st.integers(-2, int(schedule.max()) + 3))
    verdict = check_schedule(instance, schedule)
    assert verdict.valid == feasible(instance, schedule)
    if verdict.valid:
        assert verdict.objective == (schedule + instance.duration)[schedule >= 0].max()
    else:
        assert verdict.errors


def feasible(instance: JobShopInstance, schedule: np.ndarray) -> bool:
    """The definition, pair by pair."""
    spans = [
        (j, k, machine, int(schedule[j, k]), int(schedule[j, k]) + duration)
        for j, job in enumerate(instance.jobs())
        for k, (machine, duration) in enumerate(job)
    ]
    for a in spans:
        for b in spans:
            ordered, reverse = a[4] <= b[3], b[4] <= a[3]
            if a[0] == b[0] and a[1] < b[1] and not ordered:
                return False
            if a[:2] != b[:2] and a[2] == b[2] and not (ordered or reverse):
                return False
    return all(span[3] >= 0 for span in spans)


def test_faults_of_a_schedule_are_named() -> None:
    instance = JobShopInstance.from_jobs([[(0, 3), (1, 2)], [(0, 2)], [(0, 0)]])
    good = np.array([[0, 3], [3, -1], [3, -1]], np.int32)
    assert check_schedule(instance, good).objective == 5
    for j, k, start, fault in (
        (0, 1, 2, "operation 1 of job 0 starts at 2, before its predecessor ends at 3"),
        (1, 0, 2, "machine 0: operation 0 of job 1 starts at 2 while operation 0 of job 0 runs until 3"),
        (2, 0, 1, "machine 0: operation 0 of job 2 starts at 1 while operation 0 of job 0 runs until 3"),
        (1, 0, -1, "operation 0 of job 1 is not scheduled"),
        (0, 0, -3, "operation 0 of job 0 starts at -3, before time 0"),
        (1, 1, 7, "job 1 has no operation 1"),
    ):
        bad = good.copy()
        bad[j, k] = start
        assert fault in check_schedule(instance, bad).errors
    assert "shape" in check_schedule(instance, good[:2]).errors[0]
    assert "not integers" in check_schedule(instance, good.astype(float)).errors[0]


def test_errors_are_cut_short() -> None:
    instance = named("ft10").instance
    verdict = check_schedule(instance, np.zeros((10, 10), np.int32))
    assert len(verdict.errors) == 21
    assert verdict.errors[-1].startswith("and ")
