"""Training distributions: legal job shops of the promised shape, traced once."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispatchgym.instances import Generator, Instance, InstanceError, UnknownNameError, unstack
from dispatchgym.instances.job_shop import GENERATORS, JobShopInstance, JobShopSize, generator
from dispatchgym.instances.job_shop.generators import DemirkolStyle, TaillardStyle, Uniform

EVERY = [
    TaillardStyle(6, 4),
    DemirkolStyle(5, 7),
    DemirkolStyle(5, 6, two_sets=False),
    Uniform(4, 5, low=0, high=3, operations=3, min_operations=1),
    Uniform(4, 2, operations=6, min_operations=2, recirculation=True),
    Uniform(1, 1, low=7, high=7),
]


@cache  # compiling takes most of the time of these tests
def sample(distribution, n: int = 40) -> list[JobShopInstance]:
    batch = jax.jit(jax.vmap(distribution))(jax.random.split(jax.random.key(0), n))
    return [unstack(batch, i) for i in range(n)]


@pytest.mark.parametrize("distribution", EVERY, ids=str)
def test_samples_are_legal(distribution) -> None:
    size = distribution.size
    assert isinstance(size, JobShopSize)
    assert isinstance(distribution, Generator)
    for instance in sample(distribution):
        assert isinstance(instance, Instance)
        shapes = [(size.jobs, size.operations)] * 2 + [(size.jobs,)]
        assert [leaf.shape for leaf in jax.tree.leaves(instance)] == shapes
        assert {leaf.dtype for leaf in jax.tree.leaves(instance)} == {np.dtype(np.int32)}
        checked = JobShopInstance.from_jobs(instance.jobs()).pad(instance.size)
        jax.tree.map(np.testing.assert_array_equal, checked, instance)  # legal, and zero where padded
        instance.pad(size)  # fits the promised size


@pytest.mark.parametrize("distribution", EVERY, ids=str)
def test_one_trace_serves_all_keys_and_equals_the_plain_call(distribution) -> None:
    traced = jax.jit(distribution)
    keys = jax.random.split(jax.random.key(1), 3)
    results = [traced(key) for key in keys]
    assert traced._cache_size() == 1
    jax.tree.map(np.testing.assert_array_equal, results[2], distribution(keys[2]))
    if distribution.size.jobs > 1:
        assert results[0].jobs() != results[1].jobs()


def test_a_job_visits_every_machine_once() -> None:
    for distribution in EVERY[:3]:
        for instance in sample(distribution):
            assert (np.sort(instance.machine, axis=1) == np.arange(distribution.machines)).all()


def test_routes_and_durations_are_uniform() -> None:
    for distribution, high in ((EVERY[0], 99), (EVERY[2], 200)):
        batch = sample(distribution, n=1000)
        first = np.bincount(np.concatenate([i.machine[:, 0] for i in batch]))
        assert abs(first / first.mean() - 1).max() < 0.15  # at least 830 draws each: four standard deviations
        duration = np.concatenate([i.duration.ravel() for i in batch])
        assert (duration.min(), duration.max()) == (1, high)
        assert abs(duration.mean() / ((1 + high) / 2) - 1) < 0.02


def test_two_sets_come_one_after_the_other() -> None:
    for instance in sample(EVERY[1]):  # 7 machines
        assert (instance.machine[:, :3] < 3).all()
        assert (instance.machine[:, 3:] >= 3).all()
    assert any((i.machine[:, :3] >= 3).any() for i in sample(EVERY[2]))


def test_jobs_of_one_instance_have_routes_of_their_own() -> None:
    assert any(len({tuple(route) for route in i.machine.tolist()}) > 1 for i in sample(EVERY[0]))


def test_ragged_jobs_and_recirculation_occur() -> None:
    ragged, recirculating = EVERY[3:5]
    assert set(np.concatenate([i.n_operations for i in sample(ragged)])) == {1, 2, 3}
    assert all(i.size.visits == 1 for i in sample(ragged))
    assert any(i.size.visits > 1 for i in sample(recirculating))


def test_int32_also_where_64_bits_are_on() -> None:
    with jax.enable_x64(True):
        for leaf in jax.tree.leaves([jax.eval_shape(d, jax.random.key(0)) for d in EVERY]):
            assert leaf.dtype == jnp.int32


@pytest.mark.parametrize("kind", GENERATORS)
def test_lookup_by_name(kind: str) -> None:
    assert generator(f"{kind}-15x10") == GENERATORS[kind](jobs=15, machines=10)
    assert generator(f"{kind}-15x10").size == JobShopSize(15, 10, 10)


def test_lookup_takes_parameters() -> None:
    assert generator("uniform-3x4", high=5) == Uniform(3, 4, high=5)
    assert generator("demirkol-3x4", two_sets=False) == DemirkolStyle(3, 4, two_sets=False)
    with pytest.raises(InstanceError, match="hihg"):
        generator("uniform-3x4", hihg=5)


@pytest.mark.parametrize("name", ["tailard-15x10", "taillard", "taillard-15", "taillard-15x10x2", "", "uniform--3x4"])
def test_unknown_generators(name: str) -> None:
    with pytest.raises(UnknownNameError, match="unknown generator"):
        generator(name)


def test_unknown_generator_suggests_the_near_one() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'taillard-15x10'"):
        generator("tailard-15x10")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Uniform(0, 3), "jobs is 0"),
        (lambda: Uniform(3, 0), "machines is 0"),
        (lambda: Uniform(3, 3, low=5, high=4), "low is 5"),
        (lambda: Uniform(3, 3, low=-1), "low is -1"),
        (lambda: Uniform(3, 3, high=2**24), "high is 16777216"),
        (lambda: Uniform(3, 3, operations=4), "operations is 4"),
        (lambda: Uniform(3, 3, min_operations=0), "min_operations is 0"),
        (lambda: Uniform(3, 3, min_operations=4), "min_operations is 4"),
        (lambda: Uniform(3.0, 3), "jobs is 3.0"),
        (lambda: generator("taillard-0x3"), "jobs is 0"),
        (lambda: generator("demirkol-999999x9999"), "high is 200"),
    ],
)
def test_impossible_parameters(make, problem: str) -> None:
    with pytest.raises(InstanceError, match=problem):
        make()
