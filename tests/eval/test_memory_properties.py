"""What always holds of the memory game, on every instance of the suites: the properties that docs/memory.md lists.

Episodes are played by the solvers' game on the host and judged by the validator, which share no code.
"""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from twins.memory_cases import CHECKS, LETTERS, RULES, worked

from dispatchgym.agents.solvers.memory_game import COPY, Game, followed
from dispatchgym.agents.solvers.memory_tables import Tables
from dispatchgym.eval.validators.memory import replay
from dispatchgym.eval.validators.memory_plan import judge
from dispatchgym.instances.memory.instance import READ, WRITE, MemoryInstance
from dispatchgym.instances.memory.plan import NONE, Plan, Rectangle
from dispatchgym.instances.memory.suites import INSTANCE_NAMES, OVERCOUNTED, named

PLAYERS = (*RULES, "random")
EVICTIONS = ("charged", "free")
WAYS = [("charged", player) for player in PLAYERS] + [("free", "random")]


def played(instance: MemoryInstance, player: str, evictions: str, seed: int) -> tuple[Game, list[int], list[int]]:
    """A complete episode: game, actions, rewards. Some action is legal at every move (property 1)."""
    game, rng = Game(Tables(instance), evictions), np.random.default_rng(seed)
    rewards = []
    while not game.over:
        legal = game.legal()
        assert legal, f"event {len(game.actions)} has no legal action"
        wanted = rng.permutation(3) if player == "random" else map(LETTERS.index, RULES[player])
        rewards.append(game.play(next(int(action) for action in wanted if action in legal)))
    return game, game.actions, rewards


def all_slow(instance: MemoryInstance) -> int:
    return int(np.maximum(instance.compute, instance.memory).sum())


def overlaps(rectangles: tuple[Rectangle, ...], capacity: int) -> int:
    """How many pairs of rectangles share a step and a granule, of all pairs; 1 if one leaves the memory."""
    first, last, low, size = np.array([r[1:] for r in rectangles], int).reshape(-1, 4).T
    if ((low < 0) | (low + size > capacity) | (first > last)).any():
        return 1
    found = 0
    for i in range(len(first)):  # a row of all pairs at a time
        rest = slice(i + 1, None)
        in_time = (first[i] <= last[rest]) & (first[rest] <= last[i])
        found += int((in_time & (low[i] < (low + size)[rest]) & (low[rest] < low[i] + size[i])).sum())
    return found


def residual(instance: MemoryInstance, plan: Plan) -> tuple[list[int], list[int], int, int]:
    """Supplies left inwards and outwards after all copies took theirs as the statement says, and the demands copied."""
    supply = np.maximum(instance.compute, instance.memory).tolist()
    left_in, left_out, wanted = supply[:], supply[:], [0, 0]
    for e, (a, end) in enumerate(zip(plan.copy_in.tolist(), plan.copy_out.tolist(), strict=True)):
        t, demand = int(instance.event_step[e]), int(instance.demand[instance.event_buffer[e]])
        for left, steps, copied, way in (
            (left_in, range(t - 1, a, -1), a != NONE, 0),
            (left_out, range(t + 1, end + 1), end != NONE, 1),
        ):
            need = demand if copied else 0
            wanted[way] += need
            for q in steps if copied else ():
                taken = min(need, left[q])
                left[q] -= taken
                need -= taken
            assert need == 0, f"the copy of event {e} lacks {need} ticks"
    return left_in, left_out, *wanted


def contents(instance: MemoryInstance, plan: Plan, free: bool) -> list[int]:
    """When slow memory holds each storage in the end; properties 5 and 6 are asserted on the way."""
    lies: list[list[Rectangle]] = [[] for _ in instance.define]
    for r in plan.rectangles:
        lies[r.buffer].append(r)
    never = 2**40
    ready = [-1 if d < 0 else never for d in instance.define.tolist()]
    at: list[int | None] = [None] * len(ready)  # offset of the stay, as long as it goes on
    for e, (b, t, kind) in enumerate(
        zip(*(c.tolist() for c in (instance.event_buffer, instance.event_step, instance.event_kind)), strict=True)
    ):
        copied_in, copied_out = plan.copy_in[e] != NONE, plan.copy_out[e] != NONE
        if not plan.served[e]:
            assert kind == WRITE or ready[b] < t, f"event {e}: slow memory does not hold what it serves"  # 5
            at[b] = None
        else:
            if copied_in:
                assert ready[b] <= plan.copy_in[e], f"event {e}: copied in before slow memory holds it"
            fresh = t if kind == WRITE else int(plan.copy_in[e]) + 1 if copied_in else None
            over = [r for r in lies[b] if r.first <= t <= r.last]  # a copy in for a later event may overlap the stay
            over = [r for r in over if (r.offset == at[b] if fresh is None else r.first == fresh)]
            assert over, f"event {e} lies in no rectangle of its stay"  # 6
            at[b] = over[0].offset
        if kind != READ:
            ready[b] = t if free or not plan.served[e] else int(plan.copy_out[e]) if copied_out else never
    return ready


