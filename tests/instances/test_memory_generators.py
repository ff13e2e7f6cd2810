"""Traced generators of the memory game: valid samples in the order of moves, static sizes, statistics and refusals."""

from __future__ import annotations

from functools import cache

import jax
import numpy as np
import pytest

from dispatchgym.instances import InstanceError, UnknownNameError
from dispatchgym.instances.base import Generator
from dispatchgym.instances.memory import MACHINES, MemoryInstance, generator, program
from dispatchgym.instances.memory.instance import READ, UPDATE
from dispatchgym.instances.memory.suites import HELD_OUT, TRAINING


@cache
def samples_of_64() -> list[MemoryInstance]:
    return sample("random-64x48", 200)[1]


def sample(name: str, count: int, **parameters) -> tuple[Generator, list[MemoryInstance]]:
    made = generator(name, **parameters)
    batch = jax.device_get(jax.jit(jax.vmap(made))(jax.random.split(jax.random.key(3), count)))
    return made, [jax.tree.map(lambda leaf, k=k: leaf[k], batch) for k in range(count)]


def peak(instance: MemoryInstance) -> int:
    """Granules that live at once, step by step from the definition."""
    i = instance.trimmed()
    last = [max(i.event_step[i.event_buffer == b]) for b in range(int(i.n_buffers))]
    live = [
        sum(int(i.granules[b]) for b in range(int(i.n_buffers)) if i.define[b] <= t and (t <= last[b] or i.output[b]))
        for t in range(int(i.n_steps))
    ]
    return max(live)


def keys(instance: MemoryInstance) -> list[tuple[int, ...]]:
    """What events are sorted by: step, reads last, then benefit and size downwards, then the number of the storage."""
    i = instance.trimmed()
    found = []
    for b, t, kind, gain in zip(i.event_buffer, i.event_step, i.event_kind, i.gain, strict=True):
        compute, memory = int(i.compute[t]), int(i.memory[t])
        benefit = max(compute, memory) - max(compute, memory - int(gain))
        found.append((int(t), int(kind == READ), -benefit, -int(i.granules[b]), int(b)))
    return found


@pytest.mark.parametrize("name", ["random-4x4", "random-64x48", "random-30x40"])
def test_samples_are_instances_of_the_static_size(name: str) -> None:
    made, instances = sample(name, 200)
    assert isinstance(made, Generator)
    for instance in instances:
        instance.check()
        assert instance.size == made.size
        assert all(leaf.dtype == np.int32 for leaf in jax.tree.leaves(instance))
        assert keys(instance) == sorted(keys(instance))
    assert len({int(i.n_events) for i in instances}) > 3


def test_random_programs_are_varied() -> None:
    instances = samples_of_64()
    shares = np.array([int(i.capacity) / peak(i) for i in instances])
    exact = np.array([peak(i) for i in instances]) > 500  # where rounding down to a granule hardly shows
    assert exact.sum() > 50
    assert shares[exact].min() > 0.055
    assert shares[exact].max() <= 0.5
    assert 0.13 < np.exp(np.log(shares[exact]).mean()) < 0.23  # 2^-2.5 on average
    in_place = np.array([(i.event_kind == UPDATE).sum() for i in instances])
    assert (in_place == 0).sum() > 20
    assert (in_place > 3).sum() > 20
    bound = np.array([(i.compute > i.memory).mean() for i in instances])
    assert bound.min() < 0.03
    assert bound.max() > 0.3
    latency = np.array([np.maximum(i.compute, i.memory).sum() for i in instances])
    assert latency.max() / latency.min() > 100
    for instance in instances:
        parameters = instance.define[: int(instance.n_buffers)] < 0
        assert 4 <= parameters.sum() <= 12  # a twelfth to a quarter of 48
        assert instance.output.sum() >= 1


