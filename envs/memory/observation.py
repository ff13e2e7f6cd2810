"""What an agent sees of a partial mapping: see the columns in :mod:`dispatchgym.envs.memory.spec`."""

from __future__ import annotations

import jax.numpy as jnp

from dispatchgym.envs.core import Array
from dispatchgym.envs.graph import GraphObservation
from dispatchgym.envs.memory.moves import MemoryState, current, step_time
from dispatchgym.envs.memory.problem import NEVER, Event, MemoryProblem
from dispatchgym.envs.memory.spec import ACTION_COLUMNS, GLOBAL_COLUMNS, NODE_COLUMNS
from dispatchgym.instances.memory.instance import READ
from dispatchgym.instances.memory.plan import NONE

MOST_STRETCH = 20.0
PRICE = [c.name for c in NODE_COLUMNS if not c.dynamic].index("price")


def observe(problem: MemoryProblem, state: MemoryState, image: tuple[int, int] | None) -> GraphObservation:
    """The graph of a state; with ``image`` the picture of fast memory, of that height (addresses) and width (steps)."""
    e = current(problem, state.k)
    over = e.kind < 0
    steps = problem.instance.compute.shape[0]
    told = _globals(problem, state, e, over)
    features = _features(problem, state, e)
    nodes = jnp.stack([e.step, steps + e.buffer])
    return GraphObservation(
        nodes=_nodes(problem, state),
        node_mask=problem.node_mask,
        edge_index=problem.edge_index,
        edges=problem.edges,
        edge_mask=problem.edge_mask,
        globals=jnp.stack([jnp.asarray(told[c.name], jnp.float32) for c in GLOBAL_COLUMNS]),
        action_mask=state.moves.legal | over,
        action_nodes=jnp.broadcast_to(nodes, (3, 2)) * state.moves.legal[:, None],
        action_features=features * state.moves.legal[:, None],
        image=None if image is None else _image(problem, state, image),
    )


def _nodes(problem: MemoryProblem, state: MemoryState) -> Array:
    """f32[T + B, columns]."""
    none = jnp.zeros_like(state.low)
    of_steps = jnp.zeros_like(state.load)
    resident = state.low >= 0
    real = problem.instance.granules > 0
    dynamic = {
        "supply_in": (jnp.diff(state.inward), none),
        "supply_out": (jnp.diff(state.outward), none),
        "saved": (state.saved, none),
        "reserved": (state.load, jnp.where(resident, problem.instance.granules, 0)),
        "held": (of_steps, jnp.where(resident, state.held, NONE) * real),
        "ready": (of_steps, jnp.where(state.ready < NEVER, state.ready, NONE) * real),
    }
    columns = [jnp.concatenate(dynamic[c.name]).astype(jnp.float32) for c in NODE_COLUMNS if c.dynamic]
    return jnp.concatenate([problem.nodes, jnp.stack(columns, axis=1)], axis=1)


def _globals(problem: MemoryProblem, state: MemoryState, e: Event, over: Array) -> dict[str, Array]:
    """The globals by name."""
    given = problem.instance
    t = jnp.arange(state.load.shape[0])
    has_next = (e.next_step < NEVER) & ~over
    next_step = jnp.where(has_next, e.next_step, e.step)
    now = jnp.where(over, given.n_steps - 1, e.step)
    between = (t > e.step) & (t <= next_step)
    values = {
        "mean_step": problem.mean_step,
        "capacity": given.capacity,
        "steps": given.n_steps,
        "events": given.n_events,
        "all_slow": problem.all_slow,
        "ideal": problem.ideal,
        "pressure": problem.pressure,
        "event": state.k,
        "progress": state.k / given.n_events,
        "now": now,
        "latency": state.latency,
        "write": e.kind == 1,
        "update": e.kind == 2,
        "output": e.output,
        "parameter": e.define < 0,
        "resident": state.low[e.buffer] >= 0,
        "granules": e.granules,
        "demand": e.demand,
        "gain": e.gain,
        "slack": step_time(problem, e.step, state.saved[e.step]) - given.compute[e.step],
        "later": e.later,
        "later_benefit": e.later_benefit,
        "next_benefit": e.next_benefit,
        "next_ticks": problem.supply[next_step] - problem.supply[jnp.minimum(e.step + 1, next_step)],
        "supply_in": state.inward[e.step],
        "supply_out": state.outward[-1] - state.outward[e.step + 1],
        "free_now": given.capacity - state.load[e.step],
        "free_next": given.capacity - jnp.where(between, state.load, 0).max(),
        "next_cost": e.granules * (problem.price[next_step + 1] - problem.price[e.step]) * has_next,
        "price": problem.nodes[e.step, PRICE],
        "kept": e.kept,
        "kept_so_far": e.kept_so_far,
        "kept_all": e.kept_all,
        "room": problem.room[e.step],
    }
    static = {c.name for c in GLOBAL_COLUMNS if not c.dynamic} | {"event", "progress", "now", "latency"}
    return {name: value if name in static else jnp.where(over, 0, value) for name, value in values.items()}


