"""Named configurations (``presets/<algorithm>/<name>.yml``), files, and overrides, turned into a trainer's Config."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import yaml

from dispatchgym.envs.registry import Entry
from dispatchgym.instances.base import DispatchGymError, UnknownNameError
from dispatchgym.instances.extras import require

FOLDER = Path(__file__).resolve().parent / "presets"
ALGORITHMS = {
    "self_labelling": "dispatchgym.train.self_labelling",
    "rollout_improvement": "dispatchgym.train.rollout_improvement",
    "evolution": "dispatchgym.train.evolution",
    "ppo": "dispatchgym.train.maskable_ppo",
}
PACKAGES = {
    "self_labelling": ("torch", "safetensors", "tensorboard"),
    "rollout_improvement": ("torch", "safetensors", "tensorboard"),
    "evolution": ("torch", "safetensors", "tensorboard"),
    "ppo": ("torch", "safetensors", "tensorboard", "stable_baselines3", "sb3_contrib"),
}


def configure(entry: Entry, algorithm: str, name: str | None, overrides: dict[str, Any], seed: int) -> tuple[type, Any]:
    """(Trainer class, Config). ``name`` is a preset or a YAML file; ``overrides`` win over it.

    Raises DispatchGymError naming the field that is unknown, of the wrong type or range, or meant for another environment.
    """
    if algorithm not in ALGORITHMS:
        raise UnknownNameError("algorithm", algorithm, ALGORITHMS)
    for package in PACKAGES[algorithm]:
        require(package, "train", purpose=f"training with {algorithm}")
    module = importlib.import_module(ALGORITHMS[algorithm])
    values = _load(algorithm, name) if name is not None else {}
    preset_env = values.get("env", entry.id)
    if preset_env != entry.id:
        raise DispatchGymError(f"preset {name} is for {preset_env}, not {entry.id}; choose one of the same environment")
    values |= overrides | {"env": entry.id, "seed": seed}
    fields = {f.name: f for f in dataclasses.fields(module.Config)}
    for key in values:
        if key not in fields:
            raise UnknownNameError("setting", key, fields)
    return module.Trainer, module.Config(**{key: _typed(key, fields[key], value) for key, value in values.items()})


def presets(algorithm: str) -> list[str]:
    """Names of the shipped presets of an algorithm."""
    return sorted(p.stem for p in (FOLDER / algorithm).glob("*.yml"))


def _load(algorithm: str, name: str) -> dict[str, Any]:
    path = FOLDER / algorithm / f"{name}.yml"
    if not path.is_file():
        path = Path(name).expanduser()
        if not path.is_file():
            raise UnknownNameError("preset", name, presets(algorithm))
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DispatchGymError(
            f"{path} is no YAML file ({type(error).__name__}); see train/presets for examples"
        ) from error
    if not isinstance(values, dict):
        raise DispatchGymError(f"{path} must hold key: value lines; see train/presets for examples")
    return values


def _typed(key: str, field: dataclasses.Field[Any], value: Any) -> Any:
    """The value as the field's default has it: ints may stand for floats, lists for tuples, 1e-3 for a number."""
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if isinstance(default, tuple) and isinstance(value, (list, tuple)):
        return tuple(value)
    if value is None and "None" in str(field.type):
        return None
    number = isinstance(default, float) or "float" in str(field.type).split(" | ")
    if number and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    if default is dataclasses.MISSING or default is None or type(value) is type(default):
        return value
    raise DispatchGymError(
        f"setting {key} is {value!r}; it must be of type {type(default).__name__}, such as {default!r}"
    )
