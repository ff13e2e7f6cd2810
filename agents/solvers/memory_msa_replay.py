"""From a plan to a play of the game: the moves that come nearest to the latency that the plan has by itself.

A plan that no play reaches loses more than it should: where first fit leaves no room for one long stay, all that it
would have served comes from slow memory. So the wishes of the plan (``memory_game.actions_of``) are repaired, one
change at a time, until the play is as fast as the plan: whatever the plan has in fast memory and the play has not,
largest gain first, may come true if a storage that is in its way, or that pushed such a storage there, is served
otherwise. If none of these changes helps, single events are changed, and then pairs of such storages. Deterministic;
no change is made once the latency of the plan is reached, so that the play stands for the plan and not for a search of
its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from dispatchgym.agents.solvers.memory_game import COPY, DROP, NO_COPY, Game, actions_of, followed
from dispatchgym.agents.solvers.memory_tables import Tables
from dispatchgym.instances.memory.instance import READ
from dispatchgym.instances.memory.plan import Plan

BUDGET = 800_000  # moves played in a repair; some seconds
NEAR = 60  # events of a storage that are changed alone lie so near to the one that is missed
PAIRED = 3  # events missed for which pairs of storages are changed
SNAPSHOTS = 32  # states of the best play from which others go on

Change = tuple[tuple[int, int], ...]  # (event, wish), by event


def nearest(tables: Tables, plan: Plan, target: int, evictions: str = "charged", budget: int = BUDGET) -> Game:
    """A finished episode after the plan. ``target``: latency in ticks at which it ends; ``budget``: moves it may play.

    Raises InstanceError for unknown evictions.
    """
    wanted = actions_of(tables, plan, evictions)
    best = followed(tables, wanted, evictions)
    if best.latency <= target:
        return best
    return _Repair(tables, wanted, best, target, evictions, budget).run()


class _Repair:
    """The best play so far, the wishes that led to it, and what of the budget is left."""

    def __init__(self, tables: Tables, wanted: list[int], best: Game, target: int, evictions: str, budget: int) -> None:
        self.tables, self.target, self.evictions, self.left = tables, target, evictions, budget
        self.wanted = wanted  # by the plan
        self.wishes, self.best = wanted, best
        self.every = max(1, tables.events // SNAPSHOTS)
        self.adopt(wanted, best)

    def run(self) -> Game:
        """Change wishes while that helps, the plan's latency is not reached and the budget lasts."""
        while self.best.latency > self.target and self.left > 0 and self.improve():
            pass
        return self.best

    def improve(self) -> bool:
        """Make the best change for the first missed event for which one helps; whether there is one."""
        missed = self.missed()
        groups: list[Iterator[Change]] = [self.near(e) for e in missed]
        by_gain = sorted(range(self.tables.events), key=lambda e: (-self.tables.gain[e], e))
        groups += [iter([((e, wish),) for wish in (DROP, NO_COPY, COPY)]) for e in by_gain]
        groups += [self.pairs(e) for e in missed[:PAIRED]]
        tried: set[Change] = set()
        for group in groups:
            found: tuple[list[int], Game] | None = None
            for change in group:
                change = tuple((e, wish) for e, wish in change if self.wishes[e] != wish)
                if not change or change in tried:
                    continue
                tried.add(change)
                wishes = self.wishes.copy()
                for e, wish in change:
                    wishes[e] = wish
                game = self.play(wishes, change[0][0])
                if game.latency < (found[1] if found else self.best).latency:
                    found = wishes, game
                if self.left <= 0:
                    break
            if found:
                self.adopt(*found)
                return True
            if self.left <= 0:
                break
        return False

    def adopt(self, wishes: list[int], best: Game) -> None:
        """Go on from these wishes, which led to this play."""
        self.wishes, self.best = wishes, best
        game = Game(self.tables, self.evictions)
        self.snapshots: list[Game] = []
        for e, action in enumerate(best.actions):
            if e % self.every == 0:
                self.snapshots.append(game.copy())
            game.play(action)

    def play(self, wishes: list[int], first: int) -> Game:
        """The play of wishes that are those of the best one before the event ``first``."""
        game = self.snapshots[first // self.every].copy()
        begun = len(game.actions)
        self.left -= self.tables.events - begun
        for wish in wishes[begun:]:
            game.follow(wish)
        return game

    def missed(self) -> list[int]:
        """Events for which the play does not do what the plan wants: first those in slow memory, largest gain first."""
        actions, gain = self.best.actions, self.tables.gain
        differ = [e for e, wanted in enumerate(self.wanted) if wanted not in (DROP, actions[e])]
        return sorted(differ, key=lambda e: (actions[e] != DROP, -gain[e], e))

    def near(self, e: int) -> Iterator[Change]:
        """Changes for the storages around a missed event: all of one served alike, or one event alone."""
        for b in self.around(e):
            yield from self.alike(b)
            for use in self.tables.uses[b]:
                if abs(use - e) < NEAR:
                    yield from (((use, wish),) for wish in (DROP, NO_COPY, COPY))

    def alike(self, b: int) -> list[Change]:
        """All events of a storage with the same wish."""
        return [tuple((use, wish) for use in self.tables.uses[b]) for wish in (DROP, NO_COPY, COPY)]

    def pairs(self, e: int) -> Iterator[Change]:
        """Two storages around a missed event changed at once."""
        for b, other in combinations(self.around(e), 2):
            for change in self.alike(b):
                for further in self.alike(other):
                    yield tuple(sorted(change + further))

    def around(self, e: int) -> list[int]:
        """The event's storage, those in fast memory when it wants to be there, and those that were when they came there."""
        tables, rectangles = self.tables, self.best.rectangles
        own = tables.buffer[e]
        first = tables.step[e]
        last = first if tables.kind[e] == READ else tables.last[own]
        blocking = [r for r in rectangles if r.first <= last and r.last >= first]
        since = {r.first for r in blocking}
        pushing = [r for r in rectangles if any(r.first <= t <= r.last for t in since)]
        return sorted({own, *(r.buffer for r in (*blocking, *pushing))})
