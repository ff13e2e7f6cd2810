"""The first thing a newcomer sees: a pretrained policy beside the rules that factories use, on Taillard's benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
from rich.table import Table

from dispatchgym.agents.catalogue import Learned, find
from dispatchgym.envs.registry import Entry, door, lookup
from dispatchgym.eval import display
from dispatchgym.eval.report import Row, by_group, document, rows, summarise
from dispatchgym.eval.runner import Request, Result, run
from dispatchgym.instances.files import write_text

ENV = "dispatchgym/JobShop-v0"
RULES = ("spt", "fifo", "mwkr", "mopnr", "fdd_mwkr")
LEARNED = "pretrained"
SHOWN = "ta01"  # the schedule that is drawn


def run_demo(out: Path, quick: bool) -> bool:
    """Evaluate, print the table, draw one schedule; True if every schedule passed the validator."""
    entry = lookup(ENV)
    suite = "taillard-15x15" if quick else "taillard"
    problems = list(door("instances", entry.family).SUITES[suite]())
    for name in (*RULES, LEARNED):  # a missing extra is better named now than after minutes
        method = find(entry, name)
        if isinstance(method, Learned):
            method.network(entry.id, entry.build(problems[0].instance.size, **method.options))
    out.mkdir(parents=True, exist_ok=True)
    tables: dict[str, list[Row]] = {}
    drawn: dict[str, Result] = {}
    for number, name in enumerate((*RULES, LEARNED), 1):
        request = Request(entry, name, problems)
        label = f"{number}/{len(RULES) + 1} {name} on {len(problems)} instances of Taillard"
        display.note(f"{label} ...")
        with display.progress(label, len(problems), quiet=False) as advance:
            mode, results = run(request, advance)
        tables[name] = rows(results, entry.load().sense)
        drawn[name] = next(r for r in results if r.problem.name == SHOWN)
        report = document(request, suite, mode, results, tables[name])
        write_text(out / f"{name}.json", json.dumps(report, indent=1) + "\n")
    display.out.print(comparison(tables))
    best_rule = min(RULES, key=lambda name: summarise(tables[name])["mean_objective"] or float("inf"))
    for name in (n for n in (best_rule, LEARNED) if drawn[n].valid):
        picture(entry, drawn[name], name, out)
    checked = sum(row.valid for table in tables.values() for row in table)
    total = sum(len(table) for table in tables.values())
    display.out.print(
        f"{checked} of {total} schedules accepted by the independent validator; gap = above the best known makespan."
    )
    display.out.print(f"Gantt charts and results: {out.resolve()}", soft_wrap=True)
    return checked == total


def comparison(tables: dict[str, list[Row]]) -> Table:
    """Mean gap per class: one column a method, the best in bold."""
    grid = Table(title="Mean gap to the best known makespan, % (rules build non-delay schedules, the policy is greedy)")
    grid.add_column("class")
    for name in tables:
        grid.add_column(name, justify="right")
    groups = [*by_group(next(iter(tables.values()))), "all"]
    for group in groups:
        means = []
        for table in tables.values():
            members = table if group == "all" else by_group(table)[group]
            means.append(summarise(members)["mean_gap"])
        best = min((m for m in means if m is not None), default=None)
        cells = ["-" if m is None else f"[bold]{100 * m:.1f}[/]" if m == best else f"{100 * m:.1f}" for m in means]
        grid.add_row(group, *cells, end_section=group == groups[-2])
    return grid


def picture(entry: Entry, result: Result, name: str, out: Path) -> None:
    """The schedule as text on the terminal and as SVG in ``out``."""
    problem, state = final_state(entry, result)
    env = entry.build(problem.size, **result.outcome.options)
    prepared = env.prepare(problem)
    path = out / f"{result.problem.name}-{name}.svg"
    path.write_text(env.render(prepared, state, "svg"), encoding="utf-8")
    display.out.rule(f"{result.problem.name} by {name}: makespan {result.objective}")
    display.out.print(env.render(prepared, state, "ansi"), markup=False, highlight=False)


def final_state(entry: Entry, result: Result) -> tuple[Any, Any]:
    """(instance, state at the end of the recorded episode)."""
    instance = result.problem.instance
    env = entry.build(instance.size, **result.outcome.options)
    prepared = env.prepare(instance)

    def body(state: Any, action: Any) -> tuple[Any, None]:
        return env.step(prepared, state, action).state, None

    actions = jax.numpy.asarray(result.outcome.actions, jax.numpy.int32)
    return instance, jax.jit(lambda a: jax.lax.scan(body, env.reset(prepared), a)[0])(actions)
