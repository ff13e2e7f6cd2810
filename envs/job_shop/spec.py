"""The graph a job shop shows: operation and machine nodes, O(operations) edges, one candidate per job."""

from __future__ import annotations

from dispatchgym.envs.graph import Column, GraphSpec, Scale
from dispatchgym.instances.job_shop.instance import JobShopSize

NODE_COLUMNS = (
    Column("operation", "1 for an operation node", "indicator"),
    Column("machine", "1 for a machine node", "indicator"),
    Column("duration", "operation: processing time", "time"),
    Column("work_before", "operation: work of its job before it", "time"),
    Column("work_after", "operation: work of its job after it", "time"),
    Column("load", "machine: work of all its operations; operation: load of its machine", "time"),
    Column("scheduled", "operation: 1 once it has a start time", "indicator", dynamic=True),
    Column(
        "earliest_start",
        "operation: its start time, or the bound from its job while unscheduled; machine: when its last operation ends",
        "instant",
        dynamic=True,
    ),
    Column(
        "work_left", "operation: duration while unscheduled, then 0; machine: unscheduled work", "time", dynamic=True
    ),
)

EDGE_COLUMNS = (
    Column("precedence", "operation -> next operation of the job", "indicator"),
    Column("on_machine", "operation -> its machine", "indicator"),
)

GLOBAL_COLUMNS = (
    Column("mean_duration", "mean processing time of the instance's operations", "time"),
    Column("makespan", "largest completion time so far", "instant", dynamic=True),
    Column("lower_bound", "lower bound of the makespan, given what is scheduled", "instant", dynamic=True),
    Column("progress", "share of operations scheduled", "1", dynamic=True),
    Column("earliest_start", "smallest start time of any candidate", "instant", dynamic=True),
)

# Candidate j is the next operation of job j; after it stands for the operation of j that follows. Zeros once j is finished.
ACTION_COLUMNS = (
    Column("duration", "D, processing time", "time", dynamic=True),
    Column("job_ready", "completion of the job's previous operation", "instant", dynamic=True),
    Column("machine_ready", "when the last operation on the machine ends", "instant", dynamic=True),
    Column("start", "start time under the environment's scheme", "instant", dynamic=True),
    Column("work_remaining", "W, work of the job from this operation on", "time", dynamic=True),
    Column("work_done", "F, work of the job up to and including this operation", "time", dynamic=True),
    Column("operations_remaining", "operations of the job left, this one included", "1", dynamic=True),
    Column("machine_work", "unscheduled work of the machine, this operation included", "time", dynamic=True),
    Column("machine_queue", "candidates that want the same machine, this one included", "1", dynamic=True),
    Column("rival_completion", "smallest completion time among candidates on the machine", "instant", dynamic=True),
    Column("next_duration", "processing time of the operation after it", "time", dynamic=True),
    Column(
        "next_machine_ready",
        "when the machine after it becomes free; its own completion if it is the last",
        "instant",
        dynamic=True,
    ),
    Column("next_machine_work", "unscheduled work of the machine after it", "time", dynamic=True),
)


def graph_spec(size: JobShopSize) -> GraphSpec:
    """Nodes: jobs x operations row by row, then machines. Edges: precedence, then operation -> machine."""
    operations = size.jobs * size.operations
    return GraphSpec(
        n_nodes=operations + size.machines,
        n_edges=size.jobs * (size.operations - 1) + operations,
        n_actions=size.jobs,
        nodes_per_action=2,
        node_columns=NODE_COLUMNS,
        edge_columns=EDGE_COLUMNS,
        global_columns=GLOBAL_COLUMNS,
        action_columns=ACTION_COLUMNS,
        scales=(
            Scale("time", "mean_duration"),
            Scale("instant", "mean_duration", origin="earliest_start"),
        ),
    )
