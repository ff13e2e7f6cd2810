"""Files of chips and streams: what is written is read back, and errors name file and element."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from dispatchgym.instances import InstanceError
from dispatchgym.instances.soc import Chip, SocInstance, chip, coerce, entry, load, named
from dispatchgym.instances.soc.formats import load_chip, save, save_chip

CHIP = {
    "pes": [{"name": "A7", "count": 2, "power": 203}, {"name": "FFT.0"}],
    "bandwidth": [[1000, 10], [20, 1]],
    "templates": [
        {
            "name": "app",
            "tasks": {"read": {"A7": 22}, "fft": {"A7": 296, "FFT.0": 16}},
            "edges": [["read", "fft", 2000]],
        },
        {"name": "one", "tasks": {"end": {"A7": 0}}, "edges": []},
    ],
}
STREAM = {
    "chip": CHIP,
    "cap": 2,
    "jobs": [
        {"template": "app", "gap": 0},
        {"template": "one", "gap": 4},
        {"template": "app", "gap": 1, "multiplier": [900, 1100]},
    ],
}


def written(folder: Path, content: object) -> Path:
    path = folder / "given.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def edited(content: dict, path: str, value: object) -> dict:
    """A copy with the member at a dotted path set, or removed if the value is None."""
    made = copy.deepcopy(content)
    *outer, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    at = made
    for part in outer:
        at = at[part]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return made


def same(a: SocInstance, b: SocInstance) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_a_chip_is_read(tmp_path: Path) -> None:
    made = load_chip(written(tmp_path, CHIP))
    assert (made.pes, made.power) == (("A7.0", "A7.1", "FFT.0"), (203, 203, 0))
    assert made.bandwidth == ((1000, 1000, 10), (1000, 1000, 10), (20, 20, 1))
    assert made.templates[0].time == ((22, 22, -1), (296, 296, 16))
    assert made.templates[0].edges == ((0, 1, 2000),)
    assert load_chip(written(tmp_path, edited(CHIP, "bandwidth", 5))).bandwidth == ((5, 5, 5),) * 3


def test_a_stream_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, STREAM)
    made = load(path)
    assert made.jobs() == [(0, 0, [1000, 1000]), (1, 4, [1000]), (0, 1, [900, 1100])]
    assert (int(made.cap), bool(made.closed)) == (2, False)
    arrivals = [{"template": d, "arrival": t} for d, t in (("app", 0), ("one", 4), ("app", 5))]
    assert load(written(tmp_path, STREAM | {"jobs": arrivals})).gap.tolist() == [0, 4, 1]
    assert same(coerce(str(path)), coerce(path))
    assert (entry(path).name, entry(path).group, entry(path).reference) == (str(path), "3 jobs, 3 PEs", None)


def test_a_stream_may_name_a_shipped_chip(tmp_path: Path) -> None:
    made = load(
        written(tmp_path, {"chip": "realworld", "cap": 1, "closed": True, "jobs": [{"template": "SC-T", "gap": 0}]})
    )
    assert same(made, SocInstance.from_stream(chip("realworld"), ["SC-T"], [0], cap=1, closed=True))


@pytest.mark.parametrize("name", ["top1-closed-n0", "real-open-n200"])
def test_what_is_written_is_read_back(name: str, tmp_path: Path) -> None:
    instance = named(name).instance
    padded = instance.pad(instance.size._replace(jobs=120, tasks=40, pes=20, templates=8))
    for given, names in ((instance, None), (padded, None)):
        save(given, tmp_path / "stream.json", names)
        assert same(load(tmp_path / "stream.json"), instance)


def test_names_are_written(tmp_path: Path) -> None:
    instance = named("real-open-n0").instance
    save(instance, tmp_path / "stream.json", chip("realworld"))
    assert '"viterbi_decoder"' in (tmp_path / "stream.json").read_text()
    assert same(load(tmp_path / "stream.json"), instance)
    with pytest.raises(InstanceError, match="was not made on the chip 'realworld-bal'"):
        save(instance, tmp_path / "stream.json", chip("realworld-bal"))


@pytest.mark.parametrize("made", [chip("canonical"), chip("realworld", opp={"A15": 800}, pes=("A7.0", "A15.0"))])
def test_chips_are_read_back(made: Chip, tmp_path: Path) -> None:
    save_chip(made, tmp_path / "chip.json")
    assert load_chip(tmp_path / "chip.json") == made


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("cap", None, "'cap' is missing; add it"),
        ("cap", 0, "cap is 0"),
        ("cap", True, "'cap' is True; give an integer"),
        ("closed", 1, "'closed' is 1; give true or false"),
        ("window", 8, "'window' means nothing here"),
        ("chip", "cannonical", "chip: unknown chip 'cannonical'; did you mean 'canonical'"),
        ("jobs", [], "the stream has 0 jobs"),
        ("jobs/1", 3, "job 1: 3 is not an object"),
        ("jobs/1/template", "two", "job 1: there is no template 'two'; give one of app, one"),
        ("jobs/1/gap", -1, "job 1 has the gap -1"),
        ("jobs/1/gap", None, "job 1: 'gap' is missing"),
        ("jobs/1/gap", 1.5, "job 1: 'gap' is 1.5; give an integer"),
        ("jobs/2/multiplier", [1, 1000], "job 2, task 0: multiplier 1 is outside 100..3000"),
        ("jobs/2/multiplier", [1000], "job 2 has 1 multipliers for 2 tasks"),
        ("chip/pes/0/count", -1, "chip: PE 'A7' has the count -1"),
        ("chip/pes/1/name", None, "chip: PE 1: 'name' is missing"),
        ("chip/pes/1/name", "A7.0", "two PEs are named 'A7.0'|there is no PE 'FFT.0'"),
        ("chip/bandwidth", [[1]], "the bandwidth is no matrix of 2 x 2"),
        ("chip/bandwidth/0/1", 0, "the bandwidth from processor 0 to 2 is 0"),
        ("chip/bandwidth/0/1", "x", "bandwidth holds"),
        ("chip/templates", [], "at least one PE and one template"),
        ("chip/templates/0/name", "one", "two templates are named 'one'"),
        ("chip/templates/1/tasks", {}, "template 'one' has 0 tasks"),
        ("chip/templates/0/tasks/fft", {}, "template 'app': task 'fft' is supported by no processor"),
        ("chip/templates/0/tasks/fft/GPU", 3, "template 'app', task 'fft': there is no PE 'GPU'"),
        ("chip/templates/0/tasks/fft/A7", -3, "template 'app', task 'fft': the time on 'A7' is -3"),
        ("chip/templates/0/edges/0", ["read", "fft"], r"template 'app', edge 0: \['read', 'fft'\] is no edge"),
        ("chip/templates/0/edges/0/1", "fit", "template 'app', edge 0: there is no task 'fit'"),
        ("chip/templates/0/edges/0/2", -5, "template 'app', edge 0: the volume is -5"),
        ("chip/templates/0/edges/0/1", "read", "template 'app': task 'read' precedes itself"),
        ("chip/templates/0/edges", [], "template 'app': 2 pieces: .* read with disconnected=True"),
    ],
)
def test_errors_name_file_and_element(path: str, value: object, said: str, tmp_path: Path) -> None:
    given = written(tmp_path, edited(STREAM, path, value))
    with pytest.raises(InstanceError, match=said) as caught:
        load(given)
    assert str(caught.value).startswith(str(given))
    assert "\n" not in str(caught.value)


def test_graphs_in_pieces_are_read_on_request(tmp_path: Path) -> None:
    assert load(written(tmp_path, edited(STREAM, "chip/templates/0/edges", [])), disconnected=True).size.edges == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"cap": 1,\n "cap": 2}', "'cap' is given twice in one object"),
        ('{"cap": 1,\n  cap}', "line 2, column 3: expecting property name"),
        ('{"cap": NaN}', "NaN is no number of JSON"),
        ("[]", r"\[\] is not an object"),
        ("[" * 100_000, "beyond measure"),
        ("", "line 1, column 1"),
    ],
)
def test_files_that_are_no_json(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match=said):
        load(written(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="no such file"):
        load(tmp_path / "absent.json")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InstanceError, match="byte 0xff at 0 is not UTF-8"):
        load(tmp_path / "binary")
