"""Compilations are kept in ``.cache/jax``, so that only the first run of the tests pays for them."""

import itertools
from pathlib import Path

import jax

from dispatchgym.envs.programs import let_go_of_programs

jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[1] / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

_started = itertools.count()


def pytest_runtest_setup() -> None:
    if next(_started) % 20 == 0:
        let_go_of_programs()
