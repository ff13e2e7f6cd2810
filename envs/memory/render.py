"""Pictures of fast memory, partial or complete: text, SVG and pixels, without a plotting library.

Time runs in steps to the right, addresses in granules upwards. A box is a stay of a buffer in fast memory, coloured and
numbered by it; hatched is what of it a copy in takes (rising lines) or a copy out (falling). Below are the shares of the
supplies that copies in and out use. Figures are in ticks and granules.
"""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from dispatchgym.envs import gantt
from dispatchgym.envs.canvas import Canvas, Color
from dispatchgym.envs.memory import waterfall
from dispatchgym.envs.memory.moves import MemoryState
from dispatchgym.envs.memory.problem import MemoryProblem
from dispatchgym.envs.memory.scene import CHANNELS, Scene, page, scene
from dispatchgym.instances.memory.plan import Rectangle

COLORS = ((208, 126, 30), (30, 126, 168))  # of the channels; they show on white and on black
TENTHS = ".123456789#"


def draw(problem: MemoryProblem, state: MemoryState, mode: str) -> Any:
    """u8[H, W, 3] for "rgb_array", text for "ansi", "svg" and "waterfall" (an SVG of what each buffer saved)."""
    if mode == "waterfall":
        return waterfall.svg(problem, state)
    function: Any = {"rgb_array": rgb_array, "ansi": ansi, "svg": svg}[mode]
    return function(scene(problem, state))


