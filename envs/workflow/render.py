"""The chart of a workflow's schedule, partial or complete.

Rows are processors, bars and colours are tasks, times are in the instance's units.
"""

from __future__ import annotations

import numpy as np

from dispatchgym.envs import gantt
from dispatchgym.envs.workflow.problem import WorkflowProblem
from dispatchgym.envs.workflow.state import WorkflowState


def chart(problem: WorkflowProblem, state: WorkflowState, reference: int | None = None) -> gantt.Chart:
    """The schedule; ``reference``: a makespan to compare with, such as the best known one."""
    processor, start, finish = (np.asarray(x).tolist() for x in (state.processor, state.start, state.finish))
    bars = [
        gantt.Bar(row=p, start=start[i], end=finish[i], label=i, hover=f"task {i}, processor {p}")
        for i, p in enumerate(processor)
        if p >= 0
    ]
    return gantt.Chart.of(
        bars,
        rows=int(problem.instance.n_processors),
        letter="P",
        total=int(problem.instance.n_tasks),
        noun="tasks",
        title="Workflow schedule",
        lower_bound=int(problem.lower_bound),
        reference=reference,
    )
