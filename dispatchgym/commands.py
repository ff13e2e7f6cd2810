"""The verbs of ``dispatchgym``. Heavy packages are imported inside the verb that needs them."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from dispatchgym import commands_instances
from dispatchgym.envs.registry import REGISTRY, Entry, lookup
from dispatchgym.instances.base import DispatchGymError, SuiteEntry, SuiteTable, UnknownNameError

app = typer.Typer(
    name="dispatchgym",
    help="Scheduling and resource allocation as Gymnasium environments: evaluate, train, check and replay.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

app.add_typer(commands_instances.app, name="instances")

MAX_SEED = 2**31 - 1

Env = Annotated[str, typer.Option("--env", help="Environment id, such as dispatchgym/JobShop-v0.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout and nothing else.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", metavar="KEY=VALUE", help="Environment option, such as scheme=non_delay."),
]
Import = Annotated[
    str | None, typer.Option("--import", metavar="MODULE", help="Import this first; it registers your environment.")
]


@app.command()
def envs(as_json: AsJson = False) -> None:
    """List the registered environments."""
    table = [
        {"env": e.id, "family": e.family, "default_generator": e.generator, "about": e.doc} for e in REGISTRY.values()
    ]
    _show("Environments", table, as_json)


@app.command()
def suites(
    env: Annotated[str | None, typer.Option("--env", help="Only of this environment.")] = None, as_json: AsJson = False
) -> None:
    """List the benchmark suites: named, versioned lists of instances with references."""
    table = []
    for entry in {e.family: e for e in _entries(env)}.values():
        for suite in (make() for make in _suites(entry).values()):
            closed = sum(e.reference is not None and e.reference.status == "optimal" for e in suite)
            row = {"suite": suite.name, "family": entry.family, "version": suite.version, "instances": len(suite)}
            table.append(row | {"optimal_known": closed, "about": suite.description})
    _show("Suites", table, as_json)


@app.command()
def policies(
    env: Annotated[str | None, typer.Option("--env", help="Only of this environment.")] = None, as_json: AsJson = False
) -> None:
    """List what can be evaluated by name: pretrained policies, rules and solvers."""
    from dispatchgym.agents.catalogue import kind, methods

    table = []
    for entry in _entries(env):
        for name, method in methods(entry).items():
            options = ", ".join(f"{k}={v}" for k, v in method.options.items())
            table.append(
                {"policy": name, "kind": kind(method), "env": entry.id, "options": options, "about": method.doc}
            )
    _show("Policies", table, as_json)


@app.command("eval")
def evaluate(
    env: Env,
    policy: Annotated[str, typer.Option(help="Name (see `dispatchgym policies`) or checkpoint folder.")],
    suite: Annotated[str | None, typer.Option(help="Suite to evaluate on (see `dispatchgym suites`).")] = None,
    instance: Annotated[
        list[str] | None, typer.Option(help="Instance name or file; repeatable, instead of a suite.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Compare with this method, or with all `rules`, paired by instance; repeatable.",
        ),
    ] = None,
    samples: Annotated[int, typer.Option(help="1: greedy; k: best of k sampled episodes.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the sampling.")] = 0,
    time_limit: Annotated[float | None, typer.Option(help="Seconds per instance, for solvers.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads, for solvers.")] = None,
    option: Options = None,
    save_traces: Annotated[
        Path | None, typer.Option(help="Folder to write the policy's actions to, a file an instance.")
    ] = None,
    module: Import = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Run a policy, rule or solver on instances; every result is checked by the family's validator.

    With --against, others run on the same instances and are compared with it.
    Each keeps its own environment options, unless --option overrides them.

    Exit status: 0 all of the policy's results valid, 1 if one is infeasible or missing, 2 for bad input.
    """
    _compilation_cache()
    _import(module)
    entry = lookup(env)
    problems, label = _problems(entry, suite, instance)
    from dispatchgym.eval.report import document, rows
    from dispatchgym.eval.runner import Request, opponents, run

    request = Request(entry, policy, problems, samples, seed, _options(option), time_limit, workers)
    request, others = opponents(request, against or ())
    from dispatchgym.eval import compare, display

    with display.progress(f"{policy} on {label}", len(problems), quiet or as_json) as advance:
        mode, results = run(request, advance)
    table = rows(results, entry.load().sense)
    report = document(request, label, mode, results, table)
    if save_traces is not None:
        from dispatchgym.eval import traces

        written = traces.write(save_traces, entry, policy, results)
        if not as_json:
            display.note(f"{written} traces in {save_traces}; replay one with `dispatchgym replay FILE`")
    if not as_json:
        display.evaluation(report, table, entry.load().headline, entry.load().unit)
    rivals = []
    for number, other in enumerate(others, 1):
        title = f"{number}/{len(others)} {other.policy} on {label}"
        with display.progress(title, len(problems), quiet or as_json) as advance:
            rivals.append(compare.challenge(other, advance))
    if rivals:
        ours = compare.contender(request, mode, results)
        report["comparison"] = compare.document(request, ours, rivals, [row.group for row in table])
    if as_json:
        typer.echo(json.dumps(report))
    elif rivals:
        display.comparison(report["comparison"])
    if report["summary"]["valid"] < report["summary"]["count"]:
        raise typer.Exit(1)


