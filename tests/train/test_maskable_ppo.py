"""MaskablePPO with the candidate-scoring network: it learns, it resumes exactly, and sharing encodings changes no result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO

from dispatchgym.agents import checkpoint
from dispatchgym.agents.lanes import play
from dispatchgym.envs.adapters.sb3 import make_sb3
from dispatchgym.envs.registry import REGISTRY
from dispatchgym.instances.base import DispatchGymError, UnknownNameError
from dispatchgym.train import self_labelling
from dispatchgym.train.maskable_ppo import Config, ScaledRewards, Trainer
from dispatchgym.train.sb3_policy import GraphMaskablePolicy, StaticPart

ENV = "dispatchgym/JobShop-v0"
TINY = Config(
    generator="taillard-4x3",
    total_steps=9600,
    envs=16,
    n_steps=20,  # episodes take 12: they end within a rollout, and rollouts within episodes
    refill_every=3,
    pool=64,
    batch_size=80,
    learning_rate=2e-3,
    width=16,
    layers=2,
    hidden=16,
    heads=2,
    validation=("taillard-4x3",),
    evaluate_every=10,
    save_every=2,
)
PER_UPDATE = TINY.envs * TINY.n_steps


class Interrupted(Exception):
    """Stands for Ctrl-C."""


def metrics(folder: Path) -> list[dict]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if not k.startswith("time")} for line in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Trainer, Path]:
    """A run that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    trainer = Trainer(TINY, folder)
    trainer.train()
    return trainer, folder


def small_lanes():
    return make_sb3(ENV, 5, generator=TINY.generator)


def observations(lanes, steps: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """What random play shows, all steps of all lanes in one batch."""
    rng = np.random.default_rng(seed)
    lanes.seed(seed)
    seen = [lanes.reset()]
    for _ in range(steps):
        mask = np.stack(lanes.env_method("action_masks"))
        actions = np.where(mask, rng.random(mask.shape), -1).argmax(1)
        seen.append(lanes.step(actions)[0])
    return {name: torch.from_numpy(np.concatenate([o[name] for o in seen])) for name in seen[0]}


def test_it_beats_random_play(whole) -> None:
    trainer, folder = whole
    lines = metrics(folder)
    fixed = trainer.fixed[TINY.validation[0]]
    random = float((fixed.random_play[0] / fixed.reference()).mean())
    assert min(line.get("eval/ratio", np.inf) for line in lines) < 1 + 0.7 * (random - 1)
    objective = [line["rollout/objective"] for line in lines]
    assert np.mean(objective[-6:]) < np.mean(objective[:6])
    assert np.mean([line["train/value_loss"] for line in lines[-6:]]) < lines[0]["train/value_loss"]
    assert [line["step"] for line in lines] == [PER_UPDATE * (i + 1) for i in range(30)]


def test_an_interrupted_run_goes_on_exactly(whole, tmp_path) -> None:
    def stop(step: int, _: dict) -> None:
        if step >= 16 * PER_UPDATE:
            raise Interrupted

    with pytest.raises(Interrupted):
        Trainer(TINY, tmp_path / "run").train(stop)
    resumed = Trainer(TINY, tmp_path / "run", resume=True)
    assert resumed.updates == 12  # the last multiple of refill_every * save_every
    resumed.train()
    assert metrics(tmp_path / "run") == metrics(whole[1])
    for name, tensor in whole[0].network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name])


def test_rewards_are_scaled_by_one_constant() -> None:
    lanes, plain = ScaledRewards(small_lanes(), 50.0), small_lanes()
    lanes.seed(1)
    plain.seed(1)
    mask = lanes.reset()["action_mask"]
    plain.reset()
    total = np.zeros(5)
    for _ in range(12):
        action = mask.argmax(1)
        observation, reward, done, infos = lanes.step(action)
        natural = plain.step(action)[1]
        assert np.allclose(reward * 50, natural)
        total += natural
        mask = observation["action_mask"]
    assert done.all()
    means = lanes.finished()
    assert means["rollout/ep_len_mean"] == 12
    assert means["rollout/ep_rew_mean"] == pytest.approx(total.mean())
    assert means["rollout/objective"] == pytest.approx(np.mean([info["objective"] for info in infos]))
    assert lanes.finished() == {}


def policy_of(trainer: Trainer, **changes) -> GraphMaskablePolicy:
    policy = trainer.model.policy
    parameters = policy._get_constructor_parameters() | changes
    twin = GraphMaskablePolicy(**parameters)
    twin.load_state_dict(policy.state_dict())
    return twin


def test_sharing_encodings_changes_nothing(whole) -> None:
    obs = observations(small_lanes(), 15)
    shared, apart = policy_of(whole[0]), policy_of(whole[0], share_encodings=False)
    actions = obs["action_mask"].long().argmax(1)
    rows, group = shared.static.distinct(shared.static.graphs(obs))
    assert len(rows) == 10  # five lanes, each in its second episode
    assert len(group) == 16 * 5
    with torch.enable_grad():
        results = [p.evaluate_actions(obs, actions) for p in (shared, apart)]
        for left, right in zip(*results, strict=True):
            assert torch.allclose(left, right, atol=1e-5)
        for p, (values, log_prob, entropy) in zip((shared, apart), results, strict=True):
            (values + log_prob + entropy).sum().backward()
            assert all(parameter.grad is not None for parameter in p.network.parameters())
    gradients = zip(shared.network.parameters(), apart.network.parameters(), strict=True)
    assert all(torch.allclose(a.grad, b.grad, atol=1e-3, rtol=1e-3) for a, b in gradients)


