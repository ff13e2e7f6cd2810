"""Pictures of job-shop schedules: complete, partial, empty; well-formed and of constant size."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatchgym.envs.canvas import Canvas
from dispatchgym.envs.job_shop.render import ansi, rgb_array, svg
from dispatchgym.instances.job_shop import JobShopInstance, JobShopSize, named

SVG = "{http://www.w3.org/2000/svg}"
TWO = JobShopInstance.from_jobs([[(0, 3), (1, 2)], [(1, 4), (0, 1)]])
TWO_STARTS = np.array([[0, 4], [0, 4]], np.int32)


def append(instance: JobShopInstance, count: int | None = None) -> np.ndarray:
    """Starts i32[J, K] of the first ``count`` operations, appended round robin."""
    starts = np.full(instance.machine.shape, -1, np.int32)
    free: dict[tuple[str, int], int] = {}
    order = [(j, k) for k in range(starts.shape[1]) for j in range(len(starts)) if k < instance.n_operations[j]]
    for j, k in order[:count]:
        job, machine = ("job", j), ("machine", int(instance.machine[j, k]))
        starts[j, k] = max(free.get(job, 0), free.get(machine, 0))
        free[job] = free[machine] = int(starts[j, k] + instance.duration[j, k])
    return starts


def test_text_shows_every_machine_to_scale() -> None:
    assert ansi(TWO, TWO_STARTS).splitlines() == ["makespan 6, lower bound 6", "M0 000.1.", "M1 111100", "   0"]
    partial = TWO_STARTS.copy()
    partial[0, 1] = partial[1, 1] = -1
    assert ansi(TWO, partial).splitlines()[:3] == [
        "makespan 4, lower bound 6, 2/4 operations",
        "M0 000...",
        "M1 1111..",
    ]
    instance = named("ta01").instance
    rows = ansi(instance, append(instance), width=80).splitlines()[1:-1]
    assert {len(row) for row in rows} == {80}


def test_svg_has_a_bar_for_every_scheduled_operation() -> None:
    instance = named("ft06").instance
    for count in (0, 10, 36):
        root = ET.fromstring(svg(instance, append(instance, count)))
        bars = [rect for rect in root.iter(f"{SVG}rect") if rect.get("rx")]
        assert len(bars) == count
        assert sum("track" in rect.get("class", "") for rect in root.iter(f"{SVG}rect")) == 6


def test_svg_escapes_the_title_and_marks_the_reference() -> None:
    text = svg(TWO, TWO_STARTS, title="<b>A & B</b>", reference=7)
    words = [element.text for element in ET.fromstring(text).iter(f"{SVG}text")]
    assert "<b>A & B</b>" in words
    assert {"makespan 6", "lower bound 6", "reference 7"} <= set(words)
    assert "reference" not in svg(TWO, TWO_STARTS)
    assert "job 0, operation 1, machine 1: 4 to 6" in text


@pytest.mark.parametrize("name", ["ft06", "ta80", "orb07"])
def test_pixels_keep_their_size_and_show_progress(name: str) -> None:
    instance = named(name).instance
    total = int(instance.n_operations.sum())
    frames = [rgb_array(instance, append(instance, count)) for count in (0, total // 2, total)]
    for frame in frames:
        assert frame.shape == (540, 960, 3)
        assert frame.dtype == np.uint8
    colored = [(np.ptp(frame.astype(int), axis=-1) > 40).sum() for frame in frames]
    assert colored[0] < colored[1] < colored[2]
    assert rgb_array(instance, append(instance), width=64, height=48).shape == (48, 64, 3)


def test_a_fixed_horizon_keeps_bars_in_place() -> None:
    instance = named("ft06").instance
    early, late = (rgb_array(instance, append(instance, count), horizon=120)[60:500, 40:240] for count in (35, 36))
    np.testing.assert_array_equal(early, late)


operation = st.tuples(st.integers(0, 3), st.sampled_from([0, 0, 1, 7, 10**6]))


@given(jobs=st.lists(st.lists(operation, min_size=1, max_size=4), min_size=1, max_size=5), padding=st.integers(0, 2))
@settings(deadline=None, max_examples=40)
def test_any_shop_can_be_drawn(jobs: list[list[tuple[int, int]]], padding: int) -> None:
    instance = JobShopInstance.from_jobs(jobs)
    size = instance.size
    padded = instance.pad(JobShopSize(size.jobs + padding, size.machines, size.operations + padding, size.visits))
    starts = append(padded)
    ET.fromstring(svg(padded, starts, title="x"))
    assert rgb_array(padded, starts, 200, 120).shape == (120, 200, 3)
    assert len(ansi(padded, starts).splitlines()) == size.machines + 2


def test_nothing_is_drawn_outside_the_canvas() -> None:
    canvas = Canvas(20, 10, (0, 0, 0))
    canvas.text(-5, -3, "MW: 0", (255, 255, 255))
    canvas.text(15, 8, "Unknown é", (255, 255, 255))
    canvas.box(-10, -10, 100, 0, (9, 9, 9))
    canvas.box(30, 30, 40, 40, (1, 1, 1))
    canvas.text(0, 0, "", (1, 1, 1))
    assert canvas.pixels.shape == (10, 20, 3)
    assert Canvas.extent("M0", 1) == 9


def test_drawing_needs_no_plotting_library() -> None:
    code = "import sys, dispatchgym.envs.job_shop.render; assert not {'matplotlib', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