@app.command()
def replay(
    trace: Annotated[Path, typer.Argument(help="File written by `dispatchgym eval --save-traces`.")],
    instance: Annotated[
        str | None, typer.Option(help="Instance name or file, if the trace's own name does not resolve.")
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="Write a picture of the end state.")] = None,
    waterfall: Annotated[
        Path | None, typer.Option(help="Write a picture (SVG) of what each buffer saved; memory mapping only.")
    ] = None,
    module: Import = None,
    as_json: AsJson = False,
) -> None:
    """Replay a trace in the environment and in the validator, and compare. Exit status 1 if anything disagrees."""
    _compilation_cache()
    _import(module)
    from dispatchgym.eval import display, traces

    recorded = traces.read(trace)
    problem, state, found = traces.replay(recorded, instance)
    answer = {
        "env": recorded.env_id,
        "instance": recorded.instance,
        "policy": recorded.policy,
        "claimed": recorded.claimed,
        "environment": found.objective,
        "validator": found.validated,
        "agrees": found.agrees,
        "errors": list(found.errors),
    }
    for path, mode in ((svg, "svg"), (waterfall, "waterfall")):
        if path is not None:
            built = lookup(recorded.env_id).build(problem.size, **recorded.options)
            path.write_text(built.render(built.prepare(problem), state, mode), encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        display.replayed(answer)
    if not found.agrees:
        raise typer.Exit(1)


@app.command()
def train(
    env: Env,
    algo: Annotated[str, typer.Option(help="self_labelling, evolution, rollout_improvement or ppo.")],
    config: Annotated[
        str | None, typer.Option(help="Preset name or YAML file; without it the algorithm's defaults.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one field of the configuration.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of everything random.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Run directory; default runs/<env>/<algo>/<seed>.")] = None,
    resume: Annotated[bool, typer.Option(help="Continue the run in the directory, bit for bit.")] = False,
    module: Import = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Train a policy; interrupt it at will and continue with --resume. The best checkpoint so far is in the run directory."""
    _compilation_cache()
    _import(module)
    from dispatchgym.eval import display
    from dispatchgym.train.presets import configure

    trainer_class, configuration = configure(lookup(env), algo, config, _options(set_), seed)
    folder = out or Path("runs") / env.replace("/", "_") / algo / str(seed)
    trainer = trainer_class(configuration, folder, resume)
    with display.training(f"{algo} on {env} -> {folder}", trainer, quiet) as report:
        trainer.train(report)


@app.command()
def check(
    env_id: Annotated[str, typer.Argument(metavar="ID", help="A registered environment, ours or yours.")],
    module: Import = None,
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """Test an environment against every contract of the suite. Exit status 1 if a check fails."""
    _compilation_cache()
    _import(module)
    lookup(env_id)
    from dispatchgym import testing
    from dispatchgym.eval import display

    try:
        report = testing.check(env_id, **_options(option))
    except testing.CheckError as error:
        report = error.report
    if as_json:
        typer.echo(
            json.dumps({"env": env_id, "ok": report.ok, "checks": [asdict(result) for result in report.results]})
        )
    else:
        display.checks(report)
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Print versions, extras, devices and threads. Exit status 1 if something needed is missing."""
    from dispatchgym.eval import display
    from dispatchgym.eval.doctor import examine

    findings = examine()
    if as_json:
        typer.echo(json.dumps(findings))
    else:
        display.findings(findings)
    if not findings["healthy"]:
        raise typer.Exit(1)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the pictures and the table.")] = Path("results/demo"),
    quick: Annotated[bool, typer.Option(help="Only the 15x15 class.")] = False,
) -> None:
    """Watch a pretrained policy schedule Taillard's benchmark beside the rules that factories use."""
    _compilation_cache()
    from dispatchgym.eval.demo import run_demo

    if not run_demo(out, quick):
        raise typer.Exit(1)


def _import(module: str | None) -> None:
    """Import a user's module. Raises DispatchGymError if that fails."""
    if module is not None:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise DispatchGymError(f"cannot import {module!r} ({error}); is it on the path?") from error


def _entries(env: str | None) -> list[Entry]:
    return list(REGISTRY.values()) if env is None else [lookup(env)]


def _problems(entry: Entry, suite: str | None, instances: list[str] | None) -> tuple[list[SuiteEntry], str]:
    if (suite is None) == (not instances):
        raise DispatchGymError("pass either --suite or --instance; `dispatchgym suites` lists the suites")
    if suite is not None:
        known = _suites(entry)
        if suite not in known:
            raise UnknownNameError("suite", suite, known)
        return list(known[suite]()), suite
    names = instances or []
    return [entry.family_module().entry(name) for name in names], ",".join(names)


def _suites(entry: Entry) -> SuiteTable:
    """By name; none where the family offers none."""
    table: SuiteTable = getattr(entry.family_module(), "SUITES", {})
    return table


def _options(pairs: list[str] | None) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise DispatchGymError(f"{pair!r} is not KEY=VALUE")
        try:
            options[key.strip().replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise DispatchGymError(f"{pair!r}: the value is no YAML ({type(error).__name__}); quote it") from error
    return options


def _compilation_cache() -> None:
    """Keep compiled programs between commands; a second run starts in a fraction of the time."""
    import os

    import jax

    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        jax.config.update("jax_compilation_cache_dir", str(base / "dispatchgym" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def _show(title: str, table: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(table))
        return
    from dispatchgym.eval import display

    display.listing(title, table)
