"""Self-labelling on tiny shops: it learns, it resumes exactly, and draws nothing twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from dispatchgym.agents import checkpoint
from dispatchgym.agents.checkpoint import CheckpointError
from dispatchgym.agents.lanes import stepper
from dispatchgym.envs.registry import lookup
from dispatchgym.instances.base import DispatchGymError, UnknownNameError
from dispatchgym.train.presets import configure
from dispatchgym.train.self_labelling import Config, Trainer
from dispatchgym.train.trainer import find_rule
from dispatchgym.train.validation import VALIDATION_SEED, better, worst

TINY = Config(
    generators=("taillard-4x3",),
    weights=(1.0,),
    iterations=30,
    batch=8,
    samples=6,
    minibatches=2,
    learning_rate=3e-3,
    warm_up=2,
    width=16,
    layers=2,
    hidden=16,
    heads=2,
    validation=("taillard-4x3",),
    validation_count=16,
    evaluate_every=10,
    save_every=10,
)


def metrics(folder: Path) -> list[dict]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if not k.startswith("time")} for line in lines]


class Interrupted(Exception):
    """Stands for Ctrl-C."""


def stop_at(step: int):
    def progress(done: int, _: dict) -> None:
        if done >= step:
            raise Interrupted

    return progress


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The folder of a run that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    Trainer(TINY, folder).train()
    return folder


def test_it_learns(whole) -> None:
    lines = metrics(whole)
    assert [line["step"] for line in lines] == list(range(1, 31))
    for name in ("train/loss", "train/mean_ratio"):
        values = [line[name] for line in lines]
        assert np.mean(values[-8:]) < np.mean(values[:8])


def test_it_leaves_a_run_directory(whole) -> None:
    names = {path.name for path in whole.iterdir()}
    assert {"config.json", "command.txt", "manifest.json", "metrics.jsonl", "state.safetensors"} < names
    assert any(name.startswith("events.out.tfevents") for name in names)
    card = checkpoint.read_card(whole)
    assert card.env_id == TINY.env
    assert card.details["algorithm"] == "self_labelling"


def test_an_interrupted_run_goes_on_exactly(whole, tmp_path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        Trainer(TINY, folder).train(stop_at(14))
    with (folder / "metrics.jsonl").open("a") as torn:
        torn.write('{"step": 15, "tim')
    manifest = (folder / "manifest.json").read_bytes()
    assert len((folder / "command.txt").read_text().splitlines()) == 1
    Trainer(TINY, folder, resume=True).train()
    assert (folder / "manifest.json").read_bytes() == manifest
    assert len((folder / "command.txt").read_text().splitlines()) == 2
    assert metrics(folder) == metrics(whole)
    assert (folder / "state.safetensors").stat().st_size == (whole / "state.safetensors").stat().st_size


def test_a_run_is_neither_overwritten_nor_changed(whole) -> None:
    with pytest.raises(CheckpointError, match="--resume"):
        Trainer(TINY, whole)
    with pytest.raises(CheckpointError, match="differs from this configuration"):
        Trainer(replace(TINY, batch=4), whole, resume=True)


def test_a_run_stopped_before_its_first_save_starts_again(whole, tmp_path) -> None:
    with pytest.raises(Interrupted):
        Trainer(TINY, tmp_path / "run").train(stop_at(1))
    trainer = Trainer(TINY, tmp_path / "run", resume=True)
    with pytest.raises(Interrupted):
        trainer.train(stop_at(2))
    assert metrics(tmp_path / "run") == metrics(whole)[:2]


def test_validation_is_never_trained_on(tmp_path) -> None:
    trainer = Trainer(TINY, tmp_path / "run")
    name = TINY.validation[0]

    def drawn(number: int) -> bytes:
        problems = trainer.problems(name, jax.random.fold_in(trainer.key, number), 8)
        return np.asarray(problems.duration).tobytes()

    seen = {drawn(i) for i in range(30)}
    assert len(seen) == 30
    assert drawn(VALIDATION_SEED) not in seen


@pytest.mark.parametrize("scheme", ["giffler_thompson", "left_shift", "semi_active"])
def test_only_what_the_teacher_achieves_in_the_environment_is_imitated(tmp_path, scheme) -> None:
    trainer = Trainer(replace(TINY, options={"scheme": scheme}, iterations=5), tmp_path / "run")
    env = trainer.envs[TINY.generators[0]]
    problems = trainer.problems(TINY.generators[0], trainer.key, 64)
    actions, objective, valid = trainer.teach(env, problems)
    assert valid.all() == (scheme != "giffler_thompson")  # a non-delay schedule need not be active
    assert valid.any()
    states = jax.vmap(env.reset)(problems)
    legal = np.ones(64, bool)
    for action in actions:
        after = jax.vmap(env.step)(problems, states, action)
        states, legal = after.state, legal & ~np.asarray(after.invalid)
    assert np.array_equal(legal, valid)
    reached = np.asarray(jax.vmap(env.objective)(problems, states))
    assert np.array_equal(reached[valid], objective[valid])
    trainer.train()
    losses = [line["train/loss"] for line in metrics(tmp_path / "run")]
    assert np.isfinite(losses).all()
    assert max(losses) < 50


def test_a_family_without_rules_has_no_teacher() -> None:
    entry = lookup(TINY.env)
    assert find_rule(replace(entry, family="toll"), "fdd_mwkr") is None
    assert find_rule(entry, None) is None
    with pytest.raises(UnknownNameError, match="unknown rule 'fdd_mwk'; did you mean 'fdd_mwkr'"):
        find_rule(entry, "fdd_mwk")


NONSENSE = [
    ("teacher", "foo"), ("teacher", 3), ("batch", 0), ("samples", 0), ("minibatches", 0), ("weights", (1.0, 2.0)),
    ("weights", (float("nan"),)), ("weights", (0.0,)), ("weights", ("a",)), ("generators", ()), ("generators", (3,)),
    ("generators", ("foo-4x3",)), ("heads", 3), ("validation_count", 0), ("evaluate_every", 0), ("save_every", 0),
    ("learning_rate", float("nan")), ("learning_rate", 0.0), ("learning_rate", -1.0), ("width", 0), ("width", 513),
    ("layers", 0), ("validation", ()), ("validation", ("foo",)), ("threads", 0), ("iterations", -1), ("clip", 0.0),
    ("average", 1.5), ("initial", 3), ("seed", -1), ("options", {"generator": "x"}), ("options", {"foo": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), NONSENSE)
def test_nonsense_is_refused_before_anything_is_written(tmp_path, name, value) -> None:
    with pytest.raises(DispatchGymError) as caught:
        Trainer(replace(TINY, **{name: value}), tmp_path / "run")
    message = str(caught.value)
    assert "\n" not in message
    assert f"setting {name} is {value!r}; it must be" in message or isinstance(caught.value, UnknownNameError)
    assert not (tmp_path / "run").exists()


def test_settings_of_the_command_line() -> None:
    entry = lookup(TINY.env)
    _, config = configure(entry, "self_labelling", "quick", {"teacher": None, "learning_rate": "1e-3"}, 0)
    assert config.teacher is None
    assert config.learning_rate == 1e-3
    assert configure(entry, "ppo", None, {"reward_scale": "1e3"}, 0)[1].reward_scale == 1000.0
    with pytest.raises(DispatchGymError, match="setting heads is 3; it must be a divisor of hidden = 64"):
        configure(entry, "self_labelling", None, {"heads": 3}, 0)


@pytest.mark.parametrize("sense", ["min", "max"])
def test_sense(sense) -> None:
    assert better(sense, 1.0, worst(sense))
    assert better(sense, 2.0, 1.0) == (sense == "max")
    assert not better(sense, 1.0, 1.0)


def test_an_offset_of_zero_is_replaced(tmp_path, monkeypatch) -> None:
    fixed = Trainer(TINY, tmp_path / "run").fixed[TINY.generators[0]]
    monkeypatch.setattr(stepper(fixed.env), "offset", lambda problems: np.zeros(16))
    assert np.array_equal(fixed.reference(), np.full(16, fixed.random_play[0].mean()))
