"""Workflow files: fixtures of each format, round trips and errors that name the place."""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dispatchgym.instances import InstanceError, UnknownNameError
from dispatchgym.instances.extras import MissingExtraError
from dispatchgym.instances.workflow import coerce, entry, generate, load, named, save, with_predictions
from dispatchgym.instances.workflow.formats import PARSERS, detect, write_json
from dispatchgym.instances.workflow.recipes import from_recipe
from dispatchgym.instances.workflow.stg import parse_stg
from dispatchgym.instances.workflow.wfcommons import parse_wfcommons

DATA = Path(__file__).parents[1] / "data" / "workflow"
STG, WFCOMMONS = DATA / "example.stg", DATA / "example.wfcommons.json"
STG_TEXT = STG.read_text()
RECORD = json.loads(WFCOMMONS.read_text())


def refused(call, said: str) -> None:
    with pytest.raises(InstanceError) as caught:
        call()
    assert said in str(caught.value)
    assert "; " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_stg() -> None:
    made = load(STG)
    assert made.time[:, 0].tolist() == [4, 7, 2, 9, 1, 5, 3]
    assert made.time.shape == (7, 4)
    assert made.graph().edges.tolist() == [[0, 2, 0], [0, 3, 0], [1, 3, 0], [1, 4, 0], [2, 5, 0], [3, 5, 0], [4, 5, 0]]
    assert made.graph().critical_path() == 7 + 9 + 5
    loose = load(STG, processors=2, ccr=500)
    assert loose.size.processors == 2
    assert set(loose.graph().edges[:, 2].tolist()) == {2}  # mean time 31 / 7, half of that, rounded


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (STG_TEXT, "# nothing\n", "x.stg, line 2: the file holds no numbers"),
        ("          7\n", "          7 3\n", "line 1: the header has 2 numbers; give the number of tasks"),
        ("          7\n", "          0\n", "line 1: the header announces 0 tasks"),
        ("          7\n", "      10000\n", "line 1: the header announces 10000 tasks; it must be 1..4096"),
        ("          7\n", "          8\n", "line 10: 9 rows follow a header of 8 tasks; give 10"),
        (" 1          4          1          0\n", " 1          4\n", "line 3: row 1 has too few numbers"),
        (" 3          4          5\n", " 3          4\n", "line 8: row 6 has 3 predecessors and lists 2"),
        (" 2          7 ", " 3          7 ", "line 4: task 3 stands where task 2 should"),
        (" 4          9 ", " 4         -9 ", "line 6: task 4 takes -9; give 0..2147483647"),
        (" 4          9 ", " 4        9.5 ", "line 6: '9.5' is not an integer"),
        (" 8          0 ", " 8          1 ", "line 10: the dummy task 8 takes 1"),
        (
            "1          2\n          6",
            "1         12\n          6",
            "line 7: task 5 follows task 12, which is not there",
        ),
        (
            "          3          4          5\n",
            "          3          4          4\n",
            "task '4' to task '6' is given twice",
        ),
        ("          1          1\n", "          1          3\n", "x.stg: task '3' precedes itself"),
        (
            "          1          1\n",
            "          1          6\n",
            "the tasks form a cycle, task '3' -> task '6' -> task '3'",
        ),
        ("3          1          0\n", "3          0\n", "2 pieces"),
    ],
)
def test_bad_stg_files(old: str, new: str, said: str) -> None:
    text = STG_TEXT.replace(old, new, 1)
    if said == "2 pieces":
        text = text.replace("          2          6          7\n", "          1          6\n")
    assert text != STG_TEXT
    refused(lambda: parse_stg(text, "x.stg"), said)


def test_stg_pieces_on_demand() -> None:
    text = "2\n0 0 0\n1 5 1 0\n2 6 0\n3 0 1 1\n"
    refused(lambda: parse_stg(text), "2 pieces: task '2' is not connected with task '0'")
    assert parse_stg(text, disconnected=True).time[:, 0].tolist() == [5, 6]


