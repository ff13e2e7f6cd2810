"""The SoC's instances: the pytree, shipped chips, streams, files, training distributions and suites."""

from __future__ import annotations

import os

import jax
import numpy as np

from dispatchgym.instances.base import SuiteEntry, find_instance
from dispatchgym.instances.soc.chip import Chip, Template
from dispatchgym.instances.soc.chips import chip
from dispatchgym.instances.soc.formats import load
from dispatchgym.instances.soc.generators import GENERATORS, generator
from dispatchgym.instances.soc.instance import SocInstance, SocSize
from dispatchgym.instances.soc.suites import FAMILY, INSTANCE_NAMES, SUITES, named

__all__ = [
    "FAMILY",
    "GENERATORS",
    "SUITES",
    "Chip",
    "SocInstance",
    "SocSize",
    "Template",
    "chip",
    "coerce",
    "entry",
    "generator",
    "load",
    "named",
]


def coerce(value: SocInstance | str | os.PathLike[str]) -> SocInstance:
    """An instance from an instance, the name of a suite's ("real-open-n0") or a path to a file of a stream.

    A string is a path if it holds a separator or a dot, or if such a file exists; names of suites come first. Raises
    UnknownNameError for another name, InstanceError for a bad file, arrays that are no stream or another kind of value.
    """
    if isinstance(value, SocInstance):
        value.check()
        plain = all(isinstance(leaf, np.ndarray) and leaf.dtype in (np.int32, bool) for leaf in jax.tree.leaves(value))
        return value if plain else value.as_int32()
    expected = "stream; give a SocInstance, a name such as 'real-open-n0' or a path"
    found: SocInstance = find_instance(value, expected, INSTANCE_NAMES, named, load)
    return found


def entry(value: str | os.PathLike[str]) -> SuiteEntry:
    """A suite's instance with its reference, or a file's instance without one; errors as in :func:`coerce`."""
    if isinstance(value, str) and value in INSTANCE_NAMES:
        return named(value)
    instance = coerce(value)
    return SuiteEntry(str(value), instance, group=f"{int(instance.n_jobs)} jobs, {int(instance.n_pes)} PEs")
