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
from dispatchgym.train.self_labelling import VALIDATION_SEED, Config, Trainer

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
    Trainer(TINY, folder, resume=True).train()
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
