"""The workflow's instances: the pytree, its files, training distributions, portable generators and suites."""

from __future__ import annotations

import os
from dataclasses import fields

import numpy as np

from dispatchgym.instances.base import SuiteEntry, find_instance
from dispatchgym.instances.workflow.formats import load, save
from dispatchgym.instances.workflow.generators import GENERATORS, generator
from dispatchgym.instances.workflow.instance import WorkflowInstance, WorkflowSize
from dispatchgym.instances.workflow.portable import generate
from dispatchgym.instances.workflow.predictions import with_predictions
from dispatchgym.instances.workflow.suites import FAMILY, INSTANCE_NAMES, SUITES, named

__all__ = [
    "FAMILY",
    "GENERATORS",
    "SUITES",
    "WorkflowInstance",
    "WorkflowSize",
    "coerce",
    "entry",
    "generate",
    "generator",
    "load",
    "named",
    "save",
    "with_predictions",
]


def coerce(value: WorkflowInstance | str | os.PathLike[str]) -> WorkflowInstance:
    """An instance from an instance, the name of one in a suite ("topcuoglu2002") or a path.

    A string is a path if it holds a separator or a dot, or if such a file exists; names of suites come first. Raises
    UnknownNameError for another name, InstanceError for a bad file, arrays that are no workflow or another kind of value.
    """
    if isinstance(value, WorkflowInstance):
        value.check()
        given = [getattr(value, field.name) for field in fields(value)]
        plain = all(isinstance(array, np.ndarray) and array.dtype == np.int32 for array in given)
        return value if plain else WorkflowInstance(*(np.asarray(array, np.int32) for array in given))
    expected = "workflow; give a WorkflowInstance, a name such as 'gap' or a path"
    found: WorkflowInstance = find_instance(value, expected, INSTANCE_NAMES, named, load)
    return found


def entry(value: str | os.PathLike[str]) -> SuiteEntry:
    """An instance of a suite with its reference, or a file's instance without one; errors as in :func:`coerce`."""
    if isinstance(value, str) and value in INSTANCE_NAMES:
        return named(value)
    instance = coerce(value)
    return SuiteEntry(str(value), instance, group=f"{instance.size.tasks}x{instance.size.processors}")
