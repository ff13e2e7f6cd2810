"""Programs of JAX functions, compiled by the installed XLA: traffic, operations and liveness against XLA's own, refusals."""

from __future__ import annotations

from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dispatchgym.instances import InstanceError
from dispatchgym.instances.memory import MACHINES, from_jax, program
from dispatchgym.instances.memory.extract import compiled, from_hlo
from dispatchgym.instances.memory.instance import UPDATE
from dispatchgym.instances.memory.suites import HELD_OUT, TRAINING
from dispatchgym.instances.memory.zoo import ZOO, products, recipe

KIB, MIB = 2**10, 2**20


def array(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def perceptron(weights: list[Any], x: Any, y: Any) -> Any:
    for w in weights:
        x = jnp.tanh(x @ w)
    return jnp.square(x - y).mean()


def convolutions(weights: list[Any], x: Any) -> Any:
    for w in weights:
        x = jax.nn.relu(lax.conv_general_dilated(x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))
    return x.sum()


def attention(weights: list[Any], x: Any) -> Any:
    q, k, v = (x @ w for w in weights)
    return jnp.square(jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", q, k) / 16, axis=-1) @ v).sum()


def halves(weights: list[Any], x: Any) -> Any:
    """A gated layer whose two halves are slices of one product."""
    for w in weights:
        made = x @ w
        x = jnp.tanh(made[:, :256]) * made[:, 256:]
    return jnp.square(x).sum()


LOOP_FREE = {
    "perceptron": (perceptron, ([array(256, 256)] * 3, array(512, 256), array(512, 256))),
    "convolutions": (convolutions, ([array(3, 3, 32, 64), array(3, 3, 64, 64)], array(8, 32, 32, 32))),
    "halves": (halves, ([array(256, 512)] * 2, array(512, 256))),
    "attention": (attention, ([array(256, 256)] * 3, array(4, 256, 256))),
}


@pytest.mark.parametrize("name", LOOP_FREE)
def test_agrees_with_the_compiler(name: str) -> None:
    loss, args = LOOP_FREE[name]
    executable = compiled(jax.grad(loss), args, name)
    made = from_hlo(executable.as_text(), name)
    theirs = executable.cost_analysis()
    assert sum(step.bytes for step in made.steps) == pytest.approx(theirs["bytes accessed"], rel=0.01)
    assert sum(step.flops for step in made.steps) == pytest.approx(theirs["flops"], rel=0.01)
    memory = executable.memory_analysis()
    allotted = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    assert 0.6 * allotted < made.peak_live() <= 1.01 * allotted  # fragments, and parameters that are kept to the end
    made.instance(MACHINES["tpu-v4i"], MIB).check()


@pytest.mark.parametrize(
    ("function", "shapes", "flops"),
    [
        (lambda a, b: a @ b, ((96, 192), (192, 320)), 2 * 96 * 192 * 320),
        (lambda a, b: jnp.einsum("nij,nkj->nik", a, b), ((4, 64, 96), (4, 128, 96)), 2 * 4 * 64 * 96 * 128),
    ],
)
def test_products_are_counted_exactly(function: Any, shapes: Any, flops: int) -> None:
    args = [array(*shape) for shape in shapes]
    executable = compiled(function, args, "product")
    dots = [s.flops for s in from_hlo(executable.as_text(), "product").steps if s.flops]
    assert dots == [flops] == [executable.cost_analysis()["flops"]]


def test_convolutions_are_counted_exactly() -> None:
    def function(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x, w, (2, 1), "SAME", rhs_dilation=(1, 2), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    executable = compiled(function, (array(4, 17, 16, 32), array(3, 3, 32, 64)), "convolution")
    made = from_hlo(executable.as_text(), "convolution")
    assert sum(s.flops for s in made.steps) == executable.cost_analysis()["flops"]


def test_an_unrolled_scan_moves_slices() -> None:
    """Of a stack of 24 arrays an iteration reads one and writes one, as a loop written out does."""

    def scanned(w: Any, xs: Any) -> Any:
        return lax.scan(lambda h, x: (jnp.tanh(h @ w + x),) * 2, jnp.zeros((256, 256)), xs)[1]

    made = from_jax(scanned, array(256, 256), array(24, 256, 256))
    part = 256 * KIB  # of one array
    # an iteration: dot (h, w, result), tanh (dot, slice, h), update (h, slice)
    loop = [step for step in made.steps if "#" in step.name]
    assert sum(step.bytes for step in loop) == pytest.approx(24 * 8 * part, rel=0.01)
    storages, events = made.storages()
    stack = max(range(len(storages)), key=lambda b: (storages[b].define >= 0) * storages[b].bytes)
    updates = [(read, written) for b, _, kind, read, written in events if b == stack and kind == UPDATE]
    assert updates == [(0, part)] * 24
    assert storages[stack].output
    assert made.peak_live() < (24 + 24 + 1 + 4) * part
    made.instance(MACHINES["tpu-v4i"], MIB).check()


def test_an_update_of_a_donated_argument_is_in_place() -> None:
    def function(cache: Any, new: Any, at: Any) -> Any:
        return lax.dynamic_update_slice(cache, new, (at, 0)), new * 2

    args = (array(4096, 256), array(64, 256), jax.ShapeDtypeStruct((), jnp.int32))
    kept, given = from_jax(function, *args), from_jax(function, *args, donate=(0,))
    assert sum(s.bytes for s in kept.steps) > 8 * MIB  # a copy of the cache
    assert sum(s.bytes for s in given.steps) < MIB
    assert given == from_jax(jax.jit(function, donate_argnums=0), *args)  # as a jitted function has it
    instance = given.instance(MACHINES["tpu-v4i"], MIB)
    assert (instance.event_kind == UPDATE).sum() == 1
    assert instance.output[instance.event_buffer[instance.event_kind == UPDATE]].all()


def test_a_training_step_updates_its_parameters_in_place() -> None:
    def step(weights: list[Any], x: Any, y: Any) -> Any:
        gradient = jax.grad(perceptron)(weights, x, y)
        scale = 1 / jnp.sqrt(sum(jnp.square(g).sum() for g in gradient))
        return [w - scale * g for w, g in zip(weights, gradient, strict=True)]

    made = from_jax(step, *LOOP_FREE["perceptron"][1], donate=(0,))
    storages, events = made.storages()
    parameters = [b for b, s in enumerate(storages) if s.define < 0 and s.output]
    assert len(parameters) == 3
    for b in parameters:
        ((read, written),) = [(r, w) for owner, _, kind, r, w in events if owner == b and kind == UPDATE]
        assert read == written == 256 * KIB


def test_gathers_and_scatters_move_rows() -> None:
    def function(table: Any, index: Any, rows: Any) -> Any:
        return table.at[index].add(rows), table[index].sum(0)

    made = from_jax(function, array(16_384, 64), jax.ShapeDtypeStruct((512,), jnp.int32), array(512, 64))
    table = 4 * MIB
    whole = sum(u.read + u.written >= table for u in made.uses)
    assert whole == 2  # of the copy that the update needs, since the table is the caller's


def test_arguments_may_be_arrays() -> None:
    args = LOOP_FREE["perceptron"][1]
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), args)
    assert from_jax(perceptron, *zeros) == from_jax(perceptron, *args, name="perceptron")


def test_bfloat16_is_counted_by_halves() -> None:
    full, half = (from_jax(LOOP_FREE["perceptron"][0], *LOOP_FREE["perceptron"][1], float32=width) for width in (4, 2))
    assert 2 * half.peak_live() == full.peak_live()
    assert [2 * s.bytes for s in half.steps] == [s.bytes for s in full.steps]
    assert half.source["float32_bytes"] == 2


def never_ends(x: Any) -> Any:
    return lax.while_loop(lambda x: x.sum() < 10, lambda x: x + 1, x)


def too_long(x: Any) -> Any:
    return lax.fori_loop(0, 1000, lambda i, x: jnp.sin(x @ x), x)


def chooses(x: Any, p: Any) -> Any:
    return lax.cond(p, lambda x: x @ x, lambda x: x + 1, x)


def broken(x: Any) -> Any:
    raise ValueError("no such layer\nand more")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: from_jax(never_ends, array(512, 512)), "has no trip count known to the compiler; use lax.scan or"),
        (lambda: from_jax(too_long, array(512, 512)), "has 1000 iterations, more than the 64 to unroll"),
        (
            lambda: from_jax(chooses, array(512, 512), jax.ShapeDtypeStruct((), jnp.bool_)),
            "chooses between computations at run time",
        ),
        (
            lambda: from_jax(broken, array(512, 512)),
            "function 'broken' does not compile on the CPU (ValueError: no such layer); correct it or its arguments",
        ),
        (lambda: from_jax(perceptron, array(2, 2)), "does not compile on the CPU (TypeError: "),
        (
            lambda: from_jax(lambda x: x + 1, array(9), name="tiny"),
            "program 'tiny' has no array of 65536 bytes or more",
        ),
        (lambda: from_jax("perceptron"), "a str is no function; give one that JAX can compile"),
        (lambda: from_jax(perceptron, name=3), "name is 3; give a text"),
        (lambda: from_jax(perceptron, unroll=0), "unroll is 0; give an integer in 1..4096"),
        (lambda: from_jax(perceptron, float32=8), "float32 is 8; give an integer in 1..4"),
    ],
)
def test_refusals(call: Any, said: str) -> None:
    with pytest.raises(InstanceError) as caught:
        call()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "function",
    [
        products.bilinear(products.STRASSEN, 1),
        products.bilinear(products.STRASSEN, 2),
        products.bilinear(products.LADERMAN, 1),
        products.blocked(3),
    ],
)
def test_schemes_are_products(function: Any) -> None:
    a, b = (np.random.default_rng(seed).integers(-9, 10, (12, 12)).astype(np.float32) for seed in (1, 2))
    assert (np.asarray(function(a, b)) == a @ b).all()


def large(tree: Any) -> Counter[int]:
    """How many arrays of 64 KiB or more a tree has of each size, with 2 bytes for a float32."""
    sizes = [leaf.size * (2 if leaf.dtype == jnp.float32 else leaf.dtype.itemsize) for leaf in jax.tree.leaves(tree)]
    return Counter(size for size in sizes if size >= 65_536)


def test_the_suites_hold_what_the_zoo_describes() -> None:
    assert {family: tuple(programs) for family, programs in ZOO.items()} == TRAINING | HELD_OUT
    for name in (name for programs in ZOO.values() for name in programs):
        made, held = recipe(name), program(name)
        given = Counter(b.bytes for b in held.buffers if b.define < 0)
        assert given <= large(made.args), name  # without those that nothing reads
        assert Counter(b.bytes for b in held.buffers if b.output) == large(jax.eval_shape(made.function, *made.args)), (
            name
        )
        assert any(b.alias >= 0 for b in held.buffers) or not made.donate, name
