"""What makes arrays a stream of jobs on a chip, and bounds its times so that int32 holds them.

At each instant of an episode a gap, a task or a transfer is running. So no time exceeds H, the sum of the gaps and,
over the jobs, of each task's longest actual time and each edge's longest delay; the flow time is at most jobs x H.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.task_graph import TaskGraph, integers

if TYPE_CHECKING:
    from dispatchgym.instances.soc.instance import SocInstance

MAX_TIME = 715_000  # a nominal time times 3000 per mille, and 500, is below 2**31
MAX_H = 2**30  # so that the sum of two times is an int32
MAX_FLOW = 2**31
MULTIPLIERS = (100, 3000)  # per mille
MAX_CAP = 10_000  # every lane of a rollout holds so many [tasks] slots
_AXES = {
    "time": "DTM",
    "n_tasks": "D",
    "edges": "DE3",
    "bandwidth": "MM",
    "n_pes": "",
    "power": "M",
    "n_jobs": "",
    "template": "N",
    "gap": "N",
    "multiplier": "NT",
    "cap": "",
}
_PADDING = {"time": -1, "power": 0, "bandwidth": 1, "template": 0, "gap": 0, "multiplier": 1000}


def fields(instance: SocInstance) -> dict[str, np.ndarray]:
    """Every field but ``closed`` as i64 on the host. Raises InstanceError naming the field, unless its shape fits."""
    place = "{}".format
    arrays = {name: integers(getattr(instance, name), name, place) for name in _AXES}
    axes = dict(zip("DTM", arrays["time"].shape, strict=False)) | {"3": 3, "N": arrays["template"].size}
    axes["E"] = arrays["edges"].shape[1] if arrays["edges"].ndim == 3 else -1
    for name, letters in _AXES.items():
        if arrays[name].shape != tuple(axes.get(letter, -1) for letter in letters):
            problem = f"{name} has the shape {arrays[name].shape}"
            raise InstanceError(
                f"{problem}; give [{', '.join(letters)}], with sizes as in time [D, T, M] and template [N]"
            )
    if np.asarray(instance.closed).dtype != bool or np.shape(instance.closed):
        raise InstanceError(f"closed is {instance.closed}; give True or False")
    return arrays


def platform(
    time: np.ndarray,
    n_tasks: np.ndarray,
    edges: np.ndarray,
    bandwidth: np.ndarray,
    templates: Sequence[str] | None = None,
    tasks: Sequence[Sequence[str]] | None = None,
    connected: bool = False,
) -> list[TaskGraph]:
    """The templates' graphs, from the arrays of ``SocInstance`` without padded PEs and templates.

    Raises InstanceError naming the template and task by the names given (else by number), unless they can run.
    """
    if not len(n_tasks) or not time.shape[2]:
        raise InstanceError("a chip needs at least one PE and one template; this one has none")
    graphs = []
    for d, count in enumerate(n_tasks.tolist()):
        name = f"template {d if templates is None else repr(templates[d])}"
        if not 1 <= count <= time.shape[1]:
            raise InstanceError(f"{name} has {count} tasks in arrays of {time.shape[1]}; give 1..{time.shape[1]}")
        real = edges[d][edges[d, :, 2] != -1]
        names = None if tasks is None else tasks[d]
        graph = TaskGraph.checked(time[d, :count], real, bandwidth, names, connected, f"{name}: ")
        if (longest := graph.time.max()) > MAX_TIME:
            i, p = np.argwhere(graph.time == longest)[0]
            what = f"task {i if names is None else repr(names[i])} takes {longest} on PE {p}"
            raise InstanceError(f"{name}: {what}; times must be 0..{MAX_TIME}, so use a coarser tick")
        if graph.rank_bound() >= MAX_FLOW:
            most = f"tasks x 1000 x (longest time + longest delay) = {graph.rank_bound()}"
            raise InstanceError(
                f"{name}: {most} overflows the ranks of {MAX_FLOW - 1}; use a coarser tick or fewer tasks"
            )
        graphs.append(graph)
    return graphs


def check(instance: SocInstance) -> None:
    """Raise InstanceError naming the element, unless the arrays are a (padded) stream that fits int32 (host only)."""
    arrays = fields(instance)
    pes, jobs, cap = (int(arrays[name]) for name in ("n_pes", "n_jobs", "cap"))
    for what, value, most in (("PEs", pes, len(arrays["power"])), ("jobs", jobs, len(arrays["template"]))):
        if not 1 <= value <= most:
            raise InstanceError(f"the stream has {value} {what} in arrays of {most}; give at least one, at most {most}")
    if not 1 <= cap <= MAX_CAP:
        raise InstanceError(f"cap is {cap}, but it bounds the jobs in the system; give 1..{MAX_CAP}")
    used = arrays["n_tasks"] != 0
    templates = int(used.sum())
    if used[templates:].any():
        raise InstanceError(f"template {int(used.argmin())} has 0 tasks; move it behind the others, as padding")
    time, edges, bandwidth = arrays["time"][:templates, :, :pes], arrays["edges"][:templates], arrays["bandwidth"]
    graphs = platform(time, arrays["n_tasks"][:templates], edges, bandwidth[:pes, :pes])
    _check_jobs(arrays, jobs, templates)
    _check_padding(arrays, pes, jobs, templates)
    _check_bounds(arrays, graphs, jobs)


def _check_jobs(arrays: dict[str, np.ndarray], jobs: int, templates: int) -> None:
    template, gap, multiplier = (arrays[name][:jobs] for name in ("template", "gap", "multiplier"))
    for k in np.flatnonzero((template < 0) | (template >= templates))[:1]:
        raise InstanceError(f"job {k} is of template {template[k]}; give 0..{templates - 1}")
    for k in np.flatnonzero(gap < 0)[:1]:
        raise InstanceError(f"job {k} has the gap {gap[k]}; give 0 or more")
    low, high = MULTIPLIERS
    for k, i in np.argwhere((multiplier < low) | (multiplier > high))[:1]:
        raise InstanceError(f"job {k}, task {i}: multiplier {multiplier[k, i]} is outside {low}..{high} per mille")
    for p in np.flatnonzero(arrays["power"] < 0)[:1]:
        raise InstanceError(f"PE {p} has the power {arrays['power'][p]} mW; give 0 or more")


def _check_padding(arrays: dict[str, np.ndarray], pes: int, jobs: int, templates: int) -> None:
    time, edges, n_tasks = arrays["time"], arrays["edges"], arrays["n_tasks"][:templates]
    exists = np.arange(time.shape[1]) < np.pad(n_tasks, (0, len(time) - templates))[:, None]  # [D, T]
    real_job, real_pe = np.arange(len(arrays["gap"])) < jobs, np.arange(len(arrays["power"])) < pes
    real = {
        "time": exists[..., None] & real_pe,
        "power": real_pe,
        "bandwidth": real_pe & real_pe[:, None],
        "template": real_job,
        "gap": real_job,
        "multiplier": exists[arrays["template"] * real_job] & real_job[:, None],
    }
    for name, value in _PADDING.items():
        for at in np.argwhere(~real[name] & (arrays[name] != value))[:1]:
            place = ", ".join(map(str, at.tolist()))
            raise InstanceError(f"{name}[{place}] is {arrays[name][tuple(at)]}, in the padding; set it to {value}")
    absent = (edges[..., 2] == -1) | (np.arange(len(edges)) >= templates)[:, None]
    for d, e in np.argwhere(absent & (edges != (0, 0, -1)).any(axis=2))[:1]:
        raise InstanceError(f"edges[{d}, {e}] is {edges[d, e].tolist()}, in the padding; set it to [0, 0, -1]")


def horizon(arrays: dict[str, np.ndarray], graphs: Sequence[TaskGraph], jobs: int) -> int:
    """H of the module's text, from checked arrays [ticks]."""
    total = int(arrays["gap"][:jobs].sum())
    for d, graph in enumerate(graphs):
        multiplier = arrays["multiplier"][:jobs][arrays["template"][:jobs] == d][:, : len(graph.time)]
        total += int(actual_times(graph.time.max(axis=1), multiplier).sum())
        total += len(multiplier) * int(graph.largest_delays().sum())
    return total


def _check_bounds(arrays: dict[str, np.ndarray], graphs: Sequence[TaskGraph], jobs: int) -> None:
    h = horizon(arrays, graphs, jobs)
    if h >= MAX_H or jobs * h >= MAX_FLOW:
        bounds = f"times up to {h} and a total flow time up to {jobs * h}"
        raise InstanceError(
            f"{jobs} jobs may need {bounds}; use fewer jobs or a coarser tick ({MAX_H - 1}, {MAX_FLOW - 1})"
        )


def actual_times(time: np.ndarray, multiplier: np.ndarray | int) -> np.ndarray:
    """What tasks really take [ticks], from nominal times and multipliers [per mille] of shapes that broadcast."""
    return np.where(time <= 0, time, np.maximum(1, (time * multiplier + 500) // 1000))