def test_wfcommons() -> None:
    made = load(WFCOMMONS, processors=2)
    assert made.time.tolist() == [[3, 3], [12, 12], [9, 9], [1, 1]]  # seconds, rounded up
    assert made.graph().edges.tolist() == [[0, 1, 250], [0, 2, 253], [1, 3, 0], [2, 3, 1]]  # megabytes, rounded up
    assert made.bandwidth[0, 1] == 125


def test_wfcommons_units_and_speeds() -> None:
    fine = load(WFCOMMONS, processors=[1000, 1500, 300], ticks_per_second=100, bytes_per_volume=1000, bandwidth=7)
    assert fine.time.tolist() == [[225, 150, 750], [1200, 800, 4000], [900, 600, 3000], [1, 1, 1]]
    assert fine.graph().edges[:, 2].tolist() == [250_000, 252_501, 0, 1]
    coarse = load(WFCOMMONS, ticks_per_second=Fraction(1, 10))
    assert coarse.time[:, 0].tolist() == [1, 2, 1, 1]
    machines = load(WFCOMMONS, processors=None, ticks_per_second=4)
    assert machines.time.tolist() == [[9, 6], [72, 48], [36, 24], [1, 1]]  # 2 GHz and 3 GHz
    wild = load(WFCOMMONS, ticks_per_second=100, beta=1000, seed=4)
    assert (wild.time == load(WFCOMMONS, ticks_per_second=100, beta=1000, seed=4).time).all()
    assert (wild.time >= [[112], [600], [450], [1]]).all()
    assert (wild.time <= [[338], [1800], [1350], [2]]).all()
    assert len(np.unique(wild.time[1])) > 1


def edited(*path, value=None, drop: bool = False):
    """The record with the value at ``path`` replaced, or dropped."""
    record = copy.deepcopy(RECORD)
    place = record
    for key in path[:-1]:
        place = place[key]
    if drop:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return record


SPEC, RUN = ("workflow", "specification"), ("workflow", "execution")


