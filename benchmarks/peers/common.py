"""Shared parts of the peer timing scripts; needs only the standard library and numpy.

Every peer script runs under the Python of that peer (see ``setup.sh``) and prints one line of JSON on stdout;
whatever the peer itself prints goes to stderr. Rules that hold for all of them:

- the instances are those of :func:`make_instances`, the same integers for the same seed and size;
- actions are drawn uniformly among the legal ones, taken from the peer's own mask;
- imports, compilation, instance generation and construction of the environments are not timed; resets are;
- before the timing, :func:`check_schedule` verifies complete schedules of the same rollout.
"""

import argparse
import contextlib
import json
import os
import sys
from importlib.metadata import version

import numpy as np

MIN_DURATION, MAX_DURATION = 1, 99


def make_instances(count, jobs, machines, seed):
    """Return (machine_of, duration), int32 arrays of shape (count, jobs, machines), in the style of Taillard.

    Every job visits every machine once in random order; durations are uniform on 1..99. The first ``k``
    instances do not depend on ``count``.
    """
    rng = np.random.RandomState(seed)
    machine_of = np.empty((count, jobs, machines), np.int32)
    duration = np.empty((count, jobs, machines), np.int32)
    for index in range(count):
        duration[index] = rng.randint(MIN_DURATION, MAX_DURATION + 1, size=(jobs, machines))
        for job in range(jobs):
            machine_of[index, job] = rng.permutation(machines)
    return machine_of, duration


def check_schedule(machine_of, duration, start):
    """Check a complete schedule of one instance (arrays of shape (jobs, operations)) and return its makespan."""
    machine_of, duration, start = (np.asarray(array, np.int64) for array in (machine_of, duration, start))
    end = start + duration
    if (start < 0).any():
        raise AssertionError("an operation was not scheduled")
    if (start[:, 1:] < end[:, :-1]).any():
        raise AssertionError("an operation starts before its job predecessor ends")
    for machine in np.unique(machine_of):
        on_machine = machine_of == machine
        order = np.argsort(start[on_machine], kind="stable")
        if (start[on_machine][order][1:] < end[on_machine][order][:-1]).any():
            raise AssertionError(f"two operations overlap on machine {machine}")
    return int(end.max())


def parse_args(description, max_batch):
    """Parse the command line that all peer scripts share; batches above ``max_batch`` are refused."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--batch", type=int, default=1, help="environments stepped together")
    parser.add_argument("--seconds", type=float, default=10.0, help="time budget of the measurement")
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--machines", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.batch < 1 or (max_batch is not None and args.batch > max_batch):
        parser.error(f"--batch must be at least 1 and, for this peer, at most {max_batch}")
    if args.jobs < 1 or args.machines < 2 or args.seconds <= 0:
        parser.error("--jobs, --machines and --seconds must be positive, with at least 2 machines")
    return args


def main(peer, package, description, measure, max_batch=None):
    """Run ``measure(args)`` and print its result as the only line on stdout.

    ``measure`` returns a dict with ``schedules``, ``seconds``, ``steps``, ``mean_makespan`` and ``notes``, where
    ``steps`` counts the peer's own steps of single environments.
    """
    args = parse_args(description, max_batch)
    load = os.getloadavg()[0]
    with contextlib.redirect_stdout(sys.stderr):
        result = measure(args)
    rate = result["schedules"] / result["seconds"]
    line = {
        "peer": peer,
        "version": version(package),
        "batch": args.batch,
        "schedules": round(result["schedules"], 2),
        "seconds": round(result["seconds"], 4),
        "schedules_per_second": round(rate, 3),
        "steps": int(result["steps"]),
        "operations_per_second": round(rate * args.jobs * args.machines, 1),
        "mean_makespan": round(float(result["mean_makespan"]), 2),
        "notes": f"{result['notes']}; load average {load:.1f} on {os.cpu_count()} cores before the start",
    }
    print(json.dumps(line), flush=True)
