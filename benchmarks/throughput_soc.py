"""Decisions per second on a chip under MET: what ``throughput.py --env soc`` measures.

"canonical" is the setting that gym-ds3 was measured in: Top_1 without noise, closed, at most three jobs in the system and
three from the start, mean gap 25. Its figure is quoted from tests/data/soc/gym_ds3_measured.json, not measured here: it runs
only with repairs, listed there.
"realworld" is DS3's chip with all its applications, open, mean gap 40, noise of 20 %, at most twelve jobs.

Every lane plays a stream of its own, starts in the middle of it, and starts it again at its end: all lanes decide at every
step, and no two in step. MET reads the observation; the whole GraphObservation is written at every step and carried on.
Beside it our own twin in plain Python and NumPy (tests/twins/soc.py) plays the same stream one environment at a time: as it
is, with a table of the candidates, and with the jobs in the system too, which is most of what the graph shows.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from throughput_common import bandwidth_worker, shards, tree_bytes

ENV = "dispatchgym/SocDag-v0"
TESTS = Path(__file__).resolve().parents[1] / "tests"
RATE = "decisions_per_second"
RATES = (RATE,)
COSTS = ()
PEERS: dict[str, tuple[str, tuple[int, ...]]] = {}
QUOTED = "gym-ds3, quoted"
STREAMS, MOMENTS = 64, 32  # different streams of a shard, and moments of each at which a lane may begin


@dataclass(frozen=True)
class Setting:
    """A chip and the parameters of its streams."""

    chip: str
    parameters: dict[str, Any]
    decisions: int  # about as many in one call of the scan

    def streams(self, count: int, seed: int = 0) -> list[Any]:
        """So many streams, by integer arithmetic: the same everywhere."""
        from dispatchgym.instances.soc.chips import chip
        from dispatchgym.instances.soc.streams import make

        return [make(chip(self.chip), 1000 * (1 + k + STREAMS * seed) + 7, **self.parameters) for k in range(count)]


SETTINGS = {
    "canonical": Setting("canonical-top1", {"mean_gap": 25, "jobs": 120, "cap": 3, "closed": True, "fill": 3}, 2**15),
    "realworld": Setting("realworld", {"mean_gap": 40, "jobs": 60, "cap": 12, "noise": 200}, 2**12),
}
JOBS = [
    *((f"{name}: scan", b) for name in SETTINGS for b in (1, 256, 4096)),
    ("canonical: scan, one thread", 256),
    *((f"{name}: {what}", 1) for name in SETTINGS for what in ("gym.make", "twin", "twin with jobs")),
    ("bandwidth", 0),
]


def quoted() -> dict[tuple[str, int], dict[str, Any]]:
    """gym-ds3's decisions per second under MET, from its completed jobs of ten tasks and the time of an episode."""
    record = json.loads((TESTS / "data" / "soc" / "gym_ds3_measured.json").read_text(encoding="utf-8"))
    rows = [dict(zip(record["columns"], row, strict=True)) for row in record["rows"]]
    (row,) = (r for r in rows if (r["scheduler"], r["scale"], r["pss"]) == ("met", 25, True))
    rate = 10 * row["completed_jobs"] / row["wall_s_per_episode"]
    found = {RATE: rate, "rate": rate, "mean_latency": row["latency_mean"], "source": record["source"]}
    return {(QUOTED, 1): found}


def restart(over: Any, fresh: Any, state: Any) -> Any:
    """``fresh`` in the lanes that are over, else ``state``."""
    import jax
    import jax.numpy as jnp

    return jax.tree.map(lambda x, y: jnp.where(over.reshape(over.shape + (1,) * (x.ndim - 1)), x, y), fresh, state)