@pytest.mark.parametrize(
    ("record", "options", "said"),
    [
        (edited("schemaVersion", value="1.4"), {}, "schema version '1.4' is not read; convert the file to 1.5 or 1.6"),
        (edited("workflow", drop=True), {}, "workflow of the file is missing"),
        (edited(*SPEC, value=[]), {}, "specification of workflow is list"),
        (edited(*SPEC, "tasks", 1, value=7), {}, "task 1 is int; give an object"),
        (edited(*SPEC, "tasks", 1, "id", drop=True), {}, "id of task 1 is missing"),
        (edited(*SPEC, "tasks", 1, "id", value="count_3"), {}, "two tasks are named 'count_3'"),
        (edited(*SPEC, "files", 1, "id", value="in.txt"), {}, "two files are named 'in.txt'"),
        (edited(*SPEC, "files", drop=True), {}, "task 'split_1': inputFiles has the unknown file 'in.txt'; list"),
        (edited(*SPEC, "files", 1, "sizeInBytes", value=-1), {}, "sizeInBytes of file 'a.txt' is -1; give"),
        (edited(*SPEC, "files", 1, "sizeInBytes", drop=True), {}, "sizeInBytes of file 'a.txt' is missing"),
        (
            edited(*SPEC, "tasks", 1, "outputFiles", value=["b"]),
            {},
            "task 'count_2': outputFiles has the unknown file 'b'",
        ),
        (edited(*SPEC, "tasks", 1, "parents", value=["x"]), {}, "task 'count_2': parents has the unknown task 'x'"),
        (edited(*SPEC, "tasks", 1, "children", value=["x"]), {}, "task 'count_2': children has the unknown task 'x'"),
        (edited(*SPEC, "tasks", 1, "parents", value=[3]), {}, "task 'count_2': parents holds a int"),
        (edited(*SPEC, "tasks", 0, "parents", value=["split_1"]), {}, "task 'split_1' precedes itself"),
        (edited(*SPEC, "tasks", 0, "parents", value=["merge_4"]), {}, "the tasks form a cycle, task 'split_1' -> "),
        (edited(*RUN, drop=True), {}, "there is no execution, so tasks have no run times"),
        (edited(*RUN, "tasks", 2, drop=True), {}, "task 'count_3' has no run time"),
        (edited(*RUN, "tasks", 2, "id", value="other"), {}, "task 'count_3' has no run time"),
        (edited(*RUN, "tasks", 2, "id", value="count_2"), {}, "two executed tasks are named 'count_2'"),
        (edited(*RUN, "tasks", 2, "runtimeInSeconds", drop=True), {}, "runtimeInSeconds of task 'count_3' is missing"),
        (edited(*RUN, "tasks", 2, "runtimeInSeconds", value=-2.5), {}, "runtimeInSeconds of task 'count_3' is -2.5"),
        (edited(*RUN, "tasks", 2, "runtimeInSeconds", value="9"), {}, "runtimeInSeconds of task 'count_3' is str"),
        (edited(*RUN, "tasks", 2, "runtimeInSeconds", value=10**9), {}, "use a coarser unit of time"),
        (
            edited(*RUN, "tasks", 2, "machine", value="x"),
            {"processors": None},
            "task 'count_3' ran on the unknown machine",
        ),
        (edited(*RUN, "machines", drop=True), {"processors": None}, "machines of execution is missing"),
        (edited(*RUN, "machines", 0, "cpu", drop=True), {"processors": None}, "cpu of machine 'slow' is missing"),
        (RECORD, {"processors": 0}, "the number of processors is 0; give an integer in 1..1024"),
        (RECORD, {"processors": [1000, 0]}, "a processor's speed is 0"),
        (RECORD, {"ticks_per_second": 0}, "ticks_per_second is 0"),
        (RECORD, {"bytes_per_volume": 0}, "bytes_per_volume is 0"),
        (RECORD, {"bandwidth": 0}, "bandwidth is 0"),
    ],
)
def test_bad_wfcommons_data(record, options, said: str) -> None:
    refused(lambda: parse_wfcommons(record, "x.json", **options), said)


def test_wfcommons_pieces_and_size() -> None:
    record = edited(*SPEC, "tasks", 0, "children", value=[])
    for task in record["workflow"]["specification"]["tasks"][1:3]:
        task["parents"] = []
    refused(lambda: parse_wfcommons(record), "2 pieces: task 'split_1' is not connected with task 'count_2'")
    assert len(parse_wfcommons(record, disconnected=True).graph().edges) == 2
    task = {"name": "t", "parents": [], "children": []}
    many = edited(*SPEC, "tasks", value=[{**task, "id": f"t{k}"} for k in range(10_000)])
    refused(lambda: parse_wfcommons(many), "10000 tasks are too many; use at most 4096")


def test_own_format(tmp_path: Path) -> None:
    for name in ("unlike", "topcuoglu2002"):
        made = with_predictions(named(name).instance, 300)
        file = tmp_path / "größe.json"
        save(made, file, name, "ms", [f"Täsk {i}" for i in range(len(made.time))])
        read = load(file)
        for field in ("time", "edges", "bandwidth", "prediction"):
            assert (getattr(read, field) == getattr(made, field)).all()
    assert json.loads(file.read_text(encoding="utf-8"))["unit"] == "ms"
    gap = named("gap").instance
    save(gap.pad(generate("random-20x4", 1).size), file)
    refused(lambda: load(file), "2 pieces: task '3' is not connected with task '0'; add the missing edges or read with")
    assert load(file, disconnected=True).graph().edges.tolist() == gap.edges.tolist()
    refused(lambda: save(gap, tmp_path / "no" / "file.json"), "cannot be written")
    refused(lambda: save(gap, file, names=["a"] * 5), "two tasks are named 'a'")


