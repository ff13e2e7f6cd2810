"""First fit among the rectangles of fast memory, three ways; ``throughput_memory.py`` says what is compared."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

REPEATS = 4  # searches in one call of the compiled program, each for another span


def sorted_fit(space: Any, first: Any, last: Any, granules: Any, capacity: Any, never: int) -> Any:
    """i32[]: the lowest offset by sorting the rectangles that meet the span, and a running maximum of their tops."""
    import jax
    import jax.numpy as jnp

    meets = (space.first <= last) & (space.last >= first)
    low, high = jax.lax.sort((jnp.where(meets, space.low, never), jnp.where(meets, space.high, 0)), num_keys=1)
    top = jnp.concatenate([jnp.zeros(1, jnp.int32), jax.lax.cummax(high)])
    end = jnp.minimum(jnp.concatenate([low, jnp.full(1, never, jnp.int32)]), capacity)
    fits = end - top >= granules
    return jnp.where(fits.any(), top[jnp.argmax(fits)], never)


def paired_fit(space: Any, first: Any, last: Any, granules: Any, capacity: Any, never: int) -> Any:
    """i32[]: the lowest of 0 and the tops of the rectangles that meet the span at which none of them is in the way."""
    import jax.numpy as jnp

    meets = (space.first <= last) & (space.last >= first)
    offset = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.where(meets, space.high, never)])
    hit = meets & (space.low < offset[:, None] + granules) & (space.high > offset[:, None])
    good = ~hit.any(axis=1) & (offset + granules <= capacity)
    return jnp.where(good, offset, never).min()


def search_worker(lanes_of: Callable[[int, int, int], Any], size: int, batch: int, seconds: float) -> dict[str, Any]:
    """Milliseconds of a batch of searches by every method, in turns. Raises SystemExit if they find other offsets."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from dispatchgym.envs.memory import space as sp
    from dispatchgym.envs.memory.problem import NEVER

    _, problems, _, state = lanes_of(size, batch, 0)
    instance, by_address = problems.instance, state.space
    order = jnp.argsort(jnp.where(by_address.last >= 0, by_address.first, NEVER), axis=1)
    by_time = jax.tree.map(lambda x: jnp.take_along_axis(x, order, axis=1), by_address)
    rng = np.random.default_rng(0)
    steps = np.asarray(instance.n_steps)[:, None]
    first = rng.integers(0, steps, (batch, REPEATS))
    last = np.minimum(first + rng.geometric(0.1, (batch, REPEATS)) - 1, steps - 1)
    which = rng.integers(0, np.asarray(instance.n_buffers)[:, None], (batch, REPEATS))
    granules = np.take_along_axis(np.asarray(instance.granules), which, axis=1)
    queries = jax.tree.map(lambda x: jnp.asarray(x.T, jnp.int32), (first, last, granules))

    def ours(space: Any, first: Any, last: Any, granules: Any, capacity: Any) -> tuple[Any, Any]:
        return sp.first_fits(space, first[None], last[None], granules, capacity)[0], None

    def inserting(space: Any, first: Any, last: Any, granules: Any, capacity: Any) -> tuple[Any, Any]:
        low, _ = ours(space, first, last, granules, capacity)
        return low, sp.reserve(space, first, last, low, granules, low < NEVER, jnp.int32(-2))

    def compiled(method: Any, space: Any) -> Callable[[], Any]:
        def run(space: Any, queries: Any) -> Any:
            one = jax.vmap(method)
            return jax.lax.scan(lambda _, q: (None, one(space, *q, instance.capacity)), None, queries)[1]

        program = jax.jit(run).lower(space, queries).compile()
        return lambda: jax.block_until_ready(program(space, queries))

    methods = {
        "ours": compiled(ours, by_address),
        "ours with insertion": compiled(inserting, by_address),
        "sort": compiled(lambda *given: (sorted_fit(*given, NEVER), None), by_time),
        "pairs": compiled(lambda *given: (paired_fit(*given, NEVER), None), by_time),
    }
    found = {name: np.asarray(method()[0]) for name, method in methods.items()}
    if any((offsets != found["ours"]).any() for offsets in found.values()):
        raise SystemExit(f"the methods disagree on {size} rectangles")
    spent, calls = dict.fromkeys(methods, 0.0), 0
    while sum(spent.values()) < seconds:
        calls += 1
        for name, method in methods.items():
            began = time.perf_counter()
            method()
            spent[name] += time.perf_counter() - began
    milliseconds = {name: 1000 * total / (calls * REPEATS) for name, total in spent.items()}
    return {
        "rate": batch / sum(milliseconds.values()),  # of the rounds that with the least load counts
        "milliseconds": milliseconds,
        "fits": float((found["ours"] < NEVER).mean()),
        "rectangles": float((np.asarray(by_address.last) >= 0).sum(1).mean()),
        "device": jax.devices()[0].device_kind,
    }
