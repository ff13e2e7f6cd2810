"""Where an environment's instances come from: one instance, a suite, or a generator. The same arguments for every family."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import jax
import numpy as np

from dispatchgym.instances.base import DispatchGymError, UnknownNameError, common_size, stack


@dataclass(frozen=True)
class Source:
    """Instances of one static size: a fixed list, or a generator."""

    size: Any
    instances: tuple[Any, ...] = ()  # unpadded; empty if a generator draws them
    names: tuple[str, ...] = ()
    generator: Any = None
    family: Any = None  # the family's module in ``instances``, to turn what a user passes into an instance

    def coerce(self, value: Any) -> Any:
        """An instance object, the name of a known one, or the path of a file, padded to ``size``."""
        return self.family.coerce(value).pad(self.size)

    def draw(self, rng: np.random.Generator) -> Any:
        """One instance, uniformly from the list or freshly generated; a pure function of the state of ``rng``."""
        if self.generator is None:
            return self.instances[int(rng.integers(len(self.instances)))].pad(self.size)
        return jax.tree.map(np.asarray, _generate(self.generator, jax.random.key(int(rng.integers(2**31)))))

    def pool(self, count: int, rng: np.random.Generator) -> Any:
        """``count`` instances stacked on the leading axis: the list in order, repeated as needed, or fresh ones."""
        if self.generator is None:
            return stack([self.instances[i % len(self.instances)] for i in range(count)], self.size)
        keys = jax.random.split(jax.random.key(int(rng.integers(2**31))), count)
        return _generate_many(self.generator, keys)


def resolve(family: ModuleType, default: str, instance: Any, suite: str | None, generator: Any) -> Source:
    """The source that the user's arguments name; ``default`` is a generator's name."""
    given = [n for n, v in (("instance", instance), ("suite", suite), ("generator", generator)) if v is not None]
    if len(given) > 1:
        raise DispatchGymError(f"instances come from one place, not from {' and '.join(given)}; pass only one of them")
    if instance is not None:
        many = list(instance) if isinstance(instance, (list, tuple)) else [instance]
        loaded = tuple(family.coerce(value) for value in many)
        names = tuple(v if isinstance(v, str) else f"instance-{i}" for i, v in enumerate(many))
        return Source(common_size(loaded), loaded, names, family=family)
    if suite is not None:
        if suite not in family.SUITES:
            raise UnknownNameError("suite", suite, family.SUITES)
        entries = family.SUITES[suite]().entries
        loaded = tuple(entry.instance for entry in entries)
        return Source(common_size(loaded), loaded, tuple(entry.name for entry in entries), family=family)
    chosen = family.generator(generator or default) if isinstance(generator or default, str) else generator
    return Source(chosen.size, generator=chosen, family=family)


_generate = jax.jit(lambda generator, key: generator(key), static_argnums=0)
_generate_many = jax.jit(lambda generator, keys: jax.vmap(generator)(keys), static_argnums=0)