def busy_lanes(env: Any, setting: Setting, lanes: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """(problems, states at their beginning, states on their way under MET) of so many lanes, which share ``STREAMS`` streams."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from dispatchgym.agents.rules.soc import RULES
    from dispatchgym.instances.base import stack

    count = min(lanes, STREAMS)
    problems = jax.jit(jax.vmap(env.prepare))(stack(setting.streams(count, seed), env.size))
    fresh = jax.jit(jax.vmap(env.reset))(problems)
    met = RULES["met"].make(env.graph)
    length = max(env.max_steps // MOMENTS, 1)

    @jax.jit
    def walk(problems: Any, fresh: Any, state: Any) -> Any:
        def body(state: Any, _: Any) -> tuple[Any, None]:
            action = jax.vmap(lambda p, s: met(env.observe(p, s), jax.random.key(0)))(problems, state)
            moved = jax.vmap(env.step)(problems, state, action)
            return restart(moved.terminated, fresh, moved.state), None

        return jax.lax.scan(body, state, None, length=length)[0]

    moments = [fresh]
    while len(moments) < MOMENTS:
        moments.append(walk(problems, fresh, moments[-1]))
    rng = np.random.default_rng(seed)
    stream = np.arange(lanes) % count
    order = np.stack([rng.permutation(MOMENTS) for _ in range(count)])
    moment = order[stream, np.arange(lanes) // count % MOMENTS]
    on_the_way = jax.tree.map(lambda *x: jnp.stack(x)[moment, stream], *moments)
    return *(jax.tree.map(lambda x: x[stream], tree) for tree in (problems, fresh)), on_the_way


def scan_worker(name: str, batch: int, seconds: float, threads: int | None = None) -> dict[str, Any]:
    """Steps of all lanes as one scan with the observation in the carry."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from dispatchgym.agents.rules.soc import RULES
    from dispatchgym.envs.soc import SocDag

    setting = SETTINGS[name]
    env = SocDag(setting.streams(1)[0].size)
    parts = threads or shards(batch)
    lanes = batch // parts
    steps = max(setting.decisions // lanes, 4)
    met = RULES["met"].make(env.graph)

    def run(problems: Any, fresh: Any, carry: Any) -> Any:
        def body(carry: Any, _: Any) -> tuple[Any, None]:
            state, seen, ended, flow = carry
            action = jax.vmap(met, (0, None))(seen, jax.random.key(0))
            moved = jax.vmap(env.step)(problems, state, action)
            over = moved.terminated
            flow += jnp.where(over, jax.vmap(env.objective)(problems, moved.state), 0).sum(dtype=jnp.float32)
            state = restart(over, fresh, moved.state)
            return (state, jax.vmap(env.observe)(problems, state), ended + over.sum(), flow), None

        return jax.lax.scan(body, carry, None, length=steps)[0]

    made = [busy_lanes(env, setting, lanes, seed) for seed in range(parts)]
    observe = jax.jit(jax.vmap(env.observe))
    carries = [(state, observe(problems, state), jnp.int32(0), jnp.float32(0)) for problems, _, state in made]
    compiled = jax.jit(run, donate_argnums=2).lower(*made[0][:2], carries[0]).compile()
    pool = ThreadPoolExecutor(parts)

    def play(part: int) -> None:
        carries[part] = jax.block_until_ready(compiled(*made[part][:2], carries[part]))

    list(pool.map(play, range(parts)))
    calls = 0
    began, began_cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        list(pool.map(play, range(parts)))
        calls += 1
    elapsed, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    ended, flow = (sum(float(carry[i]) for carry in carries) for i in (2, 3))
    observation = tree_bytes(carries[0][1]) // lanes
    state_bytes = tree_bytes(carries[0][0]) // lanes
    decisions = calls * steps * lanes * parts
    return {
        "decisions": decisions,
        "seconds": elapsed,
        RATE: decisions / elapsed,
        "cpu_seconds": cpu,
        "mean_latency": flow / ended / env.size.jobs if ended else None,
        "shards": parts,
        "observation_bytes": observation,
        "bytes_per_decision": observation + 2 * state_bytes,  # observation and state written, state read
        "device": np.asarray(jax.devices())[0].device_kind,
    }


def met_in_numpy(time: Any, queue: Any, mask: Any) -> int:
    """The action of MET for the first task, from its row of times, queues and mask [PEs]."""
    rows = zip(time.tolist(), queue.tolist(), range(len(mask)), mask.tolist(), strict=True)
    return min(row[:3] for row in rows if row[3])[2]


def stepping(reset: Callable[[], int], step: Callable[[int], tuple[int, int | None]], seconds: float) -> dict[str, Any]:
    """Decisions per second of one environment. ``step`` returns the next action, and the flow time if the stream is over."""
    action, decisions, flows, began = reset(), 0, [], None
    while began is None or time.perf_counter() - began < seconds or not flows:
        action, flow = step(action)
        decisions += 1
        if decisions == 200 and began is None:  # the first steps compile
            began, decisions = time.perf_counter(), 0
        if flow is not None:
            flows.append(flow)
            action = reset()
    elapsed = time.perf_counter() - began
    return {"decisions": decisions, "seconds": elapsed, RATE: decisions / elapsed, "flow": flows[0]}


def gym_worker(name: str, _: int, seconds: float) -> dict[str, Any]:
    """``gym.make`` stepping with the full NumPy observation, MET in NumPy."""
    import gymnasium

    import dispatchgym  # noqa: F401

    env = gymnasium.make(ENV, instance=SETTINGS[name].streams(1)[0])
    core = env.unwrapped.core
    pes, time_, queue = core.size.pes, *(core.graph.index("action", c) for c in ("time", "queue"))

    def decide(seen: dict[str, Any]) -> int:
        first = seen["action_features"][:pes]
        return met_in_numpy(first[:, time_], first[:, queue], seen["action_mask"][:pes])

    def step(action: int) -> tuple[int, int | None]:
        seen, _, over, _, info = env.step(action)
        return (0, info["objective"]) if over else (decide(seen), None)

    return stepping(lambda: decide(env.reset()[0]), step, seconds)


def twin_worker(name: str, jobs: bool, _: int, seconds: float) -> dict[str, Any]:
    """The twin stepping with what it shows; with the jobs in the system too if ``jobs``."""
    sys.path.insert(0, str(TESTS))
    from twins.soc import SocTwin

    twin = SocTwin(SETTINGS[name].streams(1)[0])

    def decide(seen: dict[str, Any]) -> int:
        if jobs:
            seen |= twin.slots()
        return met_in_numpy(seen["time"][0], seen["qlen"], seen["mask"][: twin.pes])

    def step(action: int) -> tuple[int, int | None]:
        seen, _, over = twin.step(action)
        return (0, twin.flow) if over else (decide(seen), None)

    return stepping(lambda: decide(twin.reset()), step, seconds)


WORKERS: dict[str, Callable[[int, float], dict[str, Any]]] = {"bandwidth": bandwidth_worker}
for _name in SETTINGS:
    WORKERS[f"{_name}: scan"] = partial(scan_worker, _name)
    WORKERS[f"{_name}: scan, one thread"] = partial(scan_worker, _name, threads=1)
    WORKERS[f"{_name}: gym.make"] = partial(gym_worker, _name)
    WORKERS[f"{_name}: twin"] = partial(twin_worker, _name, False)
    WORKERS[f"{_name}: twin with jobs"] = partial(twin_worker, _name, True)


def report(best: dict[tuple[str, int], dict[str, Any]]) -> None:
    """Tables of rates and ratios. Raises SystemExit if environment and twin did not play the same."""
    peer, copy = best[QUOTED, 1][RATE], best.get(("bandwidth", 0), {}).get("rate")
    print(f"copy bandwidth: {copy / 1e9:.1f} GB/s" if copy else "")
    print(
        f"{'what':29} {'batch':>5} {'decisions/s':>11} {'x gym-ds3':>9} {'bytes':>8} {'bandwidth':>9} {'latency':>7} {'load':>5}"
    )
    for (kind, batch), row in best.items():
        if RATE not in row:
            continue
        moved, latency = row.get("bytes_per_decision"), row.get("mean_latency")
        same = kind == QUOTED or kind.startswith("canonical")
        print(
            f"{kind:29} {batch:5} {row[RATE]:11,.0f} {f'{row[RATE] / peer:,.0f}' if same else '-':>9} {moved or '':>8} "
            f"{f'{moved * row[RATE] / copy:.0%}' if moved and copy else '':>9} "
            f"{f'{latency:.1f}' if latency else '':>7} {row.get('load', ''):>5}"
        )
    for name in SETTINGS:
        rows = [best.get((f"{name}: {what}", 1)) for what in ("gym.make", "twin", "twin with jobs")]
        if not all(rows):
            continue
        ours, *twins = rows
        if len({row["flow"] for row in rows}) > 1:
            raise SystemExit(f"{name}: flow times of one stream differ: {[row['flow'] for row in rows]}")
        ratios = " and ".join(f"{ours[RATE] / twin[RATE]:.2f}x" for twin in twins)
        print(f"{name}: gym.make is {ratios} the twin's speed (without and with the jobs in the system)")
