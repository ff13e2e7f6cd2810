"""Every method of MemoryMapping-v0 on every program of ``jax-programs``, each plan judged by the validator.

python benchmarks/memory_results.py                  rules, XLA's MSA and the pretrained policy: minutes
python benchmarks/memory_results.py --search 60      and 60 s of search for each of the 76 cases, two at a time

Writes benchmarks/results/memory/programs.json and goes on where an earlier run stopped: what is there is not run again, but
what the pretrained policy has a part in is when its weights change. MSA counts by its own plans, where the validator finds
them within the supplies of the channels, and as the game replays them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dispatchgym.agents.rules.memory import RULES
from dispatchgym.agents.solvers.memory_learned import PRETRAINED
from dispatchgym.agents.solvers.memory_msa import Options, assign, replayed
from dispatchgym.envs.core import rollout
from dispatchgym.envs.memory import MemoryMapping
from dispatchgym.envs.programs import let_go_of_programs
from dispatchgym.eval.validators.base import Verdict
from dispatchgym.eval.validators.memory import validate
from dispatchgym.eval.validators.memory_plan import judge
from dispatchgym.instances.base import SuiteEntry, common_size, stack
from dispatchgym.instances.files import write_text
from dispatchgym.instances.memory import SUITES

OUTPUT = Path(__file__).parent / "results" / "memory" / "programs.json"
SUITE = "jax-programs"
VARIANTS = {
    "msa": Options(),
    "msa_strict": Options(waive=False),
    "msa_size": Options(order="size"),
    "msa_repack": Options(max_repacks=10),
    "msa_updates": Options(retry_updates=False),
}
BOUNDARIES = (130, 260, 400, 700, 1100, 2**30)  # of use-events: programs between two of them run together
SAMPLES = 64


def score(verdict: Verdict) -> dict[str, Any]:
    """What is kept of a plan, in ticks."""
    if not verdict.valid:
        return {"valid": False, "why": verdict.errors[0]}
    return {"valid": True, "latency": verdict.objective, "simulated": int(verdict.metrics["simulated"])}


def together(entries: list[SuiteEntry]) -> Iterator[list[SuiteEntry]]:
    """Entries of similar size."""
    for low, high in zip((0, *BOUNDARIES), BOUNDARIES, strict=False):
        some = [entry for entry in entries if low < int(entry.instance.n_events) <= high]
        if some:
            yield some


def by_rules(entries: list[SuiteEntry]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(program, method, result) of every rule; of those that draw, the best of 64."""
    for some in together(entries):
        size = common_size([entry.instance for entry in some])
        env = MemoryMapping(size)
        problems = jax.jit(jax.vmap(env.prepare))(stack([entry.instance for entry in some], size))
        for name, rule in RULES.items():
            policy, count = rule.make(env.graph), SAMPLES if rule.stochastic else 1
            play = jax.jit(lambda p, key, env=env, policy=policy: rollout(env, policy, p, key))
            best: dict[str, tuple[int, np.ndarray]] = {}
            for key in jax.random.split(jax.random.key(0), count):
                played = play(problems, key)
                for i, entry in enumerate(some):
                    found = int(played.objective[i]), np.asarray(played.actions[:, i])
                    best[entry.name] = min(best.get(entry.name, found), found, key=lambda pair: pair[0])
            label = f"{name}_best_of_{count}" if rule.stochastic else name
            for entry in some:
                actions = best[entry.name][1][: int(entry.instance.n_events)].tolist()
                yield entry.name, label, score(validate(entry.instance, actions, {}))
        let_go_of_programs()


def by_msa(entry: SuiteEntry) -> dict[str, Any]:
    """MSA's variants by their own plans, and replayed."""
    found = {}
    for name, options in VARIANTS.items():
        found[name] = score(validate(entry.instance, replayed(entry.instance, options).actions, {}))
        found[f"{name}_own"] = score(judge(entry.instance, assign(entry.instance, options).plan))
    return found


