"""Time RL4CO's JSSPEnv with random legal actions on complete schedules.

How it is run: as in RL4CO's own ``rollout`` helper, a loop of policy and ``env.step`` over a batch in a TensorDict
until every instance is done, under ``torch.inference_mode``, with TorchRL mode off (the default, the fast path of
``step``). A few untimed steps choose between one thread and torch's default number of threads: small batches and a
busy machine favour one. Finished instances of a batch take the no-op, as in that helper.
The environment has its default options (``mask_no_ops=True``: only non-delay schedules; reward at the end).

Policy: a job uniformly among those of ``action_mask``, with ``torch.multinomial`` as in RL4CO's ``random_policy``.

``schedules`` counts complete schedules of whole batches; at least one batch is run, even if it outlasts the budget.
The warm-up is one batch of at most 16 instances, whose schedules are verified.
"""

import time
import warnings

import torch
from common import check_schedule, main, make_instances
from rl4co.envs import JSSPEnv
from tensordict import TensorDict


def to_tensordict(machine_of, duration):
    """Return the batch in the format of RL4CO's generator: processing times as (batch, machines, operations)."""
    count, jobs, machines = machine_of.shape
    operations = jobs * machines
    times = torch.zeros(count, machines, operations)
    index = torch.from_numpy(machine_of.reshape(count, 1, operations)).long()
    times.scatter_(1, index, torch.from_numpy(duration.reshape(count, 1, operations)).float())
    first = torch.arange(0, operations, machines).expand(count, jobs).clone()
    return TensorDict(
        {
            "start_op_per_job": first,
            "end_op_per_job": first + machines - 1,
            "proc_times": times,
            "pad_mask": torch.zeros(count, operations, dtype=torch.bool),
        },
        batch_size=[count],
    )


def random_step(env, td):
    """Take one random legal action in every instance of the batch."""
    td["action"] = torch.multinomial(td["action_mask"].float(), 1).squeeze(-1)
    return env.step(td)["next"]


def choose_threads(env, instances):
    """Keep the faster of one thread and the default number, by the time of a few steps of the whole batch."""
    seconds = {}
    for threads in (torch.get_num_threads(), 1):
        torch.set_num_threads(threads)
        td = random_step(env, env.reset(instances))
        begin = time.perf_counter()
        for _ in range(5):
            td = random_step(env, td)
        seconds[threads] = time.perf_counter() - begin
    torch.set_num_threads(min(seconds, key=seconds.get))


def rollout(env, instances):
    """Reset and step until every instance is done; return (final tensordict, makespans, batch steps)."""
    td = env.reset(instances)
    steps = 0
    while not td["done"].all():
        td = random_step(env, td)
        steps += 1
    return td, -env.get_reward(td, None), steps


def verify(env, machine_of, duration):
    """Roll out the instances and check every schedule against the makespan that the environment reports."""
    td, makespans, _ = rollout(env, to_tensordict(machine_of, duration))
    starts = td["start_times"].reshape(machine_of.shape).numpy()
    for machines, times, start, makespan in zip(machine_of, duration, starts, makespans.tolist(), strict=True):
        if check_schedule(machines, times, start) != makespan:
            raise AssertionError("the reported makespan differs from that of the schedule")


def measure(args):
    """Time whole batches until the budget is spent."""
    warnings.filterwarnings("ignore")
    torch.manual_seed(args.seed)
    machine_of, duration = make_instances(max(args.batch, 64), args.jobs, args.machines, args.seed)
    env = JSSPEnv(generator_params={"num_jobs": args.jobs, "num_machines": args.machines})
    with torch.inference_mode():
        warm = min(args.batch, 16)
        verify(env, machine_of[:warm], duration[:warm])
        pool = to_tensordict(machine_of, duration)
        batches = [pool[i : i + args.batch].clone() for i in range(0, len(pool) - args.batch + 1, args.batch)]
        choose_threads(env, batches[0])
        makespans, steps, runs = [], 0, 0
        begin = time.perf_counter()
        while runs == 0 or time.perf_counter() - begin < args.seconds:
            _, lengths, count = rollout(env, batches[runs % len(batches)])
            makespans.append(lengths)
            steps, runs = steps + count, runs + 1
        seconds = time.perf_counter() - begin
    notes = (
        f"torch {torch.__version__} cpu, {torch.get_num_threads()} threads; one step = one operation; non-delay "
        f"schedules only (mask_no_ops); {runs} complete batch(es), {steps} batch steps; warm-up schedules verified"
    )
    return {
        "schedules": runs * args.batch,
        "seconds": seconds,
        "steps": steps * args.batch,
        "mean_makespan": torch.cat(makespans).mean(),
        "notes": notes,
    }


if __name__ == "__main__":
    main("RL4CO JSSPEnv", "rl4co", __doc__, measure)
