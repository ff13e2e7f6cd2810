"""The one table of environments. A new family adds an entry here and a file of its own name in every room."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import gymnasium

from dispatchgym.instances.base import UnknownNameError

if TYPE_CHECKING:  # registering must not import jax
    from dispatchgym.envs.core import Environment
    from dispatchgym.envs.source import Source


@dataclass(frozen=True)
class Entry:
    """A registered environment."""

    id: str  # "namespace/Name-vN"; the version is raised whenever results could change
    environment: str  # "module:Class" of the functional core
    family: str  # name of its module in instances, agents.rules, agents.solvers and eval.validators
    generator: str  # where instances come from if the user says nothing
    doc: str
    instances: str = ""  # module that offers coerce, generator and SUITES; default: dispatchgym.instances.<family>

    def load(self) -> type[Environment]:
        """The class of the functional core."""
        module, _, name = self.environment.partition(":")
        loaded: type[Environment] = getattr(importlib.import_module(module), name)
        return loaded

    def family_module(self) -> ModuleType:
        """The module of the family's instances; a user's environment may name its own."""
        return importlib.import_module(self.instances) if self.instances else door("instances", self.family)

    def source(self, instance: Any = None, suite: str | None = None, generator: Any = None, size: Any = None) -> Source:
        """Where instances come from: one of the first three, or the default generator; padded to ``size``."""
        from dispatchgym.envs.source import resolve

        source = resolve(self.family_module(), self.generator, instance, suite, generator)
        return source if size is None else source.sized(size)

    def defaults(self) -> dict[str, Any]:
        """The family's options with their default values, such as {"scheme": "semi_active"}."""
        parameters = inspect.signature(self.load()).parameters
        return {name: p.default for name, p in parameters.items() if p.default is not p.empty}

    def build(self, size: Any, /, **options: Any) -> Environment:
        """The functional core; equal arguments give the same object, so that all its faces share their compilations.

        Raises UnknownNameError for an option that the family does not have.
        """
        cls: Any = self.load()
        known = list(inspect.signature(cls).parameters)[1:]
        for name in options:
            if name not in known:
                raise UnknownNameError("option", name, known)
        try:
            return _build(cls, size, tuple(sorted(options.items())))
        except TypeError:  # an option that cannot be hashed
            core: Environment = cls(size, **options)
            return core


REGISTRY: dict[str, Entry] = {}


def register(entry: Entry) -> None:
    """Add an environment; with Gymnasium too, so that ``gym.make`` and ``gym.make_vec`` find it."""
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
    env_id: str,
    *,
    instance: Any = None,
    suite: str | None = None,
    generator: Any = None,
    size: Any = None,
    **options: Any,
) -> Environment:
    """The functional core of a registered id, sized for its instances.

    ``size`` overrides the size that ``instance``, ``suite`` or ``generator`` need; ``options`` are the family's own.
    """
    entry = lookup(env_id)
    return entry.build(entry.source(instance, suite, generator, size).size, **options)


@lru_cache(maxsize=64)
def _build(cls: Any, size: Any, options: tuple[tuple[str, Any], ...]) -> Environment:
    core: Environment = cls(size, **dict(options))
    return core


for _entry in (
    Entry(
        id="dispatchgym/JobShop-v0",
        environment="dispatchgym.envs.job_shop:JobShop",
        family="job_shop",
        generator="taillard-10x10",
        doc="Job shop: build a schedule one operation at a time, minimise the makespan.",
    ),
    Entry(
        id="dispatchgym/WorkflowDag-v0",
        environment="dispatchgym.envs.workflow:WorkflowDag",
        family="workflow",
        generator="random-20x4",
        doc="Workflow: plan the tasks of a graph on unlike processors that exchange data, minimise the makespan.",
    ),
    Entry(
        id="dispatchgym/SocDag-v0",
        environment="dispatchgym.envs.soc:SocDag",
        family="soc",
        generator="canonical-20",
        doc="System on chip: place the tasks of arriving jobs on unlike processing elements, minimise the flow time.",
    ),
    Entry(
        id="dispatchgym/MemoryMapping-v0",
        environment="dispatchgym.envs.memory:MemoryMapping",
        family="memory",
        generator="random-32x40",
        doc="Memory mapping: serve a compiled program's uses of its buffers from fast or slow memory, minimise its latency.",
    ),
):
    register(_entry)
