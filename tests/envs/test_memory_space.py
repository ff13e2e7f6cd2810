"""First fit, rectangles, copies and prices of memory mapping against brute force on grids and in loops."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from twins.memory_cases import SIZE, random_memory

from dispatchgym.envs.memory import space as sp
from dispatchgym.envs.memory.problem import NEVER, Event, MemoryProblem, prepare
from dispatchgym.instances.base import stack
from dispatchgym.instances.memory.instance import READ, MemoryInstance

STEPS, CAPACITY, ROOM = 9, 14, 24
Box = tuple[int, int, int, int]  # first, last, low, high


def boxes(rng: np.random.Generator) -> list[Box]:
    """Disjoint rectangles at random places, in random order."""
    grid, found = np.zeros((STEPS, CAPACITY), bool), []
    for _ in range(rng.integers(0, 40)):
        first, low = int(rng.integers(STEPS)), int(rng.integers(CAPACITY))
        last, high = min(first + int(rng.integers(5)), STEPS - 1), min(low + int(rng.integers(1, 6)), CAPACITY)
        place = grid[first : last + 1, low:high]
        if not place.any() and len(found) < ROOM:
            place[:] = True
            found.append((first, last, low, high))
    return found


def as_space(found: list[Box]) -> sp.Space:
    """Sorted by the low end, in ``ROOM`` rectangles."""
    rows = sorted(found, key=lambda box: box[2]) + [(NEVER, -1, NEVER, 0)] * (ROOM - len(found))
    return sp.Space(*(np.array(column, np.int32) for column in zip(*rows, strict=True)))


def grid(found: list[Box]) -> np.ndarray:
    """bool[STEPS, CAPACITY]: where something is reserved."""
    taken = np.zeros((STEPS, CAPACITY), bool)
    for first, last, low, high in found:
        taken[first : last + 1, low:high] = True
    return taken


def many(count: int, of: int) -> list[np.ndarray]:
    """Random spans of steps and sizes: i32[count, of] three times."""
    rng = np.random.default_rng(1)
    first = rng.integers(0, STEPS, (count, of))
    last = np.minimum(first + rng.integers(0, STEPS, (count, of)), STEPS - 1)
    return [x.astype(np.int32) for x in (first, last, rng.integers(1, 9, (count, of)))]


SPACES = [boxes(np.random.default_rng(seed)) for seed in range(200)]
STACKED = jax.tree.map(lambda *x: np.stack(x), *map(as_space, SPACES))


def fits_by(gaps, space, first, last, granules):
    gap, top = gaps(space, first, last, granules)
    return jnp.where(jnp.minimum(gap, top) + granules <= CAPACITY, jnp.minimum(gap, top), NEVER)


@pytest.mark.parametrize(
    "search",
    [
        partial(fits_by, sp._gaps_in_turn),
        partial(fits_by, sp._gaps_at_once),
        lambda *of: sp.first_fits(*of, np.int32(CAPACITY)),
    ],
    ids=["in turn", "at once", "of the platform"],
)
def test_first_fit_is_the_lowest_free_offset(search) -> None:
    first, last, granules = many(len(SPACES), 3)
    found = np.asarray(jax.jit(jax.vmap(search))(STACKED, first, last, granules[:, 0]))
    outcomes = {"none": 0, "gap": 0, "top": 0}
    for case, rectangles in enumerate(SPACES):
        taken, size = grid(rectangles), int(granules[case, 0])
        for query in range(3):
            rows = taken[first[case, query] : last[case, query] + 1].any(0)
            free = [o for o in range(CAPACITY - size + 1) if not rows[o : o + size].any()]
            assert found[case, query] == (free[0] if free else NEVER)
            outcomes["none" if not free else "gap" if rows[free[0] :].any() else "top"] += 1
    assert min(outcomes.values()) > 50, outcomes


def test_free_and_reserved_places() -> None:
    """Rectangles are added one at a time where they are free, and prolonged; the list stays sorted and equals the grid."""
    add = jax.jit(sp.reserve)
    free = jax.jit(sp.is_free)
    rng = np.random.default_rng(2)
    added = prolonged = 0
    for _ in range(40):
        space, taken, ends = sp.empty(ROOM), np.zeros((STEPS, CAPACITY), bool), []
        for _ in range(ROOM):
            first, low, size = (int(rng.integers(n)) for n in (STEPS, CAPACITY - 4, 4))
            last, size = min(first + int(rng.integers(4)), STEPS - 1), size + 1
            place = taken[first : last + 1, low : low + size]
            assert free(space, first, last, low, size) == (not place.any())
            assert free(space, first, first - 1, low, size)
            if not place.any():
                space = add(space, first, last, low, size, True, -2)
                place[:] = True
                ends.append((last, low, size))
                added += 1
            elif ends:
                last, low, size = ends[rng.integers(len(ends))]
                place = taken[last + 1 : last + 3, low : low + size]
                if place.size and not place.any():
                    until = min(last + 2, STEPS - 1)
                    space = add(space, last + 1, until, low, size, False, last)
                    place[:] = True
                    ends[ends.index((last, low, size))] = (until, low, size)
                    prolonged += 1
            same = add(space, 1, 0, low, size, True, -2)  # no steps: nothing is added
            assert all(
                (np.asarray(a) == b).all() for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(space), strict=True)
            )
        rows = np.stack([np.asarray(x) for x in (space.first, space.last, space.low, space.high)], 1)
        real = rows[: len(ends)]
        assert (rows[len(ends) :] == (NEVER, -1, NEVER, 0)).all()
        assert (np.diff(real[:, 2]) >= 0).all()
        assert sorted(real[:, 1:].tolist()) == sorted([end, low, low + size] for end, low, size in ends)
        np.testing.assert_array_equal(grid([tuple(row) for row in real.tolist()]), taken)
    assert min(added, prolonged) > 100


def test_copies_take_the_latest_and_the_earliest_supplies() -> None:
    rng = np.random.default_rng(3)
    count = 600
    left = rng.choice([0, 0, 1, 3, 8], (count, STEPS))
    before = np.concatenate([np.zeros((count, 1), int), np.cumsum(left, 1)], 1).astype(np.int32)
    step, demand = rng.integers(0, STEPS, count).astype(np.int32), rng.integers(1, 15, count).astype(np.int32)
    functions = (sp.latest, sp.finish, sp.consume_before, sp.consume_after)
    starts, ends, inward, outward = (np.asarray(jax.jit(jax.vmap(f))(before, step, demand)) for f in functions)
    possible = [0, 0]
    for case in range(count):
        residual, t, d = left[case].tolist(), int(step[case]), int(demand[case])
        start = next((a for a in range(t - 1, -2, -1) if sum(residual[a + 1 : t]) >= d), None)
        if start is None:
            assert starts[case] == -2
        else:
            possible[0] += 1
            assert starts[case] == start
            assert np.diff(inward[case]).tolist() == consumed(residual, range(t - 1, -1, -1), d)
        end = next((e for e in range(t + 1, STEPS) if sum(residual[t + 1 : e + 1]) >= d), None)
        if end is None:
            assert ends[case] >= STEPS
        else:
            possible[1] += 1
            assert ends[case] == end
            assert np.diff(outward[case]).tolist() == consumed(residual, range(t + 1, STEPS), d)
    assert min(possible) > 100
    for function in (sp.consume_before, sp.consume_after):
        assert (np.asarray(jax.vmap(function, (0, 0, None))(before, step, 0)) == before).all()


def consumed(residual: list[int], order: range, demand: int) -> list[int]:
    """What is left of the supplies after a copy took what it needs in this order."""
    left = residual[:]
    for q in order:
        taken = min(demand, left[q])
        left[q] -= taken
        demand -= taken
    assert demand == 0
    return left


@pytest.fixture(scope="module")
def prepared() -> list[tuple[MemoryInstance, MemoryProblem]]:
    """Instances with their problems, which have padding."""
    instances = [random_memory(seed) for seed in range(60)]
    problems = jax.tree.map(np.asarray, jax.jit(jax.vmap(prepare))(stack(instances, SIZE)))
    return [(one, jax.tree.map(lambda x, lane=lane: x[lane], problems)) for lane, one in enumerate(instances)]


def test_what_lies_ahead_of_every_event(prepared: list[tuple[MemoryInstance, MemoryProblem]]) -> None:
    for instance, problem in prepared:
        buffer, step, kind = (x.tolist() for x in (instance.event_buffer, instance.event_step, instance.event_kind))
        benefit = alone(instance)
        for e, b in enumerate(buffer):
            seen = Event(*problem.events[e].tolist())
            rest = [f for f in range(e + 1, len(buffer)) if buffer[f] == b]
            writes = [step[f] for f in rest if kind[f] != READ]
            assert (seen.benefit, seen.later) == (benefit[e], len(rest))
            assert seen.later_benefit == sum(benefit[f] for f in rest)
            assert seen.next_step == (step[rest[0]] if rest else NEVER)
            assert seen.next_write == (writes[0] if writes else NEVER)
            assert seen.next_benefit == (benefit[rest[0]] if rest else 0)
            assert seen.last == max(step[f] for f in range(len(buffer)) if buffer[f] == b)
        assert Event(*problem.events[len(buffer)].tolist()).kind == -1


def test_the_relaxed_plan_and_its_prices(prepared: list[tuple[MemoryInstance, MemoryProblem]]) -> None:
    """Stays between events of a storage, greedily by benefit per granule and tick where there is room in all their steps."""
    priced = kept = 0
    for instance, problem in prepared:
        buffer, step = instance.event_buffer.tolist(), instance.event_step.tolist()
        supply = np.maximum(instance.compute, instance.memory)
        follows = [next((f for f in range(e + 1, len(buffer)) if buffer[f] == b), None) for e, b in enumerate(buffer)]
        stays = []
        for e, f in enumerate(follows):
            if f is not None:
                size, ticks = int(instance.granules[buffer[e]]), max(1, int(supply[step[e] : step[f] + 1].sum()))
                stays.append((-np.float32(alone(instance)[f]) / np.float32(ticks * size), e, step[e], step[f], size))
        load, price, floor = np.zeros((3, len(supply)))
        keeps = {}
        for value, e, first, last, size in sorted(stays):
            during = np.arange(first, last + 1)
            full = load[during] + size > instance.capacity
            price[during[full]] = np.maximum(price[during[full]], -value)
            keeps[e] = not full.any()
            if keeps[e]:
                load[during] += size
                floor[during] = -value
        steps = len(supply)
        np.testing.assert_allclose(problem.price[1 : steps + 1], np.cumsum(price * supply), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(problem.floor[:steps], floor * supply, rtol=1e-5, atol=1e-5)
        assert problem.room[:steps].tolist() == (instance.capacity - load).tolist()
        for e in range(len(buffer)):
            seen = Event(*problem.events[e].tolist())
            mine = [f for f in range(len(buffer)) if buffer[f] == buffer[e]]
            assert seen.kept == keeps.get(e, False)
            assert seen.kept_so_far == any(keeps[f] for f in mine if follows[f] == e)
            assert seen.kept_all == all(keeps[f] for f in mine if f >= e and follows[f] is not None)
        priced += price.any()
        kept += sum(keeps.values())
    assert priced > 20
    assert kept > 100


def alone(instance: MemoryInstance) -> list[int]:
    """Of every event, the ticks that its step shortens by if it alone is served from fast memory."""
    compute, memory = instance.compute[instance.event_step], instance.memory[instance.event_step]
    return (np.maximum(compute, memory) - np.maximum(compute, memory - instance.gain)).tolist()
