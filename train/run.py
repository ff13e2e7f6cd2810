"""A run directory: configuration, command, manifest, metrics, checkpoint and the state that resumes it bit for bit."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shlex
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from dispatchgym.agents.checkpoint import CheckpointError, read_tensors, write_tensors
from dispatchgym.instances.files import write_text

STATE = "state.safetensors"
PACKAGES = ("dispatchgym", "jax", "torch", "torch-geometric", "gymnasium", "stable-baselines3", "sb3-contrib", "numpy")


class Run:
    """Files of one training run; scalars go to metrics.jsonl and TensorBoard alike."""

    def __init__(self, folder: Path, config: Any, resume: bool) -> None:
        self.folder = folder
        stored = folder / "config.json"
        text = json.dumps(asdict(config), indent=1, sort_keys=True) + "\n"
        if resume:
            if not stored.is_file():
                raise CheckpointError(f"{folder} holds no run to resume; start it without --resume")
            if stored.read_text(encoding="utf-8") != text:
                raise CheckpointError(
                    f"{stored} differs from this configuration; resume with the same one or choose another --out"
                )
        elif stored.exists():
            raise CheckpointError(f"{folder} already holds a run; continue it with --resume or choose another --out")
        folder.mkdir(parents=True, exist_ok=True)
        if not resume:
            write_text(stored, text)
            write_text(folder / "manifest.json", json.dumps(manifest(), indent=1) + "\n")
        with (folder / "command.txt").open("a", encoding="utf-8") as commands:  # one line per start
            commands.write(shlex.join(sys.argv) + "\n")
        self._metrics: Any = None
        self._board: Any = None

    def open(self, step: int) -> None:
        """Start writing metrics after ``step``; later lines of an interrupted run are dropped."""
        from torch.utils.tensorboard import SummaryWriter

        path = self.folder / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        whole = [line for line in lines if line.endswith("}")]  # the last may be torn
        kept = [line for line in whole if json.loads(line)["step"] <= step]
        write_text(path, "".join(line + "\n" for line in kept))
        self._metrics = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(self.folder), purge_step=step + 1)

    def log(self, step: int, scalars: dict[str, float]) -> None:
        """One line of metrics."""
        self._metrics.write(json.dumps({"step": step, "time": round(time.time(), 1)} | scalars) + "\n")
        self._metrics.flush()
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush both logs."""
        if self._metrics is not None:
            self._metrics.close()
            self._board.close()

    def saved(self) -> bool:
        """Whether there is a state to resume; a run that was interrupted before its first save starts again."""
        return (self.folder / STATE).is_file()

    def save_state(
        self, step: int, optimizer: torch.optim.Optimizer, network: torch.nn.Module, extra: dict[str, torch.Tensor]
    ) -> None:
        """Weights, optimiser and random state in one file, replaced in one step."""
        tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
        for index, slot in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in slot.items()}
        tensors |= {f"extra.{k}": v for k, v in extra.items()} | {"step": torch.tensor(step)}
        write_tensors(self.folder / STATE, tensors)

    def load_state(
        self, optimizer: torch.optim.Optimizer, network: torch.nn.Module
    ) -> tuple[int, dict[str, torch.Tensor]]:
        """Restore what :meth:`save_state` wrote; (step, extra)."""
        tensors = read_tensors(self.folder / STATE)
        network.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")})
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".", 2)
                slots.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
        return int(tensors["step"]), {k.removeprefix("extra."): v for k, v in tensors.items() if k.startswith("extra.")}


def manifest() -> dict[str, Any]:
    """Versions, platform and commit of what runs."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "commit": _commit(),
        "torch_threads": torch.get_num_threads(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _commit() -> str | None:
    folder = Path(__file__).resolve().parent
    try:
        command = ["git", "rev-parse", "HEAD"]
        out = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return None
    return out.stdout.strip() or None
