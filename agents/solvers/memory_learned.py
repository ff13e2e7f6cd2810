"""Search that starts from what the pretrained policy plays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dispatchgym.agents.solvers.base import Solution
from dispatchgym.agents.solvers.memory_search import local_search
from dispatchgym.instances.base import stack
from dispatchgym.instances.memory.instance import MemoryInstance

PRETRAINED = Path(__file__).parents[1] / "pretrained" / "memory"
ENV = "dispatchgym/MemoryMapping-v0"


def policy_search(
    instance: MemoryInstance, *, time_limit: float | None = None, hint: Sequence[int] | None = None, **settings: Any
) -> Solution:
    """:func:`local_search` from the pretrained policy's greedy plan, a ``hint`` and the greedy rules."""
    import time

    began = time.perf_counter()
    start = greedy_plan(instance)
    spent = time.perf_counter() - began
    left = None if time_limit is None else max(time_limit - spent, 0.0)
    starts = [start] if hint is None else [start, list(hint)]
    return local_search(instance, time_limit=left, starts=starts, **settings)


def greedy_plan(instance: MemoryInstance, folder: Path = PRETRAINED) -> list[int]:
    """The moves of a checkpoint's greedy episode."""
    from dispatchgym.agents import checkpoint
    from dispatchgym.agents.lanes import play, stepper
    from dispatchgym.envs.memory import MemoryMapping

    env = MemoryMapping(instance.size)
    network, _ = checkpoint.load(folder, ENV, env)
    problems = stepper(env).prepare(stack([instance]))
    played = play(env, problems, network)
    actions: list[int] = played.actions[: int(instance.n_events), 0, 0].tolist()
    return actions
