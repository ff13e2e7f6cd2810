"""XLA's memory space assignment: each part worked by hand from its formulas, the whole judged by the validator."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from twins.memory_cases import memory, random_memory

from dispatchgym.agents.solvers.memory import SOLVERS
from dispatchgym.agents.solvers.memory_heap import Heap, best_fit, first_fit
from dispatchgym.agents.solvers.memory_msa import assign, memory_boundedness, order, replayed
from dispatchgym.agents.solvers.memory_msa_copies import CopyResource
from dispatchgym.agents.solvers.memory_msa_options import Options
from dispatchgym.agents.solvers.memory_msa_picker import Picker
from dispatchgym.agents.solvers.memory_tables import Tables
from dispatchgym.eval.validators.memory import validate
from dispatchgym.eval.validators.memory_plan import judge
from dispatchgym.instances.memory.instance import READ, WRITE, MemoryInstance
from dispatchgym.instances.memory.plan import NONE
from dispatchgym.instances.memory.suites import named

MICROSECONDS = 1e6 / 2**34
VARIANTS = (
    Options(),
    Options(order="size"),
    Options(max_repacks=10),
    Options(max_retries=3, max_repacks=2),
    Options(waive=False),
)

# Latencies in us that an independent sketch of the algorithm reached, whose simplifications are: supply consumed earliest
# first, failed evictions ignored, outputs left in fast memory, a bounded top gap, 60 nearest starts. Figures to be near to.
SKETCH = {
    "mlp_train@4MiB": (128.2, 128.2),
    "mlp_train@8MiB": (100.0, 100.0),
    "tf2_infer@16MiB": (510.1, 478.0),
    "tf2_infer@32MiB": (359.8, 311.2),
    "resnet18_infer@8MiB": (157.5, 157.5),
    "tf2_train@32MiB": (1535.0, 1540.9),
    "tf2_train@128MiB": (1004.8, 1216.1),
    "resnet18_train@16MiB": (542.3, 542.9),
    "tf6_train@128MiB": (2724.8, 2936.1),
}


def test_picker_by_hand() -> None:
    picker = Picker([10 * t for t in range(9)], max_residence=45)
    assert picker.elapsed(-1, 2) == 20  # the first step counts
    assert (picker.elapsed(3, 3), picker.elapsed(3, 4)) == (0, 0)
    assert picker.may_stay(2, 7)  # 40
    assert not picker.may_stay(1, 7)
    assert list(picker.starts(7, -1, copy=20, benefit=0)) == [3, 4, 2]  # preferred 30, from 40 down to 16
    assert list(picker.starts(7, -1, copy=10, benefit=0)) == [4, 5, 3, 2]  # preferred 15: 20 and 10 are as near
    assert list(picker.starts(7, -1, copy=20, benefit=6)) == [3, 4, 2, 5]  # down to 10
    assert list(picker.starts(7, 4, copy=20, benefit=0)) == [4]
    assert list(picker.starts(7, -1, copy=100, benefit=0)) == []  # hides 70 of 80
    assert picker.eviction_end(0, copy=20, latest=6, retry=0) == 4
    assert picker.eviction_end(0, copy=20, latest=3, retry=0) == 4  # beyond the latest
    assert picker.eviction_end(0, copy=20, latest=8, retry=1) == 9  # three times as long


@pytest.mark.parametrize("seed", range(40))
def test_picker_follows_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    supply = rng.choice([0, 0, 1, 3, 10], 30).tolist()
    picker = Picker([0, *np.cumsum(supply).tolist()], max_residence=float(rng.integers(5, 80)))

    def elapsed(a: int, b: int) -> int:
        return sum(supply[a + 1 : b])

    for _ in range(20):
        start, use = sorted(rng.integers(-1, 30, 2).tolist())
        copy, benefit = int(rng.integers(1, 25)), int(rng.integers(0, 6))
        starts = list(picker.starts(use, start, copy, benefit))
        latest = next((t for t in range(use - 1, start - 1, -1) if 0.8 * copy <= elapsed(t, use) + benefit), None)
        if latest is None:
            assert starts == []
            continue
        earliest = next(t for t in range(start, latest + 1) if t == latest or elapsed(t, use) <= picker.max_residence)
        preferred = min(range(earliest, latest + 1), key=lambda t: (abs(1.5 * copy - elapsed(t, use)), t))
        assert starts[0] == preferred
        later = [t for t in starts if t > preferred]
        assert later == list(range(preferred + 1, latest + 1))
        earlier = [t for t in starts if t <= preferred]
        turns = len(later) + (len(later) < latest - preferred + 1)  # while there are later ones, no start is left out
        assert earlier[:turns] == [t for t in range(preferred, earliest - 1, -1)][:turns]
        steps = zip(earlier[turns - 1 :], earlier[turns:], strict=False)
        assert all(elapsed(b, use) - elapsed(a, use) >= elapsed(earliest, use) / 100 for a, b in steps)
        ends = [t for t in range(start + 1, use + 1) if elapsed(start, t) >= 1.5 * copy]
        assert picker.eviction_end(start, copy, use, 0) == (ends[0] if ends else use + 1)


def test_copies_hand_over_what_is_unfinished() -> None:
    resource = CopyResource([4] * 6)
    assert resource.add(0, 4, 5)
    assert resource.add(1, 5, 6)
    assert resource.delay[:6] == [0, 5, 7, 3, 0, 0]
    assert resource.add(-1, 3, 8)  # leaves 4 to the next copy, which leaves 5 to the one after
    assert resource.delay[:6] == [8, 9, 11, 7, 3, 0]
    before = resource.mark()
    assert not resource.add(2, 4, 2)  # 9 in one step
    assert not resource.add(-1, 2, 1)  # 9 in two
    assert not resource.fits(-1, 6, 2)  # it could wait, but the last one has 13 in three steps then
    assert not resource.add(-1, 6, 2)
    assert resource.mark() == before
    assert resource.fits(-1, 6, 1)
    assert resource.mark() == before
    assert [c.start for c in resource.copies] == [-1, 0, 1]
    assert (resource.overlapping(3, 6), resource.overlapping(5, 6)) == (2, 0)
    assert resource.out_of_order(0, 6)
    assert not resource.out_of_order(1, 6)  # equal starts are in order
    resource.undo(before)
    assert resource.add(-1, 6, 1)


@pytest.mark.parametrize("seed", range(60))
def test_copies_fit_if_the_queue_ends_in_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    supply = rng.integers(0, 6, 12).tolist()
    supplied = [0, *np.cumsum(supply).tolist()]
    resource, accepted = CopyResource(supply), []
    outcomes = set()
    for _ in range(25):
        start, end = sorted(rng.choice(np.arange(-1, 13), 2, replace=False).tolist())
        new, at = (start, end, int(rng.integers(0, 7))), 0.0
        queue = sorted([*accepted, new], key=lambda c: c[0])  # one after the other, equal starts as they came
        in_time = True
        for a, e, need in queue:
            at = max(at, supplied[a + 1]) + need
            in_time &= at <= supplied[e]
        assert resource.add(*new) == in_time
        outcomes.add(in_time)
        if in_time:
            accepted.append(new)
    assert outcomes == {True, False}


def test_fits() -> None:
    taken = [(3, 5), (6, 10)]
    assert [first_fit(taken, size) for size in (1, 3, 4)] == [0, 0, 10]
    assert [best_fit(taken, size) for size in (1, 2, 3, 4)] == [5, 0, 0, 10]
    assert best_fit([(0, 2), (6, 8)], 2) == 2  # not what is left on top, although it would fit exactly
    assert best_fit([(2, 4), (6, 8)], 2) == 0  # the lowest of equal gaps
    assert best_fit([(0, 8), (2, 4)], 1) == 8
    heap = Heap(10)
    for low, top in taken:
        heap.add(heap.open(0), 2, 4, low, top - low)
    assert heap.place(4, 9, 4) is None  # the top chunk ends nowhere, memory does
    assert heap.place(5, 9, 4) == 0
    assert heap.place(0, 2, 1) == 5
    assert heap.is_free(0, 2, 0, 3)
    assert not heap.is_free(0, 2, 0, 4)
    assert heap.usage(6) == [0, 0, 6, 6, 6, 0]


def test_repacking_places_the_longest_first() -> None:
    heap = Heap(6)
    short, long, small = (heap.open(owner) for owner in (7, 8, 9))
    heap.add(short, 0, 1, 0, 2)
    heap.add(long, 0, 2, 2, 2)
    heap.add(long, 3, 5, 2, 2)  # the same block, extended
    heap.add(small, 0, 1, 4, 1)
    assert heap.place(2, 5, 4) is None
    assert heap.repack()
    assert heap.blocks() == [(7, 0, 1, 2, 2), (8, 0, 5, 0, 2), (9, 0, 1, 4, 1)]
    assert heap.place(2, 5, 4) == 2


def test_repacking_that_fails_changes_nothing() -> None:
    outcomes = []
    for seed in range(60):
        rng, heap = np.random.default_rng(seed), Heap(8)
        for owner in range(14):
            first, last = sorted(rng.integers(0, 10, 2).tolist())
            size = int(rng.integers(1, 5))
            low = heap.place(first, last, size)
            if low is not None:
                heap.add(heap.open(owner), first, last, low, size)
        before = heap.blocks()
        outcomes.append(heap.repack())
        after = heap.blocks()
        assert [(*b[:3], b[4]) for b in before] == [(*b[:3], b[4]) for b in after]
        assert outcomes[-1] or before == after
        for i, (_, first, last, low, size) in enumerate(after):
            assert low + size <= 8
            assert not any(f <= last and first <= e and o < low + size and low < o + s for _, f, e, o, s in after[:i])
    assert set(outcomes) == {True, False}


def test_memory_boundedness_and_order() -> None:
    storages = [(4, 0, 0, 3), (4, -1, 0, 3), (1, -1, 0, 3), (4, -1, 1, 3)]
    events = [(0, 0, WRITE, 1, 1), (1, 0, READ, 3, 3), (2, 0, READ, 2, 2)]
    events += [(0, 1, READ, 1, 1), (2, 2, READ, 2, 2), (0, 2, READ, 1, 1), (2, 3, READ, 1, 1)]
    tables = Tables(memory([9, 0, 0], [4, 5, 6], 4, storages, events))
    # The first step computes for 5 ticks longer: a slack that counts until the sum is positive.
    assert [memory_boundedness(tables, b) for b in range(4)] == [(3 + 2) / 2, 0.0, 2.0, 0.5]
    assert [memory_boundedness(tables, b, scale=False) for b in range(4)] == [5.0, 0.0, 2.0, 1.0]
    assert order(tables, Options()) == [0, 2, 3, 1]
    assert order(tables, Options(order="size")) == [
        3,
        0,
        1,
        2,
    ]  # of equal sizes the longest; an output lives to the end


def one(storage: tuple[int, int, int, int], events: list[tuple[int, int]]) -> MemoryInstance:
    """Five steps of 10 ticks, 4 granules, and one storage with the (step, kind) given, each of a gain of 5."""
    return memory([0] * 5, [10] * 5, 4, [storage], [(t, 0, kind, 5, 5) for t, kind in events])


def test_a_parameter_is_prefetched() -> None:
    mapping = assign(one((2, -1, 0, 8), [(3, READ), (4, READ)]))
    assert mapping.plan.copy_in.tolist() == [1, NONE]  # 10 ticks are nearer to 12 than 20 are
    assert mapping.plan.served.tolist() == [True, True]
    assert mapping.plan.rectangles == ((0, 2, 4, 0, 2),)
    assert mapping.latency == 40
    alone = assign(one((2, -1, 0, 8), [(3, READ)]), Options(max_outstanding_prefetches=0))
    assert not alone.plan.served.any()


def test_an_output_is_evicted_right_after_its_definition() -> None:
    instance = one((2, 0, 1, 8), [(0, WRITE), (1, READ)])
    mapping = assign(instance)
    assert mapping.plan.copy_out.tolist() == [2, NONE]  # before step 3, the first with 12 ticks in between
    assert mapping.plan.rectangles == ((0, 0, 3, 0, 2),)
    assert (mapping.latency, mapping.waived) == (40, 0)
    assert not assign(instance, Options(max_outstanding_evictions=0)).plan.served.any()  # undone as a whole
    free = assign(instance, Options(free_evictions=True))
    assert (free.plan.copy_out.tolist(), free.latency) == ([NONE, NONE], 40)
    unread = assign(one((2, 0, 1, 8), [(0, WRITE)]))
    assert not unread.plan.served.any()  # its only segment must end in slow memory


def test_the_last_retry_waives_the_bandwidth_of_evictions() -> None:
    instance = one((2, 0, 1, 100), [(0, WRITE), (1, READ)])
    for retries in (1, 2):
        mapping = assign(instance, Options(max_retries=retries))
        assert (mapping.waived, mapping.plan.copy_out.tolist()) == (1, [4, NONE])
        assert judge(instance, mapping.plan, supplies=False).objective == mapping.latency == 40
        assert "supplies are used up" in judge(instance, mapping.plan).errors[0]
    assert replayed(instance).objective == 50  # the game has no such copy


@pytest.mark.parametrize("options", VARIANTS)
def test_plans_are_valid_and_cost_what_is_stated(options: Options) -> None:
    evicted = repacked = waived = fetched = 0
    for seed in range(120):
        instance = random_memory(seed)
        mapping = assign(instance, options)
        verdict = judge(instance, mapping.plan, supplies=mapping.waived == 0)
        assert verdict.valid, (seed, verdict.errors)
        assert verdict.objective == mapping.latency
        evicted += int((mapping.plan.copy_out != NONE).sum())
        fetched += int((mapping.plan.copy_in != NONE).sum())
        waived, repacked = waived + mapping.waived, repacked + mapping.repacks
        for mode in ("charged", "free"):
            solution = replayed(instance, options, mode)
            assert validate(instance, solution.actions, {"evictions": mode}).objective == solution.objective
    assert min(evicted, fetched) > 20
    assert (waived > 0) == options.waive
    assert (repacked > 20) == (options.max_repacks > 0)


def test_prefetches_in_order() -> None:
    storages = [(2, -1, 0, 40), (2, -1, 0, 4)]
    instance = memory([0] * 9, [10] * 9, 4, storages, [(8, 0, READ, 5, 5), (7, 1, READ, 4, 4)])
    # The first copy is to have 60 ticks, in the steps 2 to 7, and is done with step 5; the other has step 6.
    assert assign(instance).plan.copy_in.tolist() == [5, 1]
    fifo = assign(instance, Options(enforce_prefetch_fifo_order=True))
    assert fifo.plan.copy_in.tolist() == [1, 1]  # starts no later than one that ends later
    assert judge(instance, fifo.plan).objective == fifo.latency == 81


@pytest.mark.parametrize("name", SKETCH)
def test_published_programs(name: str) -> None:
    instance = named(name).instance
    for variant, expected, tolerance in zip(("msa", "msa_size"), SKETCH[name], (0.01, 0.025), strict=True):
        mapping = assign(instance, Options(order="size" if variant == "msa_size" else "boundedness"))
        assert mapping.latency * MICROSECONDS == pytest.approx(expected, rel=tolerance)
        assert judge(instance, mapping.plan, supplies=False).objective == mapping.latency
        solution = SOLVERS[variant].solve(instance)
        assert validate(instance, solution.actions, solution.options).objective == solution.objective
        assert (solution.status, solution.bound) == ("feasible", None)
