"""Compilations are kept in ``.cache/jax``, so that only the first run of the tests pays for them."""

import itertools
from pathlib import Path

import jax

jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[1] / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

# Each compiled program holds a few memory maps, of which Linux grants a process 65,530 (vm.max_map_count).
# A worker that reaches the limit dies inside LLVM, so it lets its programs go well before.
MAPS = Path("/proc/self/maps")
MOST_MAPS = 25_000
_started = itertools.count()


def pytest_runtest_setup() -> None:
    if next(_started) % 20 == 0 and MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
