"""Evolution strategies on the index head: it is the network's own head, it starts as the rule, learns, and resumes exactly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from dispatchgym.agents import checkpoint
from dispatchgym.agents.lanes import encode, play, stepper, to_torch
from dispatchgym.agents.rules.job_shop import RULES
from dispatchgym.gnn.network import Step
from dispatchgym.instances.base import DispatchGymError, UnknownNameError
from dispatchgym.train import rollout_improvement
from dispatchgym.train.evolution import Config, Trainer, index_action

TINY = Config(
    generators=("taillard-4x3", "taillard-5x3"),
    weights=(1.0, 1.0),
    start={"work_remaining": -1.0},
    columns=("work_remaining", "duration", "start"),
    context=("progress",),
    rule="mwkr",
    iterations=12,
    batch=8,
    pairs=4,
    learning_rate=0.05,
    warm_up=0,
    average=0.5,
    width=16,
    layers=1,
    hidden=16,
    heads=2,
    validation=("taillard-4x3",),
    validation_count=16,
    evaluate_every=4,
    save_every=4,
)


def metrics(folder: Path) -> list[dict]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if not k.startswith("time")} for line in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The folder of a run that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    Trainer(TINY, folder).train()
    return folder


def test_the_first_policy_is_the_rule_that_it_starts_from(tmp_path):
    trainer = Trainer(TINY, tmp_path / "run")
    fixed = trainer.fixed["taillard-4x3"]
    played = play(fixed.env, fixed.problems, trainer.network).objective[:, 0]
    assert (played == fixed.by_rule(RULES["mwkr"])).all()


def test_the_device_plays_what_the_network_says(tmp_path):
    trainer = Trainer(TINY, tmp_path / "run")
    env, network = trainer.envs["taillard-5x3"], trainer.network
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in (network.index.bias, network.index.weight):
            parameter.add_(torch.randn(parameter.shape, generator=rng))
    problems = trainer.problems("taillard-5x3", jax.random.key(1), 6)
    weights = [jnp.asarray(x.detach().numpy()) for x in (network.index.bias, network.index.weight, network.index_scale)]
    states = jax.jit(jax.vmap(env.reset))(problems)
    observe, step = jax.jit(jax.vmap(env.observe)), jax.jit(jax.vmap(env.step))
    decide = jax.jit(jax.vmap(lambda o: index_action(env.graph, o, *weights)))
    encoded = encode(network, env, problems)
    for _ in range(8):
        seen = observe(problems, states)
        parts = (seen.action_mask, seen.action_nodes, seen.action_features, seen.globals)
        logits, _ = network(encoded, Step(*(to_torch(x) for x in parts)))
        assert logits.argmax(-1).tolist() == decide(seen).tolist()
        states = step(problems, states, decide(seen)).state
    objective = np.asarray(trainer._play["taillard-5x3"](problems, *(w[None] for w in weights[:2]), weights[2]))
    assert objective[0].tolist() == play(env, problems, network).objective[:, 0].tolist()
    assert stepper(env) is stepper(env)


def test_it_learns_and_leaves_a_checkpoint_that_others_go_on_from(whole, tmp_path):
    lines = metrics(whole)
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert min(line["eval/ratio"] for line in lines if "eval/ratio" in line) < 1
    assert checkpoint.read_card(whole).architecture.index == 1
    config = rollout_improvement.Config(
        generators=("taillard-4x3",), weights=(1.0,), base="mwkr", iterations=1, batch=2, states=2, tries=2,
        validation=("taillard-4x3",), validation_count=2, initial=str(whole),
    )  # fmt: skip
    rollout_improvement.Trainer(config, tmp_path / "next").train()
    assert checkpoint.read_card(tmp_path / "next").architecture.index == 1


def test_an_interrupted_run_goes_on_exactly(whole, tmp_path):
    class Interrupted(Exception):
        pass

    def stop(done: int, _: dict) -> None:
        if done >= 6:
            raise Interrupted

    with pytest.raises(Interrupted):
        Trainer(TINY, tmp_path / "run").train(stop)
    Trainer(TINY, tmp_path / "run", resume=True).train()
    assert metrics(tmp_path / "run") == metrics(whole)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"start": {}}, DispatchGymError, "start"),
        ({"start": {"work_remainin": 1.0}}, UnknownNameError, "work_remaining"),
        ({"columns": ("durations",)}, UnknownNameError, "duration"),
        ({"context": ("makespans",)}, UnknownNameError, "makespan"),
        ({"rule": "mwk"}, UnknownNameError, "mwkr"),
        ({"sigma": 0.0}, DispatchGymError, "sigma"),
    ],
)
def test_nonsense_is_refused_before_anything_is_written(tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        Trainer(replace(TINY, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_climbing_accepts_only_what_is_better_and_is_reproducible(tmp_path):
    config = replace(TINY, climb=3, sigma=0.5, average=0.0, iterations=6)
    for name in ("one", "two"):
        Trainer(config, tmp_path / name).train()
    gains = [line["train/gain"] for line in metrics(tmp_path / "one")]
    assert min(gains) >= 0
    assert max(gains) > 0
    assert metrics(tmp_path / "one") == metrics(tmp_path / "two")
    trainer = Trainer(config, tmp_path / "three")
    first = [p.detach().clone() for p in (trainer.network.index.bias, trainer.network.index.weight)]
    gain = trainer.iterate()["train/gain"]
    second = [p.detach() for p in (trainer.network.index.bias, trainer.network.index.weight)]
    step = [np.stack([(a - b).numpy(), np.zeros(a.shape)]) for a, b in zip(first, second, strict=True)]
    cost = trainer._costs(step[0], step[1], 0)  # back where it started, and where it is, on the same instances
    assert (cost[0] > cost[1]) == (gain > 0)