OWN = json.loads(write_json(named("unlike").instance))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "the format is 'dispatchgym-workflow', version 2"),
        ({"tasks": 3}, "tasks is no list"),
        ({"tasks": [{"name": "a"}]}, "task 0 has no name or no times"),
        ({"tasks": [{"name": "a", "time": [1]}, {"name": "b", "time": [1, 2]}]}, "task 'b' has 2 times, the first 1"),
        ({"tasks": [{"name": "a", "time": [0.5]}], "edges": []}, "task 'a' on processor 0: time 1/2 is not an integer"),
        ({"edges": [["0", "1"]]}, "edge 0 is ['0', '1']; write"),
        ({"edges": [["0", "9", 1]]}, "edge 0 names the unknown task '9'"),
        ({"edges": [["0", "1", -1]]}, "the edge from task '0' to task '1' has volume -1"),
        ({"edges": [["0", "1", 1], ["1", "0", 1]]}, "the tasks form a cycle, task '0' -> task '1' -> task '0'"),
        ({"bandwidth": [[1]]}, "bandwidth has the shape (1, 1)"),
    ],
)
def test_bad_own_files(change, said: str, tmp_path: Path) -> None:
    file = tmp_path / "own.json"
    file.write_text(json.dumps(OWN | change))
    refused(lambda: load(file), f"{file}: ")
    refused(lambda: load(file), said)


def test_detect_and_options(tmp_path: Path) -> None:
    assert [detect(text) for text in (STG_TEXT, WFCOMMONS.read_text(), json.dumps(OWN), "{")] == [
        *("stg", "wfcommons", "dispatchgym", "dispatchgym")
    ]
    assert set(PARSERS) == {"stg", "wfcommons", "dispatchgym"}
    with pytest.raises(UnknownNameError, match="unknown format 'sgt'; did you mean 'stg'"):
        load(STG, format="sgt")
    refused(lambda: load(STG, speed=3), "unexpected keyword argument 'speed'; see the options of the format")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "line 1: the file holds no numbers"),
        (b'{\n"a": }', "line 2: Expecting value; this is no JSON"),
        (b'{"format": NaN}', "NaN is no number"),
        (b'{"format": 1e999999999}', "the number 1e999999999 is out of range"),
        (b"{" + b'"a":[' * 100_000, "correct the file"),
        (b"\n\xff", "line 2: byte 0xff is not UTF-8"),
    ],
)
def test_files_that_are_no_workflow(data: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(data)
    refused(lambda: load(file), said)
    refused(lambda: load(file), str(file))


def test_coerce_and_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_text(STG_TEXT)
    (tmp_path / "gap").write_text("nonsense")
    assert coerce("gap") is named("gap").instance
    for path in (STG, str(STG), "mine", "./mine"):
        assert coerce(path).n_tasks == 7
    assert (entry("mine").reference, entry("mine").group) == (None, "7x4")
    assert entry("gap").reference.value == 11
    refused(lambda: coerce("./missing"), "no such file")
    refused(lambda: coerce(["gap"]), "a list is no workflow")
    with pytest.raises(UnknownNameError, match="unknown instance 'topcuoglu2020'; did you mean 'topcuoglu2002'"):
        coerce("topcuoglu2020")


def test_recipes() -> None:
    try:
        import wfcommons  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError, match=r'pip install "dispatchgym\[workflows\]"'):
            from_recipe("blast", 50, 1)
        return
    made = from_recipe("blast", 50, 1)
    assert 45 <= made.n_tasks <= 50
    assert (made.time == from_recipe("blast", 50, 1).time).all()
    refused(lambda: from_recipe("blast", 3, 1), "ask for more tasks")
    with pytest.raises(UnknownNameError, match="did you mean 'blast'"):
        from_recipe("blas", 50, 1)
