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
    monkeypatch.chdir(tmp_path)

    def call(*args: object) -> Ended:
        for name in ("mine", "broken"):
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
        "capacity_bytes": made.peak_live() // 4 // 65536 * 65536,
        "file": "other.json",
    }


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
        (("--from", "mine:WIDTH"), "unknown function of mine 'WIDTH'; known: failing, needs, number, step, tiny"),
        (("--from", "mine:failing"), "mine:failing fails without arguments (ValueError: no weights); it must return"),
        (("--from", "mine:needs"), "mine:needs fails without arguments (TypeError: "),
        (("--from", "mine:number"), "mine:number returns a int; let it return (function, args), args a tuple"),
        (("--from", "mine:tiny"), "program 'tiny' has no array of 65536 bytes or more"),
        (("--from", "mine:step", "--machine", "h200"), "unknown machine 'h200'; did you mean 'h100'"),
        (("--from", "mine:step", "--capacity", "third"), "the capacity is 'third'; give bytes, KiB, MiB or GiB"),
        (("--from", "mine:step", "--unroll", 0), "unroll is 0; give an integer in 1..4096"),
        (("--from", "mine:step", "--out", "no/such.json"), "no/such.json: cannot be written"),
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
