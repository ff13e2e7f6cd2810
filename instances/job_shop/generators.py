"""Training distributions of job shops, sampled with ``jax.random`` on the device.

Each is a frozen dataclass with a static ``size``; calling it with a key gives a :class:`JobShopInstance` of int32
device arrays and traces under jit and vmap. Streams of ``jax.random`` change between versions: scores use suites.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from dispatchgym.instances.base import InstanceError, UnknownNameError
from dispatchgym.instances.job_shop.instance import MAX_TOTAL_WORK, JobShopInstance, JobShopSize


def _routes(key: jax.Array, jobs: int, machines: int, first: int = 0) -> jax.Array:
    """i32[jobs, machines]: for each job the machines 0..first - 1 in random order, then the others likewise."""
    bits = jax.random.bits(key, (jobs, machines), jnp.uint32)  # two equal ones: once in 2^32 pairs
    parts = (jnp.argsort(bits[:, :first], axis=1), first + jnp.argsort(bits[:, first:], axis=1))
    return jnp.concatenate(parts, axis=1).astype(jnp.int32)


def _check(what: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InstanceError(f"{what} is {value!r}; give an integer in {low}..{high}")


@dataclass(frozen=True)
class Uniform:
    """Durations U[low, high] in time units; routes at random.

    A job has ``operations`` operations (default: one per machine) or, with ``min_operations``, U[min_operations,
    operations] of them. Without ``recirculation`` it visits a machine at most once, with it every operation draws its
    machine anew. Raises InstanceError for sizes or durations that no instance can have.
    """

    jobs: int
    machines: int
    low: int = 1
    high: int = 99
    operations: int | None = None
    min_operations: int | None = None
    recirculation: bool = False

    def __post_init__(self) -> None:
        _check("jobs", self.jobs, 1, MAX_TOTAL_WORK)
        _check("machines", self.machines, 1, 2**16)
        _check("operations", self.size.operations, 1, MAX_TOTAL_WORK if self.recirculation else self.machines)
        if self.min_operations is not None:
            _check("min_operations", self.min_operations, 1, self.size.operations)
        most = (MAX_TOTAL_WORK - 1) // (self.jobs * self.size.operations)  # so that times are exact in float32
        _check("high", self.high, 0, most)
        _check("low", self.low, 0, self.high)

    @property
    def size(self) -> JobShopSize:
        """Static sizes that every sample fits in; with recirculation a job may visit one machine only."""
        operations = self.machines if self.operations is None else self.operations
        return JobShopSize(self.jobs, self.machines, operations, operations if self.recirculation else 1)

    def __call__(self, key: jax.Array) -> JobShopInstance:
        """One instance: arrays [jobs, operations]."""
        route_key, duration_key, length_key = jax.random.split(key, 3)
        shape = (self.jobs, self.size.operations)
        if self.recirculation:
            machine = jax.random.randint(route_key, shape, 0, self.machines, jnp.int32)
        else:
            machine = _routes(route_key, self.jobs, self.machines)[:, : shape[1]]
        duration = jax.random.randint(duration_key, shape, self.low, self.high + 1, jnp.int32)
        if self.min_operations is None:
            return JobShopInstance(machine, duration, jnp.full(shape[:1], shape[1], jnp.int32))
        lengths = jax.random.randint(length_key, shape[:1], self.min_operations, shape[1] + 1, jnp.int32)
        exists = jnp.arange(shape[1]) < lengths[:, None]
        return JobShopInstance(jnp.where(exists, machine, 0), jnp.where(exists, duration, 0), lengths)


@dataclass(frozen=True)
class TaillardStyle:
    """As in Taillard (1993): each job visits every machine once in random order, durations U[1, 99]."""

    jobs: int
    machines: int

    def __post_init__(self) -> None:
        _ = self._uniform  # checks the sizes

    @property
    def _uniform(self) -> Uniform:
        return Uniform(self.jobs, self.machines, 1, 99)

    @property
    def size(self) -> JobShopSize:
        """Static sizes of every sample."""
        return self._uniform.size

    def __call__(self, key: jax.Array) -> JobShopInstance:
        """One instance: arrays [jobs, machines]."""
        return self._uniform(key)


@dataclass(frozen=True)
class DemirkolStyle:
    """As in Demirkol, Mehta and Uzsoy (1998): each job visits every machine once, durations U[1, 200].

    With ``two_sets`` (their J2) it visits machines 0..machines // 2 - 1, in random order, before all others.
    """

    jobs: int
    machines: int
    two_sets: bool = True

    def __post_init__(self) -> None:
        Uniform(self.jobs, self.machines, 1, 200)  # checks the sizes

    @property
    def size(self) -> JobShopSize:
        """Static sizes of every sample."""
        return JobShopSize(self.jobs, self.machines, self.machines)

    def __call__(self, key: jax.Array) -> JobShopInstance:
        """One instance: arrays [jobs, machines]."""
        route_key, duration_key = jax.random.split(key)
        machine = _routes(route_key, self.jobs, self.machines, self.machines // 2 if self.two_sets else 0)
        duration = jax.random.randint(duration_key, machine.shape, 1, 201, jnp.int32)
        return JobShopInstance(machine, duration, jnp.full(self.jobs, self.machines, jnp.int32))


JobShopGenerator = Uniform | TaillardStyle | DemirkolStyle

GENERATORS: dict[str, Callable[..., JobShopGenerator]] = {
    "taillard": TaillardStyle,
    "uniform": Uniform,
    "demirkol": DemirkolStyle,
}


def generator(name: str, **parameters: Any) -> JobShopGenerator:
    """The generator "name-JxM", as in ``generator("taillard-15x10")`` or ``generator("uniform-6x6", high=20)``.

    Raises UnknownNameError for another name and InstanceError for sizes or parameters that it refuses.
    """
    match = re.fullmatch(r"(?P<kind>.+)-(?P<jobs>[0-9]{1,9})x(?P<machines>[0-9]{1,9})", name)
    if match is None or match["kind"] not in GENERATORS:
        sizes = f"{match['jobs']}x{match['machines']}" if match else "JxM"
        raise UnknownNameError("generator", name, [f"{kind}-{sizes}" for kind in GENERATORS])
    try:
        return GENERATORS[match["kind"]](int(match["jobs"]), int(match["machines"]), **parameters)
    except TypeError as error:
        raise InstanceError(f"generator {name!r}: {error}; see the fields of its class") from None
