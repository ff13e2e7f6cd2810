"""The graph a workflow shows: tasks and processors, precedence and support, one candidate per (window position, processor)."""

from __future__ import annotations

from dataclasses import replace

from dispatchgym.envs.graph import Column, GraphSpec, Scale
from dispatchgym.instances.workflow.instance import WorkflowSize

# What belongs to tasks that are not known yet is 0, and what needs their times, volumes or number counts the known ones alone.
NODE_COLUMNS = (
    Column("task", "1 for a task", "indicator"),
    Column("processor", "1 for a processor", "indicator"),
    Column("mean_time", "task: mean over its processors; processor: mean over the tasks it supports, online 0", "time"),
    Column("min_time", "task: smallest time", "time"),
    Column("support", "task: share of processors that support it; processor: share of tasks it supports, online 0"),
    Column("upward_rank", "task: HEFT's rank_u; online: its mean time", "time"),
    Column("downward_rank", "task: CPOP's rank_d", "time"),
    Column("optimistic_cost", "task: mean of PEFT's OCT; online: 0", "time"),
    Column("predecessors", "task: number of predecessors"),
    Column("successors", "task: number of successors; online: 0"),
    Column("depth", "task: number of tasks before it on the longest path"),
    Column("planned", "task: 1 once it has a start time", "indicator", dynamic=True),
    Column("ready", "task: 1 while it can be planned", "indicator", dynamic=True),
    Column("waits_for", "task: predecessors that are not planned", dynamic=True),
    Column(
        "start",
        "task: its start, or the last finish of its planned predecessors while unplanned; processor: its last finish",
        "instant",
        dynamic=True,
    ),
    Column(
        "finish",
        "task: its finish, or the same as start while unplanned; processor: last finish",
        "instant",
        dynamic=True,
    ),
    Column("work", "processor: time that its planned tasks take", "time", dynamic=True),
)

EDGE_COLUMNS = (
    Column("precedence", "task -> successor", "indicator"),
    Column("runs_on", "task -> processor that supports it", "indicator"),
    Column("volume", "precedence: data volume", "volume"),
    Column("transfer", "precedence: mean delay between two processors", "time"),
    Column("time", "runs_on: time of the task on the processor", "time"),
)

SCALES = ("mean_time", "mean_volume", "mean_transfer")  # online: of the tasks seen so far

GLOBAL_COLUMNS = (
    Column("mean_time", "mean of the tasks' mean times, 1 if all are 0", "time"),
    Column("mean_volume", "mean data volume of the edges, 1 if all are 0", "volume"),
    Column("mean_transfer", "mean over the edges of the mean delay between two processors", "time"),
    Column("processors", "number of processors"),
    Column("now", "online: the clock; otherwise 0", "instant", dynamic=True),
    Column("earliest_start", "smallest start of any candidate; at the end the makespan", "instant", dynamic=True),
    Column("makespan", "largest finish so far", "instant", dynamic=True),
    Column("lower_bound", "lower bound of the makespan, given what is planned and known", "instant", dynamic=True),
    Column("planned", "tasks that are planned", dynamic=True),
    Column("progress", "share of the known tasks that are planned", dynamic=True),
    Column("ready", "tasks that can be planned, those beyond the window included", dynamic=True),
)

# Ranks appear in whole units with the rest as a fraction, both exact, so that rules can compare them exactly.
ACTION_COLUMNS = tuple(
    Column(name, doc, unit, dynamic=True)
    for name, doc, unit in (
        ("position", "of the task among the ready ones, by number", "1"),
        ("time", "time of the task on the processor", "time"),
        ("mean_time", "mean time of the task", "time"),
        ("min_time", "smallest time of the task", "time"),
        ("median_time", "median time of the task", "time"),
        ("data_ready", "when the data of its predecessors are on the processor; online: not before now", "instant"),
        ("processor_ready", "last finish on the processor", "instant"),
        ("start", "start of the task on the processor", "instant"),
        ("finish", "finish of the task on the processor", "instant"),
        ("increase", "by which the makespan would grow", "time"),
        ("best_finish", "smallest finish of the task on any processor", "instant"),
        ("second_finish", "second smallest finish; the smallest if one processor alone supports it", "instant"),
        ("upward_rank", "HEFT's rank_u, rounded down; online: mean time", "time"),
        ("upward_fraction", "what that leaves out", "time"),
        ("through_rank", "CPOP's rank_u + rank_d, rounded down; online: mean time + rank_d", "time"),
        ("through_fraction", "what that leaves out", "time"),
        ("optimistic_rank", "PEFT's rank_oct, the mean of OCT over the processors, rounded down; online: 0", "time"),
        ("optimistic_rank_fraction", "what that leaves out", "time"),
        ("optimistic_cost", "PEFT's OCT of the task on the processor, rounded down; online: 0", "time"),
        ("optimistic_cost_fraction", "what that leaves out", "time"),
        ("static_level", "longest path of median times from the task on, no delays; online: median time", "time"),
        ("topological", "place in the topological order that takes the lowest ready task; online: 0", "1"),
        ("on_critical_path", "1 on CPOP's critical path; online: 0", "indicator"),
        ("critical_processor", "1 if the processor runs the whole critical path fastest; online: 0", "indicator"),
        ("choices", "processors that support the task", "1"),
        ("choice", "number of the processor among these", "1"),
        ("predicted_work", "prediction 'weight': predicted work of the task and behind it; otherwise 0", "time"),
        (
            "predicted_order",
            "prediction 'order': place of the prediction among the window's, 1 = largest; otherwise 0",
            "1",
        ),
    )
)


def graph_spec(size: WorkflowSize, window: int, by_pair: bool, online: bool) -> GraphSpec:
    """Nodes: tasks, then processors. Edges: precedence, then (task, processor) row by row. Candidates: (position, processor)
    row by row, or the positions alone.
    """
    return GraphSpec(
        n_nodes=size.tasks + size.processors,
        n_edges=size.edges + size.tasks * size.processors,
        n_actions=window * size.processors if by_pair else window,
        nodes_per_action=2,
        node_columns=NODE_COLUMNS,
        edge_columns=EDGE_COLUMNS,
        global_columns=tuple(replace(c, dynamic=c.dynamic or (online and c.name in SCALES)) for c in GLOBAL_COLUMNS),
        action_columns=ACTION_COLUMNS,
        scales=(
            Scale("time", "mean_time"),
            Scale("instant", "mean_time", origin="earliest_start"),
            Scale("volume", "mean_volume"),
        ),
        static_nodes=0 if online else None,
        static_edges=0 if online else None,
    )