def test_a_collision_of_fingerprints_gives_up_sharing(whole, monkeypatch) -> None:
    obs = observations(small_lanes(), 3)
    static = whole[0].model.policy.static
    monkeypatch.setattr(StaticPart, "fingerprint", lambda self, graphs: torch.zeros(20, dtype=torch.long))
    assert static.distinct(static.graphs(obs)) == (None, None)


@torch.no_grad()
def test_kept_encodings_follow_lanes_and_weights(whole) -> None:
    lanes = small_lanes()
    policy, apart = policy_of(whole[0]), policy_of(whole[0], share_encodings=False)
    every = observations(lanes, 15)
    for step in range(16):
        if step == 8:  # as an optimiser does, in place
            for p in (policy, apart):
                p.network.encoder.embed[0].weight.mul_(1.5)
        obs = {name: value[5 * step : 5 * step + 5].clone() for name, value in every.items()}
        assert torch.allclose(policy.predict_values(obs), apart.predict_values(obs), atol=1e-5)
        for value in obs.values():  # SB3 may reuse this memory
            value.zero_()


@pytest.mark.parametrize("origin", ["self_labelling", "maskable_ppo"])
def test_both_trainers_share_policies(whole, tmp_path, origin) -> None:
    """A checkpoint of either starts the other, and plays the same actions by every way."""
    sizes = {"width": 16, "layers": 2, "hidden": 16, "heads": 2}
    labelling = self_labelling.Config(generators=(TINY.generator,), weights=(1.0,), validation=TINY.validation, **sizes)
    if origin == "self_labelling":
        source = self_labelling.Trainer(labelling, tmp_path / "source")
        source.export(tmp_path / "policy")
        other = Trainer(replace(TINY, initial=str(tmp_path / "policy"), width=8), tmp_path / "other")
    else:
        whole[0].export(tmp_path / "policy")
        source = whole[0]
        started = replace(labelling, initial=str(tmp_path / "policy"), width=8)
        other = self_labelling.Trainer(started, tmp_path / "other")
    for name, tensor in source.network.state_dict().items():
        assert torch.equal(tensor, other.network.state_dict()[name])

    policy = (other if origin == "self_labelling" else source).model.policy
    env = small_lanes().lanes.core
    network, _ = checkpoint.load(tmp_path / "policy", ENV, env)
    lanes = make_sb3(ENV, 5, generator=TINY.generator, pool_size=5)
    lanes.seed(5)
    obs = lanes.reset()
    played = play(env, lanes.lanes.lanes.pool.problems, network)
    assert played.actions.shape == (12, 5, 1)
    for expected in played.actions[:, :, 0]:
        actions, _ = policy.predict(obs, deterministic=True)  # no masks given: the observation holds them
        assert np.array_equal(actions, expected)
        obs, _, done, infos = lanes.step(actions)
    assert done.all()
    assert [info["objective"] for info in infos] == played.objective[:, 0].tolist()


@pytest.mark.parametrize("env_id", list(REGISTRY))
def test_sb3_learns_on_every_discrete_environment(env_id) -> None:
    """By SB3's own means, without our trainer."""
    lanes = make_sb3(env_id, 2)
    core = lanes.lanes.core
    if not isinstance(core.action_space, gymnasium.spaces.Discrete):
        pytest.skip("its actions are no choice among candidates")
    model = MaskablePPO(
        GraphMaskablePolicy,
        lanes,
        n_steps=4,
        batch_size=4,
        n_epochs=1,
        device="cpu",
        policy_kwargs={"spec": core.graph},
    )
    model.learn(16)
    assert model.num_timesteps == 16
    assert all(torch.isfinite(p).all() for p in model.policy.parameters())


def test_masks_given_narrow_those_observed(whole) -> None:
    policy = whole[0].model.policy
    obs = observations(small_lanes(), 0)
    for job in range(4):
        only = np.zeros((5, 4), bool)
        only[:, job] = True
        numpy_obs = {name: value.numpy() for name, value in obs.items()}
        for deterministic in (True, False):
            actions, _ = policy.predict(numpy_obs, deterministic=deterministic, action_masks=only)
            assert (actions == job).all()


def test_a_continuous_action_space_is_refused(whole) -> None:
    with pytest.raises(DispatchGymError, match="chooses among candidates"):
        policy_of(whole[0], action_space=gymnasium.spaces.Box(0, 1, (3,)))


def test_a_batch_size_that_does_not_divide_is_refused(tmp_path) -> None:
    with pytest.raises(DispatchGymError, match="batch_size is 77; it must be a divisor of envs"):
        Trainer(replace(TINY, batch_size=77), tmp_path / "run")


NONSENSE = [
    ("batch_size", 0), ("batch_size", 1), ("envs", 0), ("n_steps", 0), ("refill_every", 0), ("pool", 0), ("epochs", 0),
    ("total_steps", -1), ("gamma", 1.5), ("gae_lambda", -0.1), ("clip_range", 0.0), ("target_kl", "foo"),
    ("target_kl", 0.0), ("learning_rate", float("inf")), ("ent_coef", -1.0), ("max_grad_norm", 0.0),
    ("reward_scale", 0), ("share_encodings", 1), ("heads", 3), ("width", 1000), ("generator", ""),
    ("generator", "foo"), ("validation", ()), ("validation", ("taillard-4x3",) * 2), ("threads", 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), NONSENSE)
def test_nonsense_is_refused_before_anything_is_written(tmp_path, name, value) -> None:
    with pytest.raises(DispatchGymError) as caught:
        Trainer(replace(TINY, **{name: value}), tmp_path / "run")
    message = str(caught.value)
    assert "\n" not in message
    assert f"setting {name} is {value!r}; it must be" in message or isinstance(caught.value, UnknownNameError)
    assert not (tmp_path / "run").exists()
