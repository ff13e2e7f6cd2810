"""Small instances for tests that run over the whole registry; an id that is missing here runs with its defaults."""

from pathlib import Path

from dispatchgym.envs.registry import REGISTRY

DATA = Path(__file__).parent / "data"

SMALL = {
    "dispatchgym/JobShop-v0": {"instance": ["ft06", "la01"]},
    "dispatchgym/MemoryMapping-v0": {
        "instance": [str(DATA / "memory" / f"tiny-{name}.json") for name in ("updates", "worked")]
    },
    "dispatchgym/SocDag-v0": {"instance": [str(DATA / "soc" / f"tiny-{mode}.json") for mode in ("open", "closed")]},
    "dispatchgym/WorkflowDag-v0": {"instance": ["topcuoglu2002", "unlike"]},
}
RANDOM = {
    "dispatchgym/JobShop-v0": {"generator": "uniform-4x3"},
    "dispatchgym/MemoryMapping-v0": {"generator": "random-12x10"},
    "dispatchgym/SocDag-v0": {"generator": "canonical-varied-3"},
    "dispatchgym/WorkflowDag-v0": {"generator": "random-8x3"},
}
IDS = [env_id for env_id in REGISTRY if env_id.startswith("dispatchgym/")]


def small(env_id: str) -> dict:
    """Keyword arguments that make a small environment of the id, from a fixed list."""
    return SMALL.get(env_id, {})


def small_random(env_id: str) -> dict:
    """The same, from a generator."""
    return RANDOM.get(env_id, {})
