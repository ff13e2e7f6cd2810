"""Time job-shop-lib's SingleJobShopGraphEnv with random legal actions on complete schedules.

How it is run: a plain Python loop over single environments, the only way it offers, with the resource-task graph of
``build_resource_task_graph``, the default residual graph updater, padded edge index, and three of its seven feature
observers (is ready, earliest start time, duration; more of them make it slower). The environments of a pool of 16
instances are built before the timing.

Policy: uniform among ``info["available_operations_with_ids"]`` (the environment has no mask array), which the default
filter of dominated operations has pruned.
"""

import random
import time

import numpy as np
from common import check_schedule, main, make_instances
from job_shop_lib import JobShopInstance, Operation
from job_shop_lib.dispatching.feature_observers import FeatureObserverType
from job_shop_lib.graphs import build_resource_task_graph
from job_shop_lib.reinforcement_learning import SingleJobShopGraphEnv

POOL = 16
OBSERVERS = (FeatureObserverType.IS_READY, FeatureObserverType.EARLIEST_START_TIME, FeatureObserverType.DURATION)


def make_env(machine_of, duration):
    """Build the environment of one instance."""
    jobs = [
        [Operation(int(machine), int(time_needed)) for machine, time_needed in zip(*rows, strict=True)]
        for rows in zip(machine_of, duration, strict=True)
    ]
    graph = build_resource_task_graph(JobShopInstance(jobs))
    return SingleJobShopGraphEnv(graph, feature_observer_configs=list(OBSERVERS))


def rollout(env, rng):
    """Run one episode; return (makespan, steps)."""
    _, info = env.reset()
    done, steps = False, 0
    while not done:
        legal = info["available_operations_with_ids"]
        _, machine, job = legal[int(rng.random() * len(legal))]
        _, _, done, _, info = env.step((job, machine))
        steps += 1
    return env.current_makespan(), steps


def starts(env, shape):
    """Return the start times of the complete schedule as an array (jobs, operations)."""
    start = np.full(shape, -1)
    for row in env.dispatcher.schedule.schedule:
        for scheduled in row:
            start[scheduled.operation.job_id, scheduled.operation.position_in_job] = scheduled.start_time
    return start


def measure(args):
    """Time single episodes until the budget is spent."""
    machine_of, duration = make_instances(POOL, args.jobs, args.machines, args.seed)
    envs = [make_env(machine_of[i], duration[i]) for i in range(POOL)]
    rng = random.Random(args.seed)
    for i in range(2):
        makespan, _ = rollout(envs[i], rng)
        if check_schedule(machine_of[i], duration[i], starts(envs[i], machine_of[i].shape)) != makespan:
            raise AssertionError("the reported makespan differs from that of the schedule")
    makespans, steps = [], 0
    begin = time.perf_counter()
    while not makespans or time.perf_counter() - begin < args.seconds:
        makespan, count = rollout(envs[len(makespans) % POOL], rng)
        makespans.append(makespan)
        steps += count
    seconds = time.perf_counter() - begin
    return {
        "schedules": len(makespans),
        "seconds": seconds,
        "steps": steps,
        "mean_makespan": np.mean(makespans),
        "notes": (
            "single environment, Python loop; resource-task graph and 3 feature observers; one step = one operation; "
            "default filter of dominated operations; warm-up schedules verified"
        ),
    }


if __name__ == "__main__":
    main("job-shop-lib SingleJobShopGraphEnv", "job-shop-lib", __doc__, measure, max_batch=1)
