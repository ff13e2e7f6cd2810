"""Networks on sequences: transformers, mixtures of experts, recurrent networks and a linear recurrence."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from dispatchgym.instances.memory.zoo.layers import (
    Model,
    Tree,
    apply_dense,
    array,
    attention,
    attention_parameters,
    dense,
    integers,
    model,
    norm,
    normalise,
)


def _block(width: int, cross: bool = False) -> Tree:
    p = {"a": attention_parameters(width), "n": norm(width), "m": norm(width)}
    p |= {"up": dense(width, 4 * width), "down": dense(4 * width, width)}
    return p | ({"x": attention_parameters(width), "l": norm(width)} if cross else {})


def _apply_block(p: Tree, x: jax.Array, heads: int, memory: jax.Array | None = None, causal: bool = False) -> jax.Array:
    x = x + attention(p["a"], normalise(p["n"], x), heads, causal=causal)
    if memory is not None:
        x = x + attention(p["x"], normalise(p["l"], x), heads, memory)
    return x + apply_dense(p["down"], jax.nn.gelu(apply_dense(p["up"], normalise(p["m"], x))))


def encoder(batch: int, length: int, width: int, heads: int, blocks: int) -> Model:
    """Transformer blocks that see the whole sequence."""

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        x = inputs[0]
        for p in parameters:
            x = _apply_block(p, x, heads)
        return x

    sequence = array(batch, length, width)
    return model([_block(width)] * blocks, (sequence,), sequence, forward)


def decoder(batch: int, length: int, width: int, heads: int, blocks: int, words: int) -> Model:
    """A causal language model; words are looked up by a gather, and scored by the same table."""

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        x = parameters["words"][inputs[0]]
        for p in parameters["blocks"]:
            x = _apply_block(p, x, heads, causal=True)
        scores: jax.Array = normalise(parameters["n"], x) @ parameters["words"].T
        return scores

    parameters = {"words": array(words, width), "blocks": [_block(width)] * blocks, "n": norm(width)}
    return model(parameters, (integers(batch, length),), integers(batch, length), forward)


def translator(batch: int, source: int, length: int, width: int, heads: int, blocks: int) -> Model:
    """An encoder, and a decoder that attends to it (Vaswani et al., 2017)."""

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        memory, x = inputs
        for p in parameters["encoder"]:
            memory = _apply_block(p, memory, heads)
        for p in parameters["decoder"]:
            x = _apply_block(p, x, heads, memory, causal=True)
        return x

    parameters = {"encoder": [_block(width)] * blocks, "decoder": [_block(width, True)] * blocks}
    out = array(batch, length, width)
    return model(parameters, (array(batch, source, width), out), out, forward)


def decode_step(batch: int, length: int, width: int, heads: int, blocks: int) -> tuple[Tree, Tree]:
    """One word of a causal model with a cache of keys and values, and its arguments.

    The function takes parameters, caches, the word's position and its embedding, and gives the caches, which it updates in
    place where they are donated, and the result.
    """

    def step(parameters: Tree, cache: Tree, position: jax.Array, x: jax.Array) -> tuple[Tree, jax.Array]:
        now, kept = jnp.arange(length) <= position, []
        for p, held in zip(parameters, cache, strict=True):
            y = normalise(p["n"], x)
            query, key, value = ((y @ p["a"][k]).reshape(batch, 1, heads, -1) for k in "qkv")
            keys = lax.dynamic_update_slice(held["k"], key, (0, position, 0, 0))
            values = lax.dynamic_update_slice(held["v"], value, (0, position, 0, 0))
            score = jnp.einsum("bqhd,bkhd->bhqk", query, keys) * (width // heads) ** -0.5
            score = jax.nn.softmax(jnp.where(now, score, -1e9), axis=-1)
            x = x + jnp.einsum("bhqk,bkhd->bqhd", score, values).reshape(batch, 1, width) @ p["a"]["o"]
            x = x + apply_dense(p["down"], jax.nn.gelu(apply_dense(p["up"], normalise(p["m"], x))))
            kept.append({"k": keys, "v": values})
        return kept, x

    held = array(batch, length, heads, width // heads)
    cache = [{"k": held, "v": held}] * blocks
    return step, ([_block(width)] * blocks, cache, jax.ShapeDtypeStruct((), jnp.int32), array(batch, 1, width))


def experts(batch: int, length: int, width: int, heads: int, blocks: int, number: int, room: int) -> Model:
    """Transformer blocks whose dense layers are experts that take ``room`` words each (Fedus et al., 2022).

    Each word goes to its best expert; words beyond an expert's room are passed by. Dispatch is a product with a 0/1 array.
    """
    block = {"a": attention_parameters(width), "n": norm(width), "m": norm(width), "gate": array(width, number)}
    block |= {"up": array(number, width, 4 * width), "down": array(number, 4 * width, width)}

    def mixture(p: Tree, x: jax.Array) -> jax.Array:
        words = x.reshape(-1, width)
        share = jax.nn.softmax(words @ p["gate"], axis=-1)
        chosen = (share == share.max(-1, keepdims=True)).astype(x.dtype)
        place = jnp.cumsum(chosen, axis=0) * chosen - 1
        dispatch = chosen[..., None] * (place[..., None] == jnp.arange(room))
        taken = jnp.einsum("tec,tw->ecw", dispatch, words)
        made = jnp.einsum("ech,ehw->ecw", jax.nn.gelu(jnp.einsum("ecw,ewh->ech", taken, p["up"])), p["down"])
        return jnp.einsum("tec,te,ecw->tw", dispatch, share, made).reshape(x.shape)

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        x = inputs[0]
        for p in parameters:
            x = x + attention(p["a"], normalise(p["n"], x), heads)
            x = x + mixture(p, normalise(p["m"], x))
        return x

    sequence = array(batch, length, width)
    return model([block] * blocks, (sequence,), sequence, forward)


def lstm(batch: int, length: int, width: int, layers: int) -> Model:
    """Layers of long short-term memory (Hochreiter and Schmidhuber, 1997) by scans over the sequence [length, batch, width]."""
    layer = {"w": array(width, 4 * width), "u": array(width, 4 * width), "b": array(4 * width)}

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        x = inputs[0]
        for p in parameters:
            zero = jnp.zeros(x.shape[1:])

            def cell(state: Tree, now: jax.Array, p: Tree = p) -> tuple[Tree, jax.Array]:
                h, c = state
                i, f, g, o = jnp.split(now + h @ p["u"], 4, axis=-1)
                c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                h = jax.nn.sigmoid(o) * jnp.tanh(c)
                return (h, c), h

            _, x = lax.scan(cell, (zero, zero), x @ p["w"] + p["b"])
        return x

    sequence = array(length, batch, width)
    return model([layer] * layers, (sequence,), sequence, forward)


def gru(batch: int, length: int, width: int) -> Model:
    """A layer of gated recurrent units (Cho et al., 2014) whose loop is written out, as many compilers do."""
    parameters = {"w": array(width, 3 * width), "u": array(width, 2 * width), "v": array(width, width)}

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        h, made = jnp.zeros(inputs[0].shape[1:]), []
        for x in inputs[0] @ parameters["w"]:
            a, b, c = jnp.split(x, 3, axis=-1)
            z, r = jnp.split(jax.nn.sigmoid(jnp.concatenate([a, b], -1) + h @ parameters["u"]), 2, axis=-1)
            h = (1 - z) * h + z * jnp.tanh(c + (r * h) @ parameters["v"])
            made.append(h)
        return jnp.stack(made)

    sequence = array(length, batch, width)
    return model(parameters, (sequence,), sequence, forward)


def recurrence(batch: int, length: int, width: int, blocks: int) -> Model:
    """Blocks of a gated linear recurrence by an associative scan, in the manner of state-space models."""
    block = {"n": norm(width), "in": dense(width, 3 * width), "out": dense(width, width)}

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        x = inputs[0]
        for p in parameters:
            decay, value, gate = jnp.split(apply_dense(p["in"], normalise(p["n"], x)), 3, axis=-1)
            decay = jax.nn.sigmoid(decay)

            def join(a: Tree, b: Tree) -> Tree:
                return a[0] * b[0], a[1] * b[0] + b[1]

            _, state = lax.associative_scan(join, (decay, (1 - decay) * value), axis=1)
            x = x + apply_dense(p["out"], state * jax.nn.silu(gate))
        return x

    sequence = array(batch, length, width)
    return model([block] * blocks, (sequence,), sequence, forward)
