"""The solvers' replayer beside the twin and the published check values, and how wishes become legal actions."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from twins.memory import MemoryTwin
from twins.memory_cases import CHECKS, LETTERS, random_memory, worked

from dispatchgym.agents.solvers.memory_game import COPY, DROP, NO_COPY, Game, actions_of, followed
from dispatchgym.agents.solvers.memory_tables import Tables
from dispatchgym.eval.validators.memory import validate
from dispatchgym.eval.validators.memory_plan import judge
from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.memory.instance import MemorySize
from dispatchgym.instances.memory.suites import named

MODES = ("charged", "free")


@pytest.mark.parametrize("check", CHECKS["greedy"], ids=lambda c: f"{c['instance']}@{c['capacity_mib']}MiB")
def test_greedy_play_of_the_published_programs(check: dict) -> None:
    tables = Tables(named(f"{check['instance']}@{check['capacity_mib']}MiB").instance)
    assert (tables.all_slow, tables.events) == (check["all_hbm"], check["events"])
    for mode in MODES:
        for rule, wanted in (("nocopy_first", NO_COPY), ("copy_first", COPY)):
            game, expected = followed(tables, [wanted] * tables.events, mode), check[f"{mode}_{rule}"]
            letters = "".join(LETTERS[action] for action in game.actions)
            assert game.latency == expected["latency"] == tables.latency(np.flatnonzero(game.plan().served))
            assert hashlib.sha256(letters.encode()).hexdigest() == expected["actions_sha256"]
            assert (len(game.copies_in), len(game.copies_out)) == (expected["copies_in"], expected["write_backs"])
            assert len(game.rectangles) == expected["rectangles"]


@pytest.mark.parametrize("mode", MODES)
def test_every_move_is_that_of_the_twin(mode: str) -> None:
    for seed in range(150):
        instance, rng = random_memory(seed), np.random.default_rng(seed)
        tables, twin = Tables(instance), MemoryTwin(mode)
        game = Game(tables, mode)
        twin.reset(instance)
        while not twin.over:
            legal = tuple(action for action, possible in enumerate(twin.mask()) if possible)
            assert game.legal() == legal
            action, before = int(rng.choice(legal)), game.copy()
            assert game.play(action) == twin.step(action)
            assert len(before.actions) + 1 == len(game.actions)  # and the copy goes its own way
            assert before.legal() == legal
            before.play(legal[0])
        assert game.over
        assert game.latency == twin.latency
        assert [(r.first, r.last, r.offset, r.granules) for r in game.rectangles] == twin.rects
        assert (game.ready, len(game.copies_in)) == (twin.hbm_ready, twin.copies_in)
        verdict = judge(instance, game.plan(), mode)
        assert verdict.valid, verdict.errors
        assert verdict.objective == game.latency == validate(instance, game.actions, {"evictions": mode}).objective


@pytest.mark.parametrize("mode", MODES)
def test_wishes_become_the_nearest_legal_actions(mode: str) -> None:
    nearest = {DROP: (DROP, NO_COPY), NO_COPY: (NO_COPY, COPY, DROP), COPY: (COPY, NO_COPY, DROP)}
    refused = 0
    for seed in range(60):
        instance, rng = random_memory(seed), np.random.default_rng(seed)
        tables, twin = Tables(instance), MemoryTwin(mode)
        wanted = rng.integers(0, 3, tables.events).tolist()
        game = followed(tables, wanted, mode)
        twin.reset(instance)
        for wish, action in zip(wanted, game.actions, strict=True):
            assert action == next(a for a in nearest[wish] if twin.mask()[a])
            refused += action != wish
            twin.step(action)
        assert followed(tables, game.actions, mode).actions == game.actions
    assert refused > 100


def test_a_plan_wants_the_actions_it_came_from() -> None:
    for seed in range(40):
        tables = Tables(random_memory(seed))
        for mode in MODES:
            game = followed(tables, np.random.default_rng(seed).integers(0, 3, tables.events).tolist(), mode)
            assert actions_of(tables, game.plan(), mode) == game.actions


def test_padding_changes_nothing() -> None:
    instance = random_memory(3)
    steps, buffers, events = instance.size
    padded = instance.pad(MemorySize(steps + 3, buffers + 2, events + 5))
    assert vars(Tables(padded)) == vars(Tables(instance))


def test_errors_name_the_action() -> None:
    tables = Tables(worked())
    game = Game(tables)
    for action in (COPY, COPY):
        game.play(action)
    with pytest.raises(InstanceError, match=r"action 1 of event 2 is illegal; choose one of \(0,\)"):
        game.play(NO_COPY)
    assert len(game.actions) == 2
    for wanted in ([0] * 7, [0] * 7 + [3]):
        with pytest.raises(InstanceError, match="give one of 0, 1 and 2 for each of 8 events"):
            followed(tables, wanted)
