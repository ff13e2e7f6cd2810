"""A memory mapping, judged for itself: does fast memory hold what it serves, does slow memory, and what does it take.

Nothing here replays decisions: any plan for the problem of ``docs/memory.md`` is judged, whoever made it and however it
chose offsets and copies.
"""

from __future__ import annotations

from dispatchgym.eval.validators.base import Verdict
from dispatchgym.eval.validators.memory_copies import IN, OUT, Case, first_late, simulated
from dispatchgym.instances.memory.instance import READ, UPDATE, WRITE, MemoryInstance
from dispatchgym.instances.memory.plan import NONE, Plan, Rectangle

EVICTIONS = ("charged", "free")
NEVER = 2**40  # step after which slow memory holds what only fast memory has
MAX_ERRORS = 20  # of one plan; a hopeless one would list thousands
VERB = {READ: "reads", WRITE: "defines", UPDATE: "updates"}


def judge(instance: MemoryInstance, plan: Plan, evictions: str = "charged", supplies: bool = True) -> Verdict:
    """Verify a mapping and compute its latency (the objective, in ticks) and metrics.

    Rectangles lie within the capacity and overlap nowhere; an event served from fast memory finds the contents there, in a
    stay that keeps its offset; copies in begin when slow memory holds the contents, and end in a stay that covers them;
    copies out are complete before the storage is written again or leaves; what slow memory serves, it holds; so it does
    all outputs after the last step. With ``supplies`` the copies of either direction must fit the supplies of the steps.
    ``evictions``: "charged", or "free", where slow memory holds whatever is written at once.
    """
    if evictions not in EVICTIONS:
        return Verdict.refuse(f"unknown evictions {evictions!r}; choose one of {', '.join(EVICTIONS)}")
    case = Case(instance)
    lengths = {len(column) for column in (plan.served, plan.copy_in, plan.copy_out)}
    if lengths != {case.events}:
        return Verdict.refuse(f"the plan has columns of {sorted(lengths)} events; the instance has {case.events}")
    errors = _rectangles(case, plan.rectangles)
    if not errors:  # what follows builds on stays that make sense
        events: list[list[int]] = [[] for _ in range(case.buffers)]
        for e, b in enumerate(case.buffer):
            events[b].append(e)
        places = [_Places() for _ in range(case.buffers)]
        for r in sorted(plan.rectangles, key=lambda r: r.first):
            places[r.buffer].add(r)
        for own, lies in zip(events, places, strict=True):
            errors += _contents(case, plan, own, lies, evictions == "free")
    if not errors and supplies:
        copies, supply = case.copies(plan), case.supply()
        for direction, name in ((IN, "copy in for"), (OUT, "copy out after")):
            if late := first_late((c for c in copies if c.direction == direction), supply):
                where = f"{name} event {late.event}, which takes {late.need} ticks of the steps from {late.release}"
                errors.append(f"{where}, is not complete before step {late.deadline}: the supplies are used up")
    if len(errors) > MAX_ERRORS:
        errors[MAX_ERRORS:] = [f"and {len(errors) - MAX_ERRORS} more"]
    if errors:
        return Verdict.refuse(*errors)
    return Verdict(True, sum(case.durations(plan.served.tolist())), metrics=metrics(instance, plan))


def metrics(instance: MemoryInstance, plan: Plan) -> dict[str, float]:
    """Ticks: ``latency`` by the model; ``simulated`` with a slow memory that steps and copies share; ``all_slow`` and
    ``ideal`` with nothing and everything in fast memory, whatever its capacity. ``speedup`` and ``simulated_speedup`` are
    all_slow over either latency, left out if that is 0. Numbers of events ``served`` from fast memory, of ``copies_in``,
    ``write_backs`` and ``rectangles``; ``peak``: granules in use at most.
    """
    case = Case(instance)
    served, copies = plan.served.tolist(), case.copies(plan)
    all_slow, latency = sum(case.supply()), sum(case.durations(served))
    slower = simulated(case, served, copies)
    change = [0] * (case.steps + 1)
    for r in plan.rectangles:
        change[r.first] += r.granules
        change[r.last + 1] -= r.granules
    in_use = peak = 0
    for by in change:
        in_use += by
        peak = max(peak, in_use)
    values = {
        "latency": latency,
        "simulated": slower,
        "all_slow": all_slow,
        "ideal": sum(case.durations([True] * case.events)),
        "served": sum(served),
        "copies_in": sum(c.direction == IN for c in copies),
        "write_backs": sum(c.direction == OUT for c in copies),
        "rectangles": len(plan.rectangles),
        "peak": peak,
    }
    ratios = {"speedup": latency, "simulated_speedup": slower}
    return {name: float(value) for name, value in values.items()} | {
        name: all_slow / ticks for name, ticks in ratios.items() if ticks
    }


