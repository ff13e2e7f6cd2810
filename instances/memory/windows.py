"""Stretches of a program as programs of their own: many different instances from few programs."""

from __future__ import annotations

import numpy as np

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.memory.instance import READ, MemoryInstance


def window(instance: MemoryInstance, first: int, last: int, without: np.ndarray | None = None) -> MemoryInstance:
    """Steps ``first`` .. ``last`` of an instance without padding (host only), with the storages that they use.

    Storages where ``without`` bool[B] is true are left out, as if they always stayed in slow memory.

    What is defined before the window is a parameter of it, in slow memory at its start; what is written inside it and used
    behind it, or an output of the program, is an output. Raises InstanceError if the window lies outside the program or uses
    no storage.
    """
    steps = int(instance.n_steps)
    if not 0 <= first <= last < steps:
        raise InstanceError(
            f"steps {first}..{last} are no window of a program of {steps} steps; give 0 <= first <= last"
        )
    step, kind = np.asarray(instance.event_step), np.asarray(instance.event_kind)
    buffer, define = np.asarray(instance.event_buffer), np.asarray(instance.define)
    inside = (step >= first) & (step <= last)
    if without is not None:
        inside &= ~np.asarray(without)[buffer]
    if not inside.any():
        raise InstanceError(f"steps {first}..{last} use no storage; choose a longer window")
    used, number = np.unique(buffer[inside], return_inverse=True)
    later = np.isin(used, buffer[step > last])
    written = np.isin(used, buffer[inside & (kind != READ)])
    output = written & (later | (np.asarray(instance.output)[used] > 0))
    within = slice(first, last + 1)
    return MemoryInstance(
        compute=np.asarray(instance.compute)[within],
        memory=np.asarray(instance.memory)[within],
        n_steps=np.int32(last - first + 1),
        n_buffers=np.int32(len(used)),
        n_events=np.int32(inside.sum()),
        capacity=np.asarray(instance.capacity),
        granules=np.asarray(instance.granules)[used],
        define=np.where(define[used] >= first, define[used] - first, -1).astype(np.int32),
        output=output.astype(np.int32),
        demand=np.asarray(instance.demand)[used],
        event_buffer=number.astype(np.int32),
        event_step=step[inside] - first,
        event_kind=kind[inside],
        gain=np.asarray(instance.gain)[inside],
        traffic=np.asarray(instance.traffic)[inside],
    )


def longest(instance: MemoryInstance, first: int, most: int) -> int:
    """The last step up to which a window from ``first`` has at most ``most`` steps and use-events; ``first`` at least."""
    step = np.asarray(instance.event_step)
    behind = step[step >= first]
    last = int(behind[most]) - 1 if len(behind) > most else int(instance.n_steps) - 1
    return max(first, min(last, first + most - 1))


def peak_granules(instance: MemoryInstance) -> int:
    """Largest sum of granules of storages that live in one step; parameters live from the start, outputs to the end."""
    steps, define = int(instance.n_steps), np.asarray(instance.define)
    last = define.copy()
    np.maximum.at(last, np.asarray(instance.event_buffer), np.asarray(instance.event_step))
    last = np.where(np.asarray(instance.output) > 0, steps - 1, last)
    change = np.zeros(steps + 1, np.int64)
    np.add.at(change, np.maximum(define, 0), instance.granules)
    np.add.at(change, last + 1, -np.asarray(instance.granules))
    return int(change.cumsum().max())
