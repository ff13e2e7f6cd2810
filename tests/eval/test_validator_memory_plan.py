"""Mappings are judged by what memories hold, whoever made them; simulated latency is checked tick by tick."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twins.memory import MemoryTwin
from twins.memory_cases import memory, random_memory

from dispatchgym.eval.validators.memory import replay
from dispatchgym.eval.validators.memory_copies import IN, OUT, Case, Copy, first_late, simulated
from dispatchgym.eval.validators.memory_plan import judge
from dispatchgym.instances.memory.instance import READ, UPDATE, WRITE, MemoryInstance
from dispatchgym.instances.memory.plan import NONE, Plan, Rectangle

seeds = st.integers(0, 2**32 - 1)
repeatable = settings(derandomize=True, deadline=None, max_examples=300)
P, A, Q = range(3)


def program() -> MemoryInstance:
    """Events: 0 A is defined (step 0), 1 P read (2), 2 Q updated and 3 A read (3), 4 Q read (4), 5 P read (5)."""
    storages = [(2, -1, 0, 6), (2, 0, 1, 6), (2, -1, 0, 6)]
    events = [(0, A, WRITE, 3, 3), (2, P, READ, 3, 4), (3, Q, UPDATE, 4, 5), (3, A, READ, 2, 2)]
    return memory([0] * 6, [8] * 6, 6, storages, [*events, (4, Q, READ, 3, 3), (5, P, READ, 3, 4)])


RECTANGLES = (Rectangle(A, 0, 3, 0, 2), Rectangle(P, 1, 2, 2, 2), Rectangle(Q, 2, 4, 4, 2))


def plan(**columns: Any) -> Plan:
    """All but the last event from fast memory; A goes out in step 1, P and Q come in steps 1 and 2, Q goes out in 4.

    A column is changed by {event: value}.
    """
    given = {
        "served": [1, 1, 1, 1, 1, 0],
        "copy_in": [NONE, 0, 1, NONE, NONE, NONE],
        "copy_out": [1, NONE, 4] + [NONE] * 3,
    }
    for name, column in given.items():
        for e, value in columns.get(name, {}).items():
            column[e] = value
    arrays = {name: np.array(column, bool if name == "served" else np.int64) for name, column in given.items()}
    return Plan(**arrays, rectangles=tuple(columns.get("rectangles", RECTANGLES)))


def test_a_plan_and_its_metrics_by_hand() -> None:
    """Steps take 5, 8, 5, 2, 5, 8 and use slow memory for 5, 8, 4, 1, 5, 8: one idle tick in the steps 2 and 3 each.

    The copies of A and P (due before step 2) are waited for, 12 ticks; Q's copy in loses 5 ticks before step 3, after one
    in step 2; its copy out, of the step 4, is left at the end.
    """
    verdict = judge(program(), plan())
    assert verdict.objective == 5 + 8 + 5 + 2 + 5 + 8
    assert verdict.metrics == {
        "latency": 33,
        "simulated": 33 + 12 + 5 + 6,
        "all_slow": 48,
        "ideal": 5 + 8 + 5 + 2 + 5 + 5,
        "served": 5,
        "copies_in": 2,
        "write_backs": 2,
        "rectangles": 3,
        "peak": 6,
        "speedup": 48 / 33,
        "simulated_speedup": 48 / 56,
    }


def moved(at: int, **changes: int) -> tuple[Rectangle, ...]:
    return (*RECTANGLES[:at], RECTANGLES[at]._replace(**changes), *RECTANGLES[at + 1 :])


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"rectangles": moved(0, buffer=3)}, "there is no such buffer"),
    ({"rectangles": moved(0, granules=1)}, "buffer 1 at 0..0 in the steps 0..3: its size is 2 granules"),
    ({"rectangles": moved(1, last=6)}, "buffer 0 at 2..3 in the steps 1..6: the program has the steps 0..5"),
    ({"rectangles": moved(1, last=0)}, "buffer 0 at 2..3 in the steps 1..0: the program has the steps 0..5"),
    ({"rectangles": moved(2, offset=5)}, "buffer 2 at 5..6 in the steps 2..4: fast memory has the granules 0..5"),
    (
        {"rectangles": moved(2, offset=3)},
        "buffer 2 at 3..4 in the steps 2..4: overlaps buffer 0 at 2..3 in the steps 1..2",
    ),
    ({"rectangles": RECTANGLES + RECTANGLES[:1]}, "overlaps buffer 1 at 0..1 in the steps 0..3"),
    ({"served": {5: 1}}, "event 5: step 5 reads buffer 0 in fast memory, where it does not lie since"),
    ({"copy_in": {1: NONE}}, "event 1: step 2 reads buffer 0 in fast memory, where it does not lie since"),
    ({"rectangles": moved(0, last=2)}, "event 3: step 3 reads buffer 1 in fast memory, where it does not lie since"),
    ({"rectangles": (*moved(0, last=1), Rectangle(A, 3, 3, 0, 2))}, "event 3: step 3 reads buffer 1 in fast memory"),
    ({"rectangles": (*moved(0, last=2), Rectangle(A, 3, 3, 2, 2))}, "event 3: step 3 reads buffer 1 in fast memory"),
    ({"copy_out": {0: NONE}}, "buffer 1 is an output, but slow memory does not hold its contents"),
    ({"copy_out": {0: NONE}, "served": {3: 0}}, "event 3: step 3 reads buffer 1 in slow memory, which does not hold"),
    ({"copy_out": {0: 3}, "served": {3: 0}}, "in slow memory, which holds its contents only after step 3"),
    ({"copy_out": {0: 0}}, "event 0: step 0 defines buffer 1 before a copy out that ends with step 0; give 1..5"),
    ({"copy_out": {0: 6}}, "before a copy out that ends with step 6; give 1..5"),
    ({"copy_out": {0: 4}}, "before a copy out that ends with step 4, but leaves fast memory before"),
    ({"copy_out": {5: 5}}, "event 5: step 5 reads buffer 0 in slow memory, before a copy out"),
    ({"copy_out": {2: NONE}, "served": {4: 0}}, "event 4: step 4 reads buffer 2 in slow memory, which does not hold"),
    ({"copy_in": {2: NONE}, "copy_out": {2: NONE}, "served": {2: 0}}, "event 4: step 4 reads buffer 2 in fast memory"),
    ({"copy_in": {2: 3}}, "event 2: step 3 updates buffer 2 after a copy in that begins after step 3; give -1..2"),
    ({"copy_in": {2: -3}}, "after a copy in that begins after step -3; give -1..2"),
    (
        {"copy_in": {2: 0}},
        "event 2: step 3 updates buffer 2 after a copy in, but does not lie at one offset throughout 1..3",
    ),
    (
        {"copy_in": {3: 0}},
        "after a copy in that begins after step 0, but slow memory holds its contents only after step 1",
    ),
    (
        {"served": {2: 0}, "copy_in": {2: NONE, 4: 2}, "copy_out": {2: NONE}, "rectangles": moved(2, first=3)},
        "event 4: step 4 reads buffer 2 after a copy in that begins after step 2, but slow memory holds its contents only",
    ),
    ({"copy_in": {0: -1}}, "event 0: step 0 defines buffer 1, which nothing precedes, after a copy in"),
    ({"copy_in": {5: 3}}, "event 5: step 5 reads buffer 0, in slow memory, after a copy in"),
    (
        {"copy_in": {1: 1}},
        "copy in for event 1, which takes 6 ticks of the steps from 2, is not complete before step 2",
    ),
    ({"copy_out": {3: 4, 2: 4}, "rectangles": moved(0, last=4)}, "copy out after event 3"),
]


@pytest.mark.parametrize(("changes", "message"), FAULTS)
def test_faults_are_named(changes: dict[str, Any], message: str) -> None:
    verdict = judge(program(), plan(**changes))
    assert not verdict.valid
    assert message in "; ".join(verdict.errors)


def test_what_the_game_would_not_do_is_judged_too() -> None:
    assert judge(program(), plan(rectangles=moved(1, first=0), copy_in={1: -1})).valid  # earlier than needed
    between = plan(served={3: 0, 4: 1}, rectangles=moved(0, last=5))  # a read from slow memory during a stay
    assert judge(program(), between).objective == 35
    later = plan(copy_out={0: NONE, 3: 5}, rectangles=moved(0, last=5))  # out after the last read
    assert judge(program(), later).valid
    twice = plan(rectangles=(*RECTANGLES, Rectangle(P, 2, 5, 0, 2)), copy_in={5: 1}, served={5: 1})
    assert "overlaps" in judge(program(), twice).errors[0]
    other = (*moved(0, last=2), Rectangle(A, 3, 5, 2, 2), Rectangle(P, 3, 5, 0, 2))
    fetched = plan(rectangles=other, copy_in={3: 2, 5: 2}, served={5: 1})  # no ticks for the first of these
    assert judge(program(), fetched).errors[0].startswith("copy in for event 3")
    without = judge(program(), fetched, supplies=False)
    assert without.objective == 30
    assert judge(program(), plan(copy_out={0: NONE}), "free").valid
    assert judge(program(), plan(), "some").errors == ("unknown evictions 'some'; choose one of charged, free",)
    short = replace(plan(), served=np.ones(5, bool))
    assert judge(program(), short).errors == ("the plan has columns of [5, 6] events; the instance has 6",)
    many = judge(program(), plan(rectangles=RECTANGLES * 10))
    assert len(many.errors) == 21
    assert many.errors[-1].startswith("and ")


def test_an_update_leaves_the_other_copy_behind() -> None:
    """Two stays hold the contents; the one that was fetched for the update has the new ones."""
    instance = memory(
        [0] * 6, [8] * 6, 4, [(2, -1, 0, 6)], [(2, 0, READ, 3, 3), (3, 0, UPDATE, 5, 6), (5, 0, READ, 3, 3)]
    )
    columns = {"served": np.ones(3, bool), "copy_in": np.array([0, -1, NONE]), "copy_out": np.full(3, NONE)}
    for first, second, valid in ((2, 5, True), (5, 3, False)):
        lies = (Rectangle(0, 1, first, 0, 2), Rectangle(0, 0, second, 2, 2))
        verdict = judge(instance, Plan(**columns, rectangles=lies))
        assert verdict.valid == valid
    assert verdict.errors[0].startswith("event 2: step 5 reads buffer 0 in fast memory, where it does not lie since")


def by_windows(copies: Iterable[Copy], supply: list[int]) -> bool:
    """What must run between two steps is no more than they supply, for every pair."""
    every = list(copies)
    return all(
        sum(c.need for c in every if c.release >= p and c.deadline <= q) <= sum(supply[p:q])
        for p in range(len(supply) + 1)
        for q in range(len(supply) + 1)
    )


def feasible(instance: MemoryInstance, given: Plan, free: bool) -> bool:
    """The definition, step by step and granule by granule."""
    case = Case(instance)
    taken = np.zeros((case.steps, case.capacity), int)
    at: set[tuple[int, int, int]] = set()  # (storage, step, offset)
    for b, first, last, offset, granules in given.rectangles:
        inside = 0 <= first <= last < case.steps and 0 <= offset <= case.capacity - granules
        if not inside or granules != case.granules[b]:
            return False
        taken[first : last + 1, offset : offset + granules] += 1
        at |= {(b, t, offset) for t in range(first, last + 1)}
    copies = case.copies(given)
    channels = ([c for c in copies if c.direction == d] for d in (IN, OUT))
    if taken.max(initial=0) > 1 or not all(by_windows(channel, case.supply()) for channel in channels):
        return False
    return all(_held(case, given, b, at, free) for b in range(case.buffers))


def _held(case: Case, given: Plan, b: int, at: set[tuple[int, int, int]], free: bool) -> bool:
    def lies(t: int) -> set[int]:
        return {offset for storage, step, offset in at if (storage, step) == (b, t)}

    event = {case.step[e]: e for e in range(case.events) if case.buffer[e] == b}
    slow_at = {-1: case.define[b] < 0}  # whether slow memory holds the contents after each step
    fast: set[int] = set()
    leaving: list[tuple[int, set[int]]] = []  # copies out under way: (last step, offsets they may read)
    for t in range(case.steps):
        fast &= lies(t)
        slow = slow_at[t - 1]
        if (e := event.get(t)) is not None:
            kind, served, a, end = case.kind[e], given.served[e], int(given.copy_in[e]), int(given.copy_out[e])
            fetched: set[int] = set()
            if a != NONE:
                if kind == WRITE or not served or not -1 <= a < t or not all(slow_at[q] for q in range(a, t)):
                    return False
                fetched = set.intersection(*(lies(q) for q in range(a + 1, t + 1)))
                if not fetched:
                    return False
            source = lies(t) if kind == WRITE else fetched or fast
            if (served and not source) or (not served and kind != WRITE and not slow):
                return False
            if kind == READ:
                fast |= fetched
            else:
                if leaving:
                    return False
                fast = source if served else set()
                slow = free or not served
                slow_at = dict.fromkeys(slow_at, False)  # of other contents
            if end != NONE:
                if not served or not t < end < case.steps:
                    return False
                leaving.append((end, set(fast)))
        leaving = [(end, offsets & fast) for end, offsets in leaving]
        if not all(offsets for _, offsets in leaving):
            return False
        slow = slow or any(end == t for end, _ in leaving)
        leaving = [(end, offsets) for end, offsets in leaving if end > t]
        slow_at[t] = slow
    return slow_at[case.steps - 1] or not case.output[b]


def tampered(given: Plan, instance: MemoryInstance, rng: np.random.Generator) -> Plan:
    """One or two changes of what an event does or of where a storage lies."""
    served, copy_in, copy_out = given.served.copy(), given.copy_in.copy(), given.copy_out.copy()
    rectangles = list(given.rectangles)
    for _ in range(int(rng.integers(1, 3))):
        e, near = int(rng.integers(len(served))), int(rng.integers(-1, 2))
        t, change = int(instance.event_step[e]), int(rng.integers(6))
        if change == 0:
            served[e] = ~served[e]
        elif change == 1:
            copy_in[e] = NONE if copy_in[e] != NONE else t - int(rng.integers(1, 4))
        elif change == 2:
            copy_out[e] = NONE if copy_out[e] != NONE else t + int(rng.integers(1, 4))
        elif change == 3:
            copy_in[e] += near * (copy_in[e] != NONE)
            copy_out[e] += near * (copy_out[e] != NONE)
        elif rectangles:
            at = int(rng.integers(len(rectangles)))
            r = rectangles.pop(at)
            if change == 4:
                field = ("first", "last", "offset")[rng.integers(3)]
                rectangles.insert(at, r._replace(**{field: getattr(r, field) + near}))
    return Plan(served, np.maximum(copy_in, NONE), copy_out, tuple(rectangles))


@given(seed=seeds, evictions=st.sampled_from(["charged", "free"]))
@settings(repeatable, max_examples=600)
def test_tampered_plans_are_judged_by_the_definition(seed: int, evictions: str) -> None:
    instance, rng = random_memory(seed), np.random.default_rng(seed)
    twin, actions = MemoryTwin(evictions), []
    twin.reset(instance)
    while not twin.over:
        actions.append(int(rng.choice(np.flatnonzero(twin.mask()))))
        twin.step(actions[-1])
    made = replay(instance, actions, {"evictions": evictions})[0]
    assert feasible(instance, made, evictions == "free")
    other = tampered(made, instance, rng)
    verdict = judge(instance, other, evictions)
    assert verdict.valid == feasible(instance, other, evictions == "free"), verdict.errors
    assert bool(verdict.errors) != verdict.valid


jobs = st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(1, 9))
channels = st.lists(jobs, max_size=5).map(
    lambda rows: [Copy(min(release + width, 7), n, IN, release, need) for n, (release, width, need) in enumerate(rows)]
)


@given(copies=channels, supply=st.lists(st.integers(0, 8), min_size=7, max_size=7))
@repeatable
def test_the_earliest_deadline_first_finds_what_fits(copies: list[Copy], supply: list[int]) -> None:
    assert (first_late(copies, supply) is None) == by_windows(copies, supply)


def tick_by_tick(case: Case, served: list[bool], copies: list[Copy]) -> int:
    """Every tick goes to one copy or to none; idle ones of a step come first, as a step takes no notice of their order."""
    left, time = {c: c.need for c in copies}, 0
    for t in range(case.steps + 1):
        while any(left[c] for c in copies if c.deadline <= t):
            left[next(c for c in copies if c.deadline <= t and left[c])] -= 1
            time += 1
        if t == case.steps:
            break
        events = [e for e in range(case.events) if case.step[e] == t and served[e]]
        duration = max(case.compute[t], case.memory[t] - sum(case.gain[e] for e in events))
        idle = duration - (case.memory[t] - sum(case.traffic[e] for e in events))
        for tick in range(duration):
            running = [c for c in copies if left[c] and c.release <= t]
            if running and tick < idle:
                left[min(running, key=lambda c: (c.deadline, c.event, c.direction))] -= 1
        time += duration
    return time


@given(seed=seeds, evictions=st.sampled_from(["charged", "free"]))
@repeatable
def test_simulated_latency_tick_by_tick(seed: int, evictions: str) -> None:
    instance, rng = random_memory(seed), np.random.default_rng(seed)
    twin, actions = MemoryTwin(evictions), []
    twin.reset(instance)
    while not twin.over:
        legal = twin.mask()
        actions.append(2 if legal[2] and rng.random() < 0.7 else int(rng.choice(np.flatnonzero(legal))))
        twin.step(actions[-1])
    made, case = replay(instance, actions, {"evictions": evictions})[0], Case(instance)
    copies, served = case.copies(made), made.served.tolist()
    assert simulated(case, served, copies) == tick_by_tick(case, served, copies)


def test_simulated_latency_by_hand() -> None:
    """P comes in during step 1, where computation leaves 6 ticks; with less computation it is waited for."""
    for computes, expected in ((10, 6 + 10 + 2), (7, 6 + 7 + 2 + 2), (0, 6 + 4 + 5 + 2)):
        instance = memory([0, computes, 0], [6, 4, 5], 2, [(2, -1, 0, 5)], [(2, 0, READ, 3, 4)])
        made = Plan(np.array([True]), np.array([0]), np.array([NONE]), (Rectangle(0, 1, 2, 0, 2),))
        assert judge(instance, made, supplies=False).metrics["simulated"] == expected
