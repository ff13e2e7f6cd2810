"""Networks of convolutions on images."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dispatchgym.instances.memory.zoo.layers import (
    Model,
    Tree,
    apply_conv,
    apply_dense,
    array,
    conv,
    dense,
    group_normalise,
    integers,
    model,
    norm,
    pool,
    upsample,
)


def alexnet(batch: int) -> Model:
    """The layers of Krizhevsky et al. (2012), in one tower and with 2 x 2 pools, on 128 x 128 pixels."""
    shapes = [(11, 3, 64), (5, 64, 192), (3, 192, 384), (3, 384, 256), (3, 256, 256)]
    parameters = {
        "convs": [conv(*s) for s in shapes],
        "dense": [dense(4096, 4096), dense(4096, 4096), dense(4096, 1000)],
    }

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        x = inputs[0]
        for k, layer in enumerate(parameters["convs"]):
            x = jax.nn.relu(apply_conv(layer, x, 4 if k == 0 else 1))
            x = pool(x) if k in (0, 1, 4) else x
        x = x.reshape(x.shape[0], -1)
        for layer in parameters["dense"][:-1]:
            x = jax.nn.relu(apply_dense(layer, x))
        return apply_dense(parameters["dense"][-1], x)

    return model(parameters, (array(batch, 128, 128, 3),), integers(batch), forward)


def vgg(batch: int, pixels: int, stages: tuple[tuple[int, int], ...]) -> Model:
    """Stages of a width and a number of 3 x 3 convolutions, with pools after them (Simonyan and Zisserman, 2015)."""
    widths = [width for width, _ in stages]
    convs = [
        [conv(3, before if k == 0 else width, width) for k in range(count)]
        for before, (width, count) in zip((3, *widths[:-1]), stages, strict=True)
    ]
    flat = widths[-1] * (pixels >> len(widths)) ** 2

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        x = inputs[0]
        for stage in parameters["convs"]:
            for layer in stage:
                x = jax.nn.relu(apply_conv(layer, x))
            x = pool(x)
        return apply_dense(parameters["out"], x.reshape(x.shape[0], -1))

    parameters = {"convs": convs, "out": dense(flat, 1000)}
    return model(parameters, (array(batch, pixels, pixels, 3),), integers(batch), forward)


def resnet(batch: int, pixels: int, widths: tuple[int, ...], blocks: int) -> Model:
    """Bottleneck blocks with group normalisation, after He et al. (2016)."""

    def block(inputs: int, width: int) -> Tree:
        p = {"c1": conv(1, inputs, width // 4), "c2": conv(3, width // 4, width // 4), "c3": conv(1, width // 4, width)}
        p |= {"n1": norm(width // 4), "n2": norm(width // 4), "n3": norm(width)}
        return p | ({} if inputs == width else {"skip": conv(1, inputs, width)})

    stages = [
        [block(a if k == 0 else b, b) for k in range(blocks)]
        for a, b in zip((widths[0] // 4, *widths[:-1]), widths, strict=True)
    ]
    parameters = {"stem": conv(5, 3, widths[0] // 4), "stages": stages, "out": dense(widths[-1], 1000)}

    def apply_block(p: Tree, x: jax.Array, stride: int) -> jax.Array:
        y = jax.nn.relu(group_normalise(p["n1"], apply_conv(p["c1"], x)))
        y = jax.nn.relu(group_normalise(p["n2"], apply_conv(p["c2"], y, stride)))
        y = group_normalise(p["n3"], apply_conv(p["c3"], y))
        return jax.nn.relu(y + (apply_conv(p["skip"], x, stride) if "skip" in p else x))

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        x = apply_conv(parameters["stem"], inputs[0], 2)
        for s, stage in enumerate(parameters["stages"]):
            for k, p in enumerate(stage):
                x = apply_block(p, x, 2 if s and k == 0 else 1)
        return apply_dense(parameters["out"], x.mean((1, 2)))

    return model(parameters, (array(batch, pixels, pixels, 3),), integers(batch), forward)


def unet(batch: int, pixels: int, widths: tuple[int, ...]) -> Model:
    """Down and up again with skips between, after Ronneberger et al. (2015); halves of a pixel's size at each level."""
    ups = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
    down = [[conv(3, a, b), conv(3, b, b)] for a, b in zip((4, *widths[:-1]), widths, strict=True)]
    up = [[conv(3, a, b), conv(3, 2 * b, b)] for a, b in ups]
    norms = [[norm(b), norm(b)] for b in widths]

    def forward(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        x, skips = inputs[0], []
        for k, ((first, second), (n, m)) in enumerate(zip(parameters["down"], parameters["norms"], strict=True)):
            x = pool(x) if k else x
            x = jax.nn.silu(group_normalise(n, apply_conv(first, x)))
            x = jax.nn.silu(group_normalise(m, apply_conv(second, x)))
            skips.append(x)
        for (first, second), skip in zip(parameters["up"], skips[-2::-1], strict=True):
            x = jnp.concatenate([apply_conv(first, upsample(x)), skip], axis=-1)
            x = jax.nn.silu(apply_conv(second, x))
        return apply_conv(parameters["out"], x)

    parameters = {"down": down, "up": up, "norms": norms, "out": conv(1, widths[0], 4)}
    image = array(batch, pixels, pixels, 4)
    return model(parameters, (image,), image, forward)
