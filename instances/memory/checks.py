"""What makes arrays a memory-mapping instance; every refusal names the step, buffer or event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.task_graph import integers

MAX_STEP = 2**24 - 1  # ticks of one step: float32 rewards are exact
MAX_LATENCY = (
    2**30
)  # ticks of the program with everything in slow memory: sums with both channels' copies stay in 32 bits
MAX_CAPACITY = 2**24  # granules
MAX_STEPS, MAX_EVENTS = 2**14, 2**15  # each lane of a rollout holds them all

OF_STEPS = ("compute", "memory")
OF_BUFFERS = ("granules", "define", "output", "demand")
OF_EVENTS = ("event_buffer", "event_step", "event_kind", "gain", "traffic")
COUNTS = ("n_steps", "n_buffers", "n_events")


def check(given: Mapping[str, Any]) -> None:
    """Raise InstanceError unless the fields of a MemoryInstance, by name, are one."""
    arrays = {name: integers(value, name, lambda at: f"entry {at[0]}") for name, value in given.items()}
    counts = []
    for names, count, most in (
        (OF_STEPS, COUNTS[0], MAX_STEPS),
        (OF_BUFFERS, COUNTS[1], MAX_EVENTS),
        (OF_EVENTS, COUNTS[2], MAX_EVENTS),
    ):
        shapes = {arrays[name].shape for name in names}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise InstanceError(f"{', '.join(names)} have the shapes {sorted(shapes)}; give one length to all of them")
        room, n = next(iter(shapes))[0], arrays[count]
        if n.ndim or not 1 <= n <= room:
            raise InstanceError(f"{count} is {n.tolist()} in arrays of {room}; give one number in 1..{room}")
        if room > most:
            raise InstanceError(f"{names[0]} has {room} entries; a program can have at most {most}")
        counts.append(int(n))
        filling = {"define": -1, "event_kind": -1}
        for name in names:
            for i in np.flatnonzero(arrays[name][int(n) :] != filling.get(name, 0))[:1] + int(n):
                raise InstanceError(
                    f"{name}[{i}] is {arrays[name][i]} in the padding; set it to {filling.get(name, 0)}"
                )
    capacity = arrays["capacity"]
    if capacity.ndim or not 1 <= capacity <= MAX_CAPACITY:
        raise InstanceError(f"capacity is {capacity.tolist()} granules; give one number in 1..{MAX_CAPACITY}")
    steps, buffers, events = counts
    _check_steps(*(arrays[name][:steps] for name in OF_STEPS))
    granules, define, output, demand = (arrays[name][:buffers] for name in OF_BUFFERS)
    _check_buffers(granules, define, output, demand, steps)
    _check_events(arrays, steps, buffers, events)


def _check_steps(compute: np.ndarray, memory: np.ndarray) -> None:
    for name, values in (("compute", compute), ("memory", memory)):
        for t in np.flatnonzero((values < 0) | (values > MAX_STEP))[:1]:
            raise InstanceError(f"step {t}: {name} is {values[t]} ticks; give 0..{MAX_STEP}, or split the step")
    if (total := int(np.maximum(compute, memory).sum())) > MAX_LATENCY:
        raise InstanceError(f"the steps take {total} ticks; a program may take at most {MAX_LATENCY} (62 ms): cut it")


def _check_buffers(
    granules: np.ndarray, define: np.ndarray, output: np.ndarray, demand: np.ndarray, steps: int
) -> None:
    for b in np.flatnonzero(granules < 1)[:1]:
        raise InstanceError(f"buffer {b}: its size is {granules[b]} granules; give 1 or more")
    for b in np.flatnonzero((define < -1) | (define >= steps))[:1]:
        raise InstanceError(
            f"buffer {b}: it is defined by step {define[b]} of {steps}; give -1 for a parameter or a step"
        )
    for b in np.flatnonzero((output < 0) | (output > 1))[:1]:
        raise InstanceError(f"buffer {b}: output is {output[b]}; give 0 or 1")
    for b in np.flatnonzero((demand < 1) | (demand > MAX_LATENCY))[:1]:
        raise InstanceError(f"buffer {b}: its copy takes {demand[b]} ticks; give 1..{MAX_LATENCY}")


def _check_events(arrays: Mapping[str, np.ndarray], steps: int, buffers: int, events: int) -> None:
    buffer, step, kind, gain, traffic = (arrays[name][:events] for name in OF_EVENTS)
    define, memory = arrays["define"], arrays["memory"]
    for e in np.flatnonzero((buffer < 0) | (buffer >= buffers))[:1]:
        raise InstanceError(f"event {e}: there is no buffer {buffer[e]}; give one of 0..{buffers - 1}")
    for e in np.flatnonzero((kind < 0) | (kind > 2))[:1]:
        raise InstanceError(f"event {e}: its kind is {kind[e]}; give 0 (read), 1 (write) or 2 (update)")
    for e in np.flatnonzero((step < 0) | (step >= steps))[:1]:
        raise InstanceError(
            f"event {e}: buffer {buffer[e]} is used in step {step[e]}, but the program has the steps 0..{steps - 1}"
        )
    for e in np.flatnonzero(step < define[buffer])[:1]:
        b = buffer[e]
        raise InstanceError(f"event {e}: buffer {b} is used in step {step[e]}, before step {define[b]} defines it")
    for e in np.flatnonzero((kind == 1) != (step == define[buffer]))[:1]:
        b = buffer[e]
        raise InstanceError(
            f"event {e}: buffer {b}, defined by step {define[b]}, has the kind {kind[e]} in step {step[e]}; "
            "a buffer's first event and no other is its write"
        )
    for e in np.flatnonzero((gain < 0) | (traffic < gain))[:1]:
        raise InstanceError(f"event {e}: gain {gain[e]} and traffic {traffic[e]}; give 0 <= gain <= traffic")
    saved = np.bincount(step, traffic, minlength=steps)
    for t in np.flatnonzero(saved > memory[:steps])[:1]:
        raise InstanceError(
            f"step {t}: its events move {saved[t]:.0f} ticks of data, more than its {memory[t]} of traffic; correct either"
        )
    key = 2 * step + (kind == 0)
    for e in np.flatnonzero(key[1:] < key[:-1])[:1] + 1:
        raise InstanceError(f"event {e}: step {step[e]} is out of order; sort by step, writes and updates before reads")
    pairs = step.astype(np.int64) * buffers + buffer
    if len(np.unique(pairs)) < events:
        e = next(e for e in range(events) if pairs[e] in pairs[:e])
        raise InstanceError(f"event {e}: buffer {buffer[e]} has another event in step {step[e]}; merge them")
    unused = np.setdiff1d(np.arange(buffers), buffer)
    for b in unused[:1]:
        raise InstanceError(f"buffer {b}: it has no event; leave it out")
    for b in np.flatnonzero(define[:buffers] >= 0):
        if not ((buffer == b) & (kind == 1)).any():
            raise InstanceError(f"buffer {b}: step {define[b]} defines it, but it has no write; add the event")
