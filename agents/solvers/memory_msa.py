"""XLA's memory space assignment (MSA), the production method for this problem, once more.

After openxla/xla, ``xla/service/memory_space_assignment/`` (Apache-2.0), from its description and not from its code:
buffers in the order of their memory-boundedness; each goes from use to use by staying in fast memory, else by a copy
out right after its definition (an eviction) and a copy in (a prefetch) in an interval that a picker proposes and a
copy resource grants; offsets are best fit. Figures made with it are of an

    MSA re-implementation without slices, cross-program prefetch, window prefetch and conditional mirroring

and, beyond that, without replacement of synchronous copies, scoped allocations, the memory-bound loop optimiser and
prefetch times of repeated instances, none of which has a counterpart in this problem. The default ratios are those of
XLA's unit tests; the production ones are not public.

On an instance: a storage is a value, its definition the defining position, its other events are uses. Storages that no
step defines are entry parameters, which cannot be in fast memory before their first use; outputs must end in slow
memory. An update is a use after which slow memory holds the contents no more, so an eviction then starts there.
Elapsed times, copy times and resources are the instance's integers. The copy time of the whole of fast memory, which
limits how long a buffer may stay, is not in the instance: it follows from the largest demand per granule.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dispatchgym.agents.solvers.base import Solution
from dispatchgym.agents.solvers.memory_game import by_event, solution
from dispatchgym.agents.solvers.memory_msa_options import Options
from dispatchgym.agents.solvers.memory_msa_replay import BUDGET, nearest
from dispatchgym.agents.solvers.memory_msa_segments import Mapper
from dispatchgym.agents.solvers.memory_tables import Tables, is_free
from dispatchgym.instances.memory.instance import UPDATE, MemoryInstance
from dispatchgym.instances.memory.plan import Plan, Rectangle


@dataclass(frozen=True)
class Mapping:
    """What memory space assignment decided, by its own accounting."""

    plan: Plan
    latency: int  # ticks, by the model of the instance
    waived: int  # evictions granted without bandwidth: "requires uncommit" is not an answer in the last retry
    repacks: int  # how often the repacker was asked


def memory_boundedness(tables: Tables, b: int, scale: bool = True) -> float:
    """Ticks that a storage gains in fast memory, summed over definition and uses, over the root of its size.

    An event of a step that computes for longer than it moves data counts as its (negative) slack; once the sum is
    positive, such events leave it alone. ``scale``: divide by the root of the granules, which XLA found better than
    the size.
    """
    total = 0
    for n, e in enumerate(tables.uses[b]):
        compute, memory = tables.compute[tables.step[e]], tables.memory[tables.step[e]]
        benefit = tables.gain[e] if memory > compute else memory - compute
        if n == 0 and tables.define[b] >= 0:
            total = benefit
        elif total > 0 and benefit > 0:
            total += benefit
        else:
            total = max(total, benefit)
    return total / math.sqrt(tables.granules[b]) if scale else float(total)


def order(tables: Tables, options: Options) -> list[int]:
    """Storages in the order in which they are assigned."""

    def key(b: int) -> tuple[float, ...]:
        end = tables.steps if tables.output[b] else tables.last[b]
        spatial = (-tables.granules[b], tables.define[b] - end)
        if options.order == "size":
            return (*spatial, b)
        return (-memory_boundedness(tables, b, options.scale), *spatial, tables.last[b], tables.define[b], b)

    return sorted(range(tables.buffers), key=key)


def assign(instance: MemoryInstance, options: Options | None = None) -> Mapping:
    """The mapping of memory space assignment.

    Departure: a storage whose eviction fails after an update, as that of an output after the last step always does, is
    tried again with that update in slow memory, before it is left there as a whole; XLA's values have no second
    definition. ``Options(retry_updates=False)`` leaves it there at once.
    """
    options = options or Options()
    tables = Tables(instance)
    mapper = Mapper(tables, options)
    waived = repacks = 0
    for b in order(tables, options):
        retry, repacked = 0, False
        barred: frozenset[int] = frozenset()
        while retry < options.max_retries:
            mark = mapper.mark()
            attempt = mapper.assign(b, retry, barred)
            if attempt.uncommit:
                mapper.undo(mark)
                final = retry == options.max_retries - 1
                if final and options.retry_updates and tables.kind[attempt.writer] == UPDATE:
                    barred |= {attempt.writer}
                else:
                    retry += 1
                continue
            if attempt.out_of_memory and repacks < options.max_repacks and not repacked:
                mapper.undo(mark)
                repacks, repacked = repacks + 1, True
                retry += not mapper.heap.repack()  # a failure counts as a try
                continue
            mapper.commit(attempt)
            waived += attempt.waived
            break
    return Mapping(_plan(tables, mapper), tables.latency(mapper.served), waived, repacks)


def _plan(tables: Tables, mapper: Mapper) -> Plan:
    served = np.zeros(tables.events, bool)
    served[sorted(mapper.served)] = True
    copies = [by_event(tables.events, times) for times in (mapper.copy_in, mapper.copy_out)]
    return Plan(served, copies[0], copies[1], tuple(Rectangle(*block) for block in mapper.heap.blocks()))


def replayed(
    instance: MemoryInstance, options: Options | None = None, evictions: str = "charged", budget: int = BUDGET
) -> Solution:
    """The play of the game that comes nearest to the mapping's latency; see ``memory_msa_replay``.

    A projection, and not XLA's plan itself: the game has no stays at best-fit offsets and no evictions without
    bandwidth, and it holds storages in fast memory until they are written back, or to their last use. So a comparison
    with XLA takes the better of the mapping, where ``judge`` finds it valid, and of this play. ``budget``: moves
    played in its repair. Raises InstanceError for unknown evictions.
    """
    started = time.perf_counter()
    options = replace(options or Options(), free_evictions=is_free(evictions))
    mapping = assign(instance, options)
    return solution(nearest(Tables(instance), mapping.plan, mapping.latency, evictions, budget), started)


def msa(instance: MemoryInstance, **_: Any) -> Solution:
    """XLA's memory space assignment, projected onto the game: see :func:`replayed`."""
    return replayed(instance)


def msa_strict(instance: MemoryInstance, **_: Any) -> Solution:
    """The same without waivers: an eviction for which there is no bandwidth is refused in the last retry too.

    XLA grants it, so that some of its plans need more bandwidth than there is; those of this variant never do.
    """
    return replayed(instance, Options(waive=False))


def msa_size(instance: MemoryInstance, **_: Any) -> Solution:
    """The same as ``msa`` with the largest buffers first, XLA's order without a cost analysis."""
    return replayed(instance, Options(order="size"))


def msa_repack(instance: MemoryInstance, **_: Any) -> Solution:
    """The same as ``msa`` with up to ten calls of its repacker where memory runs out."""
    return replayed(instance, Options(max_repacks=10))
