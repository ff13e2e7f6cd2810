"""Memory mapping's instances: the pytree, programs and machines, files, training distributions and suites."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any

import numpy as np

from dispatchgym.instances.base import SuiteEntry, find_instance
from dispatchgym.instances.memory.formats import load, load_program, save
from dispatchgym.instances.memory.generators import GENERATORS, generator
from dispatchgym.instances.memory.instance import MemoryInstance, MemorySize
from dispatchgym.instances.memory.machine import MACHINES, Machine
from dispatchgym.instances.memory.program import Program
from dispatchgym.instances.memory.suites import FAMILY, INSTANCE_NAMES, PROGRAMS, SUITES, named, program

__all__ = [
    "FAMILY",
    "GENERATORS",
    "MACHINES",
    "SUITES",
    "Machine",
    "MemoryInstance",
    "MemorySize",
    "Program",
    "coerce",
    "entry",
    "from_jax",
    "generator",
    "load",
    "load_program",
    "named",
    "program",
    "save",
]


def from_jax(function: Any, *args: Any, **options: Any) -> Program:
    """The program that XLA's CPU compiler makes of a JAX function; see :func:`.extract.from_jax`."""
    from dispatchgym.instances.memory import extract

    return extract.from_jax(function, *args, **options)


def coerce(value: MemoryInstance | str | os.PathLike[str]) -> MemoryInstance:
    """An instance from an instance, a name "program@capacity" of the suites ("tf2_train@32MiB") or a path.

    A string is a path if it holds a separator or a dot, or if such a file exists; names of suites come first. Raises
    UnknownNameError for another name, InstanceError for a bad file, arrays that are no instance or another kind of value.
    """
    if isinstance(value, MemoryInstance):
        value.check()
        given = [getattr(value, field.name) for field in fields(value)]
        plain = all(isinstance(array, np.ndarray) and array.dtype == np.int32 for array in given)
        return value if plain else MemoryInstance(*(np.asarray(array, np.int32) for array in given))
    expected = "memory instance; give a MemoryInstance, a name such as 'mlp_train@4MiB' or a path"
    found: MemoryInstance = find_instance(value, expected, INSTANCE_NAMES, named, load)
    return found


def entry(value: str | os.PathLike[str]) -> SuiteEntry:
    """An instance of a suite with its reference, or a file's instance without one; errors as in :func:`coerce`."""
    if isinstance(value, str) and value.partition("@")[0] in PROGRAMS and "@" in value and not os.path.isfile(value):
        return named(value)
    instance = coerce(value)
    return SuiteEntry(str(value), instance, group=f"{int(instance.n_events)} events")
