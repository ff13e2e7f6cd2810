"""What is installed, what is missing, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from typing import Any

EXTRAS = {
    "cli": ("typer", "rich", "pyyaml", "pydantic"),
    "train": ("torch", "torch-geometric", "stable-baselines3", "sb3-contrib", "tensorboard", "safetensors"),
    "exact": ("ortools", "scipy", "highspy"),
    "viz": ("matplotlib",),
}
CORE = ("gymnasium", "numpy", "jax", "jaxlib")


def examine() -> dict[str, Any]:
    """Versions, extras, devices and advice; ``healthy`` is False only if a core package is missing."""
    core = {name: _version(name) or "missing" for name in ("dispatchgym", *CORE)}
    extras = {}
    advice = []
    for extra, packages in EXTRAS.items():
        versions = {p: _version(p) for p in packages}
        missing = [p for p, v in versions.items() if v is None]
        extras[extra] = (
            "missing " + ", ".join(missing) if missing else ", ".join(f"{p} {v}" for p, v in versions.items())
        )
        if missing:
            advice.append(f'for [{extra}]: pip install "dispatchgym[{extra}]"')
    healthy = all(v != "missing" for v in core.values())
    devices: dict[str, Any] = {}
    if healthy:
        import jax

        devices["jax"] = ", ".join(f"{d.platform}:{d.id} {d.device_kind}" for d in jax.devices())
    if importlib.util.find_spec("torch"):
        import torch

        devices["torch"] = "cuda" if torch.cuda.is_available() else "cpu"
        devices["torch threads"] = torch.get_num_threads()
        if torch.get_num_threads() > 1:
            advice.append("on a small or shared machine one torch thread is often faster: set OMP_NUM_THREADS=1")
    system = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "working directory writable": os.access(".", os.W_OK),
    }
    return {"system": system, "core": core, "extras": extras, "devices": devices, "advice": advice, "healthy": healthy}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
