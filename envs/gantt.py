"""Gantt charts as text, SVG and pixels, without a plotting library. They run on the host and trace under nothing."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from html import escape

import numpy as np

from dispatchgym.envs.canvas import Canvas, Color

LABELS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"  # of bars in text; they repeat after 62
GOLDEN = 0.618034  # steps of the hue: any run of consecutive labels is spread around the circle
PAPER, TRACK, GRID, INK, FAINT = (255, 255, 255), (244, 245, 247), (222, 225, 230), (38, 42, 50), (112, 119, 130)
MAKESPAN, BOUND, REFERENCE = (208, 52, 58), (52, 108, 208), (30, 140, 88)


@dataclass(frozen=True)
class Bar:
    """A box of a row from ``start`` to ``end``, coloured by its ``label``."""

    row: int
    start: int
    end: int
    label: int
    hover: str  # what it is, in words


@dataclass(frozen=True)
class Chart:
    """A schedule, partial or complete, with the times to mark by a line."""

    bars: list[Bar]
    rows: int
    letter: str  # of the rows: "M" for M0, M1, ...
    total: int  # bars of the complete schedule
    noun: str  # what bars are, in the plural
    marks: list[tuple[str, int, Color]]  # label, time, colour
    title: str  # if the user gives none

    @classmethod
    def of(
        cls,
        bars: list[Bar],
        rows: int,
        letter: str,
        total: int,
        noun: str,
        title: str,
        lower_bound: int,
        reference: int | None = None,
    ) -> Chart:
        """With the makespan so far, a lower bound and a makespan to compare with, if given, as marks."""
        marks = [("makespan", max((bar.end for bar in bars), default=0), MAKESPAN), ("lower bound", lower_bound, BOUND)]
        if reference is not None:
            marks.append(("reference", reference, REFERENCE))
        return cls(bars, rows, letter, total, noun, marks, title)

    @property
    def progress(self) -> str:
        """Empty once the schedule is complete."""
        return "" if len(self.bars) == self.total else f"{len(self.bars)}/{self.total} {self.noun}"

    @property
    def widest(self) -> str:
        """The longest name of a row."""
        return f"{self.letter}{self.rows - 1}"

    def horizon(self) -> int:
        """The last time to show."""
        return max(1, *(time for _, time, _ in self.marks))


def color_of(label: int) -> Color:
    """A colour that text of :func:`ink_on` can be read on, and that shows on white and on black."""
    lightness, saturation = ((0.62, 0.62), (0.50, 0.55), (0.72, 0.60))[label // 3 % 3]
    red, green, blue = colorsys.hls_to_rgb((0.57 + label * GOLDEN) % 1.0, lightness, saturation)
    return round(255 * red), round(255 * green), round(255 * blue)


def ink_on(color: Color) -> Color:
    """Black or white, whichever can be read on the colour."""
    return (20, 22, 26) if 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 125 else (255, 255, 255)


def ticks_of(horizon: int, most: int) -> range:
    """At most ``most`` + 1 round times from 0 to the horizon."""
    rough = max(horizon / most, 1)
    power = 10 ** math.floor(math.log10(rough))
    step = next(int(f * power) for f in (1, 2, 5, 10) if f * power >= rough)
    return range(0, horizon + 1, step)


def ansi(chart: Chart, width: int = 76) -> str:
    """The chart as text: one line per row, one column per slice of time, bars by the letter of their label, ``.`` where idle.

    A column shows the bar at the middle of its slice, so short ones may be lost when time is scaled.
    """
    horizon = chart.horizon()
    name = len(chart.widest)
    columns = min(max(width - name - 1, 10), horizon)
    middle = (np.arange(columns) + 0.5) * (horizon / columns)
    rows = np.full((chart.rows, columns), ".")
    for bar in chart.bars:
        rows[bar.row, (bar.start <= middle) & (middle < bar.end)] = LABELS[bar.label % len(LABELS)]
    axis = [" "] * (columns + 1)
    for tick in ticks_of(horizon, max(columns // 12, 1)):
        at, text = round(tick * columns / horizon), str(tick)
        axis[at : at + len(text)] = text
    head = ", ".join(filter(None, [*(f"{label} {time}" for label, time, _ in chart.marks), chart.progress]))
    body = [f"{f'{chart.letter}{m}':<{name}} {''.join(row)}" for m, row in enumerate(rows)]
    return "\n".join([head, *body, f"{'':<{name}} {''.join(axis)}".rstrip()])


def rgb_array(chart: Chart, width: int = 960, height: int = 540, horizon: int | None = None) -> np.ndarray:
    """The chart as a picture u8[height, width, 3].

    ``horizon`` [time] fixes the scale, so that the frames of a video match; by default everything drawn fits.
    """
    span = max(horizon or chart.horizon(), 1)
    canvas = Canvas(width, height, PAPER)
    scale = 2 if min(width, height) >= 300 else 1
    left, right = 10 * scale + Canvas.extent(chart.widest, scale), width - 14 * scale
    top, bottom = 20 * scale, height - 14 * scale
    unit, pitch = (right - left) / span, (bottom - top) / chart.rows
    gap = 1 if pitch >= 6 else 0
    small = 1 if pitch < 6 * scale else scale

    for m in range(chart.rows):
        y = top + m * pitch
        canvas.box(left, y + gap, right, y + pitch - gap, TRACK)
        if pitch >= 6:
            canvas.text(left - 4 * scale, y + pitch / 2 - 2.5 * small, f"{chart.letter}{m}", FAINT, small, anchor=1)
    for tick in ticks_of(span, max((right - left) // (40 * scale), 1)):
        canvas.box(left + tick * unit, top, left + tick * unit + 1, bottom + 2 * scale, GRID)
        canvas.text(left + tick * unit, bottom + 4 * scale, str(tick), FAINT, scale, anchor=0.5)
    for bar in sorted(chart.bars, key=lambda bar: (bar.end == bar.start, bar.start)):  # zero durations stay visible
        color, y = color_of(bar.label), top + bar.row * pitch
        x0, x1 = left + bar.start * unit, left + bar.end * unit
        separator = 1 if x1 - x0 >= 3 else 0
        canvas.box(x0, y + gap, x1 - separator, y + pitch - gap, color)
    x = float(left)
    for label, time, color in chart.marks:
        at = left + time * unit
        canvas.box(at - scale / 2, top - 3 * scale, at + scale / 2, bottom, color)
        canvas.box(x, 6 * scale, x + 5 * scale, 11 * scale, color)
        canvas.text(x + 8 * scale, 6 * scale, f"{label} {time}", INK, scale)
        x += 20 * scale + Canvas.extent(f"{label} {time}", scale)
    size = small + (pitch >= 24 * small)
    for bar in chart.bars:  # last, so that no line crosses out a number
        extent, middle = (bar.end - bar.start) * unit, left + (bar.start + bar.end) / 2 * unit
        if extent >= Canvas.extent(str(bar.label), size) + 2 * size and pitch >= 7 * size:
            y = top + (bar.row + 0.5) * pitch - 2.5 * size
            canvas.text(middle, y, str(bar.label), ink_on(color_of(bar.label)), size, anchor=0.5)
    canvas.text(right, 6 * scale, chart.progress, FAINT, scale, anchor=1)
    return canvas.pixels


STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #262a32 }
.title { font-size: 15px; font-weight: 600 } .faint { fill: #707782 }
.bar { font-size: 11px; text-anchor: middle; pointer-events: none }
.track { fill: #f4f5f7 } .grid { stroke: #dee1e6 } .mark { stroke-width: 2; fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6e8ec } .faint { fill: #9aa1ad } .track { fill: #22262d } .grid { stroke: #3a404a }
}
"""
_DASHES = {"makespan": "none", "lower bound": "6 4", "reference": "2 3"}


