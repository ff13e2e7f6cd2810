"""The seven rules of the statement, over what :class:`twins.soc.SocTwin` shows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from twins.soc import INF, Seen, SocTwin


def _smallest(seen: Seen, rows: np.ndarray, *keys: np.ndarray) -> int:
    """The legal action of smallest keys among these rows of the window; ties to the earlier position, the lower PE."""
    mask = seen["mask"].reshape(seen["time"].shape) & rows[:, None]
    actions = np.flatnonzero(mask)
    table = [np.broadcast_to(key, mask.shape).ravel()[actions] for key in keys]
    return int(actions[np.lexsort((actions, *reversed(table)))[0]])


def _first(seen: Seen) -> np.ndarray:
    return np.arange(len(seen["time"])) == 0


def _largest(seen: Seen, key: str) -> np.ndarray:
    return np.arange(len(seen["time"])) == np.argmax(np.where(seen["window"][:, 0] >= 0, seen[key], -1))


def _lowest_job(seen: Seen) -> np.ndarray:
    jobs = seen["window"][:, 0]
    rows: np.ndarray = jobs == jobs[jobs >= 0].min()
    return rows


class FifoRandom:
    """The first task to a PE drawn by the Lehmer generator."""

    def __init__(self, seed: int = 1) -> None:
        self.x = seed

    def __call__(self, seen: Seen) -> int:
        self.x = 16807 * self.x % INF
        actions = np.flatnonzero(seen["mask"][: seen["time"].shape[1]])
        return int(actions[self.x * len(actions) // INF])


Policy = Callable[[Seen], int]

RULES: dict[str, Callable[[], Policy]] = {
    "met": lambda: lambda s: _smallest(s, _first(s), s["time"], s["qlen"]),
    "mct": lambda: lambda s: _smallest(s, _first(s), s["est_finish"]),
    "etf_ds3": lambda: lambda s: _smallest(s, s["window"][:, 0] >= 0, s["est_finish"]),
    "heft_rt": lambda: lambda s: _smallest(s, _largest(s, "wbar"), s["est_finish"]),
    "heft_dag": lambda: lambda s: _smallest(s, _largest(s, "rank_u"), s["est_finish"]),
    "job_etf": lambda: lambda s: _smallest(s, _lowest_job(s), s["est_finish"]),
    "fifo_random": FifoRandom,
}


def play(twin: SocTwin, policy: Policy) -> tuple[list[int], list[int]]:
    """(actions, rewards) of one episode."""
    seen, over, actions, rewards = twin.reset(), False, [], []
    while not over:
        actions.append(policy(seen))
        seen, reward, over = twin.step(actions[-1])
        rewards.append(reward)
    return actions, rewards
