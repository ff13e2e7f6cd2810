"""The one table of environments. A new family adds an entry here and a file of its own name in every room."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from dispatchgym.envs.core import Environment
from dispatchgym.envs.source import Source, resolve
from dispatchgym.instances.base import UnknownNameError


@dataclass(frozen=True)
class Entry:
    """A registered environment."""

    id: str  # "namespace/Name-vN"; the version is raised whenever results could change
    environment: str  # "module:Class" of the functional core
    family: str  # name of its module in instances, agents.rules, agents.solvers and eval.validators
    generator: str  # where instances come from if the user says nothing
    doc: str

    def load(self) -> type[Environment]:
        """The class of the functional core."""
        module, _, name = self.environment.partition(":")
        return getattr(importlib.import_module(module), name)

    def source(self, instance: Any = None, suite: str | None = None, generator: Any = None) -> Source:
        """Where instances come from (at most one argument), else from the default generator."""
        return resolve(door("instances", self.family), self.generator, instance, suite, generator)


REGISTRY: dict[str, Entry] = {}


def register(entry: Entry) -> None:
    """Add an environment; with Gymnasium too, so that ``gym.make`` and ``gym.make_vec`` find it."""
    import gymnasium

    REGISTRY[entry.id] = entry
    gymnasium.register(
        entry.id,
        entry_point="dispatchgym.envs.adapters.single:SingleEnv",
        vector_entry_point="dispatchgym.envs.adapters.vector:DeviceVectorEnv",
        kwargs={"env_id": entry.id},
    )


def lookup(env_id: str) -> Entry:
    """The entry of a registered id. Raises UnknownNameError with the near misses."""
    if env_id not in REGISTRY:
        raise UnknownNameError("env", env_id, REGISTRY)
    return REGISTRY[env_id]


def door(room: str, family: str) -> ModuleType:
    """The family's module in a room, such as ``door("agents.rules", "job_shop")``."""
    return importlib.import_module(f"dispatchgym.{room}.{family}")


def make(
    env_id: str, *, instance: Any = None, suite: str | None = None, generator: Any = None, size: Any = None, **options: Any
) -> Environment:
    """The functional core of a registered id, sized for its instances.

    ``size`` overrides the size that ``instance``, ``suite`` or ``generator`` need; ``options`` are the family's own.
    """
    entry = lookup(env_id)
    if size is None:
        size = entry.source(instance, suite, generator).size
    return entry.load()(size, **options)


for _entry in (
    Entry(
        id="dispatchgym/JobShop-v0",
        environment="dispatchgym.envs.job_shop:JobShop",
        family="job_shop",
        generator="taillard-10x10",
        doc="Job shop: build a schedule one operation at a time, minimise the makespan.",
    ),
):
    register(_entry)
