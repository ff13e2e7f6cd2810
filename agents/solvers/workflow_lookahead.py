"""HEFT with one step of lookahead."""

from __future__ import annotations

import time
from typing import Any

from dispatchgym.agents.solvers.base import Solution
from dispatchgym.agents.solvers.workflow_plan import Plan, heft_order, solution
from dispatchgym.instances.workflow.instance import WorkflowInstance


def lookahead_heft(instance: WorkflowInstance, **_: Any) -> Solution:
    """Lookahead HEFT (Bittencourt, Sakellariou & Madeira 2010, Euromicro PDP): choose the processor for the children.

    Tasks come in HEFT's order. A task is tried on every processor, its children are then placed as HEFT would, by the data
    of those of their parents that are planned, and the processor wins that keeps the largest finish of a child smallest;
    ties go to the smaller finish of the task itself, then to the lower processor, and a task without children takes its
    earliest finish. The paper leaves ties open, and in its variants priorities too; these are the plain ones.
    """
    started = time.perf_counter()
    graph = instance.graph()
    plan, order = Plan(graph), heft_order(graph)
    place = {i: at for at, i in enumerate(order)}
    for i in order:
        children = sorted(plan.after[i], key=place.__getitem__)
        p = min((*_tried(plan, i, p, children), p) for p in plan.supported[i])[-1]
        plan.take(i, p)
    return solution(instance, [(i, plan.pe[i]) for i in order], started)


def _tried(plan: Plan, i: int, p: int, children: list[int]) -> tuple[int, int]:
    """(largest finish of a child, own finish) with the task on this processor; leaves the plan as it was."""
    plan.take(i, p)
    own = latest = plan.finish[i]
    for child in children:
        finish, q = plan.best(child)
        latest = max(latest, finish)
        plan.take(child, q)
    for child in children:
        plan.undo(child)
    plan.undo(i)
    return latest, own
