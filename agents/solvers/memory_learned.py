"""Search that starts from what the pretrained policy plays, and goes on with a pilot beam and local search."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dispatchgym.agents.solvers.base import Solution
from dispatchgym.agents.solvers.memory_beam import beam_search
from dispatchgym.agents.solvers.memory_search import local_search
from dispatchgym.instances.base import stack
from dispatchgym.instances.extras import require
from dispatchgym.instances.memory.instance import MemoryInstance

PRETRAINED = Path(__file__).parents[1] / "pretrained" / "memory"
ENV = "dispatchgym/MemoryMapping-v0"
SAMPLES = 63  # beside the greedy episode
TEMPERATURE = 0.5
BEAM_SHARE = 0.4


def policy_search(
    instance: MemoryInstance,
    *,
    time_limit: float | None = None,
    seed: int = 0,
    hint: Sequence[int] | None = None,
    folder: Path = PRETRAINED,
    **settings: Any,
) -> Solution:
    """:func:`local_search` from the policy's greedy episode, the best of 63 sampled ones, a :func:`beam_search` and ``hint``.

    The beam gets two fifths of the time that the policy leaves, and its compilation; local search has the rest of the limit.
    Where a policy's round takes a quarter of the limit, no second one is played.
    """
    began = time.perf_counter()
    starts = [] if hint is None else [list(hint)]
    for samples in (0, SAMPLES):
        start = time.perf_counter()
        starts.append(episode(instance, folder, samples, seed))
        took = time.perf_counter() - start
        if time_limit is not None and time.perf_counter() - began + 4 * took > time_limit:
            break
    left = None if time_limit is None else max(time_limit - (time.perf_counter() - began), 0.0)
    beam = beam_search(instance, time_limit=None if left is None else BEAM_SHARE * left)
    starts.append(beam.actions or [])
    left = None if time_limit is None else max(time_limit - (time.perf_counter() - began), 0.0)
    found = local_search(instance, time_limit=left, seed=seed, starts=starts, **settings)
    seconds = time.perf_counter() - began
    return Solution(found.actions, found.objective, found.status, found.bound, seconds, found.options)


def episode(instance: MemoryInstance, folder: Path = PRETRAINED, samples: int = 0, seed: int = 0) -> list[int]:
    """The moves of a checkpoint's greedy episode, or of the best of ``samples`` drawn at a temperature of 0.5."""
    torch = require("torch", "train", "policy_search")
    from dispatchgym.agents import checkpoint  # imports torch, which may be missing
    from dispatchgym.agents.lanes import play, stepper
    from dispatchgym.envs.memory import MemoryMapping

    env = MemoryMapping(instance.size)
    network, _ = checkpoint.load(folder, ENV, env)
    problems = stepper(env).prepare(stack([instance]))
    random = torch.Generator().manual_seed(seed) if samples else None
    played = play(env, problems, network, max(samples, 1), random, TEMPERATURE)
    best = int(played.objective[0].argmin())
    actions: list[int] = played.actions[: int(instance.n_events), 0, best].tolist()
    return actions
