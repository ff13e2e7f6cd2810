"""Exact solvers of memory mapping: CP-SAT, and for tiny instances every list of actions, which share only the game."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

from dispatchgym.agents.solvers.base import Solution
from dispatchgym.agents.solvers.memory_bounds import affordable, lp_bound, relaxed_bound, stated
from dispatchgym.agents.solvers.memory_bounds_coarse import proved
from dispatchgym.agents.solvers.memory_exact_copies import Candidates
from dispatchgym.agents.solvers.memory_exact_rules import GameModel
from dispatchgym.agents.solvers.memory_game import COPY, NO_COPY, Game, actions_of, followed, solution
from dispatchgym.agents.solvers.memory_msa import assign
from dispatchgym.agents.solvers.memory_msa_options import ORDERS, Options
from dispatchgym.agents.solvers.memory_tables import Tables, is_free
from dispatchgym.agents.solvers.workflow_exact import configured
from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.extras import require
from dispatchgym.instances.memory.instance import MemoryInstance

MAX_SEQUENCES = 100_000  # of brute_force
UNPACKED = 200  # optima without offsets that are tried before offsets are modelled
MAX_PACKED = 2_000  # candidates for starts of copies in a model with offsets, whose boxes they are


class _Search:
    """CP-SAT on models that are cut until their optimum is a play of the game."""

    def __init__(self, instance: MemoryInstance, evictions: str, hint: Sequence[int] | None) -> None:
        self.cp_model = require("ortools.sat.python.cp_model", "exact", "CP-SAT")
        self.tables, self.evictions = Tables(instance), evictions
        wanted = [[action] * self.tables.events for action in (COPY, NO_COPY)]
        free = is_free(evictions)
        wanted += [
            actions_of(self.tables, assign(instance, Options(order=o, free_evictions=free)).plan, evictions)
            for o in ORDERS
        ]
        if hint is not None:
            wanted.append(list(hint))
        self.best = min((followed(self.tables, w, evictions) for w in wanted), key=lambda game: game.latency)
        self.bound = self.tables.latency(range(self.tables.events))
        self.cuts: list[tuple[list[int], list[int]]] = []

    @property
    def open(self) -> bool:
        """Whether the best play is not proved to be optimal."""
        return self.best.latency > self.bound

    def try_(self, actions: Sequence[int]) -> None:
        """Play what a model has found, or what is nearest to it."""
        game = followed(self.tables, actions, self.evictions)
        if game.latency < self.best.latency:
            self.best = game

    def optimise(self, model: GameModel, time_limit: float | None, seed: int, workers: int | None) -> list[int] | None:
        """The actions of the model's optimum, None if it was not proved in time; every solution on the way is tried."""
        search = self

        class Callback(self.cp_model.CpSolverSolutionCallback):  # type: ignore[misc, name-defined]
            def on_solution_callback(self) -> None:
                search.try_(model.read(self.value))

        model.suggest(self.best)
        solver = configured(self.cp_model, time_limit, seed, workers)
        status = solver.solve(model.model, Callback())
        assert status != self.cp_model.INFEASIBLE, "the best play is a solution"
        self.bound = max(self.bound, proved(self.cp_model, solver, status, self.tables))
        assert self.bound <= self.best.latency, "no play beats a bound"
        if status != self.cp_model.OPTIMAL:
            return None
        actions = model.read(solver.value)
        self.try_(actions)
        return actions

    def polish(self, actions: Sequence[int], until: float) -> None:
        """Play what a model has found, then change one action at a time while that helps; ``until``: of perf_counter."""
        game = followed(self.tables, actions, self.evictions)
        improved = True
        while improved:
            improved, begun = False, Game(self.tables, self.evictions)
            for e in range(self.tables.events):
                if time.perf_counter() > until:
                    improved = False
                    break
                for action in begun.legal():
                    if action == game.actions[e]:
                        continue
                    other = begun.copy()
                    other.play(action)
                    for wish in game.actions[e + 1 :]:
                        other.follow(wish)
                    if other.latency < game.latency:
                        game, improved = other, True
                begun.play(game.actions[e])
        if game.latency < self.best.latency:
            self.best = game

    def cut(self, model: GameModel, actions: list[int]) -> None:
        """Forbid the beginning of actions that cannot be played, up to the first illegal one.

        What follows from other actions can be left out: where only one was legal, no play takes another.
        """
        game = Game(self.tables, self.evictions)
        choices = []
        for e, action in enumerate(actions):
            legal = game.legal()
            if len(legal) > 1 or action not in legal:
                choices.append(e)
            if action not in legal:
                break
            game.play(action)
        self.cuts.append((actions, choices))
        model.forbid(actions, choices)