def test_backward_passes_read_activations_in_reverse() -> None:
    instances = samples_of_64()
    spans = []
    for instance in instances:
        i = instance.trimmed()
        reads = [(int(i.define[b]), int(t)) for b, t, k in zip(i.event_buffer, i.event_step, i.event_kind, strict=True)
                 if k == READ and t >= 32 and 0 <= i.define[b] < t - 12]  # fmt: skip
        if len(reads) > 8:
            defined, read = np.array(reads).T
            spans.append(np.corrcoef(defined, read)[0, 1])
    assert len(spans) > 100
    assert np.mean(np.array(spans) < -0.95) > 0.9


def test_the_longest_and_largest_stay_exact() -> None:
    _, instances = sample("random-512x600", 4)
    for instance in instances:
        instance.check()
        assert np.maximum(instance.compute, instance.memory).astype(np.int64).sum() < 2**30


def test_samples_depend_on_the_key_alone() -> None:
    made = jax.jit(generator("random-4x4"))
    same, again, other = (made(jax.random.key(seed)) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(again), strict=True))
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(other), strict=True))


def test_programs_are_the_training_ones_that_fit() -> None:
    made, instances = sample("programs-320", 300)
    trained = [name for names in TRAINING.values() for name in names]
    pool = {}
    for name in trained:
        instance = program(name).instance(MACHINES["tpu-v4i"], 65536)
        if max(instance.size.steps, instance.size.events) <= 320:
            pool[name] = instance
    assert max(made.size.steps, made.size.events) <= 320
    drawn = set()
    for instance in instances:
        instance.check()
        cut = instance.trimmed()
        (name,) = (n for n, i in pool.items() if i.size == cut.size and (i.memory == cut.memory).all())
        drawn.add(name)
        for field in (
            "compute",
            "granules",
            "define",
            "output",
            "demand",
            "event_buffer",
            "event_kind",
            "gain",
            "traffic",
        ):
            assert (getattr(cut, field) == getattr(pool[name], field)).all()
        share = int(cut.capacity) / (program(name).peak_live() / 65536)
        assert 2**-3.5 - 0.03 < share <= 2**-0.5
    assert drawn == set(pool)
    assert len(pool) >= 10


def test_programs_on_several_machines() -> None:
    names, machines = ("neumann", "alexnet_infer"), ("tpu-v4i", "h100")
    made, instances = sample("programs-100", 40, machines=list(machines), programs=list(names))
    expected = [program(name).instance(MACHINES[machine], 65536) for name in names for machine in machines]
    assert made.size == tuple(max(column) for column in zip(*(i.size for i in expected), strict=True))
    drawn = {(i.memory.sum(), i.compute.sum()) for i in instances}
    assert drawn == {(i.memory.sum(), i.compute.sum()) for i in expected}
    assert len(drawn) == 4


def test_held_out_programs_are_not_trained_on() -> None:
    generated = generator("programs-32768")
    sizes = {instance.size for instance, _ in generated._members}
    for name in (name for names in HELD_OUT.values() for name in names):
        assert program(name).instance(MACHINES["tpu-v4i"], 65536).size not in sizes


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: generator("random-3x4"), "steps is 3; give an integer in 4..8192"),
        (lambda: generator("random-9000x4"), "steps is 9000; give an integer in 4..8192"),
        (lambda: generator("random-30x41"), "buffers is 41; give an integer in 4..40"),
        (lambda: generator("random-30x20", scale=3), "generator 'random-30x20': "),
        (lambda: generator("programs-10"), "no training program has at most 10 steps and events"),
        (lambda: generator("programs-512", machines=[3]), "the machine is 3; give a Machine or a name"),
    ],
)
def test_refusals(call, said: str) -> None:
    with pytest.raises(InstanceError) as caught:
        call()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["random-64", "program-512", "random-axb", "programs-", "random-64x48x2"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UnknownNameError, match="unknown generator"):
        generator(name)


def test_unknown_parts_of_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown machine 'tpu'"):
        generator("programs-512", machines=("tpu",))
    with pytest.raises(UnknownNameError, match="unknown program 'unet'"):
        generator("programs-512", programs=("unet",))