def ansi(shown: Scene, width: int = 76, height: int = 16) -> str:
    """Fast memory as text: a column per slice of steps, a line per slice of addresses, buffers by letter, ``.`` where free.

    A cell shows what lies at its middle, so small stays may be lost when it is scaled. The lines below give the use of the
    channels in tenths of the supply, ``#`` for all of it, and ``^`` under the step to decide.
    """
    name = max(len(str(shown.capacity)), len("out"))
    columns, rows = min(max(width - name - 1, 10), shown.steps), min(height, shown.capacity)
    step = (np.arange(columns) + 0.5) * (shown.steps / columns)
    granule = (np.arange(rows) + 0.5) * (shown.capacity / rows)
    cells = np.full((rows, columns), ".")
    for r in shown.stays:
        high, wide = (r.offset <= granule) & (granule < r.offset + r.granules), (r.first <= step) & (step < r.last + 1)
        cells[np.ix_(high, wide)] = gantt.LABELS[r.buffer % len(gantt.LABELS)]
    lines = [f"{row * shown.capacity // rows:>{name}} {''.join(cells[row])}" for row in reversed(range(rows))]
    axis = [" "] * (columns + 1)
    for tick in gantt.ticks_of(shown.steps, max(columns // 12, 1)):
        at, text = tick * columns // shown.steps, str(tick)
        axis[at : at + len(text)] = text
    lines.append(f"{'':{name}} {''.join(axis)}".rstrip())
    for channel, shares in zip(CHANNELS, shown.shares(columns), strict=True):
        tenths = np.ceil(10 * shares - 1e-9).astype(int)  # 10 * 0.7 is above 7
        lines.append(f"{channel:>{name}} {''.join(TENTHS[n] for n in tenths)}")
    if shown.now is not None:
        lines.append(f"{'':{name}} {'':{shown.now * columns // shown.steps}}^ step {shown.now}")
    head = ", ".join(filter(None, [*(f"{label} {value}" for label, value in shown.figures.items()), shown.progress]))
    return "\n".join([head, *lines])


def rgb_array(shown: Scene, width: int = 960, height: int = 540) -> np.ndarray:
    """Fast memory as a picture u8[height, width, 3]; its scale does not change during an episode."""
    canvas = Canvas(width, height, gantt.PAPER)
    scale = 2 if min(width, height) >= 300 else 1
    left, right = 6 * scale + Canvas.extent(f"{shown.capacity} ", scale), width - 10 * scale
    strip, top = height // 14, 16 * scale
    bottom = height - 14 * scale - 2 * strip
    unit, pitch = (right - left) / shown.steps, (bottom - top) / shown.capacity
    canvas.box(left, top, right, bottom, gantt.TRACK)
    for tick in gantt.ticks_of(shown.steps, max((right - left) // (40 * scale), 1)):
        canvas.box(left + tick * unit, top, left + tick * unit + 1, height - 12 * scale, gantt.GRID)
        canvas.text(left + tick * unit, height - 9 * scale, str(tick), gantt.FAINT, scale, anchor=0.5)
    for tick in gantt.ticks_of(shown.capacity, max((bottom - top) // (16 * scale), 1)):
        canvas.text(left - 3 * scale, bottom - tick * pitch - 5 * scale, str(tick), gantt.FAINT, scale, anchor=1)
    for r in shown.stays:
        x, y = left + r.first * unit, bottom - (r.offset + r.granules) * pitch
        x1, y1 = left + (r.last + 1) * unit, bottom - r.offset * pitch
        canvas.box(x, y, x1 - (x1 - x >= 3), y1 - (y1 - y >= 3), gantt.color_of(r.buffer))
    for copy in shown.copies:
        x, x1 = (round(left + at * unit) for at in (copy.first, copy.last + 1))
        y, y1 = (round(bottom - at * pitch) for at in (copy.stay.offset + copy.stay.granules, copy.stay.offset))
        _hatch(canvas.pixels[y:y1, x:x1], gantt.INK, -1 if copy.channel else 1)
    for channel, color in enumerate(COLORS):
        base = bottom + (channel + 1) * strip
        canvas.box(left, base - strip + 2, right, base, gantt.TRACK)
        canvas.text(left - 3 * scale, base - strip / 2 - 2, CHANNELS[channel], gantt.FAINT, scale, anchor=1)
        for t, share in enumerate(shown.shares(shown.steps)[channel]):
            if share:
                canvas.box(left + t * unit, base - share * (strip - 2), left + (t + 1) * unit, base, color)
    for r in shown.stays:
        x, y = (r.first + r.last + 1) / 2 * unit, (r.offset + r.granules / 2) * pitch
        fits = (r.last + 1 - r.first) * unit >= Canvas.extent(str(r.buffer), scale) + 2 * scale
        if fits and r.granules * pitch >= 7 * scale:
            color = gantt.ink_on(gantt.color_of(r.buffer))
            canvas.text(left + x, bottom - y - 2.5 * scale, str(r.buffer), color, scale, anchor=0.5)
    if shown.now is not None:
        at = left + (shown.now + 0.5) * unit
        canvas.box(at - scale / 2, top - 3 * scale, at + scale / 2, bottom + 2 * strip, gantt.MAKESPAN)
    head = "  ".join(f"{label} {value}" for label, value in shown.figures.items())
    canvas.text(left, 4 * scale, head, gantt.INK, scale)
    canvas.text(right, 4 * scale, shown.progress, gantt.FAINT, scale, anchor=1)
    return canvas.pixels


def _hatch(pixels: np.ndarray, color: Color, slope: int) -> None:
    """Lines at 45 degrees over u8[H, W, 3]; they rise for slope 1 and fall for -1."""
    y, x = np.indices(pixels.shape[:2])
    pixels[(x + slope * y) % 6 == 0] = color


_STYLE = """
.box { stroke: #262a32; stroke-width: .4 } .now { stroke-width: 2 }
.line { stroke: #262a32; stroke-width: 1.2; stroke-opacity: .7 }
"""
_HATCHES = """<defs><pattern id="in" width="6" height="6" patternUnits="userSpaceOnUse">
<path class="line" d="M0 6L6 0"/></pattern><pattern id="out" width="6" height="6" patternUnits="userSpaceOnUse">
<path class="line" d="M0 0L6 6"/></pattern></defs>"""
STRIP = 34  # height of a channel in the SVG [px]


def svg(shown: Scene, title: str = "", width: int = 960, height: int = 420) -> str:
    """Fast memory as a stand-alone SVG document of the given width [px], for light and dark backgrounds.

    ``height`` [px] is that of the capacity. Stays, copies and channels tell on hover.
    """
    left, right, top = 30 + 8 * len(str(shown.capacity)), width - 24, 66 if title else 40
    bottom = top + height
    end = bottom + 2 * (STRIP + 8)
    unit, pitch = (right - left) / shown.steps, height / shown.capacity
    out = page(width, end + 44, title or f"Fast memory: {shown.capacity} granules, {shown.steps} steps", _STYLE)
    out.append(_HATCHES)
    if title:
        out.append(f'<text class="title" x="{left}" y="24">{escape(title)}</text>')
    head = "   ".join(f"{label} {value}" for label, value in shown.figures.items())
    out.append(f'<text x="{left}" y="{top - 18}" xml:space="preserve">{head}</text>')
    out.append(f'<text class="faint" x="{right}" y="{top - 18}" text-anchor="end">{shown.progress}</text>')
    out.append(f'<rect class="track" x="{left}" y="{top}" width="{right - left}" height="{height}"/>')
    for tick in gantt.ticks_of(shown.capacity, 8):
        y = f"{bottom - tick * pitch:.2f}"
        out.append(f'<path class="grid" d="M{left - 4} {y}H{right}"/>')
        out.append(f'<text class="faint" x="{left - 8}" y="{y}" text-anchor="end">{tick}</text>')
    for tick in gantt.ticks_of(shown.steps, max((right - left) // 80, 1)):
        x = f"{left + tick * unit:.2f}"
        out.append(f'<path class="grid" d="M{x} {top}V{end + 4}"/>')
        out.append(f'<text class="faint" x="{x}" y="{end + 18}" text-anchor="middle">{tick}</text>')
    out.append(f'<text class="faint" x="{(left + right) / 2:g}" y="{end + 36}" text-anchor="middle">step</text>')
    out += _boxes(shown, left, bottom, unit, pitch)
    for channel in range(len(CHANNELS)):
        out += _strip(shown, channel, left, right, bottom + (channel + 1) * (STRIP + 8))
    if shown.now is not None:
        line = f'd="M{left + (shown.now + 0.5) * unit:.2f} {top - 6}V{end}"'
        out.append(f'<path class="now" stroke="rgb{gantt.MAKESPAN}" {line}><title>step {shown.now}</title></path>')
    return "\n".join([*out, "</svg>\n"])


def _boxes(shown: Scene, left: int, bottom: int, unit: float, pitch: float) -> list[str]:
    """The stays, hatched where they are copied, and their numbers where there is room."""

    def box(first: int, last: int, r: Rectangle, looks: str, hover: str) -> str:
        place = f'x="{left + first * unit:.2f}" y="{bottom - (r.offset + r.granules) * pitch:.2f}"'
        extent = f'width="{(last + 1 - first) * unit:.2f}" height="{r.granules * pitch:.2f}"'
        return f"<rect {looks} {place} {extent}><title>{escape(hover)}</title></rect>"

    out = [
        box(r.first, r.last, r, f'class="box" fill="rgb{gantt.color_of(r.buffer)}"', hover)
        for r, hover in zip(shown.stays, shown.hovers, strict=True)
    ]
    for copy in shown.copies:
        looks = f'class="copy" fill="url(#{CHANNELS[copy.channel]})"'
        out.append(box(copy.first, copy.last, copy.stay, looks, copy.hover))
    for r in shown.stays:
        if (r.last + 1 - r.first) * unit >= 7 * len(str(r.buffer)) + 4 and r.granules * pitch >= 12:
            x, y = left + (r.first + r.last + 1) / 2 * unit, bottom - (r.offset + r.granules / 2) * pitch + 4
            # The colour of other text follows the background; that on a box must not.
            fill = f"fill:rgb{gantt.ink_on(gantt.color_of(r.buffer))}"
            out.append(f'<text class="bar" x="{x:.2f}" y="{y:.2f}" style="{fill}">{r.buffer}</text>')
    return out


def _strip(shown: Scene, channel: int, left: int, right: int, base: int) -> list[str]:
    """The use of a channel, step by step, above the line ``base``."""
    name, unit = CHANNELS[channel], (right - left) / shown.steps
    out = [
        f'<rect class="track" x="{left}" y="{base - STRIP}" width="{right - left}" height="{STRIP}"/>',
        f'<text class="faint" x="{left - 8}" y="{base - 10}" text-anchor="end">{name}</text>',
    ]
    for t in np.flatnonzero(shown.used[channel]).tolist():
        used, supply = int(shown.used[channel, t]), int(shown.supply[t])
        tall = STRIP * used / supply
        place = f'x="{left + t * unit:.2f}" y="{base - tall:.2f}" width="{unit:.2f}" height="{tall:.2f}"'
        hover = f"step {t}: copies {name} take {used} of {supply}"
        out.append(f'<rect fill="rgb{COLORS[channel]}" {place}><title>{hover}</title></rect>')
    return out
