"""The jobs in the system as a Gantt chart: rows are PEs, colours are jobs, times are relative to the oldest arrival shown."""

from __future__ import annotations

from typing import Any

import numpy as np

from dispatchgym.envs import gantt
from dispatchgym.envs.soc.problem import NEVER, SocProblem, actual
from dispatchgym.envs.soc.state import SocState


def chart(problem: SocProblem, state: SocState) -> gantt.Chart:
    """What has run, and what runs or waits where it is expected: by shown times, one after another as committed."""
    job, pe, queued, order, finish = (
        np.asarray(x).astype(np.int64) for x in (state.job, state.pe, state.queued, state.order, state.finish)
    )
    now, inside = int(state.now), job >= 0
    origin = int(np.asarray(state.arrival)[inside].min()) if inside.any() else now
    free = np.maximum(np.asarray(state.expected), now + 1)
    bars, waiting = [], []
    for j, i in np.argwhere((pe >= 0) & inside[:, None]).tolist():
        p, template = int(pe[j, i]), int(problem.template[job[j]])
        hover = f"job {job[j]}, task {i}, PE {p}"
        if queued[j, i] < NEVER:
            waiting.append((int(order[j, i]), p, int(problem.shown[template, i, p]), int(job[j]), hover))
            continue
        start = finish[j, i] - int(actual(problem, job[j], template, i, p))
        end = int(finish[j, i]) if finish[j, i] <= now else int(free[p])
        bars.append(gantt.Bar(p, int(start) - origin, end - origin, int(job[j]), hover))
    ends = np.where(np.asarray(state.free) > now, free, now)
    for _, p, time, label, hover in sorted(waiting):
        bars.append(gantt.Bar(p, int(ends[p]) - origin, int(ends[p]) + time - origin, label, f"{hover}, queued"))
        ends[p] += time
    last = max((bar.end for bar in bars), default=1)
    marks = [("now", now - origin, gantt.MAKESPAN), ("expected", max(last, now - origin, 1), gantt.BOUND)]
    total = sum(int(problem.n_tasks[int(problem.template[k])]) for k in job[inside])
    return gantt.Chart(bars, int(problem.fixed_globals[2]), "P", total, "tasks", marks, "Jobs in the system")


def draw(problem: SocProblem, state: SocState, mode: str) -> Any:
    """u8[H, W, 3] for "rgb_array", text for "ansi" and "svg"."""
    function: Any = {"rgb_array": gantt.rgb_array, "ansi": gantt.ansi, "svg": gantt.svg}[mode]
    return function(chart(problem, state))
