"""Decisions per second on compiled programs, random policy: what ``throughput.py --env memory`` measures.

R = 256, 512 and 1024 is the room for use-events, and so for rectangles: all programs of the suites that fill more than half
of it, at a quarter of their peak of live bytes, padded to R. Every lane plays one of them, starts in the middle of an episode
and starts again at its end; moves are uniformly random among the legal ones. Edges and masks of the graph never change in an
episode and are written once.

Beside it one environment alone, not padded: ``gym.make`` with its whole observation, and our own twin in plain Python
(tests/twins/memory.py), which shows the mask alone. Both play the largest program of R with the same random numbers.

First fit alone is one search an environment in fast memory as random play leaves it. Ours keeps the rectangles sorted by
address and passes over them once; "with insertion" adds what that costs. The others take rectangles in the order of their
first steps: "sort" sorts those that meet the span and takes a running maximum, "pairs" tries the bottom and the top of every
rectangle against all of them. All have to agree.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from throughput_common import bandwidth_worker, shards, tree_bytes

ENV = "dispatchgym/MemoryMapping-v0"
TESTS = Path(__file__).resolve().parents[1] / "tests"
RATE = "decisions_per_second"
RATES = (RATE,)
COSTS = ()
PEERS: dict[str, tuple[str, tuple[int, ...]]] = {}
SIZES = (256, 512, 1024)
BATCHES = (1, 256, 1024)
CAPACITY = "quarter"
MOMENTS = 16  # of an episode, at which a lane may begin
DECISIONS = 2**13  # about as many in one call of the scan
SEARCHED = ((256, 256), (512, 256), (1024, 256), (256, 1024), (512, 1024))  # rectangles, environments
JOBS = [
    *((f"R={size}: scan", batch) for size in SIZES for batch in BATCHES),
    *((f"R={size}: {what}", 1) for size in SIZES for what in ("gym.make", "twin")),
    *((f"R={size}: first fit", batch) for size, batch in SEARCHED),
    ("bandwidth", 0),
]


def quoted() -> dict[tuple[str, int], dict[str, Any]]:
    """Rows that are not measured here: none."""
    return {}


def programs(size: int) -> list[Any]:
    """The instances of more than ``size`` / 2 and at most ``size`` events, by number of events."""
    from dispatchgym.instances.memory import MACHINES, program
    from dispatchgym.instances.memory.scenario import capacity_bytes
    from dispatchgym.instances.memory.suites import OVERCOUNTED, PROGRAMS

    found = []
    for name in sorted(set(PROGRAMS) - set(OVERCOUNTED)):
        made = program(name)
        instance = made.instance(MACHINES["tpu-v4i"], capacity_bytes(CAPACITY, made.peak_live()))
        if size / 2 < instance.size.events <= size:
            found.append(instance)
    return sorted(found, key=lambda instance: instance.size.events)


def random_move(mask: Any, bits: Any) -> Any:
    """i32[]: a legal action, from a bool mask and a random u32."""
    import jax.numpy as jnp

    count = jnp.cumsum(mask)
    chosen = (bits % jnp.maximum(count[-1], 1).astype(jnp.uint32)).astype(jnp.int32)
    return jnp.argmax(count > chosen).astype(jnp.int32)


def busy_lanes(size: int, lanes: int, seed: int) -> tuple[Any, Any, Any, Any]:
    """(environment, problems, states at their beginning, states on their way) of so many lanes under random moves."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from dispatchgym.envs.memory import MemoryMapping
    from dispatchgym.instances.base import common_size, stack

    given = programs(size)
    env = MemoryMapping(common_size(given)._replace(events=size))
    problems = jax.jit(jax.vmap(env.prepare))(stack(given, env.size))
    fresh = jax.jit(jax.vmap(env.reset))(problems)

    def one(problem: Any, first: Any, state: Any, bits: Any) -> Any:
        state = env.step(problem, state, random_move(env.action_mask(problem, state), bits)).state
        over = env.terminated(problem, state)
        return jax.tree.map(lambda x, y: jnp.where(over, x, y), first, state)

    @jax.jit
    def walk(state: Any, key: Any) -> Any:
        bits = jax.random.bits(key, (size // MOMENTS, len(given)), jnp.uint32)
        return jax.lax.scan(lambda s, b: (jax.vmap(one)(problems, fresh, s, b), None), state, bits)[0]

    moments = [fresh]
    while len(moments) < MOMENTS:
        moments.append(walk(moments[-1], jax.random.fold_in(jax.random.key(seed), len(moments))))
    rng = np.random.default_rng(seed)
    which, moment = rng.integers(len(given), size=lanes), rng.integers(MOMENTS, size=lanes)
    on_the_way = jax.tree.map(lambda *x: jnp.stack(x)[moment, which], *moments)
    return env, *(jax.tree.map(lambda x: x[which], tree) for tree in (problems, fresh)), on_the_way


def scan_worker(size: int, batch: int, seconds: float) -> dict[str, Any]:
    """Steps of all lanes as one scan with the observation in the carry."""
    from dataclasses import replace

    import jax
    import jax.numpy as jnp

    parts = shards(batch)
    lanes = batch // parts
    steps = max(DECISIONS // lanes, 4)
    made = [busy_lanes(size, lanes, seed) for seed in range(parts)]
    env = made[0][0]

    def look(problem: Any, state: Any) -> Any:
        seen = env.observe(problem, state)
        # These never change in an episode (GraphSpec); the observation refers to the problem's arrays.
        return replace(seen, edge_index=None, edges=None, edge_mask=None, node_mask=None)

    def one(problem: Any, fresh: Any, state: Any, seen: Any, bits: Any) -> tuple[Any, Any, Any, Any]:
        moved = env.step(problem, state, random_move(seen.action_mask, bits))
        over, latency = moved.terminated, env.objective(problem, moved.state) / problem.all_slow
        state = jax.tree.map(lambda x, y: jnp.where(over, x, y), fresh, moved.state)
        return state, look(problem, state), over, jnp.where(over, latency, 0.0)

    def run(problems: Any, fresh: Any, carry: Any, key: Any) -> Any:
        def body(carry: Any, t: Any) -> tuple[Any, None]:
            state, seen, ended, latency = carry
            bits = jax.random.bits(jax.random.fold_in(key, t), (lanes,), jnp.uint32)
            state, seen, over, share = jax.vmap(one)(problems, fresh, state, seen, bits)
            return (state, seen, ended + over.sum(), latency + share.sum()), None

        return jax.lax.scan(body, carry, jnp.arange(steps))[0]

    first_look = jax.jit(jax.vmap(look))
    carries = [(state, first_look(problems, state), jnp.int32(0), jnp.float32(0)) for _, problems, _, state in made]
    compiled = jax.jit(run, donate_argnums=2).lower(*made[0][1:3], carries[0], jax.random.key(0)).compile()
    pool = ThreadPoolExecutor(parts)

    def play(part: int, number: int) -> None:
        carry = compiled(*made[part][1:3], carries[part], jax.random.key(number * parts + part))
        carries[part] = jax.block_until_ready(carry)

    list(pool.map(play, range(parts), [0] * parts))
    calls = 0
    began, began_cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        calls += 1
        list(pool.map(play, range(parts), [calls] * parts))
    elapsed, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    ended, latency = (sum(float(carry[i]) for carry in carries) for i in (2, 3))
    observation, state_bytes = (tree_bytes(carries[0][i]) // lanes for i in (1, 0))
    decisions = calls * steps * lanes * parts
    return {
        "decisions": decisions,
        "seconds": elapsed,
        RATE: decisions / elapsed,
        "cpu_seconds": cpu,
        "mean_latency": latency / ended if ended else None,  # as a share of everything in slow memory
        "shards": parts,
        "size": list(env.size),
        "observation_bytes": observation,
        "bytes_per_decision": observation + 2 * state_bytes,  # observation and state written, state read
        "device": jax.devices()[0].device_kind,
    }


def stepping(reset: Callable[[], Any], step: Callable[[int], tuple[Any, int | None]], seconds: float) -> dict[str, Any]:
    """Decisions per second of one environment under random moves.

    ``reset`` and ``step`` return the mask, and ``step`` the latency too once the episode is over.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    mask, decisions, first, began = reset(), 0, None, None
    while began is None or time.perf_counter() - began < seconds:
        legal = np.flatnonzero(mask)
        mask, latency = step(int(legal[rng.integers(len(legal))]))
        decisions += 1
        if latency is not None:
            mask = reset()
            if began is None:  # the first episode compiles
                first, decisions, began = latency, 0, time.perf_counter()
    elapsed = time.perf_counter() - began
    return {"decisions": decisions, "seconds": elapsed, RATE: decisions / elapsed, "first_latency": first}


def gym_worker(size: int, _: int, seconds: float) -> dict[str, Any]:
    """``gym.make`` stepping with the full NumPy observation."""
    import gymnasium

    import dispatchgym  # noqa: F401

    env = gymnasium.make(ENV, instance=programs(size)[-1])

    def step(action: int) -> tuple[Any, int | None]:
        seen, _, over, _, info = env.step(action)
        return seen["action_mask"], info["objective"] if over else None

    return stepping(lambda: env.reset()[0]["action_mask"], step, seconds)


def twin_worker(size: int, _: int, seconds: float) -> dict[str, Any]:
    """The twin stepping with its mask; it works out the moves of an event once, for the mask and for the step."""
    sys.path.insert(0, str(TESTS))
    from twins.memory import MemoryTwin

    class Remembering(MemoryTwin):
        known: tuple[int, Any] = (-1, None)

        def moves(self) -> Any:
            if self.known[0] != self.k:
                self.known = self.k, super().moves()
            return self.known[1]

    twin, instance = Remembering(), programs(size)[-1]

    def reset() -> list[bool]:
        twin.reset(instance)
        twin.known = -1, None
        return twin.mask()

    def step(action: int) -> tuple[Any, int | None]:
        twin.step(action)
        return ([], twin.latency) if twin.over else (twin.mask(), None)

    return stepping(reset, step, seconds)


def fit_worker(size: int, batch: int, seconds: float) -> dict[str, Any]:
    """First fit alone, by every method."""
    from throughput_memory_fits import search_worker

    return search_worker(busy_lanes, size, batch, seconds)


WORKERS: dict[str, Callable[[int, float], dict[str, Any]]] = {"bandwidth": bandwidth_worker}
for _size in SIZES:
    WORKERS[f"R={_size}: scan"] = partial(scan_worker, _size)
    WORKERS[f"R={_size}: gym.make"] = partial(gym_worker, _size)
    WORKERS[f"R={_size}: twin"] = partial(twin_worker, _size)
    WORKERS[f"R={_size}: first fit"] = partial(fit_worker, _size)


def report(best: dict[tuple[str, int], dict[str, Any]]) -> None:
    """Tables of rates and ratios. Raises SystemExit if environment and twin did not play the same."""
    copy = best.get(("bandwidth", 0), {}).get("rate")
    print(f"copy bandwidth: {copy / 1e9:.1f} GB/s" if copy else "")
    print(f"{'what':16} {'batch':>5} {'decisions/s':>11} {'bytes':>8} {'bandwidth':>9} {'load':>5}")
    for (kind, batch), row in best.items():
        if RATE in row:
            moved = row.get("bytes_per_decision")
            share = f"{moved * row[RATE] / copy:.0%}" if moved and copy else ""
            print(f"{kind:16} {batch:5} {row[RATE]:11,.0f} {moved or '':>8} {share:>9} {row['load']:5}")
    for size, batch in SEARCHED:
        if row := best.get((f"R={size}: first fit", batch)):
            spent = row["milliseconds"]
            times = ", ".join(f"{name} {ms:.2f} ms ({ms / spent['ours']:.1f}x)" for name, ms in spent.items())
            print(f"R={size}: first fit for {batch} environments: {times}; load {row['load']}")
    for size in SIZES:
        ours, twin = (best.get((f"R={size}: {what}", 1)) for what in ("gym.make", "twin"))
        if not ours or not twin:
            continue
        if ours["first_latency"] != twin["first_latency"]:
            raise SystemExit(f"R={size}: latencies differ: {ours['first_latency']} and {twin['first_latency']}")
        print(f"R={size}: gym.make is {ours[RATE] / twin[RATE]:.2f}x the twin's speed (which shows no observation)")
