"""The memory validator and the twin agree with published and hand-worked episodes, with each other, and with the rules."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twins.memory import MemoryTwin
from twins.memory_cases import BY_HAND, CHECKS, LETTERS, RULES, SIZE, greedy, random_memory, updated, worked

from dispatchgym.eval.validators.base import Verdict
from dispatchgym.eval.validators.memory import replay, validate
from dispatchgym.instances.memory.instance import MemoryInstance
from dispatchgym.instances.memory.suites import OVERCOUNTED, named

EXAMPLE = CHECKS["worked_example"]
EVICTIONS = ("charged", "free")
seeds = st.integers(0, 2**32 - 1)
repeatable = settings(derandomize=True, deadline=None, max_examples=300)


def shown(mask: list[bool]) -> str:
    return "".join(letter for letter, legal in zip(LETTERS, mask, strict=True) if legal)


@pytest.mark.parametrize("name", ["charged_copy_first", "charged_nocopy_first", "free_copy_first"])
def test_the_worked_example_move_by_move(name: str) -> None:
    case, evictions = EXAMPLE[name], name.partition("_")[0]
    twin = MemoryTwin(evictions)
    twin.reset(worked())
    assert twin.latency == EXAMPLE["all_hbm_latency"]
    actions, rewards = [], []
    for line in case["trace"]:
        step, buffer, kind = twin.events[twin.k]
        assert (step, "PABO"[buffer], ("read", "write")[kind]) == (line["step"], line["buffer"], line["kind"])
        assert shown(twin.mask()) == line["mask"]
        actions.append(LETTERS.index(line["action"]))
        rewards.append(twin.step(actions[-1]))
        assert rewards[-1] == line["reward"]
        assert (twin.residual_in, twin.residual_out) == (line["supply_in"], line["supply_out"])
    assert [list(r) for r in twin.rects] == case["rectangles"]
    assert twin.latency == case["final_latency"]
    plan, again, verdict = replay(worked(), actions, {"evictions": evictions})
    assert [[r.first, r.last, r.offset, r.granules] for r in plan.rectangles] == case["rectangles"]
    assert (again, verdict.objective) == (rewards, case["final_latency"])
    assert validate(worked(), actions, {"evictions": evictions}).objective == case["final_latency"]


@pytest.mark.parametrize("evictions", EVICTIONS)
def test_all_episodes_of_the_worked_example(evictions: str) -> None:
    instance, latencies = worked(), []
    twin = MemoryTwin(evictions)
    twin.reset(instance)
    open_: list[tuple[MemoryTwin, list[int]]] = [(twin, [])]
    while open_:
        twin, actions = open_.pop()
        if twin.over:
            verdict = validate(instance, actions, {"evictions": evictions})
            assert verdict.objective == twin.latency, verdict.errors
            latencies.append(twin.latency)
            continue
        for action in np.flatnonzero(twin.mask()).tolist():
            after = copy.deepcopy(twin)
            after.step(action)
            open_.append((after, [*actions, action]))
    expected = EXAMPLE[f"{evictions}_optimum"]
    assert (min(latencies), len(latencies)) == (expected["latency"], expected["complete_action_sequences"])


ROWS = [
    pytest.param(row, id=name, marks=[pytest.mark.slow] if row["instance"] in OVERCOUNTED else [])
    for row in CHECKS["greedy"]
    for name in [f"{row['instance']}@{row['capacity_mib']}MiB"]
]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("evictions", EVICTIONS)
@pytest.mark.parametrize("row", ROWS)
def test_greedy_play_of_real_programs(row: dict[str, Any], evictions: str, rule: str) -> None:
    instance, expected = named(f"{row['instance']}@{row['capacity_mib']}MiB").instance, row[f"{evictions}_{rule}"]
    assert tuple(instance.size) == (row["steps"], row["storages"], row["events"])
    twin, actions, forced = greedy(instance, RULES[rule], evictions)
    text = "".join(LETTERS[a] for a in actions)
    assert text == expected.get("actions", text)
    assert hashlib.sha256(text.encode()).hexdigest() == expected["actions_sha256"]
    assert (twin.latency, forced) == (expected["latency"], expected["forced_moves"])
    verdict = validate(instance, actions, {"evictions": evictions})
    assert verdict.objective == expected["latency"], verdict.errors
    counted = {name: expected[name] for name in ("copies_in", "write_backs", "rectangles")}
    assert {name: verdict.metrics[name] for name in counted} == counted
    assert (twin.copies_in, twin.write_backs, len(twin.rects)) == tuple(counted.values())
    assert verdict.metrics["all_slow"] == row["all_hbm"]
    if bound := row.get(f"{evictions}_lower_bound_relaxed"):
        assert verdict.metrics["ideal"] <= bound <= expected["latency"]


@pytest.mark.parametrize("name", BY_HAND)
def test_updates_in_place_by_hand(name: str) -> None:
    evictions, instance, lines = BY_HAND[name]
    twin = MemoryTwin(evictions)
    twin.reset(instance)
    actions: list[int] = []
    for line in lines:
        assert shown(twin.mask()) == line.mask
        before, b = len(twin.rects), twin.events[twin.k][1]
        actions.append(LETTERS.index(line.action))
        assert twin.step(actions[-1]) == line.reward
        assert [r[:3] for r in twin.rects[before:]] == ([line.added] if line.added else [])
        assert twin.hbm_ready[b] == line.ready or (line.ready is None and twin.hbm_ready[b] > twin.steps)
    plan, rewards, _ = replay(instance, actions, {"evictions": evictions})
    assert rewards == [line.reward for line in lines]
    assert [r[1:4] for r in plan.rectangles] == [line.added for line in lines if line.added]
    verdict = validate(instance, actions, {"evictions": evictions})
    assert verdict.objective == twin.latency, verdict.errors


@given(seed=seeds, evictions=st.sampled_from(EVICTIONS))
@repeatable
def test_properties_of_random_episodes(seed: int, evictions: str) -> None:
    """The mask is never empty; what is served is held; rectangles are disjoint; supplies, rewards and outputs add up."""
    instance, rng = random_memory(seed), np.random.default_rng(seed)
    twin = MemoryTwin(evictions)
    twin.reset(instance)
    start, supply, rewards, actions = twin.latency, sum(twin.residual_in), [], []
    while not twin.over:
        t, b, kind = twin.events[twin.k]
        legal = np.flatnonzero(twin.mask()).tolist()
        assert legal
        ready, stay = twin.hbm_ready[b], twin.residence[b]
        actions.append(int(rng.choice(legal)))
        rewards.append(twin.step(actions[-1]))
        assert rewards[-1] >= 0
        if actions[-1] == 0:
            assert kind == 1 or ready < t
            continue
        now = twin.residence[b]
        assert now is not None
        assert now[1] >= t
        if stay is not None and actions[-1] == 1:
            assert now[0] == stay[0]
        size = int(instance.granules[b])
        assert sum(o == now[0] and s == size and a <= t <= e for a, e, o, s in twin.rects) == 1
    for n, (a, e, o, s) in enumerate(twin.rects):
        assert 0 <= a <= e < twin.steps
        assert 0 <= o <= o + s <= twin.capacity
        for a2, e2, o2, s2 in twin.rects[:n]:
            assert e < a2 or e2 < a or o + s <= o2 or o2 + s2 <= o
    plan, again, verdict = replay(instance, actions, {"evictions": evictions})
    demand = instance.demand[instance.event_buffer]
    for left, column in ((twin.residual_in, plan.copy_in), (twin.residual_out, plan.copy_out)):
        assert min(left) >= 0
        assert supply - sum(left) == demand[column != -2].sum()
    assert start - sum(rewards) == twin.latency == verdict.objective
    assert again == rewards
    assert [tuple(r[1:]) for r in plan.rectangles] == twin.rects
    for b in np.flatnonzero(instance.output):
        assert twin.hbm_ready[b] < twin.steps
    judged = validate(instance, actions, {"evictions": evictions})
    assert judged.objective == twin.latency, judged.errors
    assert judged.metrics["ideal"] <= judged.metrics["latency"] <= judged.metrics["simulated"]
    assert judged == validate(instance.pad(SIZE), actions, {"evictions": evictions})


@given(seed=seeds, evictions=st.sampled_from(EVICTIONS))
@settings(repeatable, max_examples=100)
def test_illegal_actions_are_refused_where_the_twin_masks_them(seed: int, evictions: str) -> None:
    instance, rng = random_memory(seed), np.random.default_rng(seed)
    twin = MemoryTwin(evictions, "benefit")
    twin.reset(instance)
    actions, rewards = [], []
    while not twin.over:
        mask, (t, b, _) = twin.mask(), twin.events[twin.k]
        for action in np.flatnonzero(~np.array(mask)).tolist():
            with pytest.raises(ValueError, match="masked"):
                twin.step(action)
            (error,) = replay(instance, [*actions, action], {"evictions": evictions})[2].errors
            assert error.startswith(f"action {twin.k}: ")
            assert f"event {twin.k}, step {t} " in error
            assert f" buffer {b}: " in error
        actions.append(int(rng.choice(np.flatnonzero(mask))))
        rewards.append(twin.step(actions[-1]))
    assert replay(instance, actions, {"evictions": evictions, "reward": "benefit"})[1] == rewards
    alone = np.maximum(instance.compute, instance.memory)[instance.event_step]
    less = instance.memory[instance.event_step] - instance.gain
    benefit = alone - np.maximum(instance.compute[instance.event_step], less)
    assert rewards == np.where(np.array(actions) > 0, benefit, 0).tolist()


def test_storages_that_do_not_fit_stay_in_slow_memory() -> None:
    instance = updated()
    for capacity in (1, 2):
        smaller = MemoryInstance(**{**vars(instance), "capacity": np.int32(capacity)})
        twin = MemoryTwin()
        twin.reset(smaller)
        assert shown(twin.mask()) == ("D" if capacity == 1 else "DC")
    assert (replay(smaller, [2, 1, 1])[2].objective, validate(smaller, [0, 0, 0]).objective) == (48 - 11, 48)


@pytest.mark.parametrize("action", [-1, 3, 10**30, 0.0, 0.5, float("nan"), "0", None, [0]])
def test_actions_that_are_none_are_refused(action: object) -> None:
    verdict = validate(worked(), [0, action])  # type: ignore[list-item]
    assert verdict == Verdict.refuse(*verdict.errors)
    assert verdict.errors[0].startswith("action 1: ")


def test_refusals_say_what_is_wrong() -> None:
    def error(actions: list[int], instance: MemoryInstance | None = None, **options: Any) -> str:
        verdict = validate(instance or worked(), actions, options)
        assert not verdict.valid
        return verdict.errors[0]

    complete = [2, 2, 0, 1, 1, 2, 0, 2]
    assert validate(worked(), complete, {"image": (8, 8)}).objective == 16
    assert error(complete[:-1]) == "action 7: the trace ends with 1 of 8 events undecided"
    assert error([*complete, 0]) == "action 8: all is decided after 8 actions"
    assert error([3]) == "action 0: there is no action 3; the actions are 0..2"
    assert error(complete, evictions="none") == "unknown evictions 'none'; choose one of charged, free"
    assert error(complete, reward="sum") == "unknown reward 'sum'; choose one of latency, benefit"
    reads, defines = "event 2, step 1 reads buffer 0", "event 0, step 0 defines buffer 1"
    assert error([0, 0, 1]) == f"action 2: NoCopy is illegal for {reads}: it does not lie in fast memory"
    assert error([2, 2, 2]) == (
        f"action 2: Copy is illegal for {reads}: no 2 granules in a row are free throughout the steps 0..1"
    )
    assert error([2], evictions="free") == (
        f"action 0: Copy is illegal for {defines}: with free evictions nothing is copied out"
    )
    assert error([1, 0, 0, 0]).endswith("it lies in fast memory until step 2, so that only NoCopy is legal")
    assert error([2, 2, 0, 0, 1, 1]).endswith("it is an output, which must be in slow memory at the end")
    assert error([2, 2, 0, 1, 1, 2, 2]).endswith("no 2 granules in a row are free throughout the steps 2..3")
    again = updated(again=True)
    assert error([2, 2], again).endswith("a copy takes 6 ticks, and there is no step for it")
    assert error([2, 1, 0], again).endswith("updates buffer 0: slow memory does not hold its contents")
    assert error([0, 2, 2], updated()).endswith("a copy takes 6 ticks, and there is no step for it")
    slower = MemoryInstance(**{**vars(updated()), "demand": np.array([9], np.int32)})
    assert error([2], slower).endswith("a copy takes 9 ticks, and the steps 0..0 have 8 left")
    assert error([0, 0, 2], slower).endswith("a copy takes 9 ticks, and the steps 3..3 have 8 left")
