"""Small memory-mapping instances, built field by field and not by the readers of the package, and how to play them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dispatchgym.instances.memory.instance import READ, UPDATE, WRITE, MemoryInstance, MemorySize
from twins.checks import read
from twins.memory import MemoryTwin

CHECKS = read("memory/check_values.json")
LETTERS = "DNC"
RULES = {"nocopy_first": "NCD", "copy_first": "CND"}
SIZE = MemorySize(steps=9, buffers=7, events=63)  # of all random instances


def memory(compute: Any, memory: Any, capacity: int, buffers: Any, events: Any) -> MemoryInstance:
    """From (granules, define, output, demand) of storages and (step, buffer, kind, gain, traffic) of events in any order.

    Events are sorted as a program's: by step, writes and updates first, by benefit, by size, by number.
    """

    def order(event: tuple[int, ...]) -> tuple[int, ...]:
        t, b, kind, gain, _ = event
        benefit = max(compute[t], memory[t]) - max(compute[t], memory[t] - gain)
        return t, int(kind == READ), -benefit, -buffers[b][0], b

    step, buffer, kind, gain, traffic = zip(*sorted(events, key=order), strict=True)
    granules, define, output, demand = zip(*buffers, strict=True)
    columns = (
        *(compute, memory, len(compute), len(buffers), len(events), capacity),
        *(granules, define, output, demand, buffer, step, kind, gain, traffic),
    )
    instance = MemoryInstance(*(np.asarray(column, np.int32) for column in columns))
    instance.check()
    return instance


def worked() -> MemoryInstance:
    """The worked example of the check values; of its traffic it states the gains alone."""
    given = CHECKS["worked_example"]
    buffers, events = [], []
    for n, b in enumerate(given["buffers"]):
        buffers.append((b["size"], b["define"], int(b["output"]), b["demand"]))
        steps = [(t, READ) for t in b["uses"]] + [(b["define"], WRITE)] * (b["define"] >= 0)
        events += [(t, n, kind, b["gain"], b["gain"]) for t, kind in steps]
    return memory(given["compute"], given["memory"], given["capacity"], buffers, events)


class Line(NamedTuple):
    """A move of an episode worked by hand."""

    mask: str
    action: str
    reward: int
    added: tuple[int, int, int] | None  # (first, last, offset) of a new rectangle
    ready: int | None  # step after which slow memory holds the storage's contents; None: not yet


def updated(output: bool = False, again: bool = False) -> MemoryInstance:
    """A parameter of 2 granules that step 1 reads, step 2 (and 3) updates in place and step 4 reads; supplies of 8."""
    events = [(1, 0, READ, 3, 3), (2, 0, UPDATE, 5, 6), (4, 0, READ, 3, 3)]
    events += [(3, 0, UPDATE, 5, 6)] * again
    return memory([0] * 6, [8] * 6, 4, [(2, -1, int(output), 6)], events)


def pinned() -> MemoryInstance:
    """A storage that step 0 defines, step 2 updates in place and step 4 reads."""
    events = [(0, 0, WRITE, 3, 3), (2, 0, UPDATE, 5, 6), (4, 0, READ, 3, 3)]
    return memory([0] * 6, [8] * 6, 4, [(2, 0, 0, 6)], events)


def displaced() -> MemoryInstance:
    """As ``updated``, with a storage that step 2 defines first, to be read by step 3."""
    events = [(1, 0, READ, 3, 3), (2, 0, UPDATE, 2, 2), (2, 1, WRITE, 4, 4), (3, 1, READ, 4, 4)]
    return memory([0] * 6, [8] * 6, 4, [(2, -1, 0, 6), (2, 2, 0, 5)], events)


BY_HAND: dict[str, tuple[str, MemoryInstance, list[Line]]] = {
    "update in slow memory": (
        "charged",
        updated(),
        [
            Line("DC", "C", 3, (0, 1, 0), -1),
            Line("DNC", "D", 0, None, 2),
            Line("DC", "C", 3, (3, 4, 0), 2),  # from step 3, as slow memory has the new contents after step 2
        ],
    ),
    "update that stays": (
        "charged",
        updated(),
        [
            Line("DC", "C", 3, (0, 1, 0), -1),
            Line("DNC", "N", 5, (2, 4, 0), None),  # to the last use
            Line("N", "N", 3, None, None),  # held
        ],
    ),
    "update written back": (
        "charged",
        updated(),
        [
            Line("DC", "C", 3, (0, 1, 0), -1),
            Line("DNC", "C", 5, (2, 3, 0), 3),  # at its offset until the copy is complete
            Line("DN", "N", 3, (4, 4, 0), 3),  # no step lies between that and step 4
        ],
    ),
    "update fetched and written back": (
        "charged",
        updated(),
        [
            Line("DC", "D", 0, None, -1),
            Line("DC", "C", 5, (1, 3, 0), 3),  # both copies: in during step 1, out during step 3
            Line("DN", "D", 0, None, 3),
        ],
    ),
    "updated output": (
        "charged",
        updated(output=True),
        [
            Line("DC", "C", 3, (0, 1, 0), -1),
            Line("DC", "C", 5, (2, 3, 0), 3),
            Line("DN", "N", 3, (4, 4, 0), 3),
        ],
    ),
    "two updates": (
        "charged",
        updated(again=True),
        [
            Line("DC", "C", 3, (0, 1, 0), -1),
            Line("DN", "N", 5, (2, 4, 0), None),  # no step for a copy before the next update
            Line("NC", "C", 5, None, 4),  # held until step 4, in which the copy goes out
            Line("N", "N", 3, None, 4),  # still held: the contents are not in slow memory before step 4 is over
        ],
    ),
    "pinned, then updated": (
        "charged",
        pinned(),
        [
            Line("DNC", "N", 3, (0, 4, 0), None),
            Line("NC", "C", 5, None, 3),  # held: nothing is reserved, the copy goes out from where it is
            Line("N", "N", 3, None, 3),
        ],
    ),
    "written back, then updated": (
        "charged",
        pinned(),
        [
            Line("DNC", "C", 3, (0, 1, 0), 1),
            Line("DNC", "N", 5, (2, 4, 0), None),
            Line("N", "N", 3, None, None),
        ],
    ),
    "displaced": (
        "charged",
        displaced(),
        [
            Line("DC", "C", 3, (0, 1, 0), -1),
            Line("DNC", "N", 4, (2, 3, 0), None),  # takes the place
            Line("DC", "C", 2, (1, 3, 2), 3),  # so the update needs a copy in, to another offset
            Line("N", "N", 4, None, None),
        ],
    ),
    "free": (
        "free",
        updated(output=True),
        [
            Line("DC", "C", 3, (0, 1, 0), -1),
            Line("DNC", "N", 5, (2, 2, 0), 2),  # slow memory has the new contents at once
            Line("DNC", "C", 3, (3, 4, 0), 2),
        ],
    ),
    "free, fetched for the update": (
        "free",
        updated(output=True),
        [
            Line("DC", "D", 0, None, -1),
            Line("DC", "C", 5, (1, 2, 0), 2),
            Line("DNC", "N", 3, (3, 4, 0), 2),
        ],
    ),
}


def random_memory(seed: int, most: MemorySize = SIZE) -> MemoryInstance:
    """Parameters, outputs and updates, with supplies of 0, and storages larger than fast memory."""
    rng = np.random.default_rng(seed)
    steps, buffers = int(rng.integers(1, most.steps + 1)), int(rng.integers(1, most.buffers + 1))
    density, updates = rng.choice([0.2, 0.5, 0.9]), rng.choice([0, 0.3])
    events, storages, traffic = [], [], [0] * steps
    for b in range(buffers):
        define = int(rng.choice([-1, rng.integers(0, steps)]))
        uses = [t for t in range(define + 1, steps) if rng.random() < density]
        if define < 0 and not uses:
            uses = [int(rng.integers(0, steps))]
        kinds = [(t, UPDATE if rng.random() < updates else READ) for t in uses] + [(define, WRITE)] * (define >= 0)
        for t, kind in kinds:
            moved = int(rng.integers(0, 8))
            traffic[t] += moved
            events.append((t, b, kind, int(rng.integers(0, moved + 1)), moved))
        storages.append((int(rng.integers(1, 5)), define, int(rng.random() < 0.3), int(rng.integers(1, 11))))
    slow = [moved + int(rng.choice([0, 0, 1, 5])) for moved in traffic]
    return memory(rng.choice([0, 0, 3, 12], steps).tolist(), slow, int(rng.integers(1, 10)), storages, events)


def greedy(instance: MemoryInstance, order: str, evictions: str) -> tuple[MemoryTwin, list[int], int]:
    """(twin at the end, actions, number of forced moves) of always taking the first legal action of an order."""
    twin, actions, forced = MemoryTwin(evictions), [], 0
    twin.reset(instance)
    while not twin.over:
        mask = twin.mask()
        forced += sum(mask) == 1
        actions.append(next(a for a in map(LETTERS.index, order) if mask[a]))
        twin.step(actions[-1])
    return twin, actions, forced
