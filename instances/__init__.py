"""Problems to schedule: what every family's instances share (``base``) and one door per family (``job_shop``).

An instance holds all that is exogenous, so that an episode is a deterministic function of instance and actions. Each
family offers its instance type, readers for its files, training generators and named suites with best known references.
"""

from dispatchgym.instances.base import (
    DispatchGymError,
    Generator,
    Instance,
    InstanceError,
    Reference,
    Suite,
    SuiteEntry,
    SuiteTable,
    UnknownNameError,
    common_size,
    stack,
    unstack,
)

__all__ = [
    "DispatchGymError",
    "Generator",
    "Instance",
    "InstanceError",
    "Reference",
    "Suite",
    "SuiteEntry",
    "SuiteTable",
    "UnknownNameError",
    "common_size",
    "stack",
    "unstack",
]
