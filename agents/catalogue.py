"""Everything that decides, by name: rules and solvers of a family, pretrained policies, and checkpoints in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dispatchgym.agents.rules.base import Rule
from dispatchgym.agents.solvers.base import Solver
from dispatchgym.envs.registry import Entry, door
from dispatchgym.instances.base import DispatchGymError, UnknownNameError
from dispatchgym.instances.extras import require

if TYPE_CHECKING:
    from dispatchgym.envs.core import Environment
    from dispatchgym.gnn.network import GraphScorer

PRETRAINED = Path(__file__).resolve().parent / "pretrained"


@dataclass(frozen=True)
class Learned:
    """A trained network in a checkpoint folder."""

    name: str
    folder: Path
    doc: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def network(self, env_id: str, env: Environment) -> GraphScorer:
        """The network, checked against the environment. Raises CheckpointError, or MissingExtraError without torch."""
        require("torch", "train", purpose=f"policy {self.name}")
        require("safetensors", "train", purpose=f"policy {self.name}")
        from dispatchgym.agents import checkpoint

        return checkpoint.load(self.folder, env_id, env)[0]


Method = Rule | Solver | Learned


def kind(method: Method) -> str:
    """ "pretrained", "rule" or "solver"."""
    return "pretrained" if isinstance(method, Learned) else "rule" if isinstance(method, Rule) else "solver"


def methods(entry: Entry) -> dict[str, Method]:
    """All named methods of an environment: pretrained policies first, then rules, then solvers."""
    found: dict[str, Method] = dict(pretrained(entry))
    for room, table in (("agents.rules", "RULES"), ("agents.solvers", "SOLVERS")):
        try:
            module = door(room, entry.family)
        except ModuleNotFoundError as error:
            if error.name != f"dispatchgym.{room}.{entry.family}":
                raise
            continue
        found |= getattr(module, table)
    return found


def pretrained(entry: Entry) -> dict[str, Learned]:
    """The shipped policies of an environment. The one in the folder named like the family is called ``pretrained``."""
    found = {}
    for folder in sorted(PRETRAINED.glob("*/card.json")):
        learned = _learned(folder.parent)
        if learned is not None and learned[0] == entry.id:
            name = "pretrained" if folder.parent.name == entry.family else folder.parent.name
            found[name] = Learned(name, folder.parent, learned[1].doc, learned[1].options)
    return dict(sorted(found.items(), key=lambda item: item[0] != "pretrained"))


def find(entry: Entry, name: str) -> Method:
    """The method called ``name``, or the checkpoint in the folder ``name``.

    Raises UnknownNameError with near misses, or CheckpointError for a folder that holds no usable policy.
    """
    known = methods(entry)
    if name in known:
        return known[name]
    path = Path(name).expanduser()
    if path.exists() or "/" in name:
        if not path.exists():
            raise DispatchGymError(
                f"there is no checkpoint folder {name}; a policy is a folder written by `dispatchgym train`"
            )
        require("torch", "train", purpose=f"policy {name}")
        require("safetensors", "train", purpose=f"policy {name}")
        from dispatchgym.agents import checkpoint

        card = checkpoint.read_card(path if path.is_dir() else path.parent)
        return Learned(str(path), path if path.is_dir() else path.parent, "checkpoint", card.options)
    raise UnknownNameError("policy", name, known)


def _learned(folder: Path) -> tuple[str, Learned] | None:
    """(environment id, policy) of a shipped folder, read without torch."""
    data = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    doc = data["details"].get("description", "trained policy")
    return data["env"], Learned(folder.name, folder, doc, data["options"])
