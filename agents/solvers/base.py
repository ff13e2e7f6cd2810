"""Solvers: from an instance to a solution with its status and bound, and to the actions that replay it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STATUSES = ("optimal", "feasible", "infeasible", "unknown")


@dataclass(frozen=True)
class Solution:
    """What a solver found. Objective and bound are in the family's natural units."""

    actions: list[int] | None  # replayed by the environment made with ``options``; None if nothing was found
    objective: int | None
    status: str  # one of STATUSES
    bound: int | None = None  # no solution is better; None if the solver proves nothing
    seconds: float = 0.0  # wall-clock time of the solver
    options: dict[str, Any] = field(default_factory=dict)  # of the environment, such as {"scheme": "semi_active"}


@dataclass(frozen=True)
class Solver:
    """A named solver of one family. ``run`` takes the arguments of :meth:`solve`, those it has no use for included."""

    name: str
    doc: str
    run: Callable[..., Solution]
    extra: str | None = None  # the optional dependencies it needs
    exact: bool = False  # proves optimality, given enough time
    timed: bool = False  # heeds ``time_limit``
    threaded: bool = False  # heeds ``workers``
    options: Mapping[str, Any] = field(default_factory=dict)  # of the environment its solutions are replayed in

    def solve(
        self,
        instance: Any,
        *,
        time_limit: float | None = None,
        seed: int = 0,
        hint: Sequence[int] | None = None,
        workers: int | None = None,
    ) -> Solution:
        """Solve one instance.

        ``time_limit`` is in seconds of wall-clock time (None: none) and best effort; ``hint`` is the action list of a
        known solution to start from; ``workers`` is the number of threads (None: the solver's choice). Raises
        MissingExtraError if a package is missing, InstanceError if the instance is beyond the solver.
        """
        return self.run(instance, time_limit=time_limit, seed=seed, hint=hint, workers=workers)
