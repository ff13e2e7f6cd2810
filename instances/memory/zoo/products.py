"""Products of matrices as programs of their own: in blocks, and by bilinear schemes with fewer products."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

Blocks = list[list[jax.Array]]
Scheme = tuple[int, Sequence[tuple[str, str]], Sequence[str]]  # order, factors of the products, products in each block

# Strassen (1969): 7 products of 2 x 2 blocks. Blocks are named by row and column.
STRASSEN: Scheme = (
    2,
    (
        ("11+22", "11+22"), ("21+22", "11"), ("11", "12-22"), ("22", "21-11"),
        ("11+12", "22"), ("21-11", "11+12"), ("12-22", "21+22"),
    ),
    ("1+4-5+7", "3+5", "2+4", "1-2+3+6"),
)  # fmt: skip

# Laderman (1976): 23 products of 3 x 3 blocks.
LADERMAN: Scheme = (
    3,
    (
        ("11+12+13-21-22-32-33", "22"), ("11-21", "22-12"), ("22", "12+21+33-11-22-23-31"),
        ("21+22-11", "11-12+22"), ("21+22", "12-11"), ("11", "11"), ("31+32-11", "11-13+23"), ("31-11", "13-23"),
        ("31+32", "13-11"), ("11+12+13-22-23-31-32", "23"), ("32", "13+21+32-11-22-23-31"),
        ("32+33-13", "22+31-32"), ("13-33", "22-32"), ("13", "31"), ("32+33", "32-31"), ("22+23-13", "23+31-33"),
        ("13-23", "23-33"), ("22+23", "33-31"), ("12", "21"), ("23", "32"), ("21", "13"), ("31", "12"), ("33", "33"),
    ),
    (
        "6+14+19", "1+4+5+6+12+14+15", "6+7+9+10+14+16+18", "2+3+4+6+14+16+17", "2+4+5+6+20", "14+16+17+18+21",
        "6+7+8+11+12+13+14", "12+13+14+15+22", "6+7+8+9+23",
    ),
)  # fmt: skip


def _split(a: jax.Array, order: int) -> Blocks:
    return [jnp.split(row, order, axis=1) for row in jnp.split(a, order)]


def _sum(text: str, parts: Callable[[str], jax.Array]) -> jax.Array:
    """The sum that a text such as "11+22-12" writes, of the parts with these names; it begins without a sign."""
    terms = text.replace("-", "+-").split("+")
    total = parts(terms[0])
    for term in terms[1:]:
        total = total - parts(term[1:]) if term.startswith("-") else total + parts(term)
    return total


def bilinear(scheme: Scheme, levels: int) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The product of two matrices by a scheme, applied to its own products ``levels`` times."""
    order, factors, results = scheme

    def product(a: jax.Array, b: jax.Array, level: int = levels) -> jax.Array:
        if level == 0:
            return a @ b
        left, right = _split(a, order), _split(b, order)
        made = [
            product(
                _sum(f, lambda name: left[int(name[0]) - 1][int(name[1]) - 1]),
                _sum(g, lambda name: right[int(name[0]) - 1][int(name[1]) - 1]),
                level - 1,
            )
            for f, g in factors
        ]
        blocks = [_sum(text, lambda name: made[int(name) - 1]) for text in results]
        return jnp.block([blocks[order * i : order * (i + 1)] for i in range(order)])

    return lambda a, b: product(a, b)


def blocked(order: int) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The product of two matrices as order^3 products of blocks."""

    def product(a: jax.Array, b: jax.Array) -> jax.Array:
        left, right = _split(a, order), _split(b, order)
        rows = range(order)
        blocks = [
            [sum((left[i][k] @ right[k][j] for k in rows[1:]), left[i][0] @ right[0][j]) for j in rows] for i in rows
        ]
        return jnp.block(blocks)

    return product


def chain(a: jax.Array, powers: int) -> jax.Array:
    """The inverse of I - a as the product of (I + a^(2^k)): squares and products in turn."""
    result = a + jnp.eye(a.shape[0])
    for _ in range(powers):
        a = a @ a
        result = result @ (a + jnp.eye(a.shape[0]))
    return result
