"""The graph a program shows: instructions and buffers, what each reads and writes, and the three moves of one use."""

from __future__ import annotations

from dispatchgym.envs.graph import Column, GraphSpec, Scale
from dispatchgym.instances.memory.instance import MemorySize

NODE_COLUMNS = (
    Column("instruction", "1 for an instruction", "indicator"),
    Column("buffer", "1 for a buffer (a storage)", "indicator"),
    Column("step", "instruction: its step; buffer: its defining step, -1 for a parameter", "step"),
    Column("last", "instruction: its step; buffer: step of its last use", "step"),
    Column("compute", "instruction: ticks of arithmetic", "time"),
    Column("memory", "instruction: ticks of memory traffic; buffer: ticks of a copy", "time"),
    Column("space", "instruction: granules of all buffers that live then; buffer: its granules", "space"),
    Column("price", "instruction: ticks that a full fast memory would be worth for one tick", "1"),
    Column("benefit", "ticks saved if all its uses were served from fast memory, each alone", "time"),
    Column("uses", "number of use-events"),
    Column("output", "buffer: 1 if it must end in slow memory", "indicator"),
    Column("supply_in", "instruction: supply left for copies to fast memory", "time", dynamic=True),
    Column("supply_out", "instruction: supply left for copies back", "time", dynamic=True),
    Column("saved", "instruction: gains of the uses served from fast memory", "time", dynamic=True),
    Column("reserved", "instruction: granules reserved; buffer: its granules while it stays", "space", dynamic=True),
    Column(
        "held", "buffer: last step of its stay in fast memory, -2 without one; instruction: 0", "step", dynamic=True
    ),
    Column("ready", "buffer: step after which slow memory holds it, -2: not yet; instruction: 0", "step", dynamic=True),
)

EDGE_COLUMNS = (
    Column("writes", "instruction -> buffer that it defines", "indicator"),
    Column("reads", "buffer -> instruction that reads it", "indicator"),
    Column("updates", "buffer -> instruction that reads and writes it in place", "indicator"),
    Column("follows", "instruction -> the next one", "indicator"),
    Column("event", "use: its number in the order of decisions"),
    Column("gain", "use: ticks that the step's memory time falls by in fast memory", "time"),
    Column("benefit", "use: ticks that the step shortens by if it alone is in fast memory", "time"),
)

GLOBAL_COLUMNS = (
    Column("mean_step", "mean ticks of a step with everything in slow memory", "time"),
    Column("capacity", "granules of fast memory", "space"),
    Column("steps", "number of instructions", "step"),
    Column("events", "number of use-events"),
    Column("all_slow", "latency with everything in slow memory", "time"),
    Column("ideal", "latency with everything in fast memory", "time"),
    Column("pressure", "largest sum of live buffers over the capacity"),
    Column("event", "number of the use to decide, = events at the end", dynamic=True),
    Column("progress", "share of the uses that are decided", dynamic=True),
    Column("now", "step of the use to decide, the last one at the end", "step", dynamic=True),
    Column("latency", "latency if all further uses were served from slow memory", "time", dynamic=True),
    Column("write", "use to decide: 1 if it defines its buffer", "indicator", dynamic=True),
    Column("update", "use to decide: 1 if it writes in place", "indicator", dynamic=True),
    Column("output", "use to decide: 1 if its buffer must end in slow memory", "indicator", dynamic=True),
    Column("parameter", "use to decide: 1 if its buffer is in slow memory from the start", "indicator", dynamic=True),
    Column("resident", "use to decide: 1 if its buffer has a stay in fast memory", "indicator", dynamic=True),
    Column("granules", "use to decide: granules of its buffer", "space", dynamic=True),
    Column("demand", "use to decide: ticks of a copy", "time", dynamic=True),
    Column("gain", "use to decide: ticks that it takes off the memory time of its step", "time", dynamic=True),
    Column("slack", "use to decide: ticks of its step that memory still exceeds computation by", "time", dynamic=True),
    Column("later", "use to decide: further uses of its buffer", dynamic=True),
    Column("later_benefit", "use to decide: their benefits", "time", dynamic=True),
    Column("next_benefit", "use to decide: benefit of the next one, 0 without", "time", dynamic=True),
    Column("next_ticks", "use to decide: supply between it and the next one, 0 without", "time", dynamic=True),
    Column("supply_in", "supply left for copies to fast memory, of the steps before now", "time", dynamic=True),
    Column("supply_out", "supply left for copies back, of the steps after now", "time", dynamic=True),
    Column("free_now", "granules not reserved in the step to decide", "space", dynamic=True),
    Column(
        "free_next", "granules free from the next step to the next use, capacity without one", "space", dynamic=True
    ),
    Column("next_cost", "price of the buffer's stay from now to the next use", "time", dynamic=True),
    Column("price", "price of a full fast memory in the step to decide", dynamic=True),
    Column("kept", "use to decide: 1 if the relaxed plan keeps its buffer to the next use", "indicator", dynamic=True),
    Column("kept_so_far", "use to decide: 1 if it keeps it from the use before", "indicator", dynamic=True),
    Column("kept_all", "use to decide: 1 if it keeps it to the last use", "indicator", dynamic=True),
    Column("room", "granules that the relaxed plan leaves in the step to decide", "space", dynamic=True),
)

