"""``dispatchgym instances FAMILY``: makes instance files from what users have, such as their own JAX functions."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from dispatchgym.instances.base import DispatchGymError, UnknownNameError

app = typer.Typer(help="Make instance files from your own programs; allocate buffers.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout and nothing else.")]


@app.callback()
def instances() -> None:
    """Make instance files from your own programs; allocate buffers."""


@app.command()
def memory(
    source: Annotated[
        str, typer.Option("--from", metavar="MODULE:FUNCTION", help="Called without arguments, gives (function, args).")
    ],
    out: Annotated[
        Path | None, typer.Option(help="File to write; default NAME.json, which must not exist yet.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the program; default FUNCTION.")] = None,
    machine: Annotated[
        str, typer.Option(help="Machine that the file names: tpu-v4i, tpu-v5e, a100 or h100.")
    ] = "tpu-v4i",
    capacity: Annotated[
        str,
        typer.Option(help="Fast memory that the file names: 4MiB, or half ... sixteenth of the peak of live bytes."),
    ] = "quarter",
    ratio: Annotated[
        int | None, typer.Option(help="Bandwidth of fast over slow memory; default the machine's, an assumed 20.")
    ] = None,
    unroll: Annotated[int, typer.Option(help="Most iterations of a loop.")] = 64,
    float32: Annotated[int, typer.Option(help="Bytes of a float32 element; 2 counts bfloat16.")] = 4,
    as_json: AsJson = False,
) -> None:
    """Compile a JAX function on the CPU and write its schedule as a program of the memory game.

    MODULE is imported from the current folder or the path. FUNCTION is called without arguments and returns (function, args),
    where args is a tuple that may hold jax.ShapeDtypeStruct; jit the function with donate_argnums for results in place of
    arguments.
    """
    from dispatchgym.instances.memory.extract import check_options, from_jax
    from dispatchgym.instances.memory.formats import save
    from dispatchgym.instances.memory.scenario import capacity_bytes, check_capacity, find_machine

    module, attribute = _parts(source)
    label = attribute if name is None else name
    check_options(label, unroll, float32)
    if not label.isprintable() or "/" in label or "\\" in label:
        raise DispatchGymError(f"--name is {label!r}; give one without separators of paths, and the file with --out")
    where = find_machine(machine, ratio)
    check_capacity(capacity)
    path = Path(f"{label}.json") if out is None else out
    if out is None and path.exists():
        raise DispatchGymError(f"{path} exists; name the file with --out, or the program with --name")
    _check_writable(path)
    with _users_code():
        function, args = _function(module, attribute)
        program = from_jax(function, *args, name=label, unroll=unroll, float32=float32)
    fast = capacity_bytes(capacity, program.peak_live())
    instance = program.instance(where, fast)
    scenario = {"machine": machine, "capacity": fast} | ({} if ratio is None else {"ratio": ratio})
    save(program, path, scenario=scenario)
    found = {
        "program": label,
        "steps": instance.size.steps,
        "buffers": instance.size.buffers,
        "events": instance.size.events,
        "peak_live_bytes": program.peak_live(),
        "bytes": sum(step.bytes for step in program.steps),
        "flops": sum(step.flops for step in program.steps),
        "machine": machine,
        "ratio": where.fast // where.slow,
        "capacity_bytes": fast,
        "file": str(path),
    }
    if as_json:
        typer.echo(json.dumps(found))
        return
    from dispatchgym.eval import display

    rows = [{"of the program": key.replace("_", " "), "value": _grouped(value)} for key, value in found.items()]
    display.listing(f"Program of {source}", rows)


@app.command()
def allocation(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.csv", help="Columns id, lower, upper and size; upper exclusive.")
    ],
    capacity: Annotated[
        int | None, typer.Option(help="Of the memory, in the unit of the sizes; default that in FILE.CAPACITY.csv.")
    ] = None,
    order: Annotated[str, typer.Option(help="size, duration, start, area, or all of them.")] = "all",
    exact: Annotated[
        bool, typer.Option("--exact", help="Let CP-SAT look for an allocation within the capacity.")
    ] = False,
    seconds: Annotated[float, typer.Option(help="Time limit of --exact.")] = 60.0,
    out: Annotated[
        Path | None, typer.Option(help="File for the allocation of the lowest peak, with the column offset.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Place buffers with fixed lifetimes in one memory, MiniMalloc's problem, and compare the peaks.

    A greedy method takes the buffers in an order (size, duration and area: largest first) and places each at its first or
    best fit, whatever the capacity.

    Exit status: 0 unless a capacity is known and nothing fits it, then 1; 2 for bad input.
    """
    from dispatchgym.agents.solvers.memory_allocation import ORDERS
    from dispatchgym.instances.memory.allocation import read, solution_text

    if order != "all" and order not in ORDERS:
        raise UnknownNameError("order", order, (*ORDERS, "all"))
    if not 0 < seconds < float("inf"):
        raise DispatchGymError(f"--seconds is {seconds}; give more than 0")
    problem = read(file, capacity)
    if exact and problem.capacity is None:
        raise DispatchGymError(f"--exact needs a capacity, and {file.name} names none; give --capacity")
    if out is not None:
        _check_writable(out)
    rows, offsets = _allocations(problem, list(ORDERS) if order == "all" else [order], seconds if exact else None)
    fits = problem.capacity is None or any(row["fits"] for row in rows)
    if out is not None and fits:
        from dispatchgym.instances.files import write_text

        write_text(out, solution_text(problem, offsets))
    if as_json:
        found = {"file": str(file), "buffers": len(problem.names), "capacity": problem.capacity, "load": problem.load()}
        typer.echo(json.dumps(found | {"methods": rows, "written": str(out) if out is not None and fits else None}))
    else:
        _show_allocations(file.name, problem, rows)
        if out is not None:
            typer.echo(f"offsets in {out}" if fits else f"nothing fits, {out} is not written", err=True)
    if not fits:
        raise typer.Exit(1)


