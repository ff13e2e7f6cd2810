"""One episode on the host: step and observation as one call that takes three arrays and returns two.

A jitted call costs 1.5 to 2 us per array, more than the arithmetic of a step, so problem and state travel as one buffer
of 32-bit words each, and all that a step tells as another. Packing moves bits and changes none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispatchgym.envs.adapters.actions import action_dtype
from dispatchgym.envs.adapters.fused import face
from dispatchgym.envs.core import Array, Environment

STATIC = ("edge_index", "edges", "edge_mask", "node_mask")  # during an episode, where GraphSpec says so
WORD = 4  # bytes
# Operations that no single kernel of XLA's can hold; trying them works too, but logs an error.
UNFIT = re.compile(r"stablehlo\.(sort|dot|dot_general|convolution|custom_call|fft|cholesky|triangular_solve)\b|top_k\b")


@lru_cache(maxsize=1)
def host_device() -> jax.Device:
    """A CPU device that runs a program at once, on the calling thread.

    Waking the threads of JAX's own CPU device takes 40 us twice a step: for the program, and for independent parts of
    it. Both are decided when a client is made, so this is a second client; without it only speed is lost.
    """
    before = os.environ.get("NPROC")
    try:
        from jaxlib import xla_client

        os.environ["NPROC"] = "1"  # XLA reads the number of its threads here
        client: Any = xla_client.make_cpu_client(asynchronous=False)
        device: jax.Device = client.devices()[0]
        jax.device_put(np.int32(0), device).block_until_ready()
        return device
    except Exception:  # not a public interface of jaxlib
        return jax.devices("cpu")[0]
    finally:
        if before is None:
            os.environ.pop("NPROC", None)
        else:
            os.environ["NPROC"] = before


def one_kernel(function: Callable[..., Any], *args: Any) -> Callable[..., Any] | None:
    """``function``, jitted as ONE kernel of the CPU compiler, or None where that fails. Its results are the same.

    XLA runs a program as a list of kernels, 60 for a job-shop step at 0.3 us each: half of a step. It has one kernel for
    small loops, reached here by the attribute that marks them. Sorting, products of matrices and calls into libraries
    do not compile so; a compiler that does not know the attribute ignores it.
    """
    try:
        from jax.experimental.xla_metadata import set_xla_metadata

        inner = jax.jit(function)
        if UNFIT.search(inner.lower(*args).as_text()):
            return None

        def outer(*args: Any) -> Any:
            with set_xla_metadata(inlineable="false", xla_cpu_small_call="true"):
                return inner(*args)

        # The other emitters leave scatters as they are, which a kernel of this kind cannot hold.
        kernel = jax.jit(outer, compiler_options={"xla_cpu_use_fusion_emitters": False})
        jax.block_until_ready(kernel(*args))
        return kernel
    except Exception:  # neither is a public interface of XLA
        return None


def to_words(array: Array) -> Array:
    """i32[n]: the bytes of an array, padded with zeros to whole words."""
    flat = jnp.ravel(jnp.asarray(array))
    flat = flat.astype(jnp.int8) if flat.dtype == bool else flat
    per_word = WORD // flat.dtype.itemsize
    if per_word > 1:
        flat = jnp.pad(flat, (0, -flat.size % per_word)).reshape(-1, per_word)
    return jax.lax.bitcast_convert_type(flat, jnp.int32).ravel()


def from_words(words: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """The array that :func:`to_words` was given."""
    stored = np.dtype(np.int8 if np.dtype(dtype).kind == "b" else dtype)
    if stored.itemsize > WORD:
        words = words.reshape(-1, stored.itemsize // WORD)
    flat = jax.lax.bitcast_convert_type(words, stored).ravel()[: int(np.prod(shape))]
    return flat.reshape(shape).astype(dtype)


def word_count(leaf: Any) -> int:
    """Words that :func:`to_words` makes of an array of this shape and dtype."""
    return -(-int(np.prod(leaf.shape)) * leaf.dtype.itemsize // WORD)


class Layout:
    """How a pytree of arrays lies in one buffer. ``like`` gives structure, shapes and dtypes."""

    def __init__(self, like: Any) -> None:
        self.leaves: list[Any]
        self.tree: Any
        self.leaves, self.tree = jax.tree.flatten(like)
        self.ends = np.cumsum([0, *(word_count(leaf) for leaf in self.leaves)]).tolist()

    def pack(self, tree: Any) -> Array:
        """i32[words]."""
        return jnp.concatenate([jnp.zeros(0, jnp.int32), *map(to_words, jax.tree.leaves(tree))])

    def unpack(self, words: Array) -> Any:
        """The pytree in traced code."""
        parts = zip(self.leaves, self.ends, self.ends[1:], strict=False)
        return self.tree.unflatten([from_words(words[a:b], leaf.shape, leaf.dtype) for leaf, a, b in parts])


class Packed:
    """The calls of a single environment, for instances of one structure.

    ``record`` is a NumPy dtype that reads the words: ``flags`` (f32[3]: reward, terminated, invalid), ``mask``, and the
    observation by name. Its first ``told`` words are what a step returns; the static rest is known after ``begin``.
    """

    def __init__(self, env: Environment, instance: Any) -> None:
        self._env = env
        problem = jax.eval_shape(env.prepare, instance)
        state = jax.eval_shape(env.reset, problem)
        self._problem, self._state = Layout(problem), Layout(state)
        shown, mask = jax.eval_shape(partial(face, env), problem, state)
        self.names = tuple(env.graph.space().spaces)
        static = STATIC if env.graph.static_graph else ()
        self._static = tuple(name for name in self.names if name in static)
        self._dynamic = tuple(name for name in self.names if name not in static)
        flags = jax.ShapeDtypeStruct((3,), np.float32)
        changing = {"flags": flags, "mask": mask} | {name: shown[name] for name in self._dynamic}
        self.told = sum(map(word_count, changing.values()))
        self.record = _record(changing | {name: shown[name] for name in self._static})
        self.take: Callable[[Array, Array, Any], tuple[Array, Array]] = jax.jit(self._take)
        self.result = jax.jit(self._result)
        self.open = jax.jit(self._open)
        here = jax.sharding.SingleDeviceSharding(host_device())
        self._start = jax.jit(self._begin, in_shardings=here, out_shardings=here)
        self._settled = False

    def begin(self, instance: Any) -> tuple[Array, Array, Array]:
        """(problem, state, all words of ``record``), on the host device."""
        problem, state, told = self._start(instance)
        if not self._settled:
            action = np.zeros(self._env.action_space.shape or (), action_dtype(self._env.action_space))
            self.take = one_kernel(self._take, problem, state, action) or self.take
            self._settled = True
        return problem, state, told

    def _begin(self, instance: Any) -> tuple[Array, Array, Array]:
        problem = self._env.prepare(instance)
        state = self._env.reset(problem)
        shown, mask = face(self._env, problem, state)
        told = self._tell(jnp.zeros(3, jnp.float32), mask, shown)
        static = [to_words(shown[name]) for name in self._static]
        return self._problem.pack(problem), self._state.pack(state), jnp.concatenate([told, *static])

    def _take(self, problem: Array, state: Array, action: Array) -> tuple[Array, Array]:
        """(state, the first words of ``record``)."""
        opened = self._problem.unpack(problem)
        moved = self._env.step(opened, self._state.unpack(state), action)
        flags = jnp.stack([jnp.asarray(x, jnp.float32) for x in (moved.reward, moved.terminated, moved.invalid)])
        shown, mask = face(self._env, opened, moved.state)
        return self._state.pack(moved.state), self._tell(flags, mask, shown)

    def _tell(self, flags: Array, mask: Array, shown: dict[str, Array]) -> Array:
        return jnp.concatenate([to_words(x) for x in (flags, mask, *(shown[name] for name in self._dynamic))])

    def _open(self, problem: Array, state: Array) -> tuple[Any, Any]:
        return self._problem.unpack(problem), self._state.unpack(state)

    def _result(self, problem: Array, state: Array) -> tuple[Array, dict[str, Array]]:
        """(objective, metrics)."""
        opened = self._open(problem, state)
        return self._env.objective(*opened), self._env.metrics(*opened)


def _record(arrays: dict[str, Any]) -> np.dtype:
    ends = np.cumsum([0, *map(word_count, arrays.values())]).tolist()
    formats = [(np.dtype(array.dtype), array.shape) for array in arrays.values()]
    offsets = [WORD * end for end in ends[:-1]]
    return np.dtype({"names": list(arrays), "formats": formats, "offsets": offsets, "itemsize": WORD * ends[-1]})


@lru_cache(maxsize=64)
def _packed(env: Environment, tree: Any, leaves: tuple[tuple[tuple[int, ...], Any], ...]) -> Packed:
    return Packed(env, tree.unflatten([jax.ShapeDtypeStruct(*leaf) for leaf in leaves]))


def packed(env: Environment, instance: Any) -> Packed:
    """The calls for instances like this one, compiled once; ``Entry.build`` hands out equal environments as one object."""
    leaves, tree = jax.tree.flatten(instance)
    return _packed(env, tree, tuple((leaf.shape, leaf.dtype) for leaf in leaves))
