"""``dispatchgym instances FAMILY``: makes instance files from what users have, such as their own JAX functions."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from dispatchgym.instances.base import DispatchGymError, UnknownNameError

app = typer.Typer(help="Make instance files from your own programs.", no_args_is_help=True)


@app.callback()
def instances() -> None:
    """Make instance files from your own programs."""


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
    unroll: Annotated[int, typer.Option(help="Most iterations of a loop.")] = 64,
    float32: Annotated[int, typer.Option(help="Bytes of a float32 element; 2 counts bfloat16.")] = 4,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document to stdout and nothing else.")
    ] = False,
) -> None:
    """Compile a JAX function on the CPU and write its schedule as a program of the memory game.

    MODULE is imported from the current folder or the path. FUNCTION is called without arguments and returns (function, args),
    where args may hold jax.ShapeDtypeStruct; jit the function with donate_argnums for results in place of arguments.
    """
    from dispatchgym.instances.memory.extract import from_jax
    from dispatchgym.instances.memory.formats import save
    from dispatchgym.instances.memory.scenario import capacity_bytes, find_machine

    function, args, label = _function(source)
    label = name or label
    path = Path(f"{label}.json") if out is None else out
    if out is None and path.exists():
        raise DispatchGymError(f"{path} exists; name the file with --out, or the program with --name")
    where = find_machine(machine)
    program = from_jax(function, *args, name=label, unroll=unroll, float32=float32)
    fast = capacity_bytes(capacity, program.peak_live())
    instance = program.instance(where, fast)
    save(program, path, scenario={"machine": machine, "capacity": fast})
    found = {
        "program": label,
        "steps": instance.size.steps,
        "buffers": instance.size.buffers,
        "events": instance.size.events,
        "peak_live_bytes": program.peak_live(),
        "bytes": sum(step.bytes for step in program.steps),
        "flops": sum(step.flops for step in program.steps),
        "machine": machine,
        "capacity_bytes": fast,
        "file": str(path),
    }
    if as_json:
        typer.echo(json.dumps(found))
        return
    from dispatchgym.eval import display

    rows = [{"of the program": key.replace("_", " "), "value": _grouped(value)} for key, value in found.items()]
    display.listing(f"Program of {source}", rows)


def _grouped(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _function(source: str) -> tuple[Callable[..., Any], tuple[Any, ...], str]:
    """The function to compile, its arguments and its name. Raises DispatchGymError unless the user's function gives them."""
    module, colon, attribute = source.partition(":")
    if not (module and colon and attribute):
        raise DispatchGymError(f"--from is {source!r}; give MODULE:FUNCTION, such as my_models:train_step")
    sys.path.insert(0, str(Path.cwd()))
    try:
        loaded = importlib.import_module(module)
    except Exception as error:  # whatever the user's module raises
        raise DispatchGymError(
            f"cannot import {module!r} ({_line(error)}); is it in this folder or on the path?"
        ) from error
    finally:
        sys.path.pop(0)
    if not callable(getattr(loaded, attribute, None)):
        known = [key for key, value in vars(loaded).items() if callable(value) and not key.startswith("_")]
        raise UnknownNameError(f"function of {module}", attribute, known)
    try:
        made = getattr(loaded, attribute)()
    except Exception as error:
        raise DispatchGymError(
            f"{source} fails without arguments ({_line(error)}); it must return (function, args)"
        ) from error
    if not (isinstance(made, tuple) and len(made) == 2 and callable(made[0]) and isinstance(made[1], (tuple, list))):
        raise DispatchGymError(
            f"{source} returns a {type(made).__name__}; let it return (function, args), args a tuple"
        )
    return made[0], tuple(made[1]), attribute


def _line(error: Exception) -> str:
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first[:160]}"
