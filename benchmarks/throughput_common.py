"""What the workers of several families need."""

from __future__ import annotations

import os
import time
from typing import Any


def shards(batch: int) -> int:
    """Parts that a batch runs in. On a CPU one thread a core, each with its share; a GPU takes the whole batch at once.

    XLA runs programs of these sizes on the thread that calls them.
    """
    import jax

    return (os.cpu_count() or 1) if batch >= 256 and jax.default_backend() == "cpu" else 1


def tree_bytes(tree: Any) -> int:
    """Bytes of all arrays of a pytree."""
    import jax
    import numpy as np

    return int(sum(np.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree)))


def bandwidth_worker(_: int, seconds: float) -> dict[str, Any]:
    """Bytes per second that this device copies (read + write), by adding one to 256 MiB."""
    import jax
    import jax.numpy as jnp

    x = jnp.zeros(2**26, jnp.float32)
    add = jax.jit(lambda v: v + 1, donate_argnums=0)
    x = jax.block_until_ready(add(x))
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < min(seconds, 3):
        x = jax.block_until_ready(add(x))
        count += 1
    rate = 2 * x.nbytes * count / (time.perf_counter() - began)
    return {"rate": rate, "gb_per_second": rate / 1e9}
