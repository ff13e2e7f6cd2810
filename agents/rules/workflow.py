"""List-scheduling rules of workflows: HEFT and its kin with insertion, the run-time heuristics behind what is planned.

The smallest key wins, then the next key decides; what all leave open goes to the lowest task, then the lowest processor.
Keys are compared exactly: ranks are whole units and a fraction. "First" is the ready task of the lowest number. Rules that
append are defined for a free processor, so their own option is ``insertion: False``.
"""

from __future__ import annotations

from collections.abc import Callable

from dispatchgym.agents.rules.base import Rule, View, first_by, uniform
from dispatchgym.envs.core import Array

INSERT = {"insertion": True}
APPEND = {"insertion": False}

Key = Callable[[View], Array]


def column(name: str) -> Key:
    """The column, smallest first."""
    return lambda c: c[name]


def largest(*names: str) -> tuple[Key, ...]:
    """The columns in turn, largest first."""
    return tuple(lambda c, name=name: -c[name] for name in names)


def _off_the_critical_processor(c: View) -> Array:
    return (c["on_critical_path"] > 0) & (c["critical_processor"] == 0)


def _not_in_turn(c: View) -> Array:
    return c.integer("choice") != c.overall("planned") % c["choices"]


FIRST = column("position")
FINISH = column("finish")
TIME = column("time")
UPWARD = largest("upward_rank", "upward_fraction")

_RULES = (
    Rule(
        "heft",
        "largest rank_u, ties in topological order; earliest finish (Topcuoglu, Hariri and Wu, 2002)",
        first_by(*UPWARD, column("topological"), FIRST, FINISH),
        INSERT,
    ),
    Rule(
        "cpop",
        "largest rank_u + rank_d, ties to the first; critical path on its processor, else earliest finish (same paper)",
        first_by(*largest("through_rank", "through_fraction"), FIRST, _off_the_critical_processor, FINISH),
        INSERT,
    ),
    Rule(
        "peft",
        "largest mean OCT, ties to the first; smallest finish + OCT (Arabnejad and Barbosa, 2014)",
        first_by(
            *largest("optimistic_rank", "optimistic_rank_fraction"),
            FIRST,
            lambda c: c.integer("finish") + c.integer("optimistic_cost"),
            column("optimistic_cost_fraction"),
        ),
        INSERT,
    ),
    Rule(
        "dls",
        "largest static level - start + median time - time (dynamic level; Sih and Lee, 1993)",
        first_by(lambda c: c["start"] + c["time"] - c["static_level"] - c["median_time"]),
        APPEND,
    ),
    Rule(
        "etf_hwang",
        "earliest start, ties to the largest rank_u (Hwang, Chow, Anger and Lee, 1989, with rank_u for the level)",
        first_by(column("start"), *UPWARD),
        APPEND,
    ),
    Rule(
        "etf_ds3",
        "earliest finish over all pairs: DS3 and CEDR call it ETF; the same as min_min",
        first_by(FINISH),
        APPEND,
    ),
    Rule("min_min", "task of the earliest best finish (Ibarra and Kim, 1977)", first_by(FINISH), APPEND),
    Rule(
        "max_min",
        "task of the latest best finish (Ibarra and Kim, 1977)",
        first_by(*largest("best_finish"), FIRST, FINISH),
        APPEND,
    ),
    Rule(
        "sufferage",
        "most lost by the second best finish, tasks of one processor alone first of all (Maheswaran et al., 1999)",
        first_by(
            lambda c: c["choices"] > 1,
            lambda c: c["best_finish"] - c["second_finish"],
            FIRST,
            FINISH,
        ),
        APPEND,
    ),
    Rule("mct", "first task, earliest finish (Armstrong, Hensgen and Kidd, 1998)", first_by(FIRST, FINISH), APPEND),
    Rule("met", "first task, smallest time (Armstrong, Hensgen and Kidd, 1998)", first_by(FIRST, TIME), APPEND),
    Rule("stf", "smallest time over all pairs (shortest task first, as in DS3)", first_by(TIME), APPEND),
    Rule(
        "olb",
        "first task, processor that is free first (opportunistic load balancing; Armstrong et al., 1998)",
        first_by(FIRST, column("processor_ready")),
        APPEND,
    ),
    Rule(
        "round_robin",
        "first task, its processors in turn: number of the decision mod their count",
        first_by(FIRST, _not_in_turn),
        APPEND,
    ),
    Rule(
        "predicted_weight",
        "largest predicted work, then earliest finish (weight-value predictions; Lassota et al., 2023)",
        first_by(*largest("predicted_work"), FIRST, FINISH),
        APPEND | {"information": "online", "prediction": "weight"},
    ),
    Rule(
        "predicted_order",
        "largest predicted work by its order alone, then earliest finish (weight-order predictions; Lassota et al., 2023)",
        first_by(column("predicted_order"), FIRST, FINISH),
        APPEND | {"information": "online", "prediction": "order"},
    ),
    Rule("random", "any legal pair, all equally likely", uniform, APPEND, stochastic=True),
)

RULES = {rule.name: rule for rule in _RULES}
