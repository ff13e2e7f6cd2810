"""SocDag in plain Python and NumPy, one decision at a time: the solvers' chip, with all that an agent may see of it.

Of the package it uses the instance and that chip, and nothing that the environment is made of.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dispatchgym.agents.solvers.soc_chip import INF, Chip, Template
from dispatchgym.instances.soc.instance import SocInstance

ABSENT, BLOCKED, READY, QUEUED, RUNNING, DONE = range(6)

Seen = dict[str, Any]


def ranks(graph: Template, pes: int) -> tuple[list[int], list[int]]:
    """(mean time, rank_u) of every task in thousandths, both rounded down, by the times shown."""
    mean = [1000 * sum(w for w in row if w >= 0) // sum(w >= 0 for w in row) for row in graph.shown_rows]
    pairs = pes * pes - pes
    below: dict[int, int] = {}

    def rank(i: int) -> int:
        if i not in below:
            below[i] = 0
            for j in graph.successors[i]:
                total = int(next(delay for a, delay in graph.predecessors[j] if a == i)[:pes, :pes].sum())
                below[i] = max(below[i], (1000 * total // pairs if pairs else 0) + rank(j))
        return mean[i] + below[i]

    return mean, [rank(i) for i in range(graph.n)]


class SocTwin:
    """One episode at a time: ``seen = reset()``, then ``seen, reward, terminated = step(action)``.

    What is seen, with K = window and M = PEs; times are relative to ``now``, rows beyond the ready tasks and entries
    outside the mask hold 0 (``time``: -1, ``window``: -1):

    mask bool[K x M], window [K, 2] (job, task), time [K, M], data_ready [K, M], est_start [K, M], est_finish [K, M],
    rank_u [K] and wbar [K] in thousandths, waiting [K] (since ready), residual, backlog, est_free, qlen and busy [M],
    now, in_system, left (jobs not yet admitted), outside and oldest (open: arrived but not admitted, and the age of the
    first), source_blocked (closed).
    """

    def __init__(self, instance: SocInstance, window: int = 8, speeds: str = "known") -> None:
        self.chip = Chip(instance, speeds)
        self.window, self.pes, self.tasks = window, self.chip.pes, np.shape(instance.time)[1]
        self.ranks = [ranks(graph, int(instance.n_pes)) for graph in self.chip.templates]

    def reset(self) -> Seen:
        """Start over; time stands at the first decision."""
        self.chip.reset()
        return self.see()

    def step(self, action: int) -> tuple[Seen, int, bool]:
        """Commit the ready task at position action // M of the window to PE action % M. Raises ValueError if masked."""
        chip = self.chip
        position, pe = divmod(int(action), self.pes)
        if not 0 <= position < min(self.window, len(chip.ready)):
            raise ValueError(f"action {action}: no ready task at position {position}")
        _, k, i = chip.ready[position]
        if chip.inside[k].graph.time[i][pe] < 0:
            raise ValueError(f"action {action}: task {i} of job {k} does not run on PE {pe}")
        reward = chip.commit(position, pe)
        return self.see(), reward, not chip.ready

    @property
    def flow(self) -> int:
        """Total flow time so far: the negative sum of the rewards."""
        return self.chip.flow

    def see(self) -> Seen:
        """What may be known now; nothing of the noise, the future, or a task that has not ended."""
        chip, now = self.chip, self.chip.now
        shape = (self.window, self.pes)
        window, time = np.full((self.window, 2), -1), np.full(shape, -1)
        data, start, finish = (np.zeros(shape, np.int64) for _ in range(3))
        rank_u, wbar, waiting = (np.zeros(self.window, np.int64) for _ in range(3))
        if chip.ready:
            table = chip.table(self.window)
            rows = len(table.tasks)
            time[:rows] = table.time
            for column, values in ((data, table.data_ready), (start, table.start), (finish, table.finish)):
                column[:rows] = np.where(table.time >= 0, values, 0)
            for row, (since, k, i) in enumerate(table.tasks):
                mean, rank = self.ranks[chip.template[k]]
                window[row], wbar[row], rank_u[row], waiting[row] = (k, i), mean[i], rank[i], now - since
        residual, backlog = np.array(chip.residual()), np.array(chip.backlog)
        busy = residual > 0
        outside = 0
        if not chip.closed:
            while chip.k_next + outside < chip.n_jobs and chip.arrivals[chip.k_next + outside] <= now:
                outside += 1
        return {
            "mask": (time >= 0).ravel(),
            "window": window,
            "time": time,
            "data_ready": data,
            "est_start": start,
            "est_finish": finish,
            "rank_u": rank_u,
            "wbar": wbar,
            "waiting": waiting,
            "residual": residual,
            "backlog": backlog,
            "est_free": residual + backlog,
            "qlen": np.array([len(queue) for queue in chip.queues]) + busy,
            "busy": busy,
            "now": now,
            "in_system": len(chip.inside),
            "left": chip.n_jobs - chip.k_next,
            "outside": outside,
            "oldest": now - chip.arrivals[chip.k_next] if outside else 0,
            "source_blocked": chip.closed
            and chip.k_next < chip.n_jobs
            and chip.release <= now
            and len(chip.inside) == chip.cap,
        }

    def slots(self) -> dict[str, np.ndarray]:
        """Jobs and their tasks by slot: job, age, tasks_left [J]; status, pe, ready, start, finish [J, T].

        Times are absolute, and INF where they are not known or lie ahead; the lowest free slot is taken first.
        """
        chip, shape = self.chip, (self.chip.cap, self.tasks)
        job_of, age, tasks_left = np.full(chip.cap, -1), np.zeros(chip.cap, np.int64), np.zeros(chip.cap, np.int64)
        status, pe = np.full(shape, ABSENT), np.full(shape, -1)
        ready, start, finish = (np.full(shape, INF) for _ in range(3))
        for k, job in chip.inside.items():
            j, n = job.slot, job.graph.n
            job_of[j], age[j] = k, chip.now - job.arrival
            pe[j, :n], start[j, :n] = job.pe, job.start
            ready[j, :n] = [r if r <= chip.now else INF for r in job.ready]
            finish[j, :n] = [f if f <= chip.now else INF for f in job.finish]
            started, can_start = start[j, :n] < INF, ready[j, :n] < INF
            waits = np.where(pe[j, :n] >= 0, QUEUED, np.where(can_start, READY, BLOCKED))
            status[j, :n] = np.where(finish[j, :n] < INF, DONE, np.where(started, RUNNING, waits))
            tasks_left[j] = int((status[j, :n] != DONE).sum())
        return {
            "job": job_of,
            "age": age,
            "tasks_left": tasks_left,
            "status": status,
            "pe": pe,
            "ready": ready,
            "start": start,
            "finish": finish,
        }
