"""The wheel: it holds every file of the rooms and runs with the core dependencies alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
ROOMS = ("instances", "envs", "gnn", "agents", "train", "eval")

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="needs the source tree")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that no leftovers of an earlier build enter it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("dispatchgym", *ROOMS):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def empty(wheel, tmp_path_factory) -> Path:
    """The ``bin`` of an environment that holds the wheel and what its metadata require without extras, no more.

    The required packages are linked from this environment: nothing is downloaded.
    """
    folder = tmp_path_factory.mktemp("env")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        declared = metadata.PathDistribution(zipfile.Path(wheel, name.rpartition("/")[0] + "/")).requires or []
    for distribution in closure(declared):
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            (site / top).symlink_to(distribution.locate_file(top))
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(folder / "bin" / "python"),
        "install",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*command, "--quiet", str(wheel)], check=True, timeout=120)
    return folder / "bin"


def closure(requirements: list[str]) -> list[metadata.Distribution]:
    """The installed distributions that the requirements need, directly or not, without extras."""
    found: dict[str, metadata.Distribution] = {}
    waiting = list(requirements)
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})):
            continue
        found[name] = metadata.distribution(name)
        waiting += found[name].requires or []
    return list(found.values())


def run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, timeout=300)


def test_it_holds_every_file(wheel):
    expected = {path.relative_to(ROOT / "dispatchgym").as_posix() for path in files(ROOT / "dispatchgym")}
    for room in ROOMS:
        expected |= {path.relative_to(ROOT).as_posix() for path in files(ROOT / room)}
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    held = {name.removeprefix("dispatchgym/") for name in names if ".dist-info/" not in name}
    assert held == expected
    assert "instances/data/job_shop/bounds.json" in held
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def test_it_runs_with_the_core_dependencies_alone(empty, tmp_path):
    code = """
import importlib.util, sys
import gymnasium as gym
import dispatchgym
assert "jax" not in sys.modules, "importing dispatchgym is slow"
for name in ("torch", "typer", "matplotlib", "ortools", "stable_baselines3"):
    assert importlib.util.find_spec(name) is None, name
env = gym.make("dispatchgym/JobShop-v0", instance="ft06")
observation, info = env.reset(seed=0)
for _ in range(36):
    action = int(observation["action_mask"].argmax())
    observation, reward, terminated, truncated, info = env.step(action)
assert terminated
assert "torch" not in sys.modules
print(dispatchgym.__version__, dispatchgym.__file__)
"""
    done = run([empty / "python", "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    version, where = done.stdout.split()
    assert version == metadata.version("dispatchgym")
    assert Path(where).is_relative_to(empty.parent)


def test_its_command_names_the_missing_extra(empty, tmp_path):
    done = run([empty / "dispatchgym", "--help"], tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert 'pip install "dispatchgym[cli]"' in done.stderr
