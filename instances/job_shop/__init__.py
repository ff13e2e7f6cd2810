"""The job shop's instances: the pytree, its files, training distributions and published suites."""

from __future__ import annotations

import os
from dataclasses import fields

import numpy as np

from dispatchgym.instances.base import SuiteEntry, find_instance
from dispatchgym.instances.job_shop.formats import load
from dispatchgym.instances.job_shop.generators import GENERATORS, generator
from dispatchgym.instances.job_shop.instance import JobShopInstance, JobShopSize
from dispatchgym.instances.job_shop.suites import FAMILY, INSTANCE_NAMES, SUITES, named

__all__ = [
    "FAMILY",
    "GENERATORS",
    "SUITES",
    "JobShopInstance",
    "JobShopSize",
    "coerce",
    "entry",
    "generator",
    "load",
    "named",
]


def coerce(value: JobShopInstance | str | os.PathLike[str]) -> JobShopInstance:
    """An instance from an instance, the name of a published one ("ft06") or a path.

    A string is a path if it holds a separator or a dot, or if such a file exists; published names come first. Raises
    UnknownNameError for another name, InstanceError for a bad file, arrays that are no job shop or another kind of value.
    """
    if isinstance(value, JobShopInstance):
        value.check()
        given = [getattr(value, field.name) for field in fields(value)]
        plain = all(isinstance(array, np.ndarray) and array.dtype == np.int32 for array in given)
        return value if plain else JobShopInstance(*(np.asarray(array, np.int32) for array in given))
    expected = "job shop; give a JobShopInstance, a name such as 'ft06' or a path"
    found: JobShopInstance = find_instance(value, expected, INSTANCE_NAMES, named, load)
    return found


def entry(value: str | os.PathLike[str]) -> SuiteEntry:
    """A published instance with its reference, or a file's instance without one; errors as in :func:`coerce`."""
    if isinstance(value, str) and value in INSTANCE_NAMES:
        return named(value)
    instance = coerce(value)
    return SuiteEntry(str(value), instance, group=f"{instance.size.jobs}x{instance.size.machines}")
