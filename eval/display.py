"""What people see on a terminal: tables with rich, progress on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from dispatchgym.eval.compare import ALL, bounds, conclusion, lead, sections, signed
from dispatchgym.eval.report import Row, by_group, summarise

PLAIN_SECONDS = 10.0  # between progress lines where there is no terminal
LISTED = 6  # methods of a class that are all listed; of more, those behind the policy are counted

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def listing(title: str, table: Sequence[dict[str, Any]]) -> None:
    """A list of dictionaries with equal keys; what is the same in every row moves to the title."""
    keys = list(table[0]) if table else []
    same = [k for k in keys if len(table) > 1 and len({str(row[k]) for row in table}) == 1]
    about = ", ".join(f"{k.replace('_', ' ')} {table[0][k]}" for k in same)
    grid = Table(title=f"{title} ({about})" if about else title, title_justify="left")
    shown = [k for k in keys if k not in same]
    for key in shown:
        name = key in ("env", "suite", "policy")
        grid.add_column(key.replace("_", " "), overflow="fold", no_wrap=name, ratio=1 if key == "about" else None)
    for row in table:
        grid.add_row(*(str(row[k]) for k in shown))
    out.print(grid)


def note(text: str) -> None:
    """A line on standard error."""
    err.print(text, markup=False)


@contextmanager
def progress(label: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, a line every few seconds elsewhere; yields what takes the number done."""
    if quiet:
        yield lambda done: None
        return
    if not err.is_terminal:
        last = [time.monotonic()]

        def line(done: int) -> None:
            if time.monotonic() - last[0] > PLAIN_SECONDS:
                last[0] = time.monotonic()
                note(f"{label}: {done}/{total}")

        yield line
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def training(label: str, trainer: Any, quiet: bool) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """Progress of a trainer, with its latest evaluation."""
    with progress(label, trainer.total, quiet) as advance:

        def report(step: int, scalars: dict[str, float]) -> None:
            advance(step)
            if "eval/ratio" in scalars and not quiet:
                note(f"step {step}: validation ratio {scalars['eval/ratio']:.4f}, {scalars['time/seconds']:.0f} s")

        yield report


def evaluation(report: dict[str, Any], table: Sequence[Row], headline: str = "", unit: str = "") -> None:
    """Per instance, per class and in all. ``headline`` is the metric that classes show in place of the objective."""
    options = ", ".join(f"{k}={v}" for k, v in report["metrics"]["options"].items())
    heading = f"{report['policy']} on {report['suite']} - {report['mode']}" + (f" ({options})" if options else "")
    proven = any(row.status for row in table)
    grid = Table(title=heading, title_justify="left")
    for name in (
        "instance",
        "objective",
        "reference",
        "gap",
        "decisions/s",
        *(("bound", "status") if proven else ()),
        "validated",
    ):
        grid.add_column(name, justify="left" if name in ("instance", "status", "validated") else "right")
    for row in table:
        speed = f"{row.decisions / row.seconds:,.0f}" if row.seconds else "-"
        extra = (_number(row.bound), row.status) if proven else ()
        verdict = "[green]yes[/]" if row.valid else "[red]NO[/]"
        grid.add_row(
            row.instance, _number(row.objective), _number(row.reference), percent(row.gap), speed, *extra, verdict
        )
    out.print(grid)
    classes(table, headline, unit)
    metrics(report["summary"]["metrics"])
    for row in table:
        for error in row.errors:
            err.print(f"{row.instance}: {error}", style="red", markup=False)


def classes(table: Sequence[Row], headline: str, unit: str) -> None:
    """Mean objective, or headline, and mean gap per class with its interval."""
    grid = Table(title="mean by class", title_justify="left")
    shown_mean = escape(_measure(headline, unit)) if headline else "objective"
    for column in ("class", "instances", shown_mean, "gap", "95 % interval", "decisions/s", "validated"):
        grid.add_column(column, justify="left" if column == "class" else "right")
    groups = by_group(table)
    shown = [*groups.items(), ("all", list(table))] if len(groups) > 1 else [("all", list(table))]
    for group, members in shown:
        s = summarise(members)
        seconds = sum(r.seconds for r in members)
        speed = f"{sum(r.decisions for r in members) / seconds:,.0f}" if seconds else "-"
        mean = s["metrics"].get(headline) if headline else s["mean_objective"]
        around = "-" if s["ci95"] is None else f"{100 * s['ci95'][0]:.1f} .. {100 * s['ci95'][1]:.1f} %"
        valid = f"{s['valid']}/{s['count']}"
        grid.add_row(
            group,
            str(s["count"]),
            _mean(mean),
            percent(s["mean_gap"]),
            around,
            speed,
            valid,
            end_section=group != "all",
        )
    out.print(grid)


def metrics(means: dict[str, float]) -> None:
    """Means of the validator's metrics over all instances; what is 0 throughout says nothing."""
    if not means:
        return
    grid = Table(title="means of metrics", title_justify="left", show_header=False)
    grid.add_column("metric")
    grid.add_column("mean", justify="right")
    for name, value in means.items():
        if value:
            grid.add_row(name.replace("_", " "), _mean(value))
    out.print(grid)