def _features(problem: MemoryProblem, state: MemoryState, e: Event) -> Array:
    """f32[3, columns]."""
    given, m = problem.instance, state.moves
    last_step = state.load.shape[0] - 1
    served = m.low >= 0
    reserves = served & (m.first <= m.last)
    first, last = jnp.clip(m.first, 0, last_step), jnp.clip(m.last, -1, last_step)
    before = step_time(problem, e.step, state.saved[e.step])
    saves = jnp.where(served, before - step_time(problem, e.step, state.saved[e.step] + e.gain), 0)
    mine = (given.event_buffer == e.buffer) & (given.event_kind >= 0) & (jnp.arange(given.gain.shape[0]) > state.k)
    covered = mine & served[:, None] & (given.event_step <= m.held[:, None])
    benefit = problem.events[:-1, Event._fields.index("benefit")]
    secured = jnp.where(covered, benefit, 0).sum(axis=1)
    stay = jnp.where(reserves, problem.supply[last + 1] - problem.supply[first], 0)
    cost = jnp.where(reserves, e.granules * (problem.price[last + 1] - problem.price[first]), 0.0)
    t = jnp.arange(last_step + 1)
    during = reserves[:, None] & (t >= first[:, None]) & (t <= last[:, None])
    peak = jnp.where(during, state.load, 0).max(axis=1) + jnp.where(reserves, e.granules, 0)
    # What the relaxed plan keeps of this very storage is in its load already.
    own = jnp.where(e.kind == READ, e.kept_so_far, jnp.stack([e.kept_all, e.kept_all, e.kept])) > 0
    excess = jnp.maximum(e.granules - problem.room, 0)
    displaces = jnp.where(during & ~own[:, None], problem.floor * excess, 0.0).sum(axis=1)
    gained = (saves + secured).astype(jnp.float32)
    choice = m.legal[1] & m.legal[2]
    stretch = jnp.where(choice, jnp.minimum(stay[1] / jnp.maximum(stay[2], 1), MOST_STRETCH), 0.0)
    comes, goes = m.copy_in > NONE, m.copy_out > NONE
    next_step = jnp.where(e.next_step < NEVER, e.next_step, e.step)
    ready = jnp.where(m.ready < NEVER, m.ready, next_step)
    left = jnp.maximum(state.inward[next_step] - state.inward[jnp.clip(ready + 1, 0, next_step)], 0)
    left = jnp.where(e.next_step < NEVER, left, 0)
    values = {
        "no_copy": jnp.array([0, 1, 0]),
        "copy": jnp.array([0, 0, 1]),
        "saves": saves,
        "secured": secured,
        "covers": covered.sum(axis=1),
        "forgone": e.later_benefit - secured,
        "first": jnp.where(reserves, first, 0),
        "last": jnp.where(reserves, last, 0),
        "stay": stay,
        "space_time": stay * (e.granules / given.capacity),
        "cost": cost,
        "comes": jnp.where(comes, e.demand, 0),
        "goes": jnp.where(goes, e.demand, 0),
        "reach": jnp.where(comes, problem.supply[e.step] - problem.supply[jnp.clip(m.copy_in + 1, 0, last_step)], 0),
        "offset": jnp.where(served, m.low, 0),
        "peak": peak,
        "above": jnp.where(served, given.capacity - m.low - e.granules, 0),
        "ready_ticks": left,
        "fetchable": (left >= e.demand) & (e.next_step < NEVER),
        "keeps": served,
        "net": saves + secured - cost,
        "displaces": displaces,
        "stretch": jnp.array([0, 1, 0]) * stretch,
        "worth": gained / jnp.maximum(gained + displaces, 1.0),
        "worth_at_price": gained / jnp.maximum(gained + cost, 1.0),
    }
    return jnp.stack([jnp.broadcast_to(jnp.asarray(values[c.name], jnp.float32), (3,)) for c in ACTION_COLUMNS], axis=1)


def _image(problem: MemoryProblem, state: MemoryState, shape: tuple[int, int]) -> Array:
    """f32[3, H, W]: share of each cell (addresses x steps) that is reserved, and that NoCopy and Copy would reserve."""
    height, width = shape
    m = state.moves
    wanted = m.legal & (m.low >= 0) & (m.first <= m.last)
    granules = current(problem, state.k).granules

    def cover(start: Array, end: Array, length: Array, cells: int) -> Array:
        """f32[n, cells]: how much of each cell of 0..length - 1 lies in start..end - 1."""
        edge = jnp.arange(cells + 1) * (length / cells)
        return jnp.maximum(jnp.minimum(end[:, None], edge[1:]) - jnp.maximum(start[:, None], edge[:-1]), 0) * (
            cells / length
        )

    def paint(first: Array, last: Array, low: Array, high: Array, real: Array) -> Array:
        rows = cover(low, high, problem.instance.capacity, height) * real[:, None]
        return rows[:, :, None] * cover(first, last + 1, problem.instance.n_steps, width)[:, None, :]

    s = state.space
    rows = cover(s.low, s.high, problem.instance.capacity, height) * (s.last >= 0)[:, None]
    taken = rows.T @ cover(s.first, s.last + 1, problem.instance.n_steps, width)
    moves = paint(m.first, m.last, m.low, m.low + granules, wanted)
    return jnp.clip(jnp.stack([taken, moves[1], moves[2]]), 0.0, 1.0)
