"""Figures of docs/memory.md are those of the committed results and of the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from dispatchgym.instances.memory import MACHINES
from dispatchgym.instances.memory.machine import RATIO

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "memory.md").read_text(encoding="utf-8")
PROGRAMS = json.loads((ROOT / "benchmarks" / "results" / "memory" / "programs.json").read_text(encoding="utf-8"))
ROWS = list(PROGRAMS["programs"].values())


def shares(method: str, measure: str) -> np.ndarray:
    """Of each case, the time of a method with everything in slow memory as 1."""
    return np.array([row["methods"][method][measure] / row["all_slow"] for row in ROWS])


def ranking() -> str:
    lines = ["| method | by the model | simulated | slower than without |", "|---|---:|---:|---:|"]
    for method in ("copy_first", "msa", "nocopy_first"):
        model, simulated = (shares(method, measure) for measure in ("latency", "simulated"))
        lines.append(f"| {method} | {model.mean():.3f} | {simulated.mean():.3f} | {(simulated > 1).sum()} |")
    return "\n".join(lines)


def test_the_two_measures_rank_methods_differently() -> None:
    """To renew the table: paste what this test says it expects."""
    shown = TEXT.split("<!-- ranking:begin -->")[1].split("<!-- ranking:end -->")[0].strip()
    assert shown == ranking()
    model, simulated = (shares("copy_first", m) - shares("msa", m) for m in ("latency", "simulated"))
    assert f"the {len(ROWS)} cases" in TEXT
    assert f"beats MSA in {(model < 0).sum()} of the {len(ROWS)} cases" in " ".join(TEXT.split())
    assert f"loses in {(simulated > 0).sum()}." in " ".join(TEXT.split())
    assert shares("copy_first", "latency").mean() < shares("msa", "latency").mean()
    assert shares("copy_first", "simulated").mean() > shares("nocopy_first", "simulated").mean()


@pytest.mark.parametrize("machine", MACHINES.values(), ids=lambda m: m.name)
def test_machines_are_those_of_the_table(machine) -> None:
    found = re.search(rf"\| `{machine.name}` \| ([0-9]+)e12 \| ([0-9]+) \| ([0-9]+) (MiB|MB) \|", TEXT)
    assert found is not None
    assert (int(found[1]) * 10**12, int(found[2]) * 10**9) == (machine.flops, machine.slow)
    assert int(found[3]) * {"MiB": 2**20, "MB": 10**6}[found[4]] == machine.capacity
    assert machine == machine.with_ratio(RATIO)
    assert f"{RATIO} times as fast" in TEXT


def test_the_program_of_ones_own_compiles() -> None:
    """The example of the document gives a function and its arguments that become a program."""
    from dispatchgym.instances.memory import from_jax

    code = TEXT.split("```python\n")[1].split("```")[0]
    space: dict = {}
    exec(code, space)
    function, args = space["step"]()
    made = from_jax(function, *args, float32=2)
    assert made.peak_live() > 2**20
