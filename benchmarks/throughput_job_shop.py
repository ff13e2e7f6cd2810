"""Complete 10x10 schedules per second, random policy: what ``throughput.py --env job_shop`` measures.

The arrays that never change in an episode (edges and masks of nodes and edges) are written once per instance.
"""

from __future__ import annotations

import resource
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from throughput_common import bandwidth_worker, shards, tree_bytes

ENV = "dispatchgym/JobShop-v0"
BATCHES = (1, 256, 4096)
RATE = "schedules_per_second"
RATES = (RATE, "steps_per_second", "operations_per_second")
COSTS = ("autoreset", "memory")
PEERS = {
    "jumanji": ("jumanji_job_shop.py", (1, 256, 4096)),
    "rl4co": ("rl4co_jssp.py", (1, 256)),
    "jssenv": ("jssenv.py", (1,)),
    "job_shop_lib": ("job_shop_lib_env.py", (1,)),
}
JOBS = [
    *(("scan", b) for b in BATCHES),
    ("scan, one thread", 256),
    ("single", 1),
    ("autoreset", 1024),
    ("memory", 4096),
    ("bandwidth", 0),
]


def quoted() -> dict[tuple[str, int], dict[str, Any]]:
    """Rows that are not measured here: none."""
    return {}


def one_thread_worker(batch: int, seconds: float) -> dict[str, Any]:
    """The scan on the thread that calls it alone."""
    return scan_worker(batch, seconds, threads=1)


def scan_worker(batch: int, seconds: float, threads: int | None = None) -> dict[str, Any]:
    """Whole episodes as one scan with the observation in the carry."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import dispatchgym
    from dispatchgym.envs.registry import lookup

    env = dispatchgym.make(ENV)
    parts = threads or shards(batch)
    lanes = batch // parts
    source = lookup(ENV).source()

    def run(problems: Any, key: Any) -> Any:
        state = jax.vmap(env.reset)(problems)

        def look(state: Any) -> Any:
            seen = jax.vmap(env.observe)(problems, state)
            # These never change in an episode (GraphSpec); the observation refers to the problem's arrays.
            return replace(seen, edge_index=None, edges=None, edge_mask=None, node_mask=None)

        def body(carry: Any, t: Any) -> tuple[Any, None]:
            state, seen = carry
            bits = jax.random.bits(jax.random.fold_in(key, t), (lanes,), jnp.uint32)
            count = jnp.cumsum(seen.action_mask, axis=1)
            chosen = (bits % jnp.maximum(count[:, -1], 1).astype(jnp.uint32)).astype(jnp.int32)
            action = jnp.argmax(count > chosen[:, None], axis=1).astype(jnp.int32)
            state = jax.vmap(lambda p, s, a: env.step(p, s, a).state)(problems, state, action)
            return (state, look(state)), None

        start = (state, look(state))
        (state, seen), _ = jax.lax.scan(body, start, jnp.arange(env.max_steps))
        return jax.vmap(env.objective)(problems, state), seen

    prepare = jax.jit(jax.vmap(env.prepare))
    problems = [prepare(source.pool(lanes, np.random.default_rng(i))) for i in range(parts)]
    compiled = jax.jit(run).lower(problems[0], jax.random.key(0)).compile()
    pool = ThreadPoolExecutor(parts)

    def play(part: Any, seed: int) -> Any:
        return jax.block_until_ready(compiled(part, jax.random.key(seed)))

    list(pool.map(play, problems, range(parts)))
    episodes, number, makespan = 0, 0, 0.0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        number += 1
        outs = list(pool.map(play, problems, range(number * parts, (number + 1) * parts)))
        episodes += lanes * parts
        makespan = float(np.mean([np.asarray(o[0]).mean() for o in outs]))
    elapsed = time.perf_counter() - began
    steps = episodes * env.max_steps
    written = ("nodes", "globals", "action_mask", "action_nodes", "action_features")
    shapes = env.graph.shapes()
    observation = sum(np.prod(shapes[name][0]) * shapes[name][1].itemsize for name in written)
    state_bytes = tree_bytes(jax.eval_shape(jax.vmap(env.reset), problems[0])) / lanes
    return {
        "schedules": episodes,
        "seconds": elapsed,
        "schedules_per_second": episodes / elapsed,
        "steps_per_second": steps / elapsed,
        "mean_makespan": makespan,
        "shards": parts,
        "observation_bytes": int(observation),
        "bytes_per_step": int(observation + 2 * state_bytes),  # observation and state written, state read
        "device": jax.devices()[0].device_kind,
    }


def single_worker(_: int, seconds: float) -> dict[str, Any]:
    """``gym.make`` stepping with the full NumPy observation, random legal actions."""
    import gymnasium
    import numpy as np

    import dispatchgym  # noqa: F401

    env = gymnasium.make(ENV)
    rng = np.random.default_rng(0)
    seen, _info = env.reset(seed=0)
    steps = episodes = 0
    began = None
    while began is None or time.perf_counter() - began < seconds:
        legal = np.flatnonzero(seen["action_mask"])
        seen, _reward, terminated, truncated, _info = env.step(int(legal[rng.integers(len(legal))]))
        steps += 1
        if terminated or truncated:
            episodes += 1
            seen, _info = env.reset()
            if began is None:  # the first episode compiles
                began, steps, episodes = time.perf_counter(), 0, 0
    elapsed = time.perf_counter() - began
    return {"schedules_per_second": episodes / elapsed, "steps_per_second": steps / elapsed, "seconds": elapsed}


def autoreset_worker(lanes: int, seconds: float) -> dict[str, Any]:
    """Steps per second without reset, and with the pool's autoreset out of phase; one scan each, masks consumed."""
    from autoreset import compare

    return compare(ENV, lanes, seconds)


