"""Offset allocation: the published sample, greedy rules by hand, CP-SAT against every allocation of tiny problems, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dispatchgym.agents.solvers.memory_allocation import FITS, ORDERS, pack, place
from dispatchgym.instances.base import InstanceError, UnknownNameError
from dispatchgym.instances.memory.allocation import Allocation, parse, read, solution_text

# The example of google/minimalloc (benchmarks/examples/input.12.csv, Apache-2.0).
SAMPLE = "id,lower,upper,size\nb1,0,3,4\nb2,3,9,4\nb3,0,9,4\nb4,9,21,4\nb5,0,21,4\n"


def random_problem(seed: int, buffers: int, most: int = 4) -> Allocation:
    rng = np.random.default_rng(seed)
    lower = rng.integers(0, 8, buffers)
    upper = lower + rng.integers(1, 6, buffers)
    return Allocation.checked([f"b{i}" for i in range(buffers)], lower, upper, rng.integers(1, most + 1, buffers))


def smallest_peak(problem: Allocation) -> int:
    """The least peak of all allocations, by trying every offset of one buffer after the other."""
    lower, upper, size = (column.tolist() for column in (problem.lower, problem.upper, problem.size))

    def fits(placed: list[int], capacity: int) -> bool:
        i = len(placed)
        if i == len(size):
            return True
        for low in range(capacity - size[i] + 1):
            if not any(
                lower[j] < upper[i] and lower[i] < upper[j] and o < low + size[i] and low < o + size[j]
                for j, o in enumerate(placed)
            ) and fits([*placed, low], capacity):
                return True
        return False

    return next(capacity for capacity in range(max(size), sum(size) + 1) if fits([], capacity))


def test_sample(tmp_path: Path) -> None:
    path = tmp_path / "input.12.csv"
    path.write_text(SAMPLE)
    problem = read(path)
    assert (problem.names, problem.capacity) == (("b1", "b2", "b3", "b4", "b5"), 12)
    assert (problem.lower.tolist(), problem.upper.tolist()) == ([0, 3, 0, 9, 0], [3, 9, 9, 21, 21])
    assert problem.load() == 12
    assert place(problem).tolist() == [0, 0, 4, 0, 8]
    for order in ORDERS:
        for fit in FITS:
            assert problem.peak(place(problem, order, fit)) == 12
    offsets, status = pack(problem, workers=1)
    assert (problem.peak(offsets), status) == (12, "feasible")
    assert pack(problem, 11) == (None, "infeasible")
    text = solution_text(problem, [0, 0, 4, 0, 8])
    assert text.splitlines()[:3] == ["id,lower,upper,size,offset", "b1,0,3,4,0", "b2,3,9,4,0"]
    again = parse(text, 12)  # of a solution, the problem
    assert (again.names, again.size.tolist(), again.upper.tolist()) == (problem.names, [4] * 5, [3, 9, 9, 21, 21])
    assert read(path, capacity=16).capacity == 16
    other = tmp_path / "input.csv"
    other.write_text(SAMPLE)
    assert read(other).capacity is None


def test_orders_and_fits_by_hand() -> None:
    problem = Allocation.checked("abcd", [0, 2, 0, 3], [2, 6, 6, 5], [3, 2, 1, 4])
    # size: d 0, a 0, b 4, c 6; duration: c 0, b 1, a 1, d 3; start: a 0, c 3, b 0, d 4; area: b 0, d 2, a 0, c 6
    assert place(problem, "size").tolist() == [0, 4, 6, 0]
    assert place(problem, "duration").tolist() == [1, 1, 0, 3]
    assert place(problem, "start").tolist() == [0, 0, 3, 4]
    assert place(problem, "area").tolist() == [0, 0, 6, 2]
    gaps = Allocation.checked("abcdef", [0] * 6, [2, 1, 2, 1, 2, 2], [9, 8, 7, 6, 5, 4])
    late = Allocation.checked("abcdefg", [0] * 6 + [1], [2, 1, 2, 1, 2, 2, 2], [9, 8, 7, 6, 5, 4, 3])
    assert place(gaps).tolist() == [0, 9, 17, 24, 30, 35]
    assert place(late, "size", "first")[-1] == 9  # in the gap of 8
    assert place(late, "size", "best")[-1] == 24  # in the gap of 6


@pytest.mark.parametrize("seed", range(20))
def test_no_placement_beats_the_least_peak_and_cp_sat_reaches_it(seed: int) -> None:
    pytest.importorskip("ortools")
    problem = random_problem(seed, buffers=6)
    least = smallest_peak(problem)
    assert problem.load() <= least
    for order in ORDERS:
        for fit in FITS:
            assert problem.peak(place(problem, order, fit)) >= least
    scaled = Allocation.checked(problem.names, problem.lower * 1000, problem.upper * 1000, problem.size * 1024)
    for case, unit in ((problem, 1), (scaled, 1024)):
        offsets, status = pack(case, least * unit + unit - 1, workers=1)
        assert (case.peak(offsets), status) == (least * unit, "feasible")
        assert pack(case, least * unit - 1, workers=1) == (None, "infeasible")


def test_load_is_what_is_live_at_most() -> None:
    for seed in range(30):
        problem = random_problem(seed, buffers=12)
        live = [problem.size[(problem.lower <= t) & (t < problem.upper)].sum() for t in range(14)]
        assert problem.load() == max(live)
        for order in ORDERS:
            for fit in FITS:
                assert problem.peak(place(problem, order, fit)) >= max(live)


def test_collisions_are_found() -> None:
    problem = parse(SAMPLE, 12)
    for offsets, message in (
        ([0, 0, 3, 0, 8], "buffers 'b1' at 0 and 'b3' at 3 overlap"),
        ([0, 0, 4, 0, 9], "buffer 'b5' lies at 9..12, outside of the memory of 12"),
        ([0, 0, 4, 0, -1], "buffer 'b5' lies at -1..2, outside"),
        ([0, 0, 4, 0], "one integer for each of 5 buffers"),
        ([0, 0, 4, 0, 8.5], "offsets are float64"),
    ):
        with pytest.raises(InstanceError, match=message):
            problem.peak(offsets)
        with pytest.raises(InstanceError, match=message):
            solution_text(problem, offsets)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("b6,0,3,13", "buffer 'b6' of size 13 exceeds the capacity of 12"),
        ("b6,0,3,0", "buffer 'b6' has the size 0"),
        ("b6,0,3,-1", "buffer 'b6' has the size -1"),
        ("b6,3,3,1", "buffer 'b6' lives from 3 to before 3, which is never"),
        ("b6,3,2,1", "buffer 'b6' lives from 3 to before 2"),
        ("b3,0,3,1", "buffer 'b3' is listed twice"),
        ("b6,0,x,1", r"buffer 'b6' \(line 7\): upper is 'x'; give a whole number"),
        ("b6,0,2.5,1", "upper is '2.5'"),
        ("b6,0,99999999999999999,1", "buffer 'b6': upper is 99999999999999999; give a whole number of at most"),
        ("b6,0,3", "line 7 has 3 fields; give 4"),
    ],
)
def test_errors_name_the_buffer(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.12.csv"
    path.write_text(SAMPLE + line + "\n")
    with pytest.raises(InstanceError, match=message) as error:
        read(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "id,lower,upper,size\n", "id,start,end,size\nb,0,1,1\n", "id,lower,upper,size,hint\n"]
)
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text(text)
    with pytest.raises(InstanceError, match=r"name the columns id,lower,upper,size|at least one buffer"):
        read(path)
    with pytest.raises(InstanceError, match="no such file"):
        read(tmp_path / "missing.csv")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InstanceError, match="not text in UTF-8"):
        read(path)


def test_unknown_names_and_missing_capacity() -> None:
    problem = parse(SAMPLE)
    with pytest.raises(UnknownNameError, match="unknown order 'sizes'; did you mean 'size'"):
        place(problem, "sizes")
    with pytest.raises(UnknownNameError, match="unknown fit 'worst'"):
        place(problem, "size", "worst")
    pytest.importorskip("ortools")
    with pytest.raises(InstanceError, match="no capacity"):
        pack(problem)
