"""What pictures of a mapping show, gathered on the host from a problem and a state."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np

from dispatchgym.envs import gantt
from dispatchgym.envs.memory.moves import MemoryState, current
from dispatchgym.envs.memory.problem import MemoryProblem
from dispatchgym.envs.memory.stays import stays
from dispatchgym.instances.memory.plan import NONE, Rectangle

CHANNELS = ("in", "out")


@dataclass(frozen=True)
class Copy:
    """A copy into or out of the place of a stay."""

    channel: int  # of ``CHANNELS``
    first: int  # step
    last: int  # step, inclusive
    stay: Rectangle
    hover: str


@dataclass(frozen=True)
class Scene:
    """A mapping, partial or complete. Space in granules, times in ticks."""

    steps: int
    capacity: int
    stays: list[Rectangle]
    hovers: list[str]  # of the stays
    copies: list[Copy]
    supply: np.ndarray  # i64[T]  what each channel can copy in a step
    used: np.ndarray  # i64[2, T]  what copies in and out take of it
    now: int | None  # step of the use to decide, None at the end
    figures: dict[str, int]
    progress: str  # empty at the end

    def shares(self, columns: int) -> np.ndarray:
        """f64[2, columns]: the shares of the supply that are used, of equal slices of the steps."""
        edge = np.arange(columns + 1) * self.steps // columns
        supply, *used = (np.add.reduceat(row, edge[:-1]) for row in (self.supply, *self.used))
        return np.array(used) / np.maximum(supply, 1)


def scene(problem: MemoryProblem, state: MemoryState) -> Scene:
    """The scene of a state."""
    given = problem.instance
    steps, events, k = int(given.n_steps), int(given.n_events), int(state.k)
    found, serving = stays(problem, state)
    step, define = np.asarray(given.event_step), np.asarray(given.define)
    uses: list[list[int]] = [[] for _ in found]
    copies = []
    for e in np.flatnonzero(serving >= 0).tolist():
        stay, t = found[serving[e]], int(step[e])
        uses[serving[e]].append(t)
        start, end = int(state.copy_in[e]), int(state.copy_out[e])
        if start > NONE:
            hover = f"buffer {stay.buffer} copied in, steps {start + 1} to {t - 1}, for step {t}"
            copies.append(Copy(0, start + 1, t - 1, stay, hover))
        if end > NONE:
            hover = f"buffer {stay.buffer} copied out, steps {t + 1} to {end}, after step {t}"
            copies.append(Copy(1, t + 1, end, stay, hover))
    hovers = [
        f"buffer {r.buffer} ({f'of step {define[r.buffer]}' if define[r.buffer] >= 0 else 'parameter'}), "
        f"steps {r.first} to {r.last}, offset {r.offset}, {r.granules} granules, used in {', '.join(map(str, at))}"
        for r, at in zip(found, uses, strict=True)
    ]
    supply, *left = (
        np.diff(np.asarray(before, np.int64))[:steps] for before in (problem.supply, state.inward, state.outward)
    )
    figures = {
        "latency": int(state.latency),
        "all slow": int(problem.all_slow),
        "ideal": int(problem.ideal),
        "capacity": int(given.capacity),
        "peak": int(np.asarray(state.load).max()),
    }
    return Scene(
        steps=steps,
        capacity=int(given.capacity),
        stays=found,
        hovers=hovers,
        copies=copies,
        supply=supply,
        used=supply - np.array(left),
        now=int(current(problem, state.k).step) if k < events else None,
        figures=figures,
        progress="" if k == events else f"{k}/{events} uses",
    )


def page(width: int, height: int, title: str, style: str) -> list[str]:
    """The first lines of an SVG document."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{gantt.STYLE}{style}</style>",
    ]
