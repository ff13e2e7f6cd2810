"""Where scheduling matters on a chip: mean latencies of the rules over chips, loads, bursts and noise, on the same streams.

    python benchmarks/soc_spread.py                     the table that the suites were chosen from
    python benchmarks/soc_spread.py --json out.json     also write it

"spread" is how far the median of the informed rules lies above the best of them; "etf" the same for DS3's ETF.
"""

from __future__ import annotations

import argparse
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dispatchgym.agents.rules.soc import RULES
from dispatchgym.envs.core import rollout
from dispatchgym.envs.soc import SocDag
from dispatchgym.instances.base import common_size, stack
from dispatchgym.instances.soc import streams
from dispatchgym.instances.soc.chips import chip, usual_weights

INFORMED = ("etf_ds3", "sufferage", "mct", "heft_rt", "heft_dag", "peft_rt", "eft_exit", "job_etf", "srpt_etf", "met")
SMALL = {"name": "realworld", "pes": ("A7.0", "A15.0", "MM.0", "FFT.0", "VIT.0")}
MIDDLE = {"name": "realworld", "pes": ("A7.0", "A7.1", "A15.0", "A15.1", "MM.0", "FFT.0", "FFT.1", "VIT.0")}
SLOW = {"name": "realworld", "opp": {"A7": 600, "A15": 600}}
CPUS = {"name": "realworld-bal"}
RADIO = {"name": "realworld", "profiles": ("WiFi_Transmitter", "WiFi_Receiver")}
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    *((f"canonical, gap {g}", {"name": "canonical"}, {"mean_gap": g, "cap": 8}) for g in (25, 50, 100, 200)),
    ("canonical, gap 60, bursts of 6", {"name": "canonical"}, {"mean_gap": 60, "cap": 8, "burst": 6}),
    ("canonical closed, cap 3", {"name": "canonical"}, {"mean_gap": 25, "cap": 3, "closed": True, "fill": 3}),
    *((f"realworld, gap {g}", {"name": "realworld"}, {"mean_gap": g, "cap": 12}) for g in (12, 25, 50, 100, 200)),
    ("realworld, gap 50, bursts of 8", {"name": "realworld"}, {"mean_gap": 50, "cap": 12, "burst": 8}),
    *((f"CPUs only, gap {g}", CPUS, {"mean_gap": g, "cap": 12}) for g in (100, 200, 400)),
    ("CPUs only, gap 200, bursts of 8", CPUS, {"mean_gap": 200, "cap": 12, "burst": 8}),
    *((f"five PEs, gap {g}", SMALL, {"mean_gap": g, "cap": 12}) for g in (100, 200, 400)),
    *((f"eight PEs, gap {g}", MIDDLE, {"mean_gap": g, "cap": 12}) for g in (50, 100, 200)),
    ("slow CPUs, gap 50", SLOW, {"mean_gap": 50, "cap": 12}),
    ("WiFi only, gap 50", RADIO, {"mean_gap": 50, "cap": 12}),
    ("WiFi only, gap 100", RADIO, {"mean_gap": 100, "cap": 12}),
]


def measure(platform: dict[str, Any], stream: dict[str, Any], noise: int, count: int, jobs: int) -> dict[str, float]:
    """Mean latency of each rule over ``count`` streams."""
    made = chip(**platform)
    weights = usual_weights(made)
    instances = [
        streams.make(made, seed=90_000_000 + 10 * i, jobs=jobs, noise=noise, weights=weights, **stream)
        for i in range(count)
    ]
    size = common_size(instances)._replace(slots=12)
    prepare, plays = compiled(size)
    problems = prepare(stack(instances, size))
    return {name: float(np.asarray(play(problems).objective).mean() / jobs) for name, play in plays.items()}


@lru_cache(maxsize=1)  # cases of one chip stand together; each compilation holds memory
def compiled(size: Any) -> tuple[Any, dict[str, Any]]:
    """(prepare, the rollout of each rule) for streams of one size."""
    jax.clear_caches()
    env = SocDag(size)

    def play(name: str) -> Any:
        policy = RULES[name].make(env.graph)
        return jax.jit(lambda problems: rollout(env, policy, problems, jax.random.key(0)))

    return jax.jit(jax.vmap(env.prepare)), {name: play(name) for name in INFORMED}


def main() -> None:
    """Measure all cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--noise", type=int, nargs="+", default=[200])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for label, platform, stream in CASES:
        for noise in arguments.noise:
            found = measure(platform, stream, noise, arguments.streams, arguments.jobs)
            best = min(found, key=found.__getitem__)
            low = found[best]
            row = {
                "case": label,
                "noise": noise,
                "best": best,
                "latency": round(low, 1),
                "spread": round(100 * (float(np.median(list(found.values()))) / low - 1), 1),
                "etf": round(100 * (found["etf_ds3"] / low - 1), 1),
                "rules": {name: round(value, 2) for name, value in found.items()},
            }
            rows.append(row)
            print(f"{label:32} noise {noise / 1000:<4} best {best:10} {low:8.1f} us  spread {row['spread']:5.1f} %  "
                  f"etf {row['etf']:5.1f} %", flush=True)  # fmt: skip
    if arguments.json:
        command = f"python benchmarks/soc_spread.py --streams {arguments.streams} --jobs {arguments.jobs} "
        command += f"--noise {' '.join(map(str, arguments.noise))} --json {arguments.json}"
        arguments.json.write_text(json.dumps({"command": command, "cases": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