def _allocations(problem: Any, orders: list[str], seconds: float | None) -> tuple[list[dict[str, Any]], Any]:
    """A row for each method, and the offsets of the lowest peak. With ``seconds``, of CP-SAT too."""
    from dataclasses import replace

    from dispatchgym.agents.solvers.memory_allocation import FITS, pack, place

    unlimited = replace(problem, capacity=None)
    rows: list[dict[str, Any]] = []
    best: tuple[int, Any] | None = None

    def add(method: str, offsets: Any, status: str) -> None:
        nonlocal best
        peak = None if offsets is None else unlimited.peak(offsets)
        fits = None if problem.capacity is None else peak is not None and peak <= problem.capacity
        rows.append({"method": method, "peak": peak, "fits": fits, "status": status})
        if peak is not None and (best is None or peak < best[0]):
            best = peak, offsets

    for order in orders:
        for fit in FITS:
            add(f"{order}, {fit} fit", place(problem, order, fit), "greedy")
    if seconds is not None:
        add("CP-SAT", *pack(problem, time_limit=seconds))
    return rows, best and best[1]


def _show_allocations(name: str, problem: Any, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from dispatchgym.eval import display

    load = problem.load()
    limit = "no capacity" if problem.capacity is None else f"a capacity of {problem.capacity:,}"
    display.out.print(f"{name}: {len(problem.names)} buffers, {limit}; no peak is below {load:,}", markup=False)
    grid = Table()
    for column in ("method", "peak", "above that", "fits", "status"):
        grid.add_column(column, justify="right" if column in ("peak", "above that") else "left")
    for row in rows:
        above = "-" if row["peak"] is None else f"{100 * (row['peak'] / load - 1):.1f} %"
        fits = {None: "-", True: "yes", False: "no"}[row["fits"]]
        grid.add_row(row["method"], _grouped(row["peak"]), above, fits, row["status"])
    display.out.print(grid)


def _grouped(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "-" if value is None else str(value)


def _check_writable(path: Path) -> None:
    """Refuse a file that cannot be written, before anything is computed."""
    folder = path.parent
    cause = "it is a folder" if path.is_dir() else "no such folder" if not folder.is_dir() else ""
    if not cause and not os.access(path if path.exists() else folder, os.W_OK):
        cause = "permission denied"
    if cause:
        raise DispatchGymError(f"{path}: cannot be written ({cause}); check path and permissions")


def _parts(source: str) -> tuple[str, str]:
    """Module and function of --from. Raises DispatchGymError."""
    module, colon, attribute = source.partition(":")
    if not (module and colon and attribute):
        raise DispatchGymError(f"--from is {source!r}; give MODULE:FUNCTION, such as my_models:train_step")
    if module.endswith(".py") or "/" in module or "\\" in module:
        raise DispatchGymError(
            f"--from is {source!r}; give the module and not its file, such as {Path(module).stem}:{attribute} in its folder"
        )
    return module, attribute


@contextlib.contextmanager
def _users_code() -> Iterator[None]:
    """Modules of the current folder can be imported; what they print goes to standard error."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if here in sys.path:  # a module may have put others before it, or taken it away
            sys.path.remove(here)


def _function(module: str, attribute: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The function to compile and its arguments. Raises DispatchGymError unless the user's function gives them."""
    source = f"{module}:{attribute}"
    try:
        loaded = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's module raises
        raise DispatchGymError(
            f"cannot import {module!r} ({_line(error)}); is it in this folder or on the path?"
        ) from error
    if not callable(getattr(loaded, attribute, None)):
        known = [key for key, value in vars(loaded).items() if callable(value) and not key.startswith("_")]
        raise UnknownNameError(f"function of {module}", attribute, known)
    try:
        made = getattr(loaded, attribute)()
    except (Exception, SystemExit) as error:
        raise DispatchGymError(
            f"{source} fails without arguments ({_line(error)}); it must return (function, args)"
        ) from error
    remedy = "let it return (function, args), args a tuple"
    if not isinstance(made, tuple):
        raise DispatchGymError(f"{source} returns a {type(made).__name__}; {remedy}")
    if len(made) != 2:
        raise DispatchGymError(f"{source} returns {len(made)} values; {remedy} of all arguments: (function, (x, y))")
    function, args = made
    if not callable(function):
        raise DispatchGymError(f"{source} returns a {type(function).__name__} where the function belongs; {remedy}")
    if not isinstance(args, (tuple, list)):
        raise DispatchGymError(
            f"{source} returns (function, {type(args).__name__}), whose second is no tuple; of one argument write "
            "(function, (x,)), with the comma"
        )
    return function, tuple(args)


def _line(error: BaseException) -> str:
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first[:160]}"
