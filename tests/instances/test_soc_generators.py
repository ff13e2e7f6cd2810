"""Training distributions of streams: legal instances of a static size, and what each parameter varies."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from dispatchgym.instances import Generator, InstanceError, UnknownNameError, unstack
from dispatchgym.instances.soc import GENERATORS, SocInstance, chip, generator


def batch(name: str, count: int = 32, **parameters) -> SocInstance:
    made = generator(name, **parameters)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(made))(jax.random.split(jax.random.key(5), count)))


@pytest.mark.parametrize("name", GENERATORS)
def test_samples_are_legal_and_fit_the_size(name: str) -> None:
    made = generator(f"{name}-6")
    assert isinstance(made, Generator)
    samples = batch(f"{name}-6", 16)
    for i in range(16):
        instance = unstack(samples, i)
        instance.check()
        assert all(have <= room for have, room in zip(instance.size, made.size, strict=True))
        instance.pad(made.size).check()
    assert {leaf.dtype for leaf in jax.tree.leaves(samples)} == {np.dtype(np.int32), np.dtype(bool)}


def test_plain_samples_have_the_whole_chip() -> None:
    sample = unstack(batch("realworld-4", 1), 0)
    exact = SocInstance.from_stream(chip("realworld"), [0], [0])
    for name in ("time", "n_tasks", "edges", "bandwidth", "n_pes", "power"):
        assert np.array_equal(getattr(sample, name), getattr(exact, name)), name
    assert (int(sample.cap), bool(sample.closed), int(sample.gap[0])) == (12, False, 0)
    assert generator("realworld-4").size == exact.size._replace(jobs=4, slots=12)


def test_load_and_noise_are_drawn_per_instance() -> None:
    samples = batch("canonical-top1-200", 64, mean_gap=[20, 500], noise=[0, 400])
    means = samples.gap[:, 1:].mean(axis=1)
    assert 15 < means.min() < 40
    assert 350 < means.max() < 600
    assert abs(np.median(means) - 100) < 50  # log-uniform: the geometric mean of 20 and 500
    deviations = samples.multiplier.std(axis=(1, 2))
    assert deviations.min() < 60
    assert 320 < deviations.max() < 430
    assert (batch("canonical-5", 4, noise=0).multiplier == 1000).all()


def test_templates_follow_the_weights() -> None:
    samples = batch("realworld-100")
    share = np.bincount(samples.template.ravel(), minlength=6) / samples.template.size
    assert np.allclose(share, [0.2, 0.2, 0.2, 0.1, 0.1, 0.2], atol=0.03)
    assert (batch("canonical-9", 4, profiles=("Top_1", "Top_2"), weights=(0, 1)).template == 1).all()


def test_bursts_keep_the_load() -> None:
    samples = batch("canonical-top1-400", 32, mean_gap=50, burst=5, burst_probability=1.0)
    assert abs(samples.gap.mean() - 50) < 4
    assert abs((samples.gap == 0).mean() - 0.8) < 0.03


def test_closed_streams_begin_full() -> None:
    samples = batch("canonical-9", 64, closed=0.5, cap=(2, 4))
    assert 0.3 < samples.closed.mean() < 0.7
    assert set(samples.cap.tolist()) == {2, 3, 4}
    for gap, cap in zip(samples.gap[samples.closed], samples.cap[samples.closed], strict=True):
        assert (gap[:cap] == 0).all()


def test_speeds_scale_the_times_of_a_kind() -> None:
    samples = batch("realworld-2", 64, speed=(500, 2000))
    nominal = np.array(chip("realworld").templates[1].time)[31]  # a viterbi_decoder: 1828, 739, 2
    ratio = samples.time[:, 1, 31, [0, 4]] / nominal[[0, 4]]
    assert 0.5 <= ratio.min() < 0.7
    assert 1.5 < ratio.max() <= 2.001
    assert (samples.time[:, 1, 31, :4] == samples.time[:, 1, 31, :1]).all()
    assert ((samples.time > 0) == (np.asarray(chip("realworld").arrays()[0]) > 0)).all()


def test_missing_pes_leave_every_task_one() -> None:
    samples = batch("realworld-2", 64, missing=0.9)
    assert samples.n_pes.min() == 1
    assert samples.n_pes.max() < 9
    exists = np.arange(34) < samples.n_tasks[..., None]
    assert ((samples.time >= 0).any(axis=3) == exists).all()
    kept = unstack(samples, int(samples.n_pes.argmax()))
    powers = kept.power[: int(kept.n_pes)].tolist()
    order = iter(chip("realworld").power)
    assert all(mw in order for mw in powers)  # those left keep their order


def test_mixes_differ() -> None:
    samples = batch("realworld-100", 64, mix=1.0)
    used = [len(set(row.tolist())) for row in samples.template]
    assert min(used) == 1
    assert max(used) >= 5


def test_a_smaller_chip() -> None:
    made = generator(
        "realworld-20", pes=["A7.0", "A15.0", "FFT.0"], opp={"A15": 1000}, profiles=["SC-T", "lag_detection"]
    )
    assert (made.size.pes, made.size.templates, made.weights) == (3, 2, (1, 2))
    assert hash(made) == hash(
        generator("realworld-20", pes=("A7.0", "A15.0", "FFT.0"), opp={"A15": 1000}, profiles=("SC-T", "lag_detection"))
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mean_gap": 0}, "mean_gap is 0; give an integer in 1"),
        ({"mean_gap": (30, 20)}, r"mean_gap is \(30, 20\)"),
        ({"noise": (0, 0.2)}, "noise is"),
        ({"cap": True}, "cap is True"),
        ({"closed": 1.5}, "closed is 1.5; give a probability in 0..1"),
        ({"weights": (1,)}, r"weights are \[1\]; give 10 numbers"),
        ({"speed": 99}, "speed is 99"),
        ({"mean_gap": 2**20}, "20 jobs may need"),
        ({"gap": 3}, "unexpected keyword argument 'gap'; see the fields of RandomStream"),
    ],
)
def test_wrong_parameters_are_refused(given: dict, said: str) -> None:
    with pytest.raises(InstanceError, match=said):
        generator("canonical-20", **given)


def test_unknown_names_suggest_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="unknown generator 'cannonical-20'; did you mean 'canonical-20'"):
        generator("cannonical-20")
    with pytest.raises(UnknownNameError, match="realworld-N"):
        generator("realworld")
    with pytest.raises(InstanceError, match="jobs is 0"):
        generator("canonical-0")
