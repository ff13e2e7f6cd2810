"""The integer stream behind every generated instance that is scored, and numbers drawn from it without floating point.

The stream is the generator x <- 16807 x mod (2^31 - 1) of Lehmer (the minimal standard of Park and Miller, 1988).
Whatever is scored comes from here and not from ``jax.random``, whose streams may change between versions, nor from a
system's logarithm, which may differ in the last bit: the same seed gives the same integers everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator

MODULUS = 2**31 - 1
MULTIPLIER = 16807

_BITS = 96  # of the fixed-point logarithm: far below any distance of mean * ln(MODULUS / state) from an integer
_LN2 = 0xB17217F7D1CF79ABC9E3B398  # floor(2^96 ln 2)


def stream(seed: int) -> Iterator[int]:
    """The states after ``seed``: integers in 1..2^31 - 2, without end."""
    state = seed
    while True:
        state = state * MULTIPLIER % MODULUS
        yield state


def uniform(state: int, n: int) -> int:
    """An integer in 0..n - 1 from one state, uniform up to n / 2^31."""
    return state * n // MODULUS


def exponential(state: int, mean: int) -> int:
    """floor(-mean ln(state / MODULUS)): an exponential variable of that mean, rounded down, from one state."""
    if mean == 0:
        return 0
    exponent = 0
    while state << (exponent + 1) <= MODULUS:
        exponent += 1
    mantissa = (MODULUS << _BITS) // (state << exponent)  # in [1, 2), of _BITS fractional bits
    log2 = exponent
    for _ in range(_BITS):  # a squared mantissa of 2 or more is the next binary digit of the logarithm
        mantissa = mantissa * mantissa >> _BITS
        digit = mantissa >> (_BITS + 1)
        mantissa >>= digit
        log2 = 2 * log2 + digit
    return mean * log2 * _LN2 >> (2 * _BITS)


def normal(states: Iterator[int]) -> int:
    """A sum of twelve uniform thousandths less its mean, 5994: about normal, of mean 0 and standard deviation 1000."""
    return sum(uniform(next(states), 1000) for _ in range(12)) - 5994
