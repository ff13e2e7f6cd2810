"""What every family's instances have in common: sizes, suites, references and the errors of bad input.

An *instance* is a frozen dataclass of arrays, registered as a pytree, that holds everything exogenous (durations, demand,
prices, noise). It offers ``size`` (a NamedTuple of ints: the static shape it needs) and ``pad(size)`` (the same problem in
larger arrays). A *generator* offers ``size`` and is called with a JAX key; it is traced, and serves training only.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np

if TYPE_CHECKING:  # the command line reads the registry and these errors without paying for jax
    import jax


LISTINGS = {"env": "envs", "suite": "suites", "policy": "policies"}  # verbs of the command line


class DispatchGymError(Exception):
    """Base of the errors raised for bad input: one line with cause, value and remedy."""


class InstanceError(DispatchGymError, ValueError):
    """An instance, or a file of one, breaks a rule of its family."""


class UnknownNameError(DispatchGymError, KeyError):
    """A name that is not registered; the message suggests the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        if near:
            hint = "did you mean " + " or ".join(repr(n) for n in near) + "?"
        elif not known:
            hint = "there are none"
        elif len(known) <= 12:
            hint = "known: " + ", ".join(known)
        elif kind in LISTINGS:
            hint = f"there are {len(known)}; list them with `dispatchgym {LISTINGS[kind]}`"
        else:
            hint = f"there are {len(known)}, such as {known[0]} and {known[-1]}"
        self.message = f"unknown {kind} {name!r}; {hint}"
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message


@runtime_checkable
class Instance(Protocol):
    """A problem with all of its exogenous data, as a pytree of arrays."""

    @property
    def size(self) -> tuple[int, ...]:
        """The static shape the instance needs, as the family's size NamedTuple."""

    def pad(self, size: Any) -> Any:
        """The same problem in arrays of ``size``; padding is masked and enters no rule."""


@runtime_checkable
class Generator(Protocol):
    """A distribution over instances of one static size, sampled on the device."""

    @property
    def size(self) -> Any:
        """The static size of every sample."""

    def __call__(self, key: jax.Array) -> Any:
        """One instance; traced by jit and vmap."""


@dataclass(frozen=True)
class Reference:
    """What a score is measured against, with its provenance."""

    value: int  # best known objective, in the family's natural units
    status: str  # "optimal" | "best-known" | "bound"
    lower_bound: int | None = None
    source: str = ""
    date: str = ""


@dataclass(frozen=True)
class SuiteEntry:
    """One problem of a suite."""

    name: str
    instance: Any
    reference: Reference | None = None
    group: str = ""  # size class, or whatever the suite's averages are taken over


@dataclass(frozen=True)
class Suite:
    """A named, versioned list of instances with their references."""

    name: str
    family: str
    version: int
    description: str
    entries: tuple[SuiteEntry, ...]

    def __iter__(self) -> Iterator[SuiteEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


SuiteTable = dict[str, Callable[[], Suite]]

Sized = TypeVar("Sized", bound=Instance)


def find_instance(
    value: Any, expected: str, names: Container[str], named: Callable[[str], SuiteEntry], load: Callable[[Any], Any]
) -> Any:
    """The instance that a published name or a path stands for; ``expected`` completes "an X is no ..." for other values.

    A string is a path if it holds a separator or a dot, or if such a file exists; published names come first.
    """
    if isinstance(value, os.PathLike):
        return load(value)
    if not isinstance(value, str):
        raise InstanceError(f"a {type(value).__name__} is no {expected}")
    if "/" in value or os.sep in value or "." in value:
        return load(Path(value).expanduser())
    if value not in names and os.path.isfile(value):
        return load(value)
    return named(value).instance


def common_size(instances: Sequence[Any]) -> Any:
    """The smallest size that all instances fit in (field-wise maximum)."""
    if not instances:
        raise InstanceError("no instances given; pass at least one")
    sizes = [instance.size for instance in instances]
    return type(sizes[0])(*(max(column) for column in zip(*sizes, strict=True)))


def stack(instances: Sequence[Sized], size: Any = None) -> Sized:
    """Pad to one size (default: the common one) and stack along a new leading axis."""
    import jax

    size = common_size(instances) if size is None else size
    padded = [instance.pad(size) for instance in instances]
    stacked: Sized = jax.tree.map(lambda *leaves: np.stack(leaves), *padded)
    return stacked


def unstack(batch: Any, index: int) -> Any:
    """Row ``index`` of a stacked pytree, on the host."""
    import jax

    return jax.tree.map(lambda leaf: np.asarray(leaf[index]), batch)


def fingerprint(instance: Any) -> str:
    """sha256 over the instance's arrays, unpadded as given: field names, shapes, and values as little-endian int64.

    Float fields are hashed as their float64 bits. Equal problems in arrays of equal shape have equal fingerprints.
    """
    digest = hashlib.sha256(type(instance).__name__.encode())
    for field in fields(instance):
        values = np.asarray(getattr(instance, field.name))
        exact = values.astype("<f8" if values.dtype.kind == "f" else "<i8")
        digest.update(f"{field.name}{exact.shape}".encode() + exact.tobytes())
    return digest.hexdigest()
