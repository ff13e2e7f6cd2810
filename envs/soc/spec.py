"""The graph a chip shows: the task graphs of its applications and its PEs, which stay, and the jobs in the system.

Nodes: tasks of all templates row by row, PEs; then the tasks of each job slot row by row, and the job slots. All times are
relative to now. Candidate (window position, PE) concerns the task in the system, its task in the template, and the PE.
"""

from __future__ import annotations

from dispatchgym.envs.graph import Column, GraphSpec, Scale
from dispatchgym.instances.soc.instance import SocSize

NODE_COLUMNS = (
    Column("template_task", "1 for a task of a template", "indicator"),
    Column("pe", "1 for a PE", "indicator"),
    Column("system_task", "1 for a task of a job in the system", "indicator", dynamic=True),
    Column("job", "1 for a job in the system", "indicator", dynamic=True),
    Column("mean_time", "template task: mean nominal time over the PEs that support it", "time"),
    Column("best_time", "template task: smallest nominal time", "time"),
    Column("upward_rank", "template task: mean time and transfers of the longest path to an exit (HEFT)", "time"),
    Column("predecessors", "template task: number of direct predecessors"),
    Column("successors", "template task: number of direct successors"),
    Column(
        "support", "template task: share of the PEs that can run it; PE: share of the template tasks that it can run"
    ),
    Column("speed", "PE: mean of best time / its time over the template tasks that it can run"),
    Column("power", "PE: active power relative to the largest of the chip"),
    Column("rank_left", "system task: upward rank while uncommitted, then 0", "time", dynamic=True),
    Column("remaining_predecessors", "system task: predecessors not finished", dynamic=True),
    Column("ready", "system task: can be committed now", "indicator", dynamic=True),
    Column("committed", "system task: waits on or runs on a PE", "indicator", dynamic=True),
    Column("running", "system task: runs", "indicator", dynamic=True),
    Column("done", "system task: finished", "indicator", dynamic=True),
    Column(
        "since_ready",
        "system task: time since its last predecessor finished, while not running or done",
        "time",
        dynamic=True,
    ),
    Column(
        "busy_until",
        "PE: expected time until its running and queued work is done, by nominal times",
        "time",
        dynamic=True,
    ),
    Column("queue", "PE: tasks queued and running", dynamic=True),
    Column("age", "job: time since its arrival", "time", dynamic=True),
    Column("uncommitted", "job: tasks not yet committed", dynamic=True),
)

EDGE_COLUMNS = (
    Column("precedence", "template task -> successor", "indicator"),
    Column("runs_on", "template task -> PE that supports it", "indicator"),
    Column("dependency", "system task -> successor", "indicator", dynamic=True),
    Column("instance_of", "system task -> its task in the template", "indicator", dynamic=True),
    Column("part_of", "system task -> its job", "indicator", dynamic=True),
    Column("placed_on", "committed system task -> its PE", "indicator", dynamic=True),
    Column("time", "runs_on, placed_on: nominal time on the PE", "time", dynamic=True),
    Column("volume", "precedence, dependency: data volume", "volume", dynamic=True),
    Column("transfer", "precedence, dependency: mean transfer time between two PEs", "time", dynamic=True),
)

GLOBAL_COLUMNS = (
    Column("mean_time", "mean nominal time over the template tasks and the PEs that support them", "time"),
    Column("mean_volume", "mean data volume of the templates' edges, at least 1", "volume"),
    Column("pes", "PEs of the chip"),
    Column("cap", "most jobs in the system"),
    Column("closed", "1: jobs are released one after another's admission", "indicator"),
    Column("in_system", "jobs in the system", dynamic=True),
    Column("waiting", "jobs that have arrived and wait outside; closed: 1 if the source is blocked", dynamic=True),
    Column("oldest_wait", "time that the oldest of these has waited; 0 in the closed mode", "time", dynamic=True),
    Column("jobs_left", "jobs not yet admitted", dynamic=True),
    Column("ready", "ready tasks, those beyond the window included", dynamic=True),
    Column("backlog", "mean of the PEs' busy_until", "time", dynamic=True),
    Column("first_free", "smallest busy_until of any PE", "time", dynamic=True),
    Column("decisions", "tasks committed so far", dynamic=True),
)

# Candidate k * PEs + p: the task at window position k on PE p; zeros where the mask is False.
ACTION_COLUMNS = (
    Column("time", "w, nominal time of the task on the PE", "time", dynamic=True),
    Column("data_ready", "until all its data are on the PE", "time", dynamic=True),
    Column("start", "expected start: the data and the PE's queue, by nominal times", "time", dynamic=True),
    Column("finish", "expected finish: start + w", "time", dynamic=True),
    Column("finish_regret", "finish beyond the task's smallest over the PEs", "time", dynamic=True),
    Column("best_finish", "the task's smallest expected finish", "time", dynamic=True),
    Column(
        "second_finish",
        "the task's second smallest expected finish; the smallest if it has one PE",
        "time",
        dynamic=True,
    ),
    Column(
        "to_exit",
        "optimistic time from its finish on the PE to the end of its job (PEFT's table)",
        "time",
        dynamic=True,
    ),
    Column("exit_regret", "finish + to_exit beyond the task's smallest", "time", dynamic=True),
    Column("upward_rank", "rank_u of the task in its whole job", "time", dynamic=True),
    Column("mean_time", "of the task over the PEs that support it", "time", dynamic=True),
    Column("best_time", "of the task over the PEs that support it", "time", dynamic=True),
    Column("time_rank", "1 + number of supporting PEs that are faster for the task", dynamic=True),
    Column("supported", "number of PEs that support the task", dynamic=True),
    Column("supported_before", "of these, PEs of lower index than this one", dynamic=True),
    Column("successors", "direct successors of the task", dynamic=True),
    Column("position", "of the task in the window", dynamic=True),
    Column("age", "time since the arrival of its job", "time", dynamic=True),
    Column("uncommitted", "tasks of its job not yet committed, this one included", dynamic=True),
    Column("work_left", "smallest times of the job's uncommitted tasks, added up", "time", dynamic=True),
    Column("job_order", "0 if no job in the window arrived before its own, else 1, 2, ...", dynamic=True),
    Column("busy_until", "of the PE: expected time until its work is done", "time", dynamic=True),
    Column("queue", "of the PE: tasks queued and running", dynamic=True),
    Column("rivals", "other ready tasks in the window whose smallest expected finish is on this PE", dynamic=True),
)


def graph_spec(size: SocSize, candidates: int) -> GraphSpec:
    """Sizes of the arrays for ``candidates`` actions. Edges: precedence, runs_on; dependency, then three a system task."""
    template_tasks, system_tasks = size.templates * size.tasks, size.slots * size.tasks
    static_nodes = template_tasks + size.pes
    static_edges = size.templates * size.edges + size.pairs
    return GraphSpec(
        n_nodes=static_nodes + system_tasks + size.slots,
        n_edges=static_edges + size.slots * size.edges + 3 * system_tasks,
        n_actions=candidates,
        nodes_per_action=3,
        node_columns=NODE_COLUMNS,
        edge_columns=EDGE_COLUMNS,
        global_columns=GLOBAL_COLUMNS,
        action_columns=ACTION_COLUMNS,
        scales=(Scale("time", "mean_time"), Scale("volume", "mean_volume")),
        static_nodes=static_nodes,
        static_edges=static_edges,
    )