def by_policy(entries: list[SuiteEntry]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(program, method, result) of the pretrained policy, greedy and the best of 64 samples."""
    import torch

    from dispatchgym.agents import checkpoint
    from dispatchgym.agents.lanes import play, stepper

    for some in together(entries):
        size = common_size([entry.instance for entry in some])
        env = MemoryMapping(size)
        network, _ = checkpoint.load(PRETRAINED, "dispatchgym/MemoryMapping-v0", env)
        problems = stepper(env).prepare(stack([entry.instance for entry in some], size))
        for label, samples in (("pretrained", 1), (f"pretrained_best_of_{SAMPLES}", SAMPLES)):
            random = torch.Generator().manual_seed(0) if samples > 1 else None
            played = play(env, problems, network, samples, random)
            for i, entry in enumerate(some):
                actions = played.actions[: int(entry.instance.n_events), i, played.objective[i].argmin()]
                yield entry.name, label, score(validate(entry.instance, actions.tolist(), {}))
        let_go_of_programs()


def by_search(name: str, seconds: float) -> dict[str, Any]:
    """A search that begins with the pretrained policy; in a process of its own, on one core."""
    from dispatchgym.agents.solvers.memory import SOLVERS

    instance = next(entry.instance for entry in SUITES[SUITE]() if entry.name == name)
    began = time.perf_counter()
    solution = SOLVERS["policy_search"].solve(instance, time_limit=seconds)
    took = time.perf_counter() - began
    let_go_of_programs()
    return score(validate(instance, solution.actions, {})) | {"seconds": round(took, 1)}


def main() -> None:
    """Fill in what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--search", type=float, help="seconds of search for each program, compilation included")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="searches at a time, a core each")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    weights = hashlib.sha256((PRETRAINED / "policy.safetensors").read_bytes()).hexdigest()
    programs: dict[str, Any] = {}
    if arguments.output.exists():
        document = json.loads(arguments.output.read_text(encoding="utf-8"))
        programs = document["programs"]
        if document.get("weights_sha256") != weights:
            for row in programs.values():
                row["methods"] = {k: v for k, v in row["methods"].items() if not k.startswith(("pretrained", "search"))}
    entries = list(SUITES[SUITE]())

    def keep() -> None:
        document = {"suite": SUITE, "weights_sha256": weights, "programs": programs}
        write_text(arguments.output, json.dumps(document, indent=1) + "\n")

    for entry in entries:
        given = entry.instance
        row = programs.setdefault(entry.name, {"methods": {}})
        row["group"], row["events"] = entry.group, int(given.n_events)
        row["all_slow"] = int(np.maximum(given.compute, given.memory).sum())
        row["bound"] = entry.reference.lower_bound if entry.reference else None
        if not all(name in row["methods"] for name in VARIANTS):
            row["methods"] |= by_msa(entry)
            print(entry.name, row["methods"]["msa"], flush=True)
            keep()
    for run, last in ((by_rules, "random_best_of_64"), (by_policy, f"pretrained_best_of_{SAMPLES}")):
        if all(last in row["methods"] for row in programs.values()):
            continue
        for name, method, result in run(entries):
            programs[name]["methods"][method] = result
            print(name, method, result.get("latency"), flush=True)
        keep()
    if arguments.search:
        label = f"search_{arguments.search:g}"
        left = [
            entry.name for entry in sorted(entries, key=lambda entry: entry.group == "train")
        ]  # held-out ones first
        left = [name for name in left if label not in programs[name]["methods"]]
        # One core each: XLA and torch would otherwise start a thread for every core in every process.
        os.environ |= {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(arguments.workers, mp_context=context) as pool:
            tasks = {pool.submit(by_search, name, arguments.search): name for name in left}
            for task in as_completed(tasks):
                programs[tasks[task]]["methods"][label] = task.result()
                print(tasks[task], label, task.result(), flush=True)
                keep()


if __name__ == "__main__":
    main()
