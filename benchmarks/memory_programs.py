"""Compile the programs of the zoo and write them where the suites read them.

    python benchmarks/memory_programs.py                    all of them, about two minutes
    python benchmarks/memory_programs.py unet3_train        some
    python benchmarks/memory_programs.py --out DIR          somewhere else, to compare

Run it only to make a new version of the suites: another version of XLA gives other programs. It prints what each holds.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path

FLAGS = "--xla_cpu_enable_concurrency_optimized_scheduler=false"  # the order that needs less memory
os.environ["XLA_FLAGS"] = FLAGS  # read when jax is imported

import numpy as np  # noqa: E402

from dispatchgym.instances.memory.extract import from_jax  # noqa: E402
from dispatchgym.instances.memory.formats import save  # noqa: E402
from dispatchgym.instances.memory.machine import MACHINES  # noqa: E402
from dispatchgym.instances.memory.zoo import ZOO, recipe  # noqa: E402

DATA = Path(__file__).parents[1] / "instances" / "data" / "memory" / "programs"
WIDTH = 2  # bytes of a float32 element: the programs count as if they ran in bfloat16


def write(name: str, family: str, folder: Path) -> dict[str, object]:
    """Compile one program and write its file; what it holds, for the table."""
    start = time.perf_counter()
    made = recipe(name)
    program = from_jax(made.function, *made.args, name=name, donate=made.donate, float32=WIDTH)
    seconds = time.perf_counter() - start
    about = {
        "model": f"{family}, instances/memory/zoo",
        "dtype": "float32 counted as bfloat16",
        "licence": "Apache-2.0",
    }
    save(replace(program, source=about | dict(program.source)), folder / f"{name}.json")
    instance = program.instance(MACHINES["tpu-v4i"], 2**20)
    steps, buffers, events = instance.size
    return {
        "program": name,
        "family": family,
        "steps": steps,
        "buffers": buffers,
        "events": events,
        "updates": int((instance.event_kind == 2).sum()),
        "peak_mib": round(program.peak_live() / 2**20, 1),
        "gbytes": round(sum(step.bytes for step in program.steps) / 1e9, 3),
        "gflops": round(sum(step.flops for step in program.steps) / 1e9, 1),
        "all_slow_us": round(int(np.maximum(instance.compute, instance.memory).sum()) / 2**34 * 1e6, 1),
        "compute_bound": round(float((instance.compute > instance.memory).mean()), 2),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="programs; default: all")
    parser.add_argument("--out", type=Path, default=DATA, help="folder of the files")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for family, programs in ZOO.items():
        for name in programs:
            if not arguments.names or name in arguments.names:
                print(json.dumps(write(name, family, arguments.out)), flush=True)


if __name__ == "__main__":
    main()