def comparison(found: dict[str, Any]) -> None:
    """The policy and what it is compared with, best first, per class and over all; then where a rule wins."""
    policy, methods = found["policy"], found["methods"]
    count = f"{len(methods)} method{'s' if len(methods) > 1 else ''}"
    grid = Table(title=escape(f"{policy['name']} against {count}, paired by instance"), title_justify="left")
    grid.add_column("method", no_wrap=True)
    for column in (_measure(found["measure"], found["unit"]), "95 % interval", "difference", "95 % interval"):
        grid.add_column(escape(column), justify="right")
    grid.add_column("policy", no_wrap=True)
    for place, section in sections(found).items():
        number = section["instances"]
        grid.add_row(f"[bold]{escape(place)}[/] ({number})")
        for name, *cells in _ranking(place, section, found):
            star = " *" if name == section["best_rule"] else ""
            grid.add_row(escape(f"  {name}{star}"), *cells, style="bold" if name == policy["name"] else None)
        grid.add_section()
    out.print(grid)
    out.print(
        "* best rule; difference: policy / method - 1 of the means; it wins or loses where the interval excludes 0"
    )
    for mode, names in _modes([policy, *methods.values()]).items():
        out.print(f"{mode}: {', '.join(names)}", markup=False)
    for line in conclusion(found):
        out.print(line, markup=False)
    for name, method in methods.items():
        if "error" in method:
            err.print(f"{name} did not run: {method['error']}", style="red", markup=False)
        elif method["valid"] < len(method["values"]):
            failed = len(method["values"]) - method["valid"]
            err.print(f"{name}: {failed} instances without a valid result are left out", style="red", markup=False)


def _ranking(place: str, section: dict[str, Any], found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """(name, cells) of the methods with results, best mean first; in a class of many, those behind are only counted."""
    name, methods = found["policy"]["name"], section["methods"]
    behind = [m for m, row in methods.items() if lead(row, found["sense"]) < 0 and row["verdict"] != "tied"]
    counted = set(behind) - {section["best_rule"]} if place != ALL and len(methods) > LISTED else set()
    rows = {name: section["policy"]} | {m: row for m, row in methods.items() if m not in counted}
    solved = [m for m, row in rows.items() if row["instances"]]
    colours = {"wins": "[green]wins[/]", "loses": "[red]loses[/]", "tied": "tied"}
    for m in sorted(solved, key=lambda m: rows[m]["mean"], reverse=found["sense"] == "max"):
        row = rows[m]
        around = "-" if row["ci95"] is None else f"{_mean(row['ci95'][0])} .. {_mean(row['ci95'][1])}"
        versus = ("", "", "")
        if m != name:
            versus = signed(row["difference"]), bounds(row["difference_ci95"]), colours.get(row["verdict"], "-")
        yield m, _mean(row["mean"]), around, *versus
    if counted:
        yield f"{len(counted)} more, behind", "", "", "", "", ""


def _modes(methods: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Names of the methods by how they decide, with those options in which not all agree."""
    ran = [method for method in methods if "error" not in method]
    keys = dict.fromkeys(key for method in ran for key in method["options"])
    differ = [key for key in keys if any(m["options"].get(key) != ran[0]["options"].get(key) for m in ran)]
    modes: dict[str, list[str]] = {}
    for method in ran:
        options = ", ".join(f"{key}={method['options'].get(key)}" for key in differ)
        modes.setdefault(method["mode"] + (f" ({options})" if options else ""), []).append(method["name"])
    return modes


def replayed(answer: dict[str, Any]) -> None:
    """The verdict on a trace."""
    for key, value in answer.items():
        if key != "errors":
            out.print(f"{key:12} {value}", markup=False)
    for error in answer["errors"]:
        err.print(error, style="red", markup=False)


def checks(report: Any) -> None:
    """The report of ``dispatchgym.testing``."""
    grid = Table(title=f"{report.env_id}", title_justify="left")
    grid.add_column("check", no_wrap=True)
    grid.add_column("result", no_wrap=True)
    grid.add_column("about", overflow="fold")
    colours = {"ok": "green", "failed": "red", "skipped": "yellow"}
    for row in report.results:
        grid.add_row(row.name, f"[{colours[row.status]}]{row.status}[/]", escape(row.note or row.rule))
    out.print(grid)


def findings(data: dict[str, Any]) -> None:
    """What the doctor found."""
    for title, section in data.items():
        if isinstance(section, dict):
            grid = Table(title=title, title_justify="left", show_header=False)
            for key, value in section.items():
                grid.add_row(str(key), str(value))
            out.print(grid)
    for line in data["advice"]:
        out.print(f"- {line}", markup=False)
    out.print(
        "healthy" if data["healthy"] else "something needed is missing", style="green" if data["healthy"] else "red"
    )


def percent(fraction: float | None) -> str:
    """A gap as people read it."""
    return "-" if fraction is None else f"{100 * fraction:.2f} %"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _measure(name: str, unit: str) -> str:
    """What a mean is of."""
    return (name if name.startswith("mean") else f"mean {name}").replace("_", " ") + (f" [{unit}]" if unit else "")


def _mean(value: float | None) -> str:
    if value is None:
        return "-"
    size = abs(value)
    return f"{value:,.0f}" if size >= 1e5 else f"{value:,.1f}" if size >= 10 else f"{value:.4g}"
