"""Programs written for the suites: inference and training steps of networks, and products of matrices, in plain JAX.

``benchmarks/memory_programs.py`` compiles them once; the suites hold the result, so that no score depends on the compiler
that is installed. A recipe gives a function, the shapes of its arguments and those that are donated.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from dispatchgym.instances.memory.zoo import plain, products, sequence, tables, vision
from dispatchgym.instances.memory.zoo.layers import Model, Tree, adam, array, momentum, sgd


class Recipe(NamedTuple):
    """What to compile."""

    function: Callable[..., Any]
    args: tuple[Tree, ...]
    donate: tuple[int, ...] = ()


def infer(make: Callable[..., Model], *sizes: Any) -> Recipe:
    """A model's result."""
    made = make(*sizes)
    return Recipe(made.forward, (made.parameters, *made.inputs))


def train(make: Callable[..., Model], *sizes: Any, optimiser: str = "sgd", in_place: bool = False) -> Recipe:
    """A training step; ``in_place`` donates the parameters and what the optimiser keeps of them, and clips the gradient.

    Without clipping XLA would update a parameter while the backward pass still needs it, and copy it for that.
    """
    made = make(*sizes)
    step, copies = {"sgd": (sgd, 1), "momentum": (momentum, 2), "adam": (adam, 3)}[optimiser]
    args = (*[made.parameters] * copies, *made.inputs, made.target)
    return Recipe(step(made.loss, in_place), args, tuple(range(copies)) if in_place else ())


def _decode(*sizes: int) -> Recipe:
    step, args = sequence.decode_step(*sizes)
    return Recipe(step, args, (1,))


def _product(function: Callable[..., Any], *shapes: tuple[int, int]) -> Recipe:
    return Recipe(function, tuple(array(*shape) for shape in shapes))


_MLP, _AUTO, _MIXER = (512, 1024, 2048, 12, 1000), (2048, (2048, 1024, 512, 256)), (16, 256, 512, 4)
_ALEX, _VGG, _TCN = (64,), (16, 64, ((64, 2), (128, 2), (256, 3), (512, 3))), (8, 2048, 256, 8)
_RESNET, _UNET = (16, 64, (128, 256, 512), 3), (8, 64, (64, 128, 256))
_ENCODER, _DECODER, _TRANSLATOR = (4, 512, 768, 12, 4), (4, 512, 768, 12, 3, 8192), (8, 256, 256, 512, 8, 2)
_LSTM, _GRU, _SSM = (128, 16, 1024, 1), (256, 12, 512), (4, 1024, 512, 2)
_EXPERTS, _GCN, _GAT = (4, 512, 512, 8, 2, 8, 512), (8192, 65_536, 256, 3), (8192, 16, 256, 4, 2)
_RECOMMENDER = (2048, 16, 16_384, 64, 512)

# By family; whole families are held out of training (suites.py).
ZOO: dict[str, dict[str, Callable[[], Recipe]]] = {
    "mlp": {
        "mlp12_infer": partial(infer, plain.mlp, *_MLP),
        "mlp12_train": partial(train, plain.mlp, *_MLP, optimiser="momentum", in_place=True),
        "autoencoder_train": partial(train, plain.autoencoder, *_AUTO, optimiser="adam"),
        "mixer4_infer": partial(infer, plain.mixer, *_MIXER),
        "mixer4_train": partial(train, plain.mixer, *_MIXER),
    },
    "cnn": {
        "alexnet_infer": partial(infer, vision.alexnet, *_ALEX),
        "alexnet_train": partial(train, vision.alexnet, *_ALEX, in_place=True),
        "vgg10_infer": partial(infer, vision.vgg, *_VGG),
        "vgg10_train": partial(train, vision.vgg, *_VGG, optimiser="momentum"),
        "tcn8_infer": partial(infer, plain.tcn, *_TCN),
        "tcn8_train": partial(train, plain.tcn, *_TCN),
    },
    "transformer": {
        "encoder4_infer": partial(infer, sequence.encoder, *_ENCODER),
        "encoder4_train": partial(train, sequence.encoder, *_ENCODER, optimiser="adam", in_place=True),
        "decoder3_infer": partial(infer, sequence.decoder, *_DECODER),
        "decoder3_train": partial(train, sequence.decoder, *_DECODER),
        "decode_step": partial(_decode, 32, 1024, 768, 12, 4),
        "translator2_infer": partial(infer, sequence.translator, *_TRANSLATOR),
        "translator2_train": partial(train, sequence.translator, *_TRANSLATOR, in_place=True),
    },
    "recurrent": {
        "lstm_scan_infer": partial(infer, sequence.lstm, *_LSTM),
        "lstm_scan_train": partial(train, sequence.lstm, *_LSTM),
        "gru_train": partial(train, sequence.gru, *_GRU),
    },
    "product": {
        "strassen2": partial(_product, products.bilinear(products.STRASSEN, 2), (2048, 2048), (2048, 2048)),
        "laderman": partial(_product, products.bilinear(products.LADERMAN, 1), (1536, 1536), (1536, 1536)),
        "blocked4": partial(_product, products.blocked(4), (2048, 2048), (2048, 2048)),
        "neumann": partial(_product, partial(products.chain, powers=12), (1024, 1024)),
    },
    "graph": {
        "gcn3_infer": partial(infer, tables.gcn, *_GCN),
        "gcn3_train": partial(train, tables.gcn, *_GCN),
        "gat2_train": partial(train, tables.gat, *_GAT),
    },
    "residual": {
        "resnet29_infer": partial(infer, vision.resnet, *_RESNET),
        "resnet29_train": partial(train, vision.resnet, *_RESNET, optimiser="momentum", in_place=True),
    },
    "unet": {
        "unet3_infer": partial(infer, vision.unet, *_UNET),
        "unet3_train": partial(train, vision.unet, *_UNET, optimiser="adam", in_place=True),
    },
    "experts": {
        "experts2_infer": partial(infer, sequence.experts, *_EXPERTS),
        "experts2_train": partial(train, sequence.experts, *_EXPERTS),
    },
    "recurrence": {
        "recurrence2_infer": partial(infer, sequence.recurrence, *_SSM),
        "recurrence2_train": partial(train, sequence.recurrence, *_SSM),
    },
    "recommender": {
        "recommender_infer": partial(infer, tables.recommender, *_RECOMMENDER),
        "recommender_train": partial(train, tables.recommender, *_RECOMMENDER, in_place=True),
    },
}


def recipe(name: str) -> Recipe:
    """The recipe of a program. Raises KeyError for another name."""
    return {key: make for family in ZOO.values() for key, make in family.items()}[name]()
