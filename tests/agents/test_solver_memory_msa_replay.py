"""What was added to XLA's memory space assignment: updates in place, no waivers, checked options; and its play, to the tick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from twins.memory_cases import memory, random_memory

from dispatchgym.agents.solvers.memory import SOLVERS
from dispatchgym.agents.solvers.memory_game import actions_of, followed
from dispatchgym.agents.solvers.memory_msa import assign, replayed
from dispatchgym.agents.solvers.memory_msa_options import Options
from dispatchgym.agents.solvers.memory_msa_replay import nearest
from dispatchgym.agents.solvers.memory_tables import Tables
from dispatchgym.eval.validators.memory import validate
from dispatchgym.eval.validators.memory_plan import judge
from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.memory.instance import READ, UPDATE, WRITE, MemoryInstance
from dispatchgym.instances.memory.plan import NONE
from dispatchgym.instances.memory.suites import named

# Of msa and msa_strict: (ticks of the plan, whether the validator finds it within the supplies, ticks of the play).
MEASURED = {
    "vgg10_infer@half": ((4241444, True, 4241444), (4241444, True, 4241444)),
    "recommender_infer@eighth": ((764311, True, 747000), (764311, True, 747000)),
    "gcn3_train@half": ((12997338, True, 12997338), (12997338, True, 12997338)),
    "alexnet_train@half": ((23099605, False, 22378508), (20303174, True, 19616254)),
    "unet3_infer@half": ((4451754, True, 4451754), (4507498, True, 4507498)),
    "encoder4_infer@half": ((17983318, True, 17983318), (17983318, True, 17983318)),
    "lstm_scan_infer@half": ((5758694, True, 5758694), (5758694, True, 5758694)),
    "mlp12_train@eighth": ((23160354, False, 23160354), (24437249, True, 24437249)),
}


def one(storage: tuple[int, int, int, int], events: list[tuple[int, int]]) -> MemoryInstance:
    """Five steps of 10 ticks, 4 granules, and one storage with the (step, kind) given, each of a gain of 5."""
    return memory([0] * 5, [10] * 5, 4, [storage], [(t, 0, kind, 5, 5) for t, kind in events])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"order": "age"}, "'age'; choose boundedness or size"),
        ({"scale": 1}, "scale is 1; give True or False"),
        ({"waive": "no"}, "waive is 'no'; give True or False"),
        ({"max_retries": 0}, "max_retries is 0; give an integer of 1 or more$"),
        ({"max_repacks": 1.5}, "max_repacks is 1.5; give an integer of 0 or more$"),
        ({"max_repacks": True}, "max_repacks is True"),
        ({"max_outstanding_prefetches": -2}, r"give an integer of -1 or more \(-1: no limit\)"),
        ({"min_overlap": float("nan")}, "min_overlap is nan; give a finite number of 0 or more"),
        ({"preferred_overlap": -1}, "preferred_overlap is -1"),
        ({"max_overlap_to_memory": "10"}, "max_overlap_to_memory is '10'"),
    ],
)
def test_options_out_of_range_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InstanceError, match=message):
        Options(**given)


def test_unknown_evictions_are_refused() -> None:
    with pytest.raises(InstanceError, match="unknown evictions 'paid'; choose charged or free"):
        replayed(random_memory(0), evictions="paid")


def test_without_waivers_an_eviction_that_is_refused_undoes_the_storage() -> None:
    instance = one((2, 0, 1, 100), [(0, WRITE), (1, READ)])
    for retries in (1, 2):
        strict = assign(instance, Options(max_retries=retries, waive=False))
        assert (strict.waived, strict.plan.served.any(), strict.latency) == (0, False, 50)
    assert SOLVERS["msa_strict"].solve(instance).objective == 50


def test_an_update_that_cannot_be_evicted_is_served_from_slow_memory() -> None:
    # Fetched for step 2 during step 1 (10 ticks are nearest to 12) and kept until step 4, the last, whose update of an
    # output no step follows in which it could be copied out.
    instance = one((2, -1, 1, 8), [(2, READ), (3, READ), (4, UPDATE)])
    mapping = assign(instance)
    assert mapping.plan.served.tolist() == [True, True, False]
    assert mapping.plan.copy_in.tolist() == [0, NONE, NONE]
    assert judge(instance, mapping.plan).objective == mapping.latency == 40
    whole = assign(instance, Options(retry_updates=False))
    assert (whole.plan.served.any(), whole.latency) == (False, 50)
    # Defined in fast memory, evicted before the update in slow memory: during the steps 1 and 2, for 12 ticks.
    defined = one((2, 0, 1, 8), [(0, WRITE), (1, READ), (4, UPDATE)])
    mapping = assign(defined)
    assert mapping.plan.served.tolist() == [True, True, False]
    assert mapping.plan.copy_out.tolist() == [2, NONE, NONE]
    assert judge(defined, mapping.plan).objective == mapping.latency == 40


def test_updates_are_evicted_or_end_with_the_storage() -> None:
    # An update that stays is what fast memory holds from then on; of an output, it is copied out.
    kept = assign(one((2, 0, 0, 8), [(0, WRITE), (2, UPDATE), (4, READ)]))
    assert kept.plan.served.tolist() == [True] * 3
    assert (kept.plan.copy_out != NONE).sum() == 0
    assert kept.plan.rectangles == ((0, 0, 4, 0, 2),)
    copied = one((2, 0, 1, 8), [(0, WRITE), (1, UPDATE), (2, READ)])
    mapping = assign(copied)
    assert mapping.plan.served.tolist() == [True] * 3
    assert mapping.plan.copy_out.tolist() == [NONE, 3, NONE]  # done before step 4, after two steps of 10 ticks
    assert judge(copied, mapping.plan).objective == mapping.latency == 35
    # Two updates, neither of which can be evicted: the first is barred after the second.
    instance = memory([0] * 3, [10] * 3, 4, [(2, -1, 1, 8)], [(1, 0, UPDATE, 5, 5), (2, 0, UPDATE, 5, 5)])
    for options in (Options(), Options(waive=False)):
        assert judge(instance, assign(instance, options).plan).valid


@pytest.mark.parametrize("name", MEASURED)
def test_plans_and_plays_are_those_measured(name: str) -> None:
    instance, (waiving, strict) = named(name).instance, MEASURED[name]
    for options, (own, valid, play) in ((Options(), waiving), (Options(waive=False), strict)):
        mapping = assign(instance, options)
        assert (mapping.latency, judge(instance, mapping.plan).valid) == (own, valid)
        solution = replayed(instance, options)
        assert solution.objective == play == validate(instance, solution.actions, solution.options).objective


def test_the_repair_never_falls_behind_and_stops_at_the_plan() -> None:
    repaired = reached = 0
    for seed in range(120):
        instance = random_memory(seed)
        tables, mode = Tables(instance), ("charged", "free")[seed % 2]
        mapping = assign(instance, Options(free_evictions=mode == "free"))
        plain = followed(tables, actions_of(tables, mapping.plan, mode), mode)
        game = nearest(tables, mapping.plan, mapping.latency, mode)
        assert game.over
        assert game.latency <= plain.latency
        assert game.actions == plain.actions or plain.latency > mapping.latency
        assert nearest(tables, mapping.plan, mapping.latency, mode).actions == game.actions
        assert nearest(tables, mapping.plan, mapping.latency, mode, budget=0).actions == plain.actions
        assert validate(instance, game.actions, {"evictions": mode}).objective == game.latency
        repaired += game.latency < plain.latency
        reached += game.latency <= mapping.latency < plain.latency
    assert repaired >= reached >= 3


def test_a_repair_does_not_shrink_what_the_plan_reached() -> None:
    instance = named("encoder4_infer@half").instance
    tables, mapping = Tables(instance), assign(instance)
    plain = followed(tables, actions_of(tables, mapping.plan))
    assert plain.latency > 1.7 * mapping.latency  # stays at best-fit offsets, for which first fit leaves no room
    assert nearest(tables, mapping.plan, mapping.latency).latency <= 1.001 * mapping.latency
