"""Where an environment's instances come from: a list, a suite, or a generator; the same for every family."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import jax
import numpy as np

from dispatchgym.instances.base import DispatchGymError, Generator, UnknownNameError, common_size, stack


@dataclass(frozen=True)
class Source:
    """Instances of one static size: a fixed list, or a generator.

    A *ticket* is the integer that fixes an instance: its position in the list, or the generator's seed.
    """

    size: Any
    instances: tuple[Any, ...] = ()  # unpadded; empty if a generator draws them
    names: tuple[str, ...] = ()
    generator: Any = None
    family: Any = None  # the family's module in ``instances``, to turn what a user passes into an instance

    def coerce(self, value: Any) -> Any:
        """An instance object, the name of a known one, or the path of a file, padded to ``size``."""
        return self.family.coerce(value).pad(self.size)

    def ticket(self, rng: np.random.Generator) -> int:
        """A ticket, uniformly; a pure function of the state of ``rng``."""
        return int(rng.integers(len(self.instances) if self.generator is None else 2**31))

    def tickets(self, count: int, rng: np.random.Generator) -> list[int]:
        """``count`` tickets for a pool: the list in order, repeated as needed, or fresh ones of the generator."""
        if self.generator is None:
            return [i % len(self.instances) for i in range(count)]
        return [self.ticket(rng) for _ in range(count)]

    def name(self, ticket: int) -> str:
        """Name of a listed instance, or ``seed-<ticket>``: ``generator(jax.random.key(ticket))`` makes it again."""
        return self.names[ticket] if self.generator is None else f"seed-{ticket}"

    def instance(self, ticket: int) -> Any:
        """The instance of a ticket on the host, padded to ``size``."""
        if self.generator is None:
            return self.instances[ticket].pad(self.size)
        made = jax.tree.map(np.asarray, _generate(self.generator, np.uint32(ticket)))
        return made if self.generator.size == self.size else made.pad(self.size)

    def batch(self, tickets: Sequence[int]) -> Any:
        """Their instances stacked on the leading axis, all of ``size``."""
        if self.generator is None or self.generator.size != self.size:
            return stack([self.instance(ticket) for ticket in tickets], self.size)
        return _generate_many(self.generator, np.asarray(tickets, np.uint32))

    def pool(self, count: int, rng: np.random.Generator) -> Any:
        """``count`` instances stacked on the leading axis: the list in order, repeated as needed, or fresh ones."""
        return self.batch(self.tickets(count, rng))

    def sized(self, size: Any) -> Source:
        """The same instances padded to ``size`` (a tuple of ints). Raises DispatchGymError if one does not fit."""
        try:
            numbers = tuple(operator.index(number) for number in size)
            size = type(self.size)(*numbers)
        except TypeError:
            raise DispatchGymError(
                f"size {size!r} is not a {type(self.size).__name__}; give one like {self.size}"
            ) from None
        if any(have > room for have, room in zip(self.size, size, strict=True)):
            raise DispatchGymError(f"instances of {self.size} do not fit size {tuple(size)}; give a larger one")
        return replace(self, size=size)


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
        if not isinstance(suite, str):
            raise DispatchGymError(f"{suite!r} is no suite; give the name of one")
        if suite not in family.SUITES:
            raise UnknownNameError("suite", suite, family.SUITES)
        entries = family.SUITES[suite]().entries
        loaded = tuple(entry.instance for entry in entries)
        return Source(common_size(loaded), loaded, tuple(entry.name for entry in entries), family=family)
    chosen = default if generator is None else generator
    if isinstance(chosen, str):
        chosen = family.generator(chosen)
    elif isinstance(chosen, type) or not isinstance(chosen, Generator):
        raise DispatchGymError(f"{chosen!r} is no generator; give the name of one, such as {default!r}, or an object")
    return Source(chosen.size, generator=chosen, family=family)


_generate = jax.jit(lambda generator, seed: generator(jax.random.key(seed)), static_argnums=0)
_generate_many = jax.jit(
    lambda generator, seeds: jax.vmap(lambda s: generator(jax.random.key(s)))(seeds), static_argnums=0
)