def check(instance: MemoryInstance, player: str, evictions: str, seed: int = 0) -> dict[str, float]:
    """Play, and check the properties one after the other; the metrics of the validator."""
    game, actions, rewards = played(instance, player, evictions, seed)  # 1
    plan, free = game.plan(), evictions == "free"
    assert overlaps(plan.rectangles, int(instance.capacity)) == 0  # 2
    left_in, left_out, copied_in, copied_out = residual(instance, plan)
    assert min(left_in + left_out) >= 0  # 3
    supplied = all_slow(instance)
    assert (supplied - sum(left_in), supplied - sum(left_out)) == (copied_in, copied_out)
    assert list(accumulate(rewards, initial=0))[-1] == supplied - game.latency  # 4
    ready = contents(instance, plan, free)  # 5 and 6
    for b in np.flatnonzero(instance.output):
        assert ready[b] <= int(instance.n_steps) - 1, f"output {b} is not in slow memory in the end"  # 7
    again, other, verdict = replay(instance, actions, {"evictions": evictions})
    assert verdict.objective == game.latency, verdict.errors
    assert other == rewards
    assert [tuple(r) for r in again.rectangles] == [tuple(r) for r in plan.rectangles]
    for column in ("served", "copy_in", "copy_out"):
        assert (getattr(again, column) == getattr(plan, column)).all(), column
    judged = judge(instance, plan, evictions)
    assert judged.objective == game.latency, judged.errors
    return judged.metrics


@pytest.mark.parametrize("name", [n for n in INSTANCE_NAMES if n.partition("@")[0] not in OVERCOUNTED])
def test_what_always_holds(name: str) -> None:
    instance = named(name).instance
    for n, (evictions, player) in enumerate(WAYS):
        found = check(instance, player, evictions, seed=n)
        assert found["ideal"] <= found["latency"] <= found["all_slow"] == all_slow(instance)
        assert found["latency"] <= found["simulated"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in INSTANCE_NAMES if n.partition("@")[0] in OVERCOUNTED])
def test_what_always_holds_of_the_overcounted(name: str) -> None:
    for n, (evictions, player) in enumerate(WAYS):
        check(named(name).instance, player, evictions, seed=n)


ROWS = [row for row in CHECKS["greedy"] if row["instance"] not in OVERCOUNTED]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['instance']}@{row['capacity_mib']}MiB")
@pytest.mark.parametrize("rule", RULES)
def test_published_actions(row: dict[str, Any], rule: str) -> None:
    """Property 8: the game plays the published strings."""
    instance = named(f"{row['instance']}@{row['capacity_mib']}MiB").instance
    for evictions in EVICTIONS:
        expected = row[f"{evictions}_{rule}"]
        game, actions, _ = played(instance, rule, evictions, 0)
        assert game.latency == expected["latency"]
        if "actions" in expected:
            assert "".join(LETTERS[a] for a in actions) == expected["actions"]


@pytest.mark.parametrize("evictions", EVICTIONS)
def test_the_worked_example(evictions: str) -> None:
    case = CHECKS["worked_example"][f"{evictions}_copy_first"]
    game, actions, rewards = played(worked(), "copy_first", evictions, 0)
    assert "".join(LETTERS[a] for a in actions) == "".join(line["action"] for line in case["trace"])
    assert (rewards, game.latency) == ([line["reward"] for line in case["trace"]], case["final_latency"])
    left_in, left_out, *_ = residual(worked(), game.plan())
    assert (left_in, left_out) == (case["trace"][-1]["supply_in"], case["trace"][-1]["supply_out"])


def spoilt(instance: MemoryInstance, plan: Plan) -> list[Plan]:
    """The plan with one thing wrong: a collision, one event too much, a copy too short, a copy out that is missing."""
    copied = int(np.flatnonzero(plan.copy_in != NONE)[0])
    out = int(np.flatnonzero(plan.copy_out != NONE)[0])
    slow = int(np.flatnonzero(~plan.served)[0])
    columns = {name: getattr(plan, name).copy() for name in ("served", "copy_in", "copy_out")}
    short, missing, more = (columns | {} for _ in range(3))
    short["copy_in"] = columns["copy_in"].copy()
    short["copy_in"][copied] = instance.event_step[copied] - 1
    missing["copy_out"] = columns["copy_out"].copy()
    missing["copy_out"][out] = NONE
    more["served"] = columns["served"].copy()
    more["served"][slow] = True
    moved = plan.rectangles[0]._replace(offset=int(instance.capacity))
    return [
        Plan(**columns, rectangles=(moved, *plan.rectangles[1:])),
        Plan(**columns, rectangles=(*plan.rectangles, plan.rectangles[0])),
        *(Plan(**changed, rectangles=plan.rectangles) for changed in (short, missing, more)),
    ]


def test_the_checks_notice_what_is_wrong() -> None:
    """Each spoilt plan is refused by a check above and by the validator."""
    instance = named("mlp_train@4MiB").instance
    plan = followed(Tables(instance), [COPY] * int(instance.n_events)).plan()
    assert overlaps(plan.rectangles, int(instance.capacity)) == 0
    for wrong in spoilt(instance, plan):
        found = overlaps(wrong.rectangles, int(instance.capacity)) > 0
        for look in (residual, partial(contents, free=False)):
            try:
                look(instance, wrong)
            except AssertionError:
                found = True
        assert found
        assert not judge(instance, wrong).valid