ACTION_COLUMNS = (
    Column("no_copy", "1 for NoCopy", "indicator"),
    Column("copy", "1 for Copy", "indicator"),
    Column("saves", "ticks that the step shortens by now", "time"),
    Column("secured", "benefits of the further uses that the stay covers", "time"),
    Column("covers", "further uses of the buffer that the stay covers"),
    Column("forgone", "benefits of the further uses that it does not cover", "time"),
    Column("first", "first step newly reserved, 0 if none", "step"),
    Column("last", "last step newly reserved, 0 if none", "step"),
    Column("stay", "supply of the steps newly reserved", "time"),
    Column("space_time", "granules x supply of the steps newly reserved, as a share of the capacity", "time"),
    Column("cost", "price of the space newly reserved", "time"),
    Column("comes", "ticks of the copy to fast memory", "time"),
    Column("goes", "ticks of the copy back", "time"),
    Column("reach", "supply between the start of the copy in and now", "time"),
    Column("offset", "granule where the buffer lies, 0 if nowhere", "space"),
    Column("peak", "most granules reserved in these steps afterwards, 0 if none", "space"),
    Column("above", "granules above the buffer to the capacity, 0 if nowhere", "space"),
    Column("ready_ticks", "supply between the time when slow memory has the contents and the next use", "time"),
    Column("fetchable", "1 if the next use could then be copied in, as far as supply goes", "indicator"),
    Column("keeps", "1 if the buffer is in fast memory afterwards", "indicator"),
    Column("net", "saves + secured - cost", "time"),
    Column("displaces", "price of what the relaxed plan keeps where the space newly reserved exceeds its room", "time"),
    Column("stretch", "NoCopy beside a legal Copy: supply of its steps newly reserved over Copy's, at most 20; else 0"),
    Column("worth", "(saves + secured) over their sum with displaces, 0 if nothing is saved"),
    Column("worth_at_price", "(saves + secured) over their sum with cost, 0 if nothing is saved"),
)


def graph_spec(size: MemorySize, image: tuple[int, int] | None) -> GraphSpec:
    """Nodes: instructions, then buffers. Edges: one per use-event, then instruction to instruction. Candidates: Drop,
    NoCopy and Copy, of (instruction, buffer).
    """
    return GraphSpec(
        n_nodes=size.steps + size.buffers,
        n_edges=size.events + size.steps,
        n_actions=3,
        nodes_per_action=2,
        node_columns=NODE_COLUMNS,
        edge_columns=EDGE_COLUMNS,
        global_columns=GLOBAL_COLUMNS,
        action_columns=ACTION_COLUMNS,
        scales=(Scale("time", "mean_step"), Scale("space", "capacity"), Scale("step", "steps", origin="now")),
        image=None if image is None else (3, *image),
    )
