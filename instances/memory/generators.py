"""Training distributions of memory mapping, sampled on the device: random programs, compiled ones, windows of them.

Each is a frozen dataclass with a static ``size``; calling it with a key gives a :class:`MemoryInstance` of int32 device
arrays and traces under jit and vmap. Streams of ``jax.random`` change between versions: scores use suites.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispatchgym.instances.base import InstanceError, UnknownNameError, common_size, stack
from dispatchgym.instances.memory.instance import MemoryInstance, MemorySize
from dispatchgym.instances.memory.machine import GRANULE, Machine
from dispatchgym.instances.memory.random_program import RandomProgram
from dispatchgym.instances.memory.scenario import find_machine
from dispatchgym.instances.memory.suites import TRAINING, program
from dispatchgym.instances.memory.windows import longest, peak_granules, window

LARGEST_SHARE, SMALLEST_SHARE = -0.5, -3.5  # binary logarithms of the capacity over the peak of live granules
MOST_MISSING = 0.4  # share of the storages that a window may lack


@dataclass(frozen=True)
class Programs:
    """The training programs of the suites with at most ``most`` steps and events, each as likely, on some machines.

    The capacity is 2^U[-3.5, -0.5] of the peak of live granules. ``programs`` names others than all training programs.
    Raises InstanceError where no program is small enough, and UnknownNameError for an unknown machine or program.
    """

    most: int
    machines: tuple[str | Machine, ...] = ("tpu-v4i",)
    programs: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self._members:
            raise InstanceError(
                f"no training program has at most {self.most} steps and events on {len(self.machines)} machines; allow more"
            )

    @cached_property
    def _members(self) -> list[tuple[MemoryInstance, int]]:
        """The instances, with a capacity of one granule for now, and the peak of live granules of each."""
        fitting = [whole for whole in self._whole() if max(whole.size.steps, whole.size.events) <= self.most]
        return [(whole, peak_granules(whole)) for whole in fitting]

    def _whole(self) -> list[MemoryInstance]:
        """The programs on the machines."""
        everything = tuple(name for family in TRAINING.values() for name in family)
        compiled = [program(name) for name in (everything if self.programs is None else self.programs)]
        return [p.instance(find_machine(m), GRANULE) for p in compiled for m in self.machines]

    @cached_property
    def _pool(self) -> MemoryInstance:
        return stack([instance for instance, _ in self._members])

    @property
    def size(self) -> MemorySize:
        """Static sizes that every sample fits in."""
        size: MemorySize = common_size([instance for instance, _ in self._members])
        return size

    def __call__(self, key: jax.Array) -> MemoryInstance:
        """One instance, in the arrays of the largest program."""
        which_key, share_key = jax.random.split(key)
        which = jax.random.randint(which_key, (), 0, len(self._members))
        share = jnp.exp2(jax.random.uniform(share_key, (), minval=SMALLEST_SHARE, maxval=LARGEST_SHARE))
        chosen: MemoryInstance = jax.tree.map(lambda leaf: jnp.asarray(leaf)[which], self._pool)
        peak = jnp.asarray(np.array([peak for _, peak in self._members], np.int32))[which]
        return replace(chosen, capacity=jnp.maximum(1, (share * peak).astype(jnp.int32)))


@dataclass(frozen=True)
class Windows(Programs):
    """Windows of at most ``most`` steps and events of the training programs, ``cuts`` of each program and machine.

    The cuts are the same in every process; a program that is small enough is one of its own. The others have at least a
    quarter of the steps that they could have, and every second one lacks some storages, up to 40 %. Arithmetic takes
    2^U[-s, s] of its time, s = ``spread``. Otherwise as :class:`Programs`.
    """

    cuts: int = 24
    spread: float = 1.0

    @cached_property
    def _members(self) -> list[tuple[MemoryInstance, int]]:
        rng = np.random.default_rng(self.cuts)
        members = []
        for whole in self._whole():
            for cut in range(self.cuts):
                steps = int(whole.n_steps)
                first = 0 if cut == 0 else int(rng.integers(max(steps - self.most // 4, 1)))
                last = longest(whole, first, self.most)
                missing = np.zeros(int(whole.n_buffers), bool)
                if cut > 0:
                    last = int(rng.integers(first + (last - first) // 4, last + 1))
                if cut % 2:
                    missing = rng.random(len(missing)) < rng.uniform(0, MOST_MISSING)
                used = (whole.event_step >= first) & (whole.event_step <= last) & ~missing[whole.event_buffer]
                if not used.any():
                    continue
                part = window(whole, first, last, missing)
                if max(part.size.steps, part.size.events) <= self.most:
                    members.append((part, peak_granules(part)))
        return members

    def __call__(self, key: jax.Array) -> MemoryInstance:
        """One instance, in the arrays of the largest window."""
        chosen_key, spread_key = jax.random.split(key)
        chosen = super().__call__(chosen_key)
        factor = jnp.exp2(jax.random.uniform(spread_key, (), minval=-self.spread, maxval=self.spread))
        return replace(chosen, compute=(chosen.compute * factor).astype(jnp.int32))


MemoryGenerator = RandomProgram | Programs

GENERATORS: dict[str, Callable[..., MemoryGenerator]] = {
    "random": RandomProgram,
    "programs": Programs,
    "windows": Windows,
}


def generator(name: str, **parameters: Any) -> MemoryGenerator:
    """The generator "random-TxB" (T steps, at most B buffers), "programs-K" or "windows-K" (at most K steps and events).

    As in ``generator("random-64x48")`` or ``generator("programs-512", machines=("tpu-v4i", "h100"))``. Raises
    UnknownNameError for another name and InstanceError for sizes or parameters that it refuses.
    """
    found = re.fullmatch(r"random-([0-9]{1,9})x([0-9]{1,9})|(?:programs|windows)-([0-9]{1,9})", name)
    if found is None:
        raise UnknownNameError("generator", name, ("random-64x48", "programs-512", "windows-200"))
    sizes = [int(number) for number in found.groups() if number is not None]
    parameters = {key: tuple(value) if isinstance(value, list) else value for key, value in parameters.items()}
    try:
        return GENERATORS[name.partition("-")[0]](*sizes, **parameters)
    except TypeError as error:
        raise InstanceError(f"generator {name!r}: {error}; see the fields of its class") from None
