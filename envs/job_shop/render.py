"""Pictures of a job-shop schedule, partial or complete: text, SVG and pixels.

All take the start times i32[J, K] of a :class:`JobShopState`, -1 where an operation is not scheduled yet; rows are
machines, colours are jobs, times are in the instance's units.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dispatchgym.envs import gantt
from dispatchgym.instances.job_shop.instance import JobShopInstance


def _chart(instance: JobShopInstance, starts: Any, reference: int | None = None) -> gantt.Chart:
    starts, lengths = np.asarray(starts), np.asarray(instance.n_operations)
    machine, duration = np.asarray(instance.machine), np.asarray(instance.duration)
    real = np.arange(machine.shape[1]) < lengths[:, None]
    bars = [
        gantt.Bar(
            row=int(machine[j, k]),
            start=int(starts[j, k]),
            end=int(starts[j, k] + duration[j, k]),
            label=int(j),
            hover=f"job {j}, operation {k}, machine {machine[j, k]}",
        )
        for j, k in zip(*np.nonzero(real & (starts >= 0)), strict=True)
    ]
    return gantt.Chart.of(
        bars,
        rows=int(machine[real].max()) + 1,
        letter="M",
        total=int(lengths.sum()),
        noun="operations",
        title="Job-shop schedule",
        lower_bound=instance.lower_bound(),
        reference=reference,
    )


def ansi(instance: JobShopInstance, starts: Any, width: int = 76) -> str:
    """The schedule as text, jobs by letter: see :func:`dispatchgym.envs.gantt.ansi`."""
    return gantt.ansi(_chart(instance, starts), width)


def rgb_array(
    instance: JobShopInstance,
    starts: Any,
    width: int = 960,
    height: int = 540,
    horizon: int | None = None,
    reference: int | None = None,
) -> np.ndarray:
    """The schedule as a picture u8[height, width, 3].

    ``horizon`` [time] fixes the scale, so that the frames of a video match; by default everything drawn fits.
    """
    return gantt.rgb_array(_chart(instance, starts, reference), width, height, horizon)


def svg(
    instance: JobShopInstance,
    starts: Any,
    title: str = "",
    reference: int | None = None,
    width: int = 960,
    row: int = 26,
) -> str:
    """The schedule as a stand-alone SVG document of the given width [px], for light and dark backgrounds.

    ``reference``: a makespan to compare with, such as the best known one. Bars name job, operation and times on hover.
    """
    return gantt.svg(_chart(instance, starts, reference), title, width, row)