def svg(chart: Chart, title: str = "", width: int = 960, row: int = 26) -> str:
    """The chart as a stand-alone SVG document of the given width [px], for light and dark backgrounds; bars tell on hover."""
    span = chart.horizon()
    left, right, top = 22 + 8 * len(chart.widest), width - 24, 66 if title else 40
    bottom = top + row * chart.rows
    unit = (right - left) / span
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 44}" width="{width}" role="img">',
        f"<title>{escape(title or chart.title)}</title>",
        f"<style>{STYLE}</style>",
    ]
    if title:
        out.append(f'<text class="title" x="{left}" y="24">{escape(title)}</text>')
    x = left
    for label, time, color in chart.marks:
        line = f'class="mark" stroke="rgb{color}" stroke-dasharray="{_DASHES.get(label, "4 4")}"'
        out.append(f'<path {line} d="M{x} {top - 22}h22"/><text x="{x + 28}" y="{top - 18}">{label} {time}</text>')
        x += 52 + 7 * len(f"{label} {time}")
    out.append(f'<text class="faint" x="{right}" y="{top - 18}" text-anchor="end">{chart.progress}</text>')
    for m in range(chart.rows):
        y = top + m * row
        out.append(f'<rect class="track" x="{left}" y="{y + 1}" width="{right - left}" height="{row - 2}"/>')
        out.append(
            f'<text class="faint" x="{left - 8}" y="{y + row / 2 + 4:g}" text-anchor="end">{chart.letter}{m}</text>'
        )
    for tick in ticks_of(span, max((right - left) // 80, 1)):
        x_tick = round(left + tick * unit, 2)
        out.append(f'<path class="grid" d="M{x_tick} {top}V{bottom + 4}"/>')
        out.append(f'<text class="faint" x="{x_tick}" y="{bottom + 18}" text-anchor="middle">{tick}</text>')
    out.append(f'<text class="faint" x="{(left + right) / 2:g}" y="{bottom + 36}" text-anchor="middle">time</text>')
    out += [_svg_bar(bar, left, top, unit, row) for bar in chart.bars]
    for label, time, color in chart.marks:
        line = f'class="mark" stroke="rgb{color}" stroke-dasharray="{_DASHES.get(label, "4 4")}"'
        out.append(f'<path {line} d="M{round(left + time * unit, 2)} {top - 6}V{bottom}"/>')
    for bar in chart.bars:  # last, so that no line crosses out a number
        if (bar.end - bar.start) * unit >= 7 * len(str(bar.label)) + 4:
            x_mid, y_mid = left + (bar.start + bar.end) / 2 * unit, top + (bar.row + 0.5) * row + 4
            # The colour of other text follows the background; that on a bar must not.
            fill = f"fill:rgb{ink_on(color_of(bar.label))}"
            out.append(f'<text class="bar" x="{x_mid:.2f}" y="{y_mid:g}" style="{fill}">{bar.label}</text>')
    return "\n".join([*out, "</svg>\n"])


def _svg_bar(bar: Bar, left: int, top: int, unit: float, row: int) -> str:
    extent = max((bar.end - bar.start) * unit - 1, 1)
    x, y = left + bar.start * unit, top + bar.row * row
    hover = escape(f"{bar.hover}: {bar.start} to {bar.end}")
    return (
        f'<rect x="{x:.2f}" y="{y + 2}" width="{extent:.2f}" height="{row - 4}" rx="2" fill="rgb{color_of(bar.label)}">'
        f"<title>{hover}</title></rect>"
    )
