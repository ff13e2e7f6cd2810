"""Where the saved time of a mapping comes from: from everything in slow memory down to the latency, buffer by buffer."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

import numpy as np

from dispatchgym.envs import gantt
from dispatchgym.envs.memory.moves import MemoryState
from dispatchgym.envs.memory.problem import MemoryProblem
from dispatchgym.envs.memory.scene import page
from dispatchgym.instances.base import UnknownNameError
from dispatchgym.instances.memory.plan import NONE

GROUPS = ("buffer", "step")


class Saving(NamedTuple):
    """What the uses of a buffer, or those in a step, have saved."""

    label: str
    uses: int
    served: int  # of the uses, from fast memory
    ticks: int


def savings(problem: MemoryProblem, state: MemoryState, by: str = "buffer") -> list[Saving]:
    """The saving of every buffer or step, the largest first; the ticks add up to all slow - latency. Host only.

    A use is credited with what its step became shorter by when it was decided, which is its reward: where a step is bound
    by computation after a few of its uses, the later ones have saved less. Raises UnknownNameError for another ``by``.
    """
    if by not in GROUPS:
        raise UnknownNameError("group", by, GROUPS)
    given = problem.instance
    n = int(given.n_events)
    columns = (given.event_buffer, given.event_step, given.gain, state.copy_in)
    buffer, step, gain, copy_in = (np.asarray(column)[:n] for column in columns)
    compute, memory = (np.asarray(column).tolist() for column in (given.compute, given.memory))
    served = copy_in >= NONE
    saved, ticks = [0] * len(compute), np.zeros(n, np.int64)
    for e in np.flatnonzero(served).tolist():
        t = int(step[e])
        before, saved[t] = saved[t], saved[t] + int(gain[e])
        ticks[e] = max(compute[t], memory[t] - before) - max(compute[t], memory[t] - saved[t])
    number, count = (buffer, int(given.n_buffers)) if by == "buffer" else (step, int(given.n_steps))
    total = np.zeros((3, count), np.int64)
    for row, values in zip(total, (np.ones(n, np.int64), served, ticks), strict=True):
        np.add.at(row, number, values)
    order = np.argsort(-total[2], kind="stable")
    return [Saving(f"{by} {i}", *total[:, i].tolist()) for i in order.tolist()]


def largest(rows: list[Saving], most: int = 20) -> list[Saving]:
    """The first ``most`` that save anything, and the rest together as one row."""
    count = min(most, sum(row.ticks > 0 for row in rows))
    rest = rows[count:]
    if len(rest) < 2:
        return rows
    together = (sum(column) for column in zip(*(row[1:] for row in rest), strict=True))
    return [*rows[:count], Saving(f"{len(rest)} others", *together)]


def table(problem: MemoryProblem, state: MemoryState, by: str = "buffer", most: int = 20) -> str:
    """Lines of text: what saved how much, in ticks and as a share of the time with everything in slow memory."""
    before, after = int(problem.all_slow), int(state.latency)
    rows = largest(savings(problem, state, by), most)
    lines = [f"{'':14} {'served':>11} {'ticks':>12} {'share':>7}", f"{'all slow':14} {'':11} {before:12}"]
    for row in rows:
        lines.append(f"{row.label:14} {f'{row.served}/{row.uses}':>11} {-row.ticks:12} {_share(row.ticks, before):>7}")
    return "\n".join([*lines, f"{'latency':14} {'':11} {after:12} {_share(after, before):>7}"])


_STYLE = ".end { fill: #707782 } .ideal { stroke-width: 2; stroke-dasharray: 6 4 }"


def svg(
    problem: MemoryProblem,
    state: MemoryState,
    by: str = "buffer",
    most: int = 20,
    title: str = "",
    width: int = 960,
    row: int = 24,
) -> str:
    """The waterfall as a stand-alone SVG document of the given width [px]: bars tell on hover, a line marks the ideal."""
    before, after, ideal = int(problem.all_slow), int(state.latency), int(problem.ideal)
    rows = largest(savings(problem, state, by), most)
    left, right, top = 120, width - 130, 66 if title else 40
    bottom = top + row * (len(rows) + 2)
    unit = (right - left) / max(before, 1)
    out = page(width, bottom + 44, title or f"What each {by} saved, in ticks", _STYLE)
    if title:
        out.append(f'<text class="title" x="{left}" y="24">{escape(title)}</text>')
    head = f"all slow {before}   latency {after}   ideal {ideal}"
    out.append(f'<text x="{left}" y="{top - 18}" xml:space="preserve">{head}</text>')
    for tick in gantt.ticks_of(before, 8):
        x = f"{left + tick * unit:.2f}"
        out.append(f'<path class="grid" d="M{x} {top}V{bottom + 4}"/>')
        out.append(f'<text class="faint" x="{x}" y="{bottom + 18}" text-anchor="middle">{tick}</text>')
    out.append(f'<text class="faint" x="{(left + right) / 2:g}" y="{bottom + 36}" text-anchor="middle">ticks</text>')

    def bar(line: int, start: int, end: int, looks: str, label: str, text: str, hover: str) -> None:
        y = top + line * row
        out.append(f'<text class="faint" x="{left - 8}" y="{y + row / 2 + 4:g}" text-anchor="end">{label}</text>')
        place = f'x="{left + start * unit:.2f}" y="{y + 2}" width="{(end - start) * unit:.2f}" height="{row - 4}"'
        out.append(f"<rect {looks} {place}><title>{hover}</title></rect>")
        out.append(f'<text x="{left + end * unit + 6:.2f}" y="{y + row / 2 + 4:g}">{text}</text>')

    bar(0, 0, before, 'class="end"', "all slow", str(before), f"everything in slow memory: {before} ticks")
    rest = before
    for line, one in enumerate(rows, 1):
        looks = f'class="saving" fill="rgb{gantt.REFERENCE}"'
        hover = f"{one.label}: {one.served} of {one.uses} uses from fast memory save {one.ticks} ticks"
        bar(line, rest - one.ticks, rest, looks, one.label, f"{-one.ticks} ({_share(one.ticks, before)})", hover)
        rest -= one.ticks
    share = _share(after, before)
    bar(len(rows) + 1, 0, after, 'class="end"', "latency", f"{after} ({share})", f"latency: {after} ticks, {share}")
    x = f"{left + ideal * unit:.2f}"
    out.append(
        f'<path class="ideal" stroke="rgb{gantt.BOUND}" d="M{x} {top}V{bottom}"><title>ideal: {ideal}</title></path>'
    )
    return "\n".join([*out, "</svg>\n"])


def _share(part: int, whole: int) -> str:
    return f"{part / max(whole, 1):.1%}"
