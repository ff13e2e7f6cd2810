"""Layers, losses and training steps that the models of the zoo share: plain functions of arrays.

Parameters are shapes until a model is compiled; nothing here is ever run by the suite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import lax

Tree = Any  # nested lists and dicts of arrays or shapes
Weights = dict[str, jax.Array]


def array(*shape: int) -> jax.ShapeDtypeStruct:
    """The shape of a float32 array."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def integers(*shape: int) -> jax.ShapeDtypeStruct:
    """The shape of an int32 array."""
    return jax.ShapeDtypeStruct(shape, jnp.int32)


def dense(inputs: int, outputs: int) -> Tree:
    return {"w": array(inputs, outputs), "b": array(outputs)}


def apply_dense(p: Weights, x: jax.Array) -> jax.Array:
    return x @ p["w"] + p["b"]


def normalise(p: Weights, x: jax.Array) -> jax.Array:
    """Layer normalisation over the last axis."""
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-5) * p["scale"] + p["shift"]


def norm(width: int) -> Tree:
    return {"scale": array(width), "shift": array(width)}


def group_normalise(p: Weights, x: jax.Array, groups: int = 8) -> jax.Array:
    """Group normalisation of [batch, height, width, channels]."""
    n, h, w, c = x.shape
    y = x.reshape(n, h * w, groups, c // groups)
    mean = y.mean((1, 3), keepdims=True)
    variance = jnp.square(y - mean).mean((1, 3), keepdims=True)
    return ((y - mean) * lax.rsqrt(variance + 1e-5)).reshape(x.shape) * p["scale"] + p["shift"]


def conv(size: int, inputs: int, outputs: int) -> Tree:
    return {"w": array(size, size, inputs, outputs), "b": array(outputs)}


def apply_conv(p: Weights, x: jax.Array, stride: int = 1, dilation: int = 1) -> jax.Array:
    """A convolution of [batch, height, width, channels] that pads to the same size."""
    layout = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(
        x, p["w"], (stride, stride), "SAME", rhs_dilation=(dilation, dilation), dimension_numbers=layout
    )
    return y + p["b"]


def pool(x: jax.Array) -> jax.Array:
    """Maximum of 2 x 2 windows."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


def upsample(x: jax.Array) -> jax.Array:
    """Each pixel four times."""
    return x.repeat(2, 1).repeat(2, 2)


def attention(p: Weights, x: jax.Array, heads: int, memory: jax.Array | None = None, causal: bool = False) -> jax.Array:
    """Multi-head attention of [batch, length, width], to itself or to ``memory``."""
    batch, length, width = x.shape
    source = x if memory is None else memory
    query, key, value = (
        (y @ p[name]).reshape(batch, -1, heads, width // heads) for name, y in (("q", x), ("k", source), ("v", source))
    )
    score = jnp.einsum("bqhd,bkhd->bhqk", query, key) * (width // heads) ** -0.5
    if causal:
        score = jnp.where(jnp.tri(length, dtype=bool), score, -1e9)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(score, axis=-1), value)
    return mixed.reshape(batch, length, width) @ p["o"]


def attention_parameters(width: int) -> Tree:
    return {name: array(width, width) for name in "qkvo"}


def mean_square(y: jax.Array, target: jax.Array) -> jax.Array:
    return jnp.square(y - target).mean()


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over all labels; the label is picked by comparison, as accelerators do, not by a gather."""
    hot = labels[..., None] == jnp.arange(logits.shape[-1])
    return -jnp.where(hot, jax.nn.log_softmax(logits), 0.0).sum(-1).mean()


class Forward(Protocol):
    """A model: parameters and inputs to a result."""

    def __call__(self, parameters: Tree, *inputs: jax.Array) -> jax.Array: ...


class Model(NamedTuple):
    """Shapes of parameters, inputs and target, what the model computes, and its loss given the target."""

    parameters: Tree
    inputs: tuple[Tree, ...]
    target: Tree
    forward: Forward
    loss: Forward  # of parameters, inputs and target


def model(parameters: Tree, inputs: tuple[Tree, ...], target: Tree, forward: Forward) -> Model:
    """A model with cross entropy for labels and squares for other targets."""
    measure = cross_entropy if target.dtype == jnp.int32 else mean_square

    def loss(parameters: Tree, *batch: jax.Array) -> jax.Array:
        return measure(forward(parameters, *batch[:-1]), batch[-1])

    return Model(parameters, inputs, target, forward, loss)


def gradient(loss: Callable[..., jax.Array], clip: bool) -> Callable[..., Tree]:
    """The gradient of a loss; with ``clip`` scaled to a norm of at most 1, so that every part of it comes before any update."""

    def clipped(*args: Tree) -> Tree:
        parts = jax.grad(loss)(*args)
        norm = jnp.sqrt(sum((jnp.square(part).sum() for part in jax.tree.leaves(parts)), jnp.float32(1e-12)))
        return jax.tree.map(lambda part: part * jnp.minimum(1.0, 1.0 / norm), parts)

    return clipped if clip else jax.grad(loss)


def sgd(loss: Callable[..., jax.Array], clip: bool) -> Callable[..., Tree]:
    """A step of gradient descent on the first argument."""

    def step(parameters: Tree, *batch: jax.Array) -> Tree:
        parts = gradient(loss, clip)(parameters, *batch)
        return jax.tree.map(lambda p, g: p - 0.01 * g, parameters, parts)

    return step


def momentum(loss: Callable[..., jax.Array], clip: bool) -> Callable[..., tuple[Tree, Tree]]:
    """A step of gradient descent with momentum."""

    def step(parameters: Tree, velocity: Tree, *batch: jax.Array) -> tuple[Tree, Tree]:
        parts = gradient(loss, clip)(parameters, *batch)
        velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, parts)
        return jax.tree.map(lambda p, v: p - 0.01 * v, parameters, velocity), velocity

    return step


def adam(loss: Callable[..., jax.Array], clip: bool) -> Callable[..., tuple[Tree, Tree, Tree]]:
    """A step of Adam (Kingma and Ba, 2015) without the correction of its first steps."""

    def step(parameters: Tree, first: Tree, second: Tree, *batch: jax.Array) -> tuple[Tree, Tree, Tree]:
        parts = gradient(loss, clip)(parameters, *batch)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, parts)
        second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, second, parts)
        moved = jax.tree.map(lambda p, m, v: p - 1e-3 * m / (jnp.sqrt(v) + 1e-8), parameters, first, second)
        return moved, first, second

    return step
