"""What an episode of memory mapping needs of its instance: rows of the events, the supplies, and the prices of space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dispatchgym.envs.core import Array
from dispatchgym.envs.memory.spec import EDGE_COLUMNS, NODE_COLUMNS
from dispatchgym.instances.memory.instance import READ, UPDATE, WRITE, MemoryInstance

NEVER = 2**30  # later than every step, more than every number of ticks


class Event(NamedTuple):
    """A use-event with what is known of its storage; i32[] or i32[U]."""

    buffer: Any
    step: Any
    kind: Any
    gain: Any
    benefit: Any  # ticks that the step shortens by if this event alone is served from fast memory
    granules: Any
    demand: Any
    output: Any
    define: Any
    last: Any  # step of the storage's last event
    next_step: Any  # step of the storage's next event, NEVER: none
    next_write: Any  # step of the storage's next write or update, NEVER: none
    next_benefit: Any  # of the next event, 0: none
    later: Any  # events of the storage after this one
    later_benefit: Any  # their benefits together
    kept: Any = 0  # 1 if the relaxed plan keeps the storage from here to the next event
    kept_so_far: Any = 0  # 1 if it keeps it from the event before to this one
    kept_all: Any = 0  # 1 if it keeps it from here to the last event


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MemoryProblem:
    """An instance with its static graph."""

    instance: MemoryInstance
    events: Any  # i32[U + 1, len(Event._fields)]  rows; the last one, of padding, is what comes after the end
    supply: Any  # i32[T + 1]  ticks of supply before each step
    price: Any  # f32[T + 1]  sum of price x supply of the steps before each, the price in ticks a tick and granule
    room: Any  # i32[T]  granules that the relaxed plan leaves
    floor: Any  # f32[T]  ticks a granule that its cheapest stay is worth in the step
    all_slow: Any  # i32[]  latency with nothing in fast memory
    ideal: Any  # i32[]  latency with everything in fast memory
    pressure: Any  # f32[]  largest sum of live storages over the capacity
    mean_step: Any  # f32[]  all_slow over the number of steps
    nodes: Any  # f32[T + B, static columns]  in the order of ``NODE_COLUMNS``
    node_mask: Any  # bool[T + B]
    edge_index: Any  # i32[2, U + T]
    edges: Any  # f32[U + T, columns]
    edge_mask: Any  # bool[U + T]


def event_table(instance: MemoryInstance) -> Event:
    """The events as columns i32[U]; anything where padded."""
    real = instance.event_kind >= 0
    buffer, step = instance.event_buffer, instance.event_step
    buffers, count = instance.define.shape[0], buffer.shape[0]
    compute, memory = instance.compute[step], instance.memory[step]
    benefit = jnp.maximum(compute, memory) - jnp.maximum(compute, memory - instance.gain)
    benefit = jnp.where(real, benefit, 0)
    last = jnp.full(buffers, -1, jnp.int32).at[buffer].max(jnp.where(real, step, -1))

    def back(after: tuple, row: tuple) -> tuple:
        """From the last event to the first, what lies behind each in its storage."""
        next_step, next_write, next_benefit, later, later_benefit = after
        b, t, kind, gained = row
        behind = (next_step[b], next_write[b], next_benefit[b], later[b], later_benefit[b])
        is_real = kind >= 0
        writes = is_real & (kind != READ)
        after = (
            next_step.at[b].set(jnp.where(is_real, t, next_step[b])),
            next_write.at[b].set(jnp.where(writes, t, next_write[b])),
            next_benefit.at[b].set(jnp.where(is_real, gained, next_benefit[b])),
            later.at[b].add(is_real),
            later_benefit.at[b].add(gained),
        )
        return after, behind

    none = jnp.full(buffers, NEVER, jnp.int32)
    zero = jnp.zeros(buffers, jnp.int32)
    rows = (buffer, step, instance.event_kind, benefit)
    behind: tuple[Array, ...]
    _, behind = jax.lax.scan(back, (none, none, zero, zero, zero), rows, length=count, reverse=True)
    of = (instance.granules, instance.demand, instance.output, instance.define, last)
    return Event(buffer, step, instance.event_kind, instance.gain, benefit, *(x[buffer] for x in of), *behind)


class Plan(NamedTuple):
    """A relaxed plan of what stays, which ignores addresses and copies: see :func:`relaxed_plan`."""

    kept: Array  # bool[U]  the storage stays from this event to its next
    load: Array  # i32[T]  granules of what stays
    price: Array  # f32[T]  ticks a granule and tick, of the dearest stay that found no room
    floor: Array  # f32[T]  the same of the cheapest stay that found room


def relaxed_plan(instance: MemoryInstance, events: Event, supply: Array) -> Plan:
    """Stays of storages between two events, greedily by the benefit of the later event per granule and tick.

    A stay is kept if it fits in all its steps. The prices of the steps are what a granule of fast memory is worth there
    (as in a fractional knapsack), which no rule that looks at one event at a time can know.
    """
    before = jnp.cumsum(supply)
    t = jnp.arange(instance.compute.shape[0])
    stays = (events.next_step < NEVER) & (instance.event_kind >= 0)
    until = jnp.where(stays, events.next_step, 0)
    ticks = jnp.maximum(before[until] - before[events.step] + supply[events.step], 1)
    value = events.next_benefit / (ticks.astype(jnp.float32) * jnp.maximum(events.granules, 1))
    order = jnp.argsort(jnp.where(stays, -value, jnp.inf))

    def fill(carry: tuple[Array, Array, Array], e: Array) -> tuple[tuple[Array, Array, Array], Array]:
        load, price, floor = carry
        covered = stays[e] & (t >= events.step[e]) & (t <= until[e])
        full = covered & (load + events.granules[e] > instance.capacity)
        kept = covered & ~full.any()
        return (
            load + jnp.where(kept, events.granules[e], 0),
            jnp.where(full, jnp.maximum(price, value[e]), price),
            jnp.where(kept, value[e], floor),
        ), stays[e] & ~full.any()

    nothing = jnp.zeros(t.shape, jnp.float32)
    (load, price, floor), kept = jax.lax.scan(fill, (jnp.zeros(t.shape, jnp.int32), nothing, nothing), order)
    return Plan(jnp.zeros_like(stays).at[order].set(kept), load, price, floor)


def prepare(instance: MemoryInstance) -> MemoryProblem:
    """The problem of an instance."""
    given: MemoryInstance = jax.tree.map(lambda x: jnp.asarray(x, jnp.int32), instance)
    t = jnp.arange(given.compute.shape[0])
    real_step, real_buffer, real = t < given.n_steps, given.granules > 0, given.event_kind >= 0
    step, buffer = given.event_step, given.event_buffer
    events = event_table(given)
    supply = jnp.maximum(given.compute, given.memory)
    before = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(supply)])
    gains = jnp.zeros_like(given.compute).at[step].add(given.gain)
    plan = relaxed_plan(given, events, supply)
    events = events._replace(**_kept(given, plan))
    price = plan.price
    paid = jnp.concatenate([jnp.zeros(1), jnp.cumsum(price * supply)])
    last = jnp.full(given.define.shape, -1, jnp.int32).at[buffer].max(jnp.where(real, step, -1))
    end = jnp.where(given.output > 0, given.n_steps - 1, last)
    change = jnp.zeros(t.shape[0] + 1, jnp.int32)
    change = change.at[jnp.maximum(given.define, 0)].add(given.granules).at[end + 1].add(-given.granules)
    live = jnp.cumsum(change)[:-1] * real_step
    benefit = (
        jnp.zeros_like(given.compute).at[step].add(events.benefit),
        jnp.zeros_like(given.define).at[buffer].add(events.benefit),
    )
    uses = (jnp.zeros_like(given.compute).at[step].add(real), jnp.zeros_like(given.define).at[buffer].add(real))
    none = jnp.zeros_like(given.define)
    static = {
        "instruction": (real_step, none),
        "buffer": (0 * t, real_buffer),
        "step": (t * real_step, given.define * real_buffer),
        "last": (t * real_step, last * real_buffer),
        "compute": (given.compute, none),
        "memory": (given.memory, given.demand),
        "space": (live, given.granules),
        "price": (price * given.capacity, none),
        "benefit": benefit,
        "uses": uses,
        "output": (0 * t, given.output),
    }
    nodes = [jnp.concatenate(static[c.name]).astype(jnp.float32) for c in NODE_COLUMNS if not c.dynamic]
    node_mask = jnp.concatenate([real_step, real_buffer])
    edge_index, edges, edge_mask = _edges(given, events, t)
    table = jnp.stack(events, axis=1)
    nothing = jnp.zeros(len(Event._fields), jnp.int32)
    nothing = nothing.at[Event._fields.index("kind")].set(-1)
    ideal = jnp.maximum(given.compute, given.memory - gains).sum()
    all_slow = supply.sum()
    return MemoryProblem(
        instance=given,
        events=jnp.where(jnp.append(real, False)[:, None], jnp.concatenate([table, nothing[None]]), nothing),
        supply=before,
        price=paid,
        room=jnp.maximum(given.capacity - plan.load, 0),
        floor=plan.floor * supply,
        all_slow=all_slow,
        ideal=ideal,
        mean_step=jnp.maximum(all_slow / given.n_steps, 1.0),
        pressure=live.max() / given.capacity,
        nodes=jnp.stack(nodes, axis=1) * node_mask[:, None],
        node_mask=node_mask,
        edge_index=edge_index,
        edges=edges,
        edge_mask=edge_mask,
    )


def _kept(given: MemoryInstance, plan: Plan) -> dict[str, Array]:
    """The columns of events that speak of the relaxed plan, i32[U]."""
    kept = plan.kept.astype(jnp.int32)
    buffer, real = given.event_buffer, given.event_kind >= 0

    def forth(last: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
        b, stays = row
        return last.at[b].set(stays), last[b]

    def back(after: Array, row: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        b, stays, is_real = row  # after: 1 while all stays behind are kept, 2 where there is none
        here = jnp.where(after[b] == 2, 1, after[b] * stays)
        return after.at[b].set(jnp.where(is_real, here, after[b])), here

    _, so_far = jax.lax.scan(forth, jnp.zeros_like(given.define), (buffer, kept))
    _, all_ = jax.lax.scan(back, jnp.full_like(given.define, 2), (buffer, kept, real), reverse=True)
    return {"kept": kept, "kept_so_far": so_far, "kept_all": all_}


def _edges(given: MemoryInstance, events: Event, t: Array) -> tuple[Array, Array, Array]:
    """(edge_index i32[2, U + T], edges f32[U + T, columns], edge_mask bool[U + T])."""
    steps, real = t.shape[0], given.event_kind >= 0
    follows = t + 1 < given.n_steps
    instruction, buffer = given.event_step, steps + given.event_buffer
    writes = given.event_kind == WRITE
    mask = jnp.concatenate([real, follows])
    source = jnp.concatenate([jnp.where(writes, instruction, buffer), t])
    target = jnp.concatenate([jnp.where(writes, buffer, instruction), t + 1])
    none = jnp.zeros_like(t)
    columns = {
        "writes": (writes, none),
        "reads": (given.event_kind == READ, none),
        "updates": (given.event_kind == UPDATE, none),
        "follows": (jnp.zeros_like(real), follows),
        "event": (jnp.arange(real.shape[0]), none),
        "gain": (given.gain, none),
        "benefit": (events.benefit, none),
    }
    edges = jnp.stack([jnp.concatenate(columns[c.name]).astype(jnp.float32) for c in EDGE_COLUMNS], axis=1)
    return jnp.stack([source, target]) * mask, edges * mask[:, None], mask
