"""Networks that look rows up: graph convolutions and a recommender; and products of matrices by bilinear schemes."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dispatchgym.instances.memory.zoo.layers import Model, Tree, apply_dense, array, dense, integers, model


def gcn(nodes: int, edges: int, width: int, layers: int) -> Model:
    """Graph convolutions: messages along edges by a gather, added up by a scatter (Kipf and Welling, 2017)."""
    layer = {"own": dense(width, width), "other": dense(width, width)}

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        x, source, target = inputs
        for p in parameters:
            message = apply_dense(p["other"], x)[source]
            gathered = jax.ops.segment_sum(message, target, nodes)
            x = x + jax.nn.relu(apply_dense(p["own"], x) + gathered)
        return x

    inputs = (array(nodes, width), integers(edges), integers(edges))
    return model([layer] * layers, inputs, array(nodes, width), forward)


def gat(nodes: int, degree: int, width: int, heads: int, layers: int) -> Model:
    """Graph attention over a fixed number of neighbours (Velickovic et al., 2018): gathers, and no scatter forward."""
    layer = {name: array(width, width) for name in "qkvo"}

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        x, neighbour = inputs
        for p in parameters:
            query = (x @ p["q"]).reshape(nodes, heads, -1)
            key, value = ((x @ p[name])[neighbour].reshape(nodes, degree, heads, -1) for name in "kv")
            score = jax.nn.softmax(jnp.einsum("nhd,nkhd->nhk", query, key), axis=-1)
            x = x + jax.nn.relu(jnp.einsum("nhk,nkhd->nhd", score, value).reshape(nodes, width) @ p["o"])
        return x

    return model([layer] * layers, (array(nodes, width), integers(nodes, degree)), array(nodes, width), forward)


def recommender(batch: int, tables: int, rows: int, width: int, hidden: int) -> Model:
    """Embeddings, their products with each other, and dense layers, after DLRM (Naumov et al., 2019)."""
    pairs = (tables + 1) * (tables + 1)
    parameters = {
        "tables": [array(rows, width)] * tables,
        "bottom": [dense(width, hidden), dense(hidden, width)],
        "top": [dense(pairs + width, hidden), dense(hidden, hidden), dense(hidden, 1)],
    }

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        x, index = inputs
        for layer in parameters["bottom"]:
            x = jax.nn.relu(apply_dense(layer, x))
        looked_up = [table[index[:, k]] for k, table in enumerate(parameters["tables"])]
        features = jnp.stack([x, *looked_up], axis=1)
        products = jnp.einsum("biw,bjw->bij", features, features).reshape(batch, pairs)
        y = jnp.concatenate([x, products], axis=-1)
        for layer in parameters["top"][:-1]:
            y = jax.nn.relu(apply_dense(layer, y))
        return apply_dense(parameters["top"][-1], y)

    return model(parameters, (array(batch, width), integers(batch, tables)), array(batch, 1), forward)