def cp_sat(
    instance: MemoryInstance,
    *,
    time_limit: float | None = None,
    seed: int = 0,
    hint: Sequence[int] | None = None,
    workers: int | None = None,
    evictions: str = "charged",
) -> Solution:
    """Google OR-Tools CP-SAT on the rules of the game without first fit, cut until its optimum can be played.

    Every play is a solution of the model (``memory_exact_rules``) with the same latency, so each optimum is a bound,
    and one that can be played is optimal. Otherwise its first illegal action is forbidden, together with what led to
    it, and the search goes on; first without offsets, then with them. Starts from the best of ``hint``, copy-first,
    nocopy-first and XLA's memory space assignment. Without a time limit it runs until it has proved the optimum.
    Programs that are too large for the model, or for one within the time limit (``memory_bounds.affordable``), get the
    best of these plays and the bounds of the relaxations, as "feasible".
    """
    started = time.perf_counter()
    end = None if time_limit is None else started + time_limit
    search = _Search(instance, evictions, hint)

    def left(share: float = 1.0) -> float | None:
        return None if end is None else max(0.01, share * (end - time.perf_counter()))

    if search.open:
        search.bound = max(search.bound, relaxed_bound(instance, evictions, False, left(0.25), seed, workers))
    if search.open:
        search.bound = max(search.bound, lp_bound(instance, evictions, True, left(0.25)))
    large = not affordable(search.tables, "rules", left())
    small = Candidates(search.tables).count <= MAX_PACKED
    model: GameModel | None = None
    packed, rounds, half = False, 0, left(0.5)
    while search.open and not large and (end is None or time.perf_counter() < end):
        late = rounds >= UNPACKED or (half is not None and time.perf_counter() > started + half)
        if model is None or (late and small and not packed):
            packed = model is not None
            model = GameModel(search.cp_model, search.tables, evictions, packed, stated(left()))
            model.limit(search.bound)
            for actions, choices in search.cuts:
                model.forbid(actions, choices)
        found = search.optimise(model, left(), seed + rounds, workers)
        search.polish(search.best.actions if found is None else found, math.inf if end is None else end)
        if found is None:
            break
        rounds += 1
        if search.open:
            search.cut(model, found)
    return solution(search.best, started, search.bound)


def plays(tables: Tables, evictions: str = "charged") -> Iterator[Game]:
    """Every complete episode."""

    def deeper(game: Game) -> Iterator[Game]:
        if game.over:
            yield game
            return
        for action in game.legal():
            after = game.copy()
            after.play(action)
            yield from deeper(after)

    return deeper(Game(tables, evictions))


def brute_force(instance: MemoryInstance, evictions: str = "charged", **_: Any) -> Solution:
    """The best of all complete lists of actions. Raises InstanceError if there are more than MAX_SEQUENCES."""
    started = time.perf_counter()
    tables = Tables(instance)
    best: Game | None = None
    for count, game in enumerate(plays(tables, evictions)):
        if count == MAX_SEQUENCES:
            raise InstanceError(
                f"brute_force takes tiny instances only: {tables.events} events can be played in more than "
                f"{MAX_SEQUENCES} ways; use cp_sat"
            )
        if best is None or game.latency < best.latency:
            best = game
    assert best is not None
    return solution(best, started, best.latency)
