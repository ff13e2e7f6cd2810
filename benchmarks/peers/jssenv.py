"""Time JSSEnv with random legal actions on complete schedules.

How it is run: a plain Python loop over single environments, the only way it offers. Instances are passed as files in
the standard format, so the environments of a pool of 16 instances are built from temporary files before the timing.
``reset()`` takes no seed and returns the observation only.

Policy: uniform among the actions of ``observation["action_mask"]``, the wait action included where it is legal
(JSSEnv prunes both jobs and waits by rules of its own).
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from common import check_schedule, main, make_instances
from JSSEnv.envs.jss_env import JssEnv

POOL = 16


def make_env(folder, index, machine_of, duration):
    """Write one instance as a standard file (machine and duration of each operation) and build its environment."""
    rows = np.stack([machine_of, duration], axis=-1).reshape(machine_of.shape[0], -1)
    lines = ["{} {}".format(*machine_of.shape)] + [" ".join(map(str, row)) for row in rows]
    path = Path(folder) / f"instance{index}.txt"
    path.write_text("\n".join(lines), encoding="ascii")
    return JssEnv({"instance_path": str(path)})


def rollout(env, rng):
    """Run one episode; return (makespan, steps)."""
    observation, done, steps = env.reset(), False, 0
    while not done:
        legal = np.flatnonzero(observation["action_mask"])
        action = int(legal[int(rng.random() * len(legal))])
        observation, _, done, _, _ = env.step(action)
        steps += 1
    return env.current_time_step, steps


def measure(args):
    """Time single episodes until the budget is spent."""
    machine_of, duration = make_instances(POOL, args.jobs, args.machines, args.seed)
    with tempfile.TemporaryDirectory() as folder:
        envs = [make_env(folder, i, machine_of[i], duration[i]) for i in range(POOL)]
    rng = np.random.default_rng(args.seed)
    for i in range(2):
        makespan, _ = rollout(envs[i], rng)
        if check_schedule(machine_of[i], duration[i], envs[i].solution) != makespan:
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
        "notes": "single environment, Python loop; a step is one operation or one wait; warm-up schedules verified",
    }


if __name__ == "__main__":
    main("JSSEnv", "JSSEnv", __doc__, measure, max_batch=1)
