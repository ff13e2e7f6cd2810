"""The integer streams behind the published instances: Taillard (1993) and Demirkol, Mehta and Uzsoy (1998).

Both draw from the stream of ``instances/lehmer.py``, with different rules for turning a state into a number.
"""

from __future__ import annotations

from collections.abc import Iterator

from dispatchgym.instances.job_shop.instance import JobShopInstance
from dispatchgym.instances.lehmer import MODULUS, stream


def taillard(jobs: int, machines: int, time_seed: int, machine_seed: int) -> JobShopInstance:
    """Taillard's instance: durations U[1, 99] by position, each job visiting every machine once in random order.

    E. Taillard, Benchmarks for basic scheduling problems, EJOR 64(2), 278-285, 1993.
    """
    times, swaps = stream(time_seed), stream(machine_seed)

    def uniform(states: Iterator[int], low: int, high: int) -> int:
        # Published values depend on this double division: integer arithmetic differs at the boundaries.
        return low + int((next(states) / MODULUS) * (high - low + 1))

    duration = [[uniform(times, 1, 99) for _ in range(machines)] for _ in range(jobs)]
    machine = [list(range(machines)) for _ in range(jobs)]
    for route in machine:
        for j in range(machines):
            k = uniform(swaps, j, machines - 1)
            route[j], route[k] = route[k], route[j]
    return JobShopInstance.from_matrices(machine, duration)


def demirkol(jobs: int, machines: int, seed: int, two_sets: bool) -> JobShopInstance:
    """The instance of Demirkol, Mehta and Uzsoy: durations U[1, 200], one stream for routes and durations.

    With ``two_sets`` (their J2) a job visits machines 0..machines // 2 - 1, in random order, before all others.
    The published dmu29 differs from this formula in one duration. EJOR 109(1), 137-141, 1998.
    """
    uniforms = (state / 2**31 for state in stream(seed))
    first = machines // 2 if two_sets else 0
    machine, duration = [], []
    for _ in range(jobs):
        place = [next(uniforms) for _ in range(machines)]
        machine.append(sorted(range(machines), key=lambda m: (m >= first, place[m])))
        duration.append([int(1 + 200 * next(uniforms)) for _ in range(machines)])
    return JobShopInstance.from_matrices(machine, duration)
