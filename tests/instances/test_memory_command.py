"""``dispatchgym instances memory``: what it prints and writes, and one line that leaves the disk alone for bad input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from dispatchgym import cli
from dispatchgym.instances.memory import MACHINES, load, load_program

SOURCE = '''
import jax
import jax.numpy as jnp

WIDTH = 256


def step():
    """A gradient, and the shapes of what it takes."""
    loss = lambda w, x: jnp.square(jnp.tanh(x @ w)).mean()
    return jax.grad(loss), (jax.ShapeDtypeStruct((256, 256), jnp.float32), jax.ShapeDtypeStruct((512, 256), jnp.float32))


def loud():
    print("how many layers?")
    import beside

    return step()


def comma():
    return jnp.tanh, (jnp.ones(3))


def three():
    return jnp.add, 1, 2


def swapped():
    return (jnp.ones(3),), jnp.tanh


def tiny():
    return (lambda x: x + 1), (jnp.ones(3),)


def number():
    return 3


def failing():
    raise ValueError("no weights\\nin this folder")


def needs(x):
    return x
'''


class Ended(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the verb in a folder with a module "mine"."""
    (tmp_path / "mine.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n", encoding="utf-8")
    (tmp_path / "script.py").write_text("import sys\nsys.exit(3)\n", encoding="utf-8")
    (tmp_path / "beside.py").write_text("import sys\nsys.path.insert(0, '/of/another')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def call(*args: object) -> Ended:
        for name in ("mine", "broken", "script", "beside"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(sys, "argv", ["dispatchgym", "instances", "memory", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Ended(ended.value.code or 0, *capsys.readouterr())

    return call


def test_writes_a_program(run, tmp_path: Path) -> None:
    ended = run("--from", "mine:step", "--machine", "h100", "--capacity", "half", "--float32", 2)
    assert (ended.status, ended.err) == (0, "")
    made = load_program("step.json")
    for said in (
        "step.json",
        "peak live bytes",
        f"{made.peak_live():,}",
        f"{sum(s.flops for s in made.steps):,}",
        "h100",
    ):
        assert said in ended.out
    assert made.source["float32_bytes"] == 2
    instance = load("step.json")
    assert instance.capacity == made.peak_live() // 2 // 65536
    assert (instance.memory == made.instance(MACHINES["h100"], 65536).memory).all()
    assert str(Path.cwd()) not in sys.path


def test_prints_one_document(run) -> None:
    ended = run("--from", "mine:step", "--out", "other.json", "--name", "gradient", "--json")
    found = json.loads(ended.out)
    made = load_program("other.json")
    assert made.name == "gradient"
    _, events = made.storages()
    assert found == {
        "program": "gradient",
        "steps": len(made.steps),
        "buffers": len(made.storages()[0]),
        "events": len(events),
        "peak_live_bytes": made.peak_live(),
        "bytes": sum(s.bytes for s in made.steps),
        "flops": sum(s.flops for s in made.steps),
        "machine": "tpu-v4i",
        "ratio": 20,
        "capacity_bytes": made.peak_live() // 4 // 65536 * 65536,
        "file": "other.json",
    }


def test_another_ratio_of_bandwidths(run) -> None:
    ended = run("--from", "mine:step", "--ratio", 10, "--json")
    assert json.loads(ended.out)["ratio"] == 10
    made, instance = load_program("step.json"), load("step.json")
    expected = made.instance(MACHINES["tpu-v4i"].with_ratio(10), made.peak_live() // 4)
    assert (instance.gain == expected.gain).all()
    assert (load("step.json", machine="tpu-v4i").gain > instance.gain).all()  # another machine comes with its own ratio
    assert (load("step.json", ratio=20).gain == load("step.json", machine="tpu-v4i").gain).all()


def test_what_the_users_code_does_stays_apart(run, monkeypatch) -> None:
    """What it prints is no part of the document, it may import late, and the path of imports is left as it was."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    before = sys.path[:]
    ended = run("--from", "mine:loud", "--json")
    assert json.loads(ended.out)["program"] == "loud"
    assert "how many layers?" in ended.err
    assert sys.path == ["/of/another", *before]


def test_options_are_checked_before_the_users_code_runs(run, monkeypatch) -> None:
    monkeypatch.setattr("importlib.import_module", lambda name: pytest.fail(f"{name} was imported"))
    for args in (
        ("--capacity", "third"),
        ("--capacity", 3),
        ("--ratio", 0),
        ("--machine", "h200"),
        ("--out", "no/such.json"),
        ("--out", "."),
        ("--name", "a/b"),
        ("--name", ""),
        ("--unroll", 0),
        ("--float32", 9),
    ):
        assert run("--from", "mine:step", *args).status == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--from", "mine"), "--from is 'mine'; give MODULE:FUNCTION, such as my_models:train_step"),
        (("--from", "nothing:step"), "cannot import 'nothing' (ModuleNotFoundError: No module named 'nothing')"),
        (
            ("--from", "broken:step"),
            "cannot import 'broken' (ModuleNotFoundError: No module named 'nothing_of_that_name')",
        ),
        (("--from", "mine:stop"), "unknown function of mine 'stop'; did you mean 'step'?"),
        (
            ("--from", "mine:WIDTH"),
            "unknown function of mine 'WIDTH'; known: comma, failing, loud, needs, number, step, ",
        ),
        (("--from", "mine:failing"), "mine:failing fails without arguments (ValueError: no weights); it must return"),
        (("--from", "mine:needs"), "mine:needs fails without arguments (TypeError: "),
        (("--from", "mine:number"), "mine:number returns a int; let it return (function, args), args a tuple"),
        (("--from", "mine:comma"), "whose second is no tuple; of one argument write (function, (x,)), with the comma"),
        (("--from", "mine:three"), "mine:three returns 3 values; let it return (function, args), args a tuple of all"),
        (("--from", "mine:swapped"), "mine:swapped returns a tuple where the function belongs; let it return"),
        (
            ("--from", "mine.py:step"),
            "--from is 'mine.py:step'; give the module and not its file, such as mine:step in",
        ),
        (("--from", "./mine:step"), "give the module and not its file, such as mine:step in its folder"),
        (("--from", "script:step"), "cannot import 'script' (SystemExit: 3)"),
        (
            ("--from", "mine:step", "--name", "../up"),
            "--name is '../up'; give one without separators of paths, and the",
        ),
        (("--from", "mine:step", "--name", "a\\b"), "give one without separators of paths"),
        (("--from", "mine:step", "--name", ""), "name is ''; give a text"),
        (("--from", "mine:step", "--ratio", 0), "the ratio of bandwidths is 0; give a whole number in 1..1000000"),
        (("--from", "mine:step", "--capacity", "9999999GiB"), "the capacity 9999999GiB is"),
        (("--from", "mine:step", "--out", "."), ".: cannot be written (it is a folder)"),
        (("--from", "mine:tiny"), "program 'tiny' has no array of 65536 bytes or more"),
        (("--from", "mine:step", "--machine", "h200"), "unknown machine 'h200'; did you mean 'h100'"),
        (("--from", "mine:step", "--capacity", "third"), "the capacity is 'third'; give bytes, KiB, MiB or GiB"),
        (("--from", "mine:step", "--unroll", 0), "unroll is 0; give an integer in 1..4096"),
        (("--from", "mine:step", "--out", "no/such.json"), "no/such.json: cannot be written (no such folder)"),
        (("--from", "mine:step", "--name", "kept"), "kept.json exists; name the file with --out, or the program with"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(args: tuple[object, ...], said: str, run, tmp_path: Path) -> None:
    (tmp_path / "kept.json").write_text("{}", encoding="utf-8")
    before = {path.name for path in tmp_path.iterdir()} | {"__pycache__"}
    ended = run(*args)
    assert ended.status == 2
    assert ended.out == ""
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} | {"__pycache__"} == before
    assert (tmp_path / "kept.json").read_text(encoding="utf-8") == "{}"
