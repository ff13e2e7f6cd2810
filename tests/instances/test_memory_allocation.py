"""Allocation problems: whatever is wrong with a file is named by line and column, and the command that solves them."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from dispatchgym import cli
from dispatchgym.instances.base import DispatchGymError, InstanceError
from dispatchgym.instances.memory.allocation import Allocation, parse, read

HEADER = "id,lower,upper,size\n"
SAMPLE = HEADER + "b1,0,3,4\nb2,3,9,4\nb3,0,9,4\nb4,9,21,4\nb5,0,21,4\n"  # of google/minimalloc: input.12.csv
HARD = HEADER + "a,3,6,2\nb,4,6,3\nc,3,4,2\nd,1,4,1\ne,1,3,3\n"  # 5 are enough, but no order finds less than 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER + "b1,0,3,4\n\nb2,0,3,0\n", "line 4: buffer 'b2' has the size 0; give 1 or more"),
        (HEADER + "b1,0,3,4\n\nb2,0,3\n", "line 4 has 3 fields; give 4"),
        (HEADER + "b1,0,x,4\n", "buffer 'b1' (line 2): upper is 'x'; give a whole number"),
        (HEADER + "b1,0,3,4\nb1,4,5,6\n", "line 3: buffer 'b1' is listed twice"),
        (HEADER + ",0,3,4\n", "line 2: id is ''; give a text"),
        (HEADER + "b\x001,0,3,4\n", "line 2: id is 'b\\x001'; give a text without control characters"),
        (HEADER + "b1,0,3\x00,4\n", "buffer 'b1' (line 2): upper is '3\\x00'; give a whole number"),
        (HEADER + '"b\n1",0,3,4\n', "line 3: id is 'b\\n1'; give a text without control characters"),
        (HEADER + f"{'b' * 200_000},0,3,4\n", "line 2: field larger than field limit (131072); this is no CSV"),
        ("\x00" * 99, "the first line is '\\x00\\x00"),
        (HEADER.replace("size", "id"), "the first line is 'id,lower,upper,id'"),
    ],
)
def test_line_and_column_are_named(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InstanceError) as caught:
        read(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("capacity", [0, -3, 2**53 + 1, 12.0, "12", True, np.float64(3), [12]])
def test_capacities_that_are_none(capacity: object, tmp_path: Path) -> None:
    (tmp_path / "input.csv").write_text(SAMPLE)
    for call in (
        lambda: parse(SAMPLE, capacity),  # type: ignore[arg-type]
        lambda: read(tmp_path / "input.csv", capacity),  # type: ignore[arg-type]
        lambda: Allocation.checked(["b"], [0], [1], [1], capacity),  # type: ignore[arg-type]
    ):
        with pytest.raises(InstanceError, match=r"the capacity is .*; give a whole number"):
            call()
    assert parse(SAMPLE, np.int64(12)).capacity == 12


def test_values_of_other_types() -> None:
    for arguments, said in (
        ((["b"], [0], [1.5], [1]), "buffer 'b': upper is 1.5"),
        ((["b"], [0], [True], [1]), "buffer 'b': upper is True"),
        ((["b"], [0], [None], [1]), "buffer 'b': upper is None"),
        ((["b"], 0, [1], [1]), "lower has the shape () for 1 names"),
        ((["b"], [[0]], [1], [1]), "lower has the shape (1, 1) for 1 names"),
        (([3], [0], [1], [1]), "the names are [3]; give a list of texts"),
        ((None, [0], [1], [1]), "the names are None; give a list of texts"),
        (([], [], [], []), "at least one buffer"),
    ):
        with pytest.raises(InstanceError) as caught:
            Allocation.checked(*arguments)
        assert said in str(caught.value)
    for bad in (None, b"id", 3):
        with pytest.raises(InstanceError, match="is no text; give that of a CSV file"):
            parse(bad)  # type: ignore[arg-type]
    with pytest.raises(InstanceError, match="the path is 3"):
        read(3)  # type: ignore[arg-type]


def test_files_with_a_mark_of_utf8_are_read(tmp_path: Path) -> None:
    (tmp_path / "marked.csv").write_text(SAMPLE, encoding="utf-8-sig")
    assert read(tmp_path / "marked.csv").names == ("b1", "b2", "b3", "b4", "b5")


def test_damaged_files_are_read_or_refused() -> None:
    rng = np.random.default_rng(0)
    pieces = [",", "\n", '"', "-1", "x", "\x00", "9" * 17, "", "b1", " ", "\r", "\u2028", ";"]
    for _ in range(2000):
        text = SAMPLE
        for _ in range(rng.integers(1, 4)):
            at, length = rng.integers(len(text) + 1), rng.integers(0, 4)
            text = text[:at] + str(rng.choice(pieces)) + text[at + length :]
        with contextlib.suppress(DispatchGymError):
            parse(text, 12)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the verb in a folder with two problems: (status, standard output, standard error)."""
    (tmp_path / "input.12.csv").write_text(SAMPLE)
    (tmp_path / "hard.csv").write_text(HARD)
    monkeypatch.chdir(tmp_path)

    def call(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dispatchgym", "instances", "allocation", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (ended.value.code or 0, *capsys.readouterr())

    return call


def test_every_order_and_fit_is_shown(run) -> None:
    status, out, err = run("input.12.csv")
    assert (status, err) == (0, "")
    assert "5 buffers, a capacity of 12; no peak is below 12" in out
    for order in ("size", "duration", "start", "area"):
        for fit in ("first", "best"):
            assert f"{order}, {fit} fit" in out
    assert out.count("yes") == 8
    assert run("input.12.csv", "--order", "area")[1].count("yes") == 2
    assert "no capacity" in run("hard.csv")[1]


def test_offsets_are_written(run) -> None:
    pytest.importorskip("ortools")
    problem = parse(HARD)
    status, out, err = run("hard.csv", "--capacity", 5, "--out", "none.csv")
    assert (status, err) == (1, "nothing fits, none.csv is not written\n")
    assert out == run("hard.csv", "--capacity", 5)[1]
    assert not Path("none.csv").exists()
    status, out, err = run("hard.csv", "--capacity", 5, "--exact", "--out", "exact.csv", "--json")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert (found["load"], found["capacity"], found["written"]) == (5, 5, "exact.csv")
    *greedy, exact = found["methods"]
    assert exact == {"method": "CP-SAT", "peak": 5, "fits": True, "status": "feasible"}
    assert [(row["peak"], row["fits"]) for row in greedy] == [(6, False)] * 8
    header, *rows = Path("exact.csv").read_text().splitlines()
    assert header == "id,lower,upper,size,offset"
    assert [row.rpartition(",")[0] for row in rows] == HARD.splitlines()[1:]
    assert problem.peak(np.array([int(row.rpartition(",")[2]) for row in rows])) == 5
    status, out, _ = run("hard.csv", "--capacity", 4, "--exact", "--json")
    assert (status, json.loads(out)["methods"][-1]["status"]) == (1, "infeasible")
    assert run("hard.csv", "--out", "greedy.csv", "--order", "size")[0] == 0
    assert Path("greedy.csv").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("none.csv",), "none.csv: no such file; check the path"),
        (("input.12.csv", "--order", "sizes"), "unknown order 'sizes'; did you mean 'size'?"),
        (("input.12.csv", "--seconds", 0), "--seconds is 0.0; give more than 0"),
        (("input.12.csv", "--seconds", "nan"), "--seconds is nan; give more than 0"),
        (("input.12.csv", "--capacity", 0), "the capacity is 0; give a whole number in 1..2**53"),
        (("input.12.csv", "--capacity", 3), "line 2: buffer 'b1' of size 4 exceeds the capacity of 3; raise it"),
        (("hard.csv", "--exact"), "--exact needs a capacity, and hard.csv names none; give --capacity"),
        (("hard.csv", "--out", "no/such.csv"), "no/such.csv: cannot be written (no such folder)"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(args: tuple[object, ...], said: str, run, tmp_path: Path) -> None:
    status, out, err = run(*args)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"input.12.csv", "hard.csv"}
