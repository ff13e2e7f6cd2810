"""Predictions for schedulers that do not know the work ahead (Lassota, Lindermayr, Megow and Schlöter, ICML 2023)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dispatchgym.instances.lehmer import normal
from dispatchgym.instances.workflow.instance import WorkflowInstance
from dispatchgym.instances.workflow.portable import states
from dispatchgym.instances.workflow.structures import check

MAX_ERROR = 10_000  # per mille
MAX_PREDICTION = 2**24 - 1


def with_predictions(instance: WorkflowInstance, error: int, seed: int = 1) -> WorkflowInstance:
    """The same workflow with predictions of the work of each task and all its descendants, ``error`` in per mille.

    The work of a task is its mean time over the supporting processors, rounded. Its prediction is the sum times 1 + e, or
    over 1 - e where e is negative; e is normal with mean 0 and standard deviation ``error``. The median factor is 1, and
    with ``error`` 0 predictions are exact. The largest prediction is 2^24 - 1. Raises InstanceError for another error
    or seed.
    """
    check("error", error, 0, MAX_ERROR)
    source = states(seed)
    graph = instance.graph()
    work = (graph.mean_times + 500) // 1000
    below = np.eye(len(work), dtype=bool)  # below[i]: task i and its descendants
    for i in reversed(graph.order):
        for _, j in graph.successors[i]:
            below[i] |= below[j]
    prediction = np.zeros(np.shape(instance.prediction), np.int32)
    for i, row in enumerate(below):
        exact = int(work[row].sum())
        e = error * normal(source) // 1000
        distorted = exact * (1000 + e) // 1000 if e >= 0 else exact * 1000 // (1000 - e)
        prediction[i] = min(distorted, MAX_PREDICTION)
    return replace(instance, prediction=prediction)
