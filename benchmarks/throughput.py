"""Complete 10x10 schedules per second, full graph observation at each step, random policy: ours and the peers, in one run.

    python benchmarks/throughput.py                    ours, all batches
    python benchmarks/throughput.py --peers            the peers too (benchmarks/peers/setup.sh makes their environments)
    python benchmarks/throughput.py --json out.json    also write what was measured

Each measurement is a process of its own, one after the other, and reports the load it started under. Ours runs one thread a
core; a peer runs as it is and as one process a core, and the faster counts. Ours carries the
GraphObservation from step to step, as an agent's loop does, so that the compiler cannot leave anything out; the arrays that
never change in an episode (edges and masks of nodes and edges) are written once per instance and referred to, all others
are written at every step. Peers consume their whole observation at each step too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

BATCHES = (1, 256, 4096)
ENV = "dispatchgym/JobShop-v0"
PEERS = {
    "jumanji": ("jumanji_job_shop.py", (1, 256, 4096)),
    "rl4co": ("rl4co_jssp.py", (1, 256)),
    "jssenv": ("jssenv.py", (1,)),
    "job_shop_lib": ("job_shop_lib_env.py", (1,)),
}
HERE = Path(__file__).resolve().parent


def main() -> None:
    """Parse the command line; a worker call measures one thing and prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="job_shop", choices=["job_shop"])
    parser.add_argument("--peers", action="store_true", help="measure the peers too")
    parser.add_argument("--seconds", type=float, default=5.0, help="per measurement")
    parser.add_argument("--rounds", type=int, default=3, help="repeat everything this often, interleaved")
    parser.add_argument("--json", type=Path, help="write all measurements there")
    parser.add_argument("--worker", nargs=2, metavar=("KIND", "BATCH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        kind, batch = arguments.worker
        print(json.dumps(WORKERS[kind](int(batch), arguments.seconds)))
        return
    jobs = [*(("scan", b) for b in BATCHES), ("scan, one thread", 256), ("single", 1)]
    jobs += [("autoreset", 1024), ("memory", 4096), ("bandwidth", 0)]
    jobs += [(peer, b) for peer, (_, batches) in PEERS.items() for b in batches] if arguments.peers else []
    best: dict[tuple[str, int], dict[str, Any]] = {}
    for round_ in range(arguments.rounds):
        for kind, batch in jobs:
            print(f"round {round_ + 1}/{arguments.rounds}: {kind} {batch or ''} ...", file=sys.stderr)
            found = measure(kind, batch, arguments.seconds)
            if found is None:
                continue
            old = best.get((kind, batch))
            better = max if kind not in ("autoreset", "memory") else min  # of costs the worst round counts
            best[kind, batch] = found if old is None else better(old, found, key=lambda row: row["rate"])
    report(best)
    if arguments.json:
        rows = [v | {"kind": k, "batch": b} for (k, b), v in best.items()]
        command = "python benchmarks/throughput.py" + " --peers" * arguments.peers
        command += f" --rounds {arguments.rounds} --seconds {arguments.seconds:g} --json {arguments.json}"
        about = {"command": command, "cores": os.cpu_count(), "rounds": arguments.rounds}
        document = about | {"measured": rows}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


def measure(kind: str, batch: int, seconds: float) -> dict[str, Any] | None:
    """Run one worker; None if a peer's environment is missing or fails."""
    load = os.getloadavg()[0]
    if kind in PEERS:
        folder = Path(os.environ.get("DISPATCHGYM_PEERS", HERE.parent / ".cache" / "peers")) / kind
        if not folder.exists():
            print(f"{kind}: no environment in {folder}; make it with benchmarks/peers/setup.sh", file=sys.stderr)
            return None
        command = [str(folder / "bin" / "python"), str(HERE / "peers" / PEERS[kind][0]), "--seconds", str(seconds)]
        whole = run([[*command, "--batch", str(batch)]])
        cores = os.cpu_count() or 1
        # The peer as it is, and as one process a core with its share of the batch: the faster counts.
        parts = (
            run([[*command, "--batch", str(max(batch // cores, 1))]] * cores) if cores > 1 and batch >= 256 else None
        )
        found = max((f for f in (whole, parts) if f), key=lambda f: f["rate"], default=None)
    else:
        found = run([[sys.executable, __file__, "--worker", kind, str(batch), "--seconds", str(seconds)]])
    return None if found is None else found | {"load": round(load, 2)}


def run(commands: list[list[str]]) -> dict[str, Any] | None:
    """Run commands at once and add up their rates; None if one fails."""
    started = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for c in commands]
    rows = []
    for process in started:
        out, err = process.communicate(timeout=600)
        if process.returncode:
            print(f"{process.args} failed: {err.strip().splitlines()[-1:]}", file=sys.stderr)
            return None
        rows.append(json.loads(out.strip().splitlines()[-1]))
    found = rows[0] | {"processes": len(rows)}
    if "schedules_per_second" in found:
        for key in ("schedules_per_second", "steps_per_second", "operations_per_second"):
            if key in found:
                found[key] = sum(row[key] for row in rows)
    found["rate"] = found.get("schedules_per_second", found.get("rate"))
    return found


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
    # On a CPU one thread a core, each with its share of the lanes; a GPU takes the whole batch at once.
    shards = threads or ((os.cpu_count() or 1) if batch >= 256 and jax.default_backend() == "cpu" else 1)
    lanes = batch // shards
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
    problems = [prepare(source.pool(lanes, np.random.default_rng(i))) for i in range(shards)]
    compiled = jax.jit(run).lower(problems[0], jax.random.key(0)).compile()
    # XLA runs programs of this size on the thread that calls them.
    pool = ThreadPoolExecutor(shards)

    def play(part: Any, seed: int) -> Any:
        return jax.block_until_ready(compiled(part, jax.random.key(seed)))

    list(pool.map(play, problems, range(shards)))
    episodes, number, makespan = 0, 0, 0.0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        number += 1
        outs = list(pool.map(play, problems, range(number * shards, (number + 1) * shards)))
        episodes += lanes * shards
        makespan = float(np.mean([np.asarray(o[0]).mean() for o in outs]))
    elapsed = time.perf_counter() - began
    steps = episodes * env.max_steps
    written = ("nodes", "globals", "action_mask", "action_nodes", "action_features")
    shapes = env.graph.shapes()
    observation = sum(np.prod(shapes[name][0]) * shapes[name][1].itemsize for name in written)
    state_bytes = _bytes(jax.eval_shape(jax.vmap(env.reset), problems[0])) / lanes
    return {
        "schedules": episodes,
        "seconds": elapsed,
        "schedules_per_second": episodes / elapsed,
        "steps_per_second": steps / elapsed,
        "mean_makespan": makespan,
        "shards": shards,
        "observation_bytes": int(observation),
        "bytes_per_step": int(observation + 2 * state_bytes),  # observation and state written, state read
        "device": jax.devices()[0].device_kind,
    }


def _bytes(tree: Any) -> int:
    import jax
    import numpy as np

    return int(sum(np.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree)))


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


def bandwidth_worker(_: int, seconds: float) -> dict[str, Any]:
    """Bytes per second that this device copies (read + write), by adding one to 256 MiB."""
    import jax
    import jax.numpy as jnp

    x = jnp.zeros(2**26, jnp.float32)
    add = jax.jit(lambda v: v + 1, donate_argnums=0)
    x = jax.block_until_ready(add(x))
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < min(seconds, 3):
        x = jax.block_until_ready(add(x))
        count += 1
    rate = 2 * x.nbytes * count / (time.perf_counter() - began)
    return {"rate": rate, "gb_per_second": rate / 1e9}


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


if __name__ == "__main__":
    main()
