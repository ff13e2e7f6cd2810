"""Policies on disk: ``policy.safetensors`` (weights) and ``card.json`` (what they are for). Never a pickle.

A folder holds both files. ``card.json`` names an architecture by integer sizes, never a module or class to import.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dispatchgym.envs.core import Environment
from dispatchgym.envs.graph import GraphSpec
from dispatchgym.gnn.network import Architecture, GraphScorer
from dispatchgym.instances.base import DispatchGymError
from dispatchgym.instances.files import write_text

WEIGHTS, CARD, FORMAT = "policy.safetensors", "card.json", 1
ARCHITECTURE = "graph-scorer"
MAX_SIZE = 512  # of any integer in an architecture; keeps a foreign card from asking for terabytes


class CheckpointError(DispatchGymError):
    """A checkpoint cannot be used; the message says why and what would."""


@dataclass(frozen=True)
class Card:
    """What a checkpoint says of itself."""

    env_id: str
    schema: str  # hash of the observation schema it was trained on
    architecture: Architecture
    options: Mapping[str, Any] = field(default_factory=dict)  # of the environment in training, such as the scheme
    details: Mapping[str, Any] = field(default_factory=dict)  # command, seeds, time, results, ... for people

    def asdict(self) -> dict[str, Any]:
        """As stored in card.json."""
        return {
            "format": FORMAT,
            "env": self.env_id,
            "observation_schema": self.schema,
            "architecture": {"name": ARCHITECTURE} | self.architecture.asdict(),
            "options": dict(self.options),
            "details": dict(self.details),
        }


def save(folder: Path, network: GraphScorer, card: Card) -> None:
    """Write both files, each replaced in one step, so that an interrupted save leaves the previous one intact."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS, dict(network.state_dict()))
    write_text(folder / CARD, json.dumps(card.asdict(), indent=1) + "\n")


def load(folder: Path, env_id: str, env: Environment) -> tuple[GraphScorer, Card]:
    """The network and card of a checkpoint for ``env``. Raises CheckpointError with cause and remedy in one line."""
    card = read_card(folder)
    if card.env_id != env_id:
        raise CheckpointError(f"{folder} was trained for {card.env_id}, not {env_id}; use it with --env {card.env_id}")
    if card.schema != env.graph.schema_hash():
        raise CheckpointError(
            f"{folder} was made for observation schema {card.schema[:12]}, "
            f"{env_id} shows {env.graph.schema_hash()[:12]}; "
            "use the dispatchgym version it was trained with or train it again"
        )
    return read_network(folder, env.graph, card), card


def read_card(folder: Path) -> Card:
    """The card of a checkpoint folder, checked."""
    for name in (WEIGHTS, CARD):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} holds no {name}; a policy is a folder with {WEIGHTS} and {CARD}")
    try:
        data = json.loads((folder / CARD).read_text(encoding="utf-8"))
        sizes = dict(data["architecture"])
        name = sizes.pop("name")
        if data["format"] != FORMAT or name != ARCHITECTURE:
            raise CheckpointError(
                f"{folder / CARD}: format {data['format']!r}, architecture {name!r} are not known to this version"
            )
        if sizes.get("index", 0) not in (0, 1):
            raise CheckpointError(f"{folder / CARD}: index must be 0 or 1, got {sizes['index']!r}")
        if not all(isinstance(v, int) and 0 < v <= MAX_SIZE for k, v in sizes.items() if k != "index"):
            raise CheckpointError(f"{folder / CARD}: architecture sizes must be integers in 1..{MAX_SIZE}, got {sizes}")
        architecture = Architecture(**sizes)
        if architecture.hidden % architecture.heads:
            raise CheckpointError(f"{folder / CARD}: heads must divide hidden, got {sizes}")
        env_id, schema = str(data["env"]), str(data["observation_schema"])
        return Card(env_id, schema, architecture, dict(data["options"]), dict(data["details"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{folder / CARD} is not a policy card ({error}); export the policy again") from error


def read_network(folder: Path, spec: GraphSpec, card: Card) -> GraphScorer:
    """The network with the folder's weights: names, shapes and finiteness checked."""
    tensors = read_tensors(folder / WEIGHTS)
    with torch.device("meta"):  # shapes alone: a card must not make us allocate more than its weights take
        described = GraphScorer(spec, card.architecture)
    expected = {name: (tuple(t.shape), t.dtype) for name, t in described.state_dict().items()}
    found = {name: (tuple(t.shape), t.dtype) for name, t in tensors.items()}
    if expected != found:
        wrong = sorted(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k))
        first = wrong[0]
        raise CheckpointError(
            f"{folder / WEIGHTS}: {len(wrong)} tensors do not match the card, the first is {first!r} "
            f"(expected {expected.get(first)}, found {found.get(first)}); weights and card belong to different policies"
        )
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{folder / WEIGHTS}: tensor {name!r} holds NaN or infinity; the training diverged, use an earlier one"
            )
    network = GraphScorer(spec, card.architecture)
    network.load_state_dict(tensors, strict=True)
    return network.eval()


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file; anything else (a pickle by that name) is refused unread."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        what = f"{path} is not a safetensors file ({error})"
        raise CheckpointError(f"{what}; pickles and zips are never opened") from error


def write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Save, then rename over the old file."""
    temporary = path.with_suffix(path.suffix + ".tmp")
    save_file({name: t.detach().contiguous().clone() for name, t in tensors.items()}, temporary)
    os.replace(temporary, path)
