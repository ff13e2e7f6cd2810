"""MaskablePPO (arXiv 1707.06347, 2006.14171) of Stable-Baselines3 with the candidate-scoring network.

Rewards reach PPO divided by one constant for the whole run. At ``gamma = 1`` their sum is the objective up to that factor
and each instance's offset, so the best policy stays the same; learning rates and the value loss no longer depend on the
unit.

A run is cut into stretches of ``refill_every`` updates. Each begins with fresh instances and fresh episodes, and each
update seeds the random generators of NumPy and torch, all from (seed, number of the update). So weights and optimiser are
all that a state has to hold, and a run resumed from the start of a stretch goes on exactly as one that was never
interrupted.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from dispatchgym.agents import checkpoint
from dispatchgym.envs.adapters.sb3 import make_sb3
from dispatchgym.envs.core import Environment
from dispatchgym.envs.registry import lookup, make
from dispatchgym.gnn.network import Architecture, GraphScorer
from dispatchgym.train.run import Run
from dispatchgym.train.sb3_policy import GraphMaskablePolicy
from dispatchgym.train.settings import check_common, check_integers, check_name, check_numbers, refuse
from dispatchgym.train.validation import Fixed, better, worst


@dataclass(frozen=True)
class Config:
    """Everything that determines a run, besides versions and the machine."""

    env: str = "dispatchgym/JobShop-v0"
    options: dict[str, Any] = field(default_factory=dict)  # of the environment
    generator: str = "taillard-10x10"  # of the training instances
    total_steps: int = 1_000_000  # decisions in all lanes together
    envs: int = 64  # lanes
    n_steps: int = 100  # decisions of each lane in an update; the length of an episode, or a multiple, wastes nothing
    refill_every: int = 1  # updates between fresh instances; raise it where episodes are longer than n_steps
    pool: int = 256  # instances drawn each time; more than the episodes of a stretch avoids repeats
    batch_size: int = 1600  # decisions of a minibatch; divides envs * n_steps
    epochs: int = 4  # passes over the decisions of an update
    gamma: float = 1.0  # below 1 the return is no longer the objective
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    target_kl: float | None = None  # ends the epochs of an update early
    learning_rate: float = 5e-4
    final_share: float = 0.1  # of the learning rate at the end (linear)
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    reward_scale: float | None = None  # what rewards are divided by; default: mean |return| of random play
    seed: int = 0
    width: int = 64
    layers: int = 3
    hidden: int = 64
    heads: int = 4
    validation: tuple[str, ...] = ("taillard-10x10",)
    validation_count: int = 32
    evaluate_every: int = 10  # updates
    save_every: int = 10  # stretches of refill_every updates
    initial: str | None = None  # folder of a checkpoint to start from; its architecture replaces the sizes above
    share_encodings: bool = True  # encode each distinct graph once per batch; False is slower, to compare
    threads: int = 1

    def __post_init__(self) -> None:
        """Raises DispatchGymError for the first setting that cannot be."""
        check_common(self)
        check_name(self, "generator")
        check_integers(self, "total_steps", 0, 2**62)
        check_integers(self, "envs n_steps refill_every pool epochs", 1)
        check_integers(self, "batch_size", 2)  # PPO scales advantages by their deviation
        if self.envs * self.n_steps % self.batch_size:
            refuse("batch_size", self.batch_size, f"a divisor of envs * n_steps = {self.envs * self.n_steps}")
        check_numbers(self, "gamma gae_lambda", high=1.0)
        check_numbers(self, "clip_range max_grad_norm", above=True)
        check_numbers(self, "ent_coef vf_coef")
        check_numbers(self, "target_kl reward_scale", above=True, optional=True)
        if not isinstance(self.share_encodings, bool):
            refuse("share_encodings", self.share_encodings, "true or false")


class Trainer:
    """One run. :meth:`update` is one rollout and what PPO learns from it; the rest is bookkeeping."""

    def __init__(self, config: Config, folder: Path, resume: bool = False) -> None:
        self.per_update = config.envs * config.n_steps
        torch.set_num_threads(config.threads)
        self.config = config
        self.entry = lookup(config.env)
        self.sense = self.entry.load().sense
        envs = {name: make(config.env, generator=name, **config.options) for name in config.validation}
        self.fixed = {
            name: Fixed(self.entry, env, name, config.seed, index, config.validation_count)
            for index, (name, env) in enumerate(envs.items())
        }
        self.scale = config.reward_scale or self._typical_return()
        lanes = make_sb3(config.env, config.envs, generator=config.generator, pool_size=config.pool, **config.options)
        self.lanes = ScaledRewards(lanes, self.scale)
        self.model = self._model(lanes.lanes.core)
        self.updates = 0
        self.best = worst(self.sense)
        self.spent = 0.0
        self.run = Run(folder, config, resume)
        if resume and self.run.saved():
            step, extra = self.run.load_state(self.policy.optimizer, self.network)
            self.updates = step // self.per_update
            self.best, self.spent = float(extra["best"]), float(extra["spent"])
        self.run.open(self.step)

    @property
    def policy(self) -> GraphMaskablePolicy:
        """The policy in SB3's dress."""
        policy = self.model.policy
        assert isinstance(policy, GraphMaskablePolicy)
        return policy

    @property
    def network(self) -> GraphScorer:
        """What is trained."""
        return self.policy.network

    @property
    def step(self) -> int:
        """Decisions so far."""
        return self.updates * self.per_update

    def _model(self, env: Environment) -> MaskablePPO:
        c = self.config
        initial = None if c.initial is None else checkpoint.load(Path(c.initial), c.env, env)[0]
        sizes = Architecture(c.width, c.layers, c.hidden, c.heads) if initial is None else initial.architecture
        model = MaskablePPO(
            GraphMaskablePolicy,
            self.lanes,
            learning_rate=lambda left: c.learning_rate * (c.final_share + (1 - c.final_share) * left),
            n_steps=c.n_steps,
            batch_size=c.batch_size,
            n_epochs=c.epochs,
            gamma=c.gamma,
            gae_lambda=c.gae_lambda,
            clip_range=c.clip_range,
            ent_coef=c.ent_coef,
            vf_coef=c.vf_coef,
            max_grad_norm=c.max_grad_norm,
            target_kl=c.target_kl,
            policy_kwargs={"spec": env.graph, "architecture": sizes, "share_encodings": c.share_encodings},
            seed=c.seed,
            device="cpu",
        )
        if initial is not None:
            assert isinstance(model.policy, GraphMaskablePolicy)
            model.policy.network.load_state_dict(initial.state_dict())
        model.set_logger(Logger(None, []))
        model.ep_info_buffer, model.ep_success_buffer = deque(), deque()  # SB3 wants them; episodes are counted below
        self._observer = _Observer()
        self._observer.init_callback(model)
        return model

    @property
    def total(self) -> int:
        """Steps that :meth:`train` counts up to."""
        return self.config.total_steps

    def train(self, progress: Callable[[int, dict[str, float]], None] | None = None) -> None:
        """Run to the configured number of steps; interruptible, and resumable from the last save."""
        c = self.config
        last = -(-c.total_steps // self.per_update)
        try:
            while self.updates < last:
                began = time.perf_counter()
                scalars = self.update()
                self.updates += 1
                scalars["time/fps"] = self.per_update / (time.perf_counter() - began)
                if self.updates % c.evaluate_every == 0 or self.updates == last:
                    scalars |= self.evaluate()
                self.spent += time.perf_counter() - began
                scalars["time/seconds"] = self.spent
                if "eval/ratio" in scalars and better(self.sense, scalars["eval/ratio"], self.best):
                    self.best = scalars["eval/ratio"]
                    self.export(self.run.folder)
                self.run.log(self.step, scalars)
                if self.updates % (c.refill_every * c.save_every) == 0 or self.updates == last:
                    self.save()
                if progress is not None:
                    progress(self.step, scalars)
        finally:
            self.run.close()

    def update(self) -> dict[str, float]:
        """One rollout of all lanes, and the epochs of PPO over it."""
        model, c = self.model, self.config
        lanes_seed, numpy_seed, torch_seed = np.random.SeedSequence([c.seed, self.updates]).generate_state(3).tolist()
        np.random.seed(numpy_seed)  # SB3 shuffles with NumPy's global generator and samples with torch's
        torch.manual_seed(torch_seed)
        if self.updates % c.refill_every == 0:
            self.lanes.seed(lanes_seed)
            model._last_obs = self.lanes.reset()
            model._last_episode_starts = np.ones(c.envs, bool)
        model.num_timesteps = self.step
        model.collect_rollouts(self.lanes, self._observer, model.rollout_buffer, c.n_steps)
        model._update_current_progress_remaining(self.step, c.total_steps)
        model.train()
        learned = {k: float(v) for k, v in model.logger.name_to_value.items() if k != "train/n_updates"}
        model.logger.dump()
        return self.lanes.finished() | learned

    def evaluate(self) -> dict[str, float]:
        """Mean objective / offset of greedy play on fixed instances that training never draws.

        Where an offset is not positive, the mean objective of random play takes its place.
        """
        scalars = {f"eval/ratio_{name}": fixed.ratio(self.network) for name, fixed in self.fixed.items()}
        scalars["eval/ratio"] = float(np.mean(list(scalars.values())))
        return scalars

    def save(self) -> None:
        """What :class:`Run` needs to continue exactly."""
        extra = {name: torch.tensor(getattr(self, name), dtype=torch.float64) for name in ("best", "spent")}
        self.run.save_state(self.step, self.policy.optimizer, self.network, extra)

    def export(self, folder: Path) -> None:
        """The policy as a checkpoint that eval reads."""
        c, spec = self.config, self.policy.spec
        details = {"algorithm": "maskable_ppo", "steps": self.step, "seed": c.seed, "train_seconds": round(self.spent)}
        card = checkpoint.Card(c.env, spec.schema_hash(), self.network.architecture, c.options, details)
        checkpoint.save(folder, self.network, card)

    def _typical_return(self) -> float:
        returns = np.concatenate([np.abs(fixed.random_play[1]) for fixed in self.fixed.values()])
        return float(returns.mean()) or 1.0


class ScaledRewards(VecEnvWrapper):
    """Divides rewards by a constant, and counts the episodes that end, in natural units."""

    def __init__(self, venv: VecEnv, scale: float) -> None:
        super().__init__(venv)
        self.scale = scale
        self.ended: dict[str, list[float]] = {}
        self._return, self._length = np.zeros(venv.num_envs), np.zeros(venv.num_envs, int)

    def reset(self) -> Any:
        """Start all episodes."""
        self._return[:], self._length[:] = 0.0, 0
        return self.venv.reset()

    def step_wait(self) -> Any:
        """As of the lanes, with scaled rewards."""
        observation, reward, done, infos = self.venv.step_wait()
        self._return += reward
        self._length += 1
        for lane in np.flatnonzero(done):
            values = {"ep_rew_mean": self._return[lane], "ep_len_mean": self._length[lane]}
            values |= {k: infos[lane][k] for k in ("objective",) if k in infos[lane]}
            for key, value in values.items():
                self.ended.setdefault(f"rollout/{key}", []).append(float(value))
        self._return[done], self._length[done] = 0.0, 0
        return observation, reward / np.float32(self.scale), done, infos

    def finished(self) -> dict[str, float]:
        """Means over the episodes that ended since the last call; empty if none did."""
        means = {key: float(np.mean(values)) for key, values in self.ended.items()}
        self.ended = {}
        return means


class _Observer(BaseCallback):
    """Lets every rollout run to its end."""

    def _on_step(self) -> bool:
        return True
