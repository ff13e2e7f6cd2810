"""The validator of memory mappings: replays a list of actions, builds the mapping from them, and judges it for itself.

The problem is stated in ``docs/memory.md``, after Wang et al. 2023 (arXiv 2305.07440), reconstructed. Event by event, in
the order of the instance: 0 Drop, from slow memory; 1 NoCopy, from fast memory without a copy; 2 Copy, from fast memory
with a copy in before a read, or a copy out after a write.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

from dispatchgym.eval.validators.base import Verdict
from dispatchgym.eval.validators.memory_copies import Case
from dispatchgym.eval.validators.memory_moves import COPY, DROP, Game, Illegal
from dispatchgym.eval.validators.memory_plan import EVICTIONS, VERB, judge
from dispatchgym.instances.memory.instance import MemoryInstance
from dispatchgym.instances.memory.plan import Plan

ACTIONS = ("Drop", "NoCopy", "Copy")
REWARD = ("latency", "benefit")
DEFAULTS: dict[str, Any] = {"evictions": "charged", "reward": "latency"}


def replay(
    instance: MemoryInstance, actions: Iterable[Any], options: dict[str, Any] | None = None
) -> tuple[Plan, list[int], Verdict]:
    """(plan, rewards, verdict) of playing the actions; the verdict's objective is the latency in ticks.

    Options: ``evictions``, "charged" or "free"; ``reward``, "latency", by what the step becomes shorter, or "benefit", by
    what it would become shorter if the event alone were served from fast memory. The first illegal action ends the play
    and is named by its position, which is that of its event, as are missing and superfluous actions.
    """
    chosen = DEFAULTS | (options or {})
    case = Case(instance)
    game = Game(case, chosen["evictions"] == "free")
    rewards: list[int] = []

    def refuse(what: str) -> tuple[Plan, list[int], Verdict]:
        return game.plan(), rewards, Verdict.refuse(what)

    for name, known in (("evictions", EVICTIONS), ("reward", REWARD)):
        if chosen[name] not in known:
            return refuse(f"unknown {name} {chosen[name]!r}; choose one of {', '.join(known)}")
    latency, saved = sum(case.supply()), [0] * case.steps
    for e, given in enumerate(actions):
        if e == case.events:
            return refuse(f"action {e}: all is decided after {e} actions")
        try:
            action = operator.index(given)
        except TypeError:
            return refuse(f"action {e}: {given!r} is not an integer")
        if not DROP <= action <= COPY:
            return refuse(f"action {e}: there is no action {action}; the actions are 0..2")
        t = case.step[e]
        try:
            game.play(e, action)
        except Illegal as why:
            what = f"event {e}, step {t} {VERB[case.kind[e]]} buffer {case.buffer[e]}"
            return refuse(f"action {e}: {ACTIONS[action]} is illegal for {what}: {why}")
        gain = case.gain[e] if action != DROP else 0
        alone, now = (max(case.compute[t], case.memory[t] - s) for s in (0, saved[t]))
        saved[t] += gain
        shorter = now - max(case.compute[t], case.memory[t] - saved[t])
        latency -= shorter
        rewards.append(
            shorter if chosen["reward"] == "latency" else alone - max(case.compute[t], case.memory[t] - gain)
        )
    if missing := case.events - len(rewards):
        return refuse(f"action {len(rewards)}: the trace ends with {missing} of {case.events} events undecided")
    return game.plan(), rewards, Verdict(True, latency)


def validate(instance: MemoryInstance, actions: Sequence[Any], options: dict[str, Any] | None = None) -> Verdict:
    """Play the actions (see :func:`replay` for the options), then judge the mapping for itself, and measure it."""
    plan, _, verdict = replay(instance, actions, options)
    if not verdict.valid:
        return verdict
    judged = judge(instance, plan, (DEFAULTS | (options or {}))["evictions"])
    if judged.valid and judged.objective != verdict.objective:
        return Verdict.refuse(f"the play adds up to {verdict.objective}, its mapping to {judged.objective}")
    return judged
