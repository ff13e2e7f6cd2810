"""The program that XLA makes of a JAX function: compiled for the CPU, its scheduled HLO read instruction by instruction.

The CPU compiler's order and fusions stand in for those of an accelerator's. Needs no device and runs nothing. It widens
bfloat16 to float32; compile in float32 and pass ``float32=2`` to count a program as if it ran in bfloat16 throughout.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.memory.flatten import CONSTANT, PARAMETER, Flat, Flattener
from dispatchgym.instances.memory.hlo import parse
from dispatchgym.instances.memory.program import THRESHOLD, Buffer, Program, Step, Use

UNROLL = 64
# The CPU's library would take a whole network of convolutions as one instruction; accelerators do not.
COMPILER_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}
SMALL = 1024  # bytes and operations: steps with less of both, on no buffer, are index arithmetic and left out


def from_jax(
    function: Callable[..., Any],
    *args: Any,
    name: str | None = None,
    donate: Sequence[int] = (),
    unroll: int = UNROLL,
    float32: int = 4,
) -> Program:
    """The program of ``function(*args)``; arrays among the arguments may be ``jax.ShapeDtypeStruct``.

    ``donate`` numbers the arguments whose memory results may take over (updates in place), as in ``jax.jit``; a function
    that is jitted already keeps its own. Loops of up to ``unroll`` iterations, known to the compiler, are unrolled.
    ``float32`` is the bytes that count for a float32 element. Raises InstanceError for a function that does not compile, a
    loop that cannot be unrolled, an instruction that fits no fixed schedule, and a program without a buffer of 64 KiB.
    """
    if not callable(function):
        raise InstanceError(
            f"a {type(function).__name__} is no function; give one that JAX can compile, then its arguments"
        )
    label = str(getattr(function, "__name__", "program")) if name is None else name
    check_options(label, unroll, float32)
    executable = compiled(function, args, label, donate)
    about = {
        "jax": jax.__version__,
        "jaxlib": version("jaxlib"),
        "backend": "cpu",
        "compiler_options": COMPILER_OPTIONS,
    }
    return from_hlo(executable.as_text(), label, unroll, float32, about)


def check_options(name: Any, unroll: Any, float32: Any) -> None:
    """Raise InstanceError for options that :func:`from_jax` and :func:`from_hlo` refuse before they do anything."""
    if not (isinstance(name, str) and name):
        raise InstanceError(f"name is {name!r}; give a text, such as name='mine'")
    for what, value, low, high in (("unroll", unroll, 1, 4096), ("float32", float32, 1, 4)):
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise InstanceError(f"{what} is {value!r}; give an integer in {low}..{high}")


def compiled(function: Callable[..., Any], args: Sequence[Any], name: str, donate: Sequence[int] = ()) -> Any:
    """What the CPU compiler makes of a function (``jax.stages.Compiled``). Raises InstanceError if it cannot."""

    def abstract(leaf: Any) -> Any:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if isinstance(leaf, (jax.Array, np.ndarray)) else leaf

    try:
        jitted = function if hasattr(function, "lower") else jax.jit(function, donate_argnums=tuple(donate))
        with jax.default_device(jax.devices("cpu")[0]):
            lowered = jitted.lower(*jax.tree.map(abstract, tuple(args)))
            return lowered.compile(compiler_options=COMPILER_OPTIONS)
    except Exception as error:
        cause = next(iter(str(error).splitlines()), "")[:160]
        raise InstanceError(
            f"function {name!r} does not compile on the CPU ({type(error).__name__}: {cause}); correct it or its arguments"
        ) from error


def from_hlo(
    text: str, name: str, unroll: int = UNROLL, float32: int = 4, source: dict[str, Any] | None = None
) -> Program:
    """The program in the text of a scheduled HLO module, such as ``jax.jit(f).lower(...).compile().as_text()`` gives.

    ``source`` (where it comes from: versions, flags, licence) enters the program's; for the rest see :func:`from_jax`.
    Raises InstanceError naming the instruction or computation, whatever the text is.
    """
    check_options(name, unroll, float32)
    try:
        module = parse(text)
        flat = Flattener(module, unroll, float32).run()
    except InstanceError as error:
        raise InstanceError(f"program {name!r}: {error}") from None
    about = dict(source or {}) | {"hlo_sha256": hashlib.sha256(module.text.encode()).hexdigest()}
    about |= {"float32_bytes": float32} | ({"flags": flags} if (flags := os.environ.get("XLA_FLAGS")) else {})
    steps, buffers, uses = _program(flat, module.donated)
    if not any(buffer.bytes >= THRESHOLD for buffer in buffers):
        raise InstanceError(
            f"program {name!r} has no array of {THRESHOLD} bytes or more: there is nothing to decide; make its arrays larger"
        )
    return Program.checked(name, steps, buffers, uses, about)


def _program(flat: Flat, donated: dict[int, int]) -> tuple[list[Step], list[Buffer], list[Use]]:
    """Steps, buffers and uses: what is written in place takes over memory, what is small has no buffer."""
    alias = _aliases(flat, donated)
    values = flat.values
    outputs = {v for v in flat.results if values[v].define >= 0}
    traffic: list[dict[int, list[int]]] = []  # per step: by value the bytes read and written
    for step in flat.steps:
        in_place = [u for u in step.updates if alias.get(u.result) == u.target]
        moved = {v: [size, 0] for v, size in (step.reads_in_place if in_place else step.reads).items()}
        for result in step.results:
            moved[result] = [0, values[result].bytes]
        for update in in_place:
            moved[update.result][1] = update.written
            moved.setdefault(update.target, [0, 0])[0] += update.read
        traffic.append(moved)
    large = {v for v, value in enumerate(values) if value.bytes >= THRESHOLD}
    kept = [
        t
        for t, (step, moved) in enumerate(zip(flat.steps, traffic, strict=True))
        if large & moved.keys() or step.flops >= SMALL or sum(map(sum, moved.values())) >= SMALL
    ]
    number = {t: i for i, t in enumerate(kept)}
    used = sorted(large & ({v for t in kept for v in traffic[t]} | outputs))
    index = {v: i for i, v in enumerate(used)}
    steps = [
        Step(flat.steps[t].name, flat.steps[t].op, flat.steps[t].flops, sum(map(sum, traffic[t].values())))
        for t in kept
    ]
    buffers = [
        Buffer(
            values[v].name,
            values[v].bytes,
            number[values[v].define] if values[v].define >= 0 else -1,
            v in outputs,
            index[alias[v]] if v in alias else -1,
        )
        for v in used
    ]
    uses = [
        Use(index[v], number[t], read, written)
        for t in kept
        for v, (read, written) in sorted(traffic[t].items())
        if v in index and read + written
    ]
    return steps, buffers, uses


def _aliases(flat: Flat, donated: dict[int, int]) -> dict[int, int]:
    """The value whose memory each value takes over: updates in place of what is not used again, and donated parameters.

    An update of a value that is read later, is an output, or belongs to the caller, is a copy with the update in it.
    """
    last: dict[int, int] = {}
    for t, step in enumerate(flat.steps):
        for value in step.reads:
            last[value] = t
    given = {flat.parameters[p] for p in donated.values()}
    outputs = set(flat.results)
    alias: dict[int, int] = {}
    taken: set[int] = set()
    for t, step in enumerate(flat.steps):
        free = [u for u in step.updates if _is_free(flat, u.target, given)]
        possible = [u for u in free if last[u.target] == t and u.target not in outputs | taken]
        if len({u.target for u in possible}) < len(step.updates):
            continue  # a fusion that must copy one of its results reads and writes all of them in full
        for update in possible:
            if flat.values[update.target].bytes == flat.values[update.result].bytes:
                alias[update.result] = update.target
                taken.add(update.target)
    for k, parameter in donated.items():
        root, target = flat.results[k], flat.parameters[parameter]
        while root in alias:
            root = alias[root]
        fits = flat.values[root].define >= 0 and flat.values[root].bytes == flat.values[target].bytes
        if fits and target not in taken and last.get(target, -1) <= flat.values[root].define:
            alias[root] = target
            taken.add(target)
    return alias


def _is_free(flat: Flat, value: int, given: set[int]) -> bool:
    """Whether a value may be overwritten: a constant never, a parameter if it is donated."""
    define = flat.values[value].define
    return define != CONSTANT and (define != PARAMETER or value in given)
