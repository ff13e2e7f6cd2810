"""Scheduling rules of a chip under a stream of jobs, by expected times (nominal, or whatever the environment shows).

Ties go to the earlier window position, then to the lower PE. "First" is the task at window position 0: first in, first out
by ready time, since all visible tasks became ready at the same moment, then by job and task. w is a task's time on a PE.
Where the environment decides on tasks alone (``decide="task"``), the PE follows by expected finish whatever the rule says.
"""

from __future__ import annotations

from itertools import islice

import jax.numpy as jnp
import numpy as np

from dispatchgym.agents.rules.base import Rule, View, first_by, uniform
from dispatchgym.envs.core import Array, Policy
from dispatchgym.envs.graph import GraphObservation, GraphSpec
from dispatchgym.instances import lehmer

DRAWS = 2**15  # numbers of the Lehmer stream that fifo_random cycles through


def _fifo_random(spec: GraphSpec) -> Policy:
    """The first task on supporting PE number L * count // (2^31 - 1), L the next number of the stream."""
    draws = jnp.asarray(np.fromiter(islice(lehmer.stream(1), DRAWS), np.int32))
    count, j = np.arange(spec.n_actions + 1)[:, None], np.arange(1, spec.n_actions + 1)
    # The number is that of the j >= 1 with L >= ceil(j * (2^31 - 1) / count): the 64-bit product is made here, once.
    ceilings = np.where(j < count, -(-j * lehmer.MODULUS // np.maximum(count, 1)), lehmer.MODULUS)
    thresholds = jnp.asarray(ceilings.astype(np.int32))

    def policy(observation: GraphObservation, _: Array) -> Array:
        view = View(spec, observation)
        first = view.mask & (view["position"] == 0)
        draw = draws[view.overall("decisions").astype(jnp.int32) % DRAWS]
        supported = jnp.where(first, view.integer("supported"), 0).max()
        pick = (draw >= thresholds[supported]).sum()
        return jnp.argmax(first & (view.integer("supported_before") == pick)).astype(jnp.int32)

    return policy


def _column(name: str):  # type: ignore[no-untyped-def]
    return lambda c: c[name]


_first, _finish, _time = _column("position"), _column("finish"), _column("time")


def _exit(c: View) -> Array:
    return c["finish"] + c["to_exit"]


_RULES = (
    Rule(
        "met",
        "minimum execution time: first task; smallest (w, queue of the PE)",
        first_by(_first, _time, _column("queue")),
    ),
    Rule("mct", "minimum completion time (DS3's EFT): first task; smallest expected finish", first_by(_first, _finish)),
    Rule("etf_ds3", "DS3's ETF: pair of smallest expected finish", first_by(_finish)),
    Rule("min_min", "Min-Min over the ready tasks: one decision of it is that of etf_ds3", first_by(_finish)),
    Rule(
        "etf_hwang",
        "earliest task first (Hwang et al. 1989): pair of smallest expected start, then largest upward rank",
        first_by(_column("start"), lambda c: -c["upward_rank"]),
    ),
    Rule(
        "max_min",
        "task of largest best finish; smallest expected finish",
        first_by(lambda c: -c["best_finish"], _first, _finish),
    ),
    Rule(
        "sufferage",
        "task of largest second best - best finish; smallest expected finish (Maheswaran et al. 1999)",
        first_by(lambda c: c["best_finish"] - c["second_finish"], _first, _finish),
    ),
    Rule("stf", "shortest task first: pair of smallest w", first_by(_time)),
    Rule(
        "olb",
        "opportunistic load balancing: first task; PE that is free first",
        first_by(_first, _column("busy_until")),
    ),
    Rule(
        "heft_rt",
        "run-time HEFT, ready tasks only (Mack et al. 2022): largest mean w; smallest expected finish",
        first_by(lambda c: -c["mean_time"], _first, _finish),
    ),
    Rule(
        "heft_dag",
        "run-time HEFT, whole graph of the job: largest upward rank; smallest expected finish",
        first_by(lambda c: -c["upward_rank"], _first, _finish),
    ),
    Rule(
        "peft_rt",
        "run-time PEFT: largest upward rank; smallest expected finish + optimistic time to the exit",
        first_by(lambda c: -c["upward_rank"], _first, _exit),
    ),
    Rule("eft_exit", "pair of smallest expected finish + optimistic time to the exit", first_by(_exit)),
    Rule(
        "job_etf",
        "earliest job in the window; pair of smallest expected finish",
        first_by(_column("job_order"), _finish),
    ),
    Rule(
        "srpt_etf",
        "job with the least work left (smallest times of its uncommitted tasks); pair of smallest expected finish",
        first_by(_column("work_left"), _column("job_order"), _finish),
    ),
    Rule(
        "max_density",
        "maximum density (arXiv 2302.00985), not preemptive: idle PEs first, pair of largest speed / work left of the job",
        first_by(lambda c: c["queue"] > 0, lambda c: c["work_left"] * (c["time"] + 1) / (c["best_time"] + 1)),
    ),
    Rule(
        "greedy_wspt",
        "greedy WSPT (arXiv 2302.00985), unit weights: densest task (smallest best w); smallest expected finish",
        first_by(_column("best_time"), _first, _finish),
    ),
    Rule(
        "speed_ordered_rr",
        "speed-ordered round robin: first task; shortest queue, then fastest PE for it - needs the order of speeds only",
        first_by(_first, _column("queue"), _column("time_rank")),
    ),
    Rule(
        "round_robin",
        "first task; supporting PEs in turn",
        first_by(_first, lambda c: c["supported_before"] != c.overall("decisions") % jnp.maximum(c["supported"], 1)),
    ),
    Rule("fifo_random", "first task; any supporting PE, by the Lehmer stream of seed 1", _fifo_random),
    Rule("random", "any pair, all equally likely", uniform, stochastic=True),
)

RULES = {rule.name: rule for rule in _RULES}