def memory_worker(lanes: int, _: float) -> dict[str, Any]:
    """Peak memory of stepping ``lanes`` 20x15 shops with the full observation, through ``gym.make_vec``."""
    import gymnasium
    import numpy as np

    import dispatchgym  # noqa: F401

    env = gymnasium.make_vec(ENV, num_envs=lanes, generator="taillard-20x15", pool_size=lanes)
    seen, _info = env.reset(seed=0)
    for _step in range(5):
        seen, *_rest = env.step(np.asarray(seen["action_mask"]).argmax(1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"rate": -peak, "peak_gib": peak / 2**30}


WORKERS = {
    "scan": scan_worker,
    "scan, one thread": one_thread_worker,
    "single": single_worker,
    "autoreset": autoreset_worker,
    "memory": memory_worker,
    "bandwidth": bandwidth_worker,
}


def report(best: dict[tuple[str, int], dict[str, Any]]) -> None:
    """Tables of rates and ratios."""
    peers = {key: value for key, value in best.items() if key[0] in PEERS}
    copy = best.get(("bandwidth", 0), {}).get("rate")
    print(f"copy bandwidth: {copy / 1e9:.1f} GB/s" if copy else "")
    print(
        f"{'what':14} {'batch':>6} {'schedules/s':>12} {'steps/s':>12} {'bytes/step':>10} {'bandwidth':>9} {'load':>5}"
    )
    for (kind, batch), row in best.items():
        if "schedules_per_second" not in row:
            continue
        moved = row.get("bytes_per_step")
        share = f"{moved * row['steps_per_second'] / copy:9.0%}" if moved and copy else " " * 9
        steps = row.get("steps_per_second", row.get("operations_per_second", 0))
        print(
            f"{kind:14} {batch:6} {row['schedules_per_second']:12,.1f} {steps:12,.0f} {moved or '':>10} {share} {row['load']:5}"
        )
    for (kind, batch), row in peers.items():
        ours = best.get(("scan", batch)) or best.get(("scan", 256))
        if ours:
            print(f"ours / {kind} at batch {batch}: {ours['schedules_per_second'] / row['schedules_per_second']:.1f}x")
    if ("single", 1) in best and ("jssenv", 1) in peers:
        ratio = best["single", 1]["schedules_per_second"] / peers["jssenv", 1]["schedules_per_second"]
        print(f"gym.make / jssenv, one environment: {ratio:.2f}x")
    if ("autoreset", 1024) in best:
        row = best["autoreset", 1024]
        print(f"autoreset from the pool, out of phase: {row['cost']:.2f}x a step without reset ({row['about']})")
    if ("memory", 4096) in best:
        print(f"peak memory of 4,096 environments of 20x15: {best['memory', 4096]['peak_gib']:.2f} GiB")
