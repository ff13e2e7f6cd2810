"""Compiled programs and the memory maps that they hold."""

from __future__ import annotations

from pathlib import Path

import jax

MAPS = Path("/proc/self/maps")  # Linux
MOST_MAPS = 25_000


def let_go_of_programs() -> None:
    """Forget compiled programs once they hold many memory maps; what is needed again is compiled again.

    Each holds a few maps, of which Linux grants a process 65,530 (vm.max_map_count). At the limit LLVM cannot allocate
    memory, and the process dies. To be called between pieces of work that compile programs of their own, such as sizes.
    """
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
