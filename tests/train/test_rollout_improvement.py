"""Policy improvement by rollouts: costs are what playing on costs, it learns, and it resumes exactly."""

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
from dispatchgym.agents.lanes import encode, play, to_torch
from dispatchgym.agents.rules.job_shop import RULES
from dispatchgym.gnn.network import Step
from dispatchgym.instances.base import DispatchGymError, UnknownNameError
from dispatchgym.train.rollout_improvement import Config, Trainer
from dispatchgym.train.rollouts import KEY, continued

TINY = Config(
    generators=("taillard-4x3",),
    weights=(1.0,),
    base="mwkr",
    iterations=40,
    batch=8,
    states=4,
    tries=3,
    rule_until=10,
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


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The folder of a run that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    Trainer(TINY, folder).train()
    return folder


def test_the_cost_of_a_candidate_is_that_of_playing_on_by_the_rule(tmp_path):
    trainer = Trainer(TINY, tmp_path / "run")
    (name,) = TINY.generators
    env, trials = trainer.envs[name], trainer.trials(trainer.envs[name])
    problems = trainer.problems(name, jax.random.key(3), 2)
    actions, objective = map(np.asarray, trials.rule(problems))
    share = np.array([[0.0, 0.45], [0.3, 0.999]], np.float32)
    states, seen, rule_action = trials.at(problems, actions, share)
    mask = np.asarray(seen[0])
    first = np.broadcast_to(np.arange(env.graph.n_actions, dtype=np.int32), (2, 2, 4))
    costs = trials.costs(problems, states, np.ascontiguousarray(first))
    policy = RULES["mwkr"].make(env.graph)
    step, observe = jax.jit(env.step), jax.jit(env.observe)
    for b in range(2):
        problem = jax.tree.map(lambda x, b=b: x[b], problems)
        state, choices = env.reset(problem), []
        for action in actions[b]:
            if int(env.action_mask(problem, state).sum()) > 1:
                choices.append(state)
            state = step(problem, state, jnp.int32(action)).state
        for s in range(2):
            state = choices[int(share[b, s] * len(choices))]
            assert int(policy(observe(problem, state), KEY)) == int(rule_action[b, s])
            assert costs[b, s, int(rule_action[b, s])] == objective[b]
            for action in np.flatnonzero(mask[b, s]):
                end = step(problem, state, jnp.int32(action)).state
                while not env.terminated(problem, end):
                    end = step(problem, end, policy(observe(problem, end), KEY)).state
                assert costs[b, s, action] == int(env.objective(problem, end))


def test_the_cost_under_a_network_is_that_of_its_greedy_play(tmp_path):
    trainer = Trainer(TINY, tmp_path / "run")
    (name,) = TINY.generators
    env = trainer.envs[name]
    problems = trainer.problems(name, jax.random.key(3), 4)
    played = play(env, problems, trainer.network)
    shares = np.sort(np.random.default_rng(0).random((4, 4), np.float32), 1)
    states, seen, _ = trainer.trials(env).at(problems, played.actions[:, :, 0].T.copy(), shares)
    own = trainer.network(encode(trainer.network, env, problems), Step(*map(to_torch, seen)))[0].argmax(-1)
    first = own.to(torch.int32).numpy()[:, :, None]
    costs = continued(env, problems, states, first, trainer.network)
    assert (costs[:, :, 0] == played.objective).all()


def test_the_network_takes_the_place_of_the_base_where_it_is_better(tmp_path):
    config = replace(TINY, refresh=10, relative=True, iterations=24)
    bases: list[float] = []
    trainer = Trainer(config, tmp_path / "whole")
    trainer.train(lambda _, scalars: bases.append(scalars["train/base"]))
    assert bases[0] == 1.0
    assert min(bases) == bases[-1] < 1.0
    assert trainer.champion is not None

    class Interrupted(Exception):
        pass

    def stop(done: int, _: dict) -> None:
        if done >= 21:
            raise Interrupted

    with pytest.raises(Interrupted):
        Trainer(config, tmp_path / "run").train(stop)
    Trainer(config, tmp_path / "run", resume=True).train()
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


def test_what_is_kept_is_learned_from_again_and_survives_an_interruption(tmp_path):
    config = replace(TINY, keep=6, replays=3, minibatches=1, iterations=24)

    class Interrupted(Exception):
        pass

    def stop(done: int, _: dict) -> None:
        if done >= 14:  # the last save is that of step 10: what steps 11 to 14 kept is forgotten
            raise Interrupted

    Trainer(config, tmp_path / "whole").train()
    with pytest.raises(Interrupted):
        Trainer(config, tmp_path / "run").train(stop)
    Trainer(config, tmp_path / "run", resume=True).train()
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    files = sorted(path.stem for path in (tmp_path / "run" / "kept").iterdir())
    assert files == [f"{step:09d}" for step in range(18, 24)]
    assert metrics(tmp_path / "whole") != metrics_of_a_run_without_replays(config, tmp_path / "plain")


def metrics_of_a_run_without_replays(config: Config, folder: Path) -> list[dict]:
    Trainer(replace(config, replays=0), folder).train()
    return metrics(folder)


def test_it_learns(whole):
    lines = metrics(whole)
    assert [line["step"] for line in lines] == list(range(1, 41))
    for name in ("train/loss", "train/played_to_rule"):
        values = [line[name] for line in lines]
        assert np.mean(values[-8:]) < np.mean(values[:8])
    card = checkpoint.read_card(whole)
    assert card.details["algorithm"] == "rollout_improvement"


def test_an_interrupted_run_goes_on_exactly(whole, tmp_path):
    class Interrupted(Exception):
        pass

    def stop(done: int, _: dict) -> None:
        if done >= 14:
            raise Interrupted

    with pytest.raises(Interrupted):
        Trainer(TINY, tmp_path / "run").train(stop)
    Trainer(TINY, tmp_path / "run", resume=True).train()
    assert metrics(tmp_path / "run") == metrics(whole)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"base": "random"}, DispatchGymError, "no deterministic rule"),
        ({"base": "mwk"}, UnknownNameError, "mwkr"),
        ({"tries": 0}, DispatchGymError, "tries"),
        ({"rule_share": 1.5}, DispatchGymError, "rule_share"),
        ({"entropy": -1.0}, DispatchGymError, "entropy"),
        ({"refresh": -1}, DispatchGymError, "refresh"),
        ({"replays": 2}, DispatchGymError, "keep is 0"),
    ],
)
def test_nonsense_is_refused_before_anything_is_written(tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        Trainer(replace(TINY, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()
