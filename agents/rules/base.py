"""Rules that read named columns of the observation: what a rule needs, the graph shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from dispatchgym.envs.core import Array, Policy
from dispatchgym.envs.graph import GraphObservation, GraphSpec


class View:
    """A candidate table with its columns by name, as exact integers where the column holds integers below 2**24."""

    def __init__(self, spec: GraphSpec, observation: GraphObservation) -> None:
        self.spec = spec
        self.observation = observation
        self.mask = observation.action_mask

    def __getitem__(self, name: str) -> Array:
        """f32[A]: the action column ``name``."""
        return self.observation.action_features[:, self.spec.index("action", name)]

    def integer(self, name: str) -> Array:
        """i32[A]: the action column ``name``, rounded."""
        return jnp.round(self[name]).astype(jnp.int32)

    def overall(self, name: str) -> Array:
        """f32[]: the global column ``name``."""
        return self.observation.globals[self.spec.index("global", name)]


@dataclass(frozen=True)
class Rule:
    """A named dispatching rule of one family, with the environment options it is meant for."""

    name: str
    doc: str
    make: Callable[[GraphSpec], Policy]
    options: Mapping[str, Any] = field(default_factory=dict)
    stochastic: bool = False


def smallest(key: Callable[[View], Array]) -> Callable[[GraphSpec], Policy]:
    """The legal candidate of the smallest key; ties go to the lowest index."""

    def make(spec: GraphSpec) -> Policy:
        def policy(observation: GraphObservation, _: Array) -> Array:
            view = View(spec, observation)
            value = key(view).astype(jnp.float32)
            return jnp.argmin(jnp.where(view.mask, value, jnp.inf)).astype(jnp.int32)

        return policy

    return make


def first_by(*keys: Callable[[View], Array]) -> Callable[[GraphSpec], Policy]:
    """The legal candidate whose keys (numbers or booleans) come first, compared in turn; ties go to the lowest index."""

    def make(spec: GraphSpec) -> Policy:
        def policy(observation: GraphObservation, _: Array) -> Array:
            view = View(spec, observation)
            best = view.mask
            for key in keys:
                value = key(view)
                value = value.astype(jnp.int32) if value.dtype == bool else value
                last = jnp.inf if jnp.issubdtype(value.dtype, jnp.floating) else jnp.int32(2**31 - 1)
                value = jnp.where(best, value, last)
                best &= value == value.min()
            return jnp.argmax(best).astype(jnp.int32)

        return policy

    return make


def smallest_ratio(ratio: Callable[[View], tuple[Array, Array]]) -> Callable[[GraphSpec], Policy]:
    """The legal candidate of the smallest a / b (integers, 0 <= a, b < 2**31), compared exactly; ties to the lowest index.

    a / 0 is larger than every a / b with b > 0, and is then compared by a; 0 / b is the smallest of all.
    """

    def make(spec: GraphSpec) -> Policy:
        def policy(observation: GraphObservation, _: Array) -> Array:
            view = View(spec, observation)
            a, b = (x.astype(jnp.int32) for x in ratio(view))
            less = _less(_product(a[:, None], b), _product(a, b[:, None]))
            both_over_zero = (b[:, None] == 0) & (b == 0)
            less = jnp.where(both_over_zero, a[:, None] < a, less)
            index = jnp.arange(a.shape[0])
            ahead = (less | (~less & ~less.T & (index[:, None] < index))) & view.mask[:, None]
            return jnp.argmax(view.mask & ~ahead.any(axis=0)).astype(jnp.int32)

        return policy

    return make


def uniform(spec: GraphSpec) -> Policy:
    """A legal candidate, all equally likely; one 32-bit draw a decision."""

    def policy(observation: GraphObservation, key: Array) -> Array:
        return pick_uniform(observation.action_mask, key)

    return policy


def pick_uniform(mask: Array, key: Array) -> Array:
    """Index of a True entry of ``mask``, uniformly."""
    count = jnp.cumsum(mask)
    draw = jax.random.randint(key, (), 0, jnp.maximum(count[-1], 1))
    return jnp.argmax(count > draw).astype(jnp.int32)


def _product(a: Array, b: Array) -> tuple[Array, Array]:
    """(high, low) words of the 64-bit product; x64 is off in JAX by default."""
    a, b = jnp.uint32(a), jnp.uint32(b)
    a1, a0, b1, b0 = a >> 16, a & 0xFFFF, b >> 16, b & 0xFFFF
    low = a0 * b0
    middle = a1 * b0 + (low >> 16)  # < 2**32, since a1, b0 < 2**16
    cross = a0 * b1 + (middle & 0xFFFF)
    return a1 * b1 + (middle >> 16) + (cross >> 16), (cross << 16) | (low & 0xFFFF)


def _less(x: tuple[Array, Array], y: tuple[Array, Array]) -> Array:
    return (x[0] < y[0]) | ((x[0] == y[0]) & (x[1] < y[1]))
