"""Networks of matrix products, normalisations and convolutions in time."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
from jax import lax

from dispatchgym.instances.memory.zoo.layers import (
    Model,
    Tree,
    apply_dense,
    array,
    dense,
    integers,
    model,
    norm,
    normalise,
)


def mlp(batch: int, inputs: int, width: int, layers: int, classes: int) -> Model:
    sizes = [inputs, *[width] * layers]
    parameters = [dense(a, b) for a, b in zip(sizes, [*sizes[1:], classes], strict=True)]

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        x = inputs[0]
        for layer in parameters[:-1]:
            x = jax.nn.relu(apply_dense(layer, x))
        return apply_dense(parameters[-1], x)

    return model(parameters, (array(batch, inputs),), integers(batch), forward)


def autoencoder(batch: int, sizes: tuple[int, ...]) -> Model:
    there = [*sizes, *sizes[-2::-1]]
    parameters = [dense(a, b) for a, b in pairwise(there)]

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        x = inputs[0]
        for layer in parameters[:-1]:
            x = jnp.tanh(apply_dense(layer, x))
        return apply_dense(parameters[-1], x)

    return model(parameters, (array(batch, sizes[0]),), array(batch, sizes[0]), forward)


def mixer(batch: int, tokens: int, width: int, blocks: int) -> Model:
    """After the MLP-Mixer of Tolstikhin et al. (2021)."""
    block = {"n": norm(width), "m": norm(width), "t1": dense(tokens, 2 * tokens), "t2": dense(2 * tokens, tokens)}
    block |= {"c1": dense(width, 4 * width), "c2": dense(4 * width, width)}

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        x = inputs[0]
        for p in parameters:
            y = normalise(p["n"], x).swapaxes(1, 2)
            x = x + apply_dense(p["t2"], jax.nn.gelu(apply_dense(p["t1"], y))).swapaxes(1, 2)
            x = x + apply_dense(p["c2"], jax.nn.gelu(apply_dense(p["c1"], normalise(p["m"], x))))
        return x

    return model([block] * blocks, (array(batch, tokens, width),), array(batch, tokens, width), forward)


def tcn(batch: int, length: int, width: int, layers: int) -> Model:
    """Dilated convolutions in time with gates and skips, after WaveNet (van den Oord et al., 2016)."""
    layer = {"filter": array(2, width, width), "gate": array(2, width, width), "out": dense(width, width)}

    def causal(w: jax.Array, x: jax.Array, dilation: int) -> jax.Array:
        padded = jnp.pad(x, ((0, 0), (dilation, 0), (0, 0)))
        return lax.conv_general_dilated(
            padded, w, (1,), "VALID", rhs_dilation=(dilation,), dimension_numbers=("NWC", "WIO", "NWC")
        )

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        x = inputs[0]
        total = jnp.zeros_like(x)
        for k, p in enumerate(parameters):
            y = jnp.tanh(causal(p["filter"], x, 2**k)) * jax.nn.sigmoid(causal(p["gate"], x, 2**k))
            y = apply_dense(p["out"], y)
            x, total = x + y, total + y
        return total

    return model([layer] * layers, (array(batch, length, width),), array(batch, length, width), forward)