def _rectangles(case: Case, rectangles: tuple[Rectangle, ...]) -> list[str]:
    errors: list[str] = []
    active: list[Rectangle] = []  # those that reach the first step of the next one
    for r in sorted(rectangles, key=lambda r: r.first):
        where = f"buffer {r.buffer} at {r.offset}..{r.offset + r.granules - 1} in the steps {r.first}..{r.last}"
        if not 0 <= r.buffer < case.buffers:
            errors.append(f"{where}: there is no such buffer")
            continue
        if r.granules != case.granules[r.buffer]:
            errors.append(f"{where}: its size is {case.granules[r.buffer]} granules")
        if not 0 <= r.first <= r.last < case.steps:
            errors.append(f"{where}: the program has the steps 0..{case.steps - 1}")
        if r.offset < 0 or r.offset + r.granules > case.capacity:
            errors.append(f"{where}: fast memory has the granules 0..{case.capacity - 1}")
        active = [o for o in active if o.last >= r.first]
        for o in active:
            if r.offset < o.offset + o.granules and o.offset < r.offset + r.granules:
                other = f"buffer {o.buffer} at {o.offset}..{o.offset + o.granules - 1} in the steps {o.first}..{o.last}"
                errors.append(f"{where}: overlaps {other}")
        active.append(r)
    return errors


class _Places:
    """Where a storage lies in fast memory: by offset, the spans of steps without a gap."""

    def __init__(self) -> None:
        self._spans: dict[int, list[list[int]]] = {}

    def add(self, r: Rectangle) -> None:
        """A rectangle that begins no earlier than those before it."""
        spans = self._spans.setdefault(r.offset, [])
        if spans and spans[-1][1] + 1 == r.first:
            spans[-1][1] = r.last
        else:
            spans.append([r.first, r.last])

    def over(self, first: int, last: int) -> dict[int, int]:
        """The offsets at which it lies throughout first .. last, each with ``first``."""
        return {
            offset: first for offset, spans in self._spans.items() if any(f <= first and last <= e for f, e in spans)
        }

    def lasting(self, stays: dict[int, int], last: int) -> dict[int, int]:
        """Of the stays (offset: first step) those that reach ``last``."""
        return {offset: first for offset, first in stays.items() if offset in self.over(first, last)}


def _contents(case: Case, plan: Plan, events: list[int], places: _Places, free: bool) -> list[str]:
    """Follow the contents of the storage of these events through both memories."""
    b = case.buffer[events[0]]
    ready = -1 if case.define[b] < 0 else NEVER  # step after which slow memory holds the contents
    stays: dict[int, int] = {}  # offset: first step of what holds the contents in fast memory
    errors = []
    for n, e in enumerate(events):
        t, kind, served = case.step[e], case.kind[e], bool(plan.served[e])
        a, end = int(plan.copy_in[e]), int(plan.copy_out[e])
        where = f"event {e}: step {t} {VERB[kind]} buffer {b}"
        stays = places.lasting(stays, t)
        if a != NONE and (kind == WRITE or not served):
            errors.append(
                f"{where}, {'which nothing precedes' if kind == WRITE else 'in slow memory'}, after a copy in"
            )
        elif a != NONE:
            if not -1 <= a < t:
                errors.append(f"{where} after a copy in that begins after step {a}; give -1..{t - 1}")
            elif ready > a:
                errors.append(f"{where} after a copy in that begins after step {a}, but slow memory {since(ready)}")
            fetched = places.over(a + 1, t)
            if not fetched:
                errors.append(f"{where} after a copy in, but does not lie at one offset throughout {a + 1}..{t}")
            stays = fetched if kind == UPDATE else stays | fetched
        elif served:
            stays = places.over(t, t) if kind == WRITE else stays
            if not stays:
                errors.append(f"{where} in fast memory, where it does not lie since its contents came there")
        elif kind != WRITE and ready >= t:
            errors.append(f"{where} in slow memory, which {since(ready)}")
        if kind != READ:
            stays = stays if served else {}
            ready = NEVER if served and not free else t
        if end != NONE:
            later = (case.step[f] for f in events[n + 1 :] if case.kind[f] != READ)
            before = next(later, case.steps)
            if not served:
                errors.append(f"{where} in slow memory, before a copy out")
            elif not t < end < before:
                errors.append(f"{where} before a copy out that ends with step {end}; give {t + 1}..{before - 1}")
            elif not places.lasting(stays, end):
                errors.append(f"{where} before a copy out that ends with step {end}, but leaves fast memory before")
            ready = min(ready, end)
    if case.output[b] and ready >= case.steps:
        errors.append(f"buffer {b} is an output, but slow memory {since(ready)}")
    return errors


def since(ready: int) -> str:
    """What slow memory does not offer yet, to follow its name."""
    return "does not hold its contents" if ready == NEVER else f"holds its contents only after step {ready}"
