"""Self-labelling: sample k solutions of an instance, imitate the best one (SLIM, Corsini et al., NeurIPS 2024).

No reward, no critic: cross-entropy on the decisions of the best sampled solution. A dispatching rule may put its own
solution among the samples (``teacher``): while the network is worse than the rule it learns from the rule, afterwards from
itself, so that no separate warm start is needed. The instance is encoded once; candidates are scored by a small head at
each step.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from torch import Tensor

from dispatchgym.agents import checkpoint
from dispatchgym.agents.lanes import Played, encode, play, stepper, to_torch
from dispatchgym.agents.rules.base import Rule
from dispatchgym.envs.core import Environment, rollout
from dispatchgym.envs.registry import Entry, door, lookup, make
from dispatchgym.gnn.network import Architecture, GraphScorer, Step
from dispatchgym.instances.base import UnknownNameError
from dispatchgym.train.run import Run
from dispatchgym.train.settings import (
    check_common,
    check_integers,
    check_name,
    check_names,
    check_numbers,
    check_weights,
)
from dispatchgym.train.validation import VALIDATION_SEED, Fixed, better, draw, worst


@dataclass(frozen=True)
class Config:
    """Everything that determines a run, besides versions and the machine."""

    env: str = "dispatchgym/JobShop-v0"
    options: dict[str, Any] = field(default_factory=dict)  # of the environment
    generators: tuple[str, ...] = ("taillard-10x10", "taillard-15x10", "taillard-20x10", "taillard-15x15")
    weights: tuple[float, ...] = (3.0, 3.0, 2.0, 2.0)  # how often each generator is drawn
    iterations: int = 4000
    batch: int = 16  # instances an iteration
    samples: int = 24  # solutions of each
    minibatches: int = 4  # optimiser steps an iteration, over disjoint decisions
    teacher: str | None = "fdd_mwkr"  # rule whose solution joins the samples; nothing where the family has no rules
    learning_rate: float = 1e-3
    final_share: float = 0.02  # of the learning rate at the end (cosine)
    warm_up: int = 50  # iterations of linear growth of the learning rate
    clip: float = 1.0  # largest norm of the gradient
    average: float = (
        0.99  # evaluated and kept is a moving average of the weights with this memory an iteration; 0: none
    )
    seed: int = 0
    width: int = 64
    layers: int = 3
    hidden: int = 64
    heads: int = 4
    validation: tuple[str, ...] = ("taillard-15x15", "taillard-30x10")
    validation_count: int = 32
    evaluate_every: int = 100
    save_every: int = 25
    initial: str | None = None  # folder of a checkpoint to start from
    threads: int = 1

    def __post_init__(self) -> None:
        """Raises DispatchGymError for the first setting that cannot be."""
        check_common(self)
        check_names(self, "generators")
        check_weights(self)
        check_integers(self, "iterations", 0, VALIDATION_SEED - 1)
        check_integers(self, "batch samples minibatches", 1)
        check_name(self, "teacher", optional=True)
        check_integers(self, "warm_up", 0)
        check_numbers(self, "clip", above=True)
        check_numbers(self, "average", high=1.0)


class Trainer:
    """One run. :meth:`iterate` is the algorithm; the rest is bookkeeping."""

    def __init__(self, config: Config, folder: Path, resume: bool = False) -> None:
        torch.set_num_threads(config.threads)
        self.config = config
        self.entry = lookup(config.env)
        self.sense = self.entry.load().sense
        self.teacher = _rule(self.entry, config.teacher)
        self._teachers: dict[Environment, Any] = {}
        self.envs = {name: make(config.env, generator=name, **config.options) for name in self._generators()}
        spec = next(iter(self.envs.values())).graph
        torch.manual_seed(config.seed)
        self.network = GraphScorer(spec, Architecture(config.width, config.layers, config.hidden, config.heads))
        if config.initial is not None:
            env = next(iter(self.envs.values()))
            self.network = checkpoint.load(Path(config.initial), config.env, env)[0].train()
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self.random = torch.Generator().manual_seed(config.seed)
        self.key = jax.random.key(config.seed)
        self.step = 0
        self.fixed = {
            name: Fixed(self.entry, self.envs[name], name, config.seed, index, config.validation_count)
            for index, name in enumerate(dict.fromkeys((*config.validation, *config.generators)))
        }
        self.best = worst(self.sense)
        self.spent = 0.0
        self.run = Run(folder, config, resume)
        if resume and self.run.saved():
            self.step, extra = self.run.load_state(self.optimizer, self.network)
            self.random.set_state(extra["random"])
            self.averaged.load_state_dict({k: extra[f"average.{k}"] for k in self.averaged.state_dict()})
            self.best, self.spent = float(extra["best"]), float(extra["spent"])
        self.run.open(self.step)

    def _generators(self) -> list[str]:
        return list(dict.fromkeys((*self.config.generators, *self.config.validation)))

    @property
    def total(self) -> int:
        """Steps that :meth:`train` counts up to."""
        return self.config.iterations

    def train(self, progress: Callable[[int, dict[str, float]], None] | None = None) -> None:
        """Run to the configured number of iterations; interruptible, and resumable from the last save."""
        c = self.config
        try:
            while self.step < c.iterations:
                began = time.perf_counter()
                scalars = self.iterate()
                self.step += 1
                if self.step % c.evaluate_every == 0 or self.step == c.iterations:
                    scalars |= self.evaluate()
                self.spent += time.perf_counter() - began
                scalars["time/seconds"] = self.spent
                if "eval/ratio" in scalars and better(self.sense, scalars["eval/ratio"], self.best):
                    self.best = scalars["eval/ratio"]
                    self.export(self.run.folder)
                self.run.log(self.step, scalars)
                if self.step % c.save_every == 0 or self.step == c.iterations:
                    self.save()
                if progress is not None:
                    progress(self.step, scalars)
        finally:
            self.run.close()

    def iterate(self) -> dict[str, float]:
        """Sample, choose the best, imitate it."""
        c = self.config
        rng = np.random.default_rng([c.seed, self.step])
        weights = np.asarray(c.weights, float)
        name = c.generators[int(rng.choice(len(c.generators), p=weights / weights.sum()))]
        env = self.envs[name]
        problems = self.problems(name, jax.random.fold_in(self.key, self.step), c.batch)
        played = play(env, problems, self.network, c.samples, self.random)
        actions, objective = self.best_actions(env, problems, played)
        loss = self.imitate(env, problems, actions)
        self._average()
        scale = self.fixed[name].reference(problems)
        return {
            "train/loss": loss,
            "train/best_ratio": float((objective / scale).mean()),
            "train/mean_ratio": float((played.objective / scale[:, None]).mean()),
        }

    def problems(self, generator: str, key: jax.Array, count: int) -> Any:
        """``count`` prepared problems of a generator."""
        return draw(self.entry, self.envs[generator], generator, key, count)

    def best_actions(self, env: Environment, problems: Any, played: Played) -> tuple[np.ndarray, np.ndarray]:
        """(i32[T, B], i64[B]): the best lane of each instance, or the teacher's solution where that is better."""
        sign = 1 if env.sense == "min" else -1
        winner = (sign * played.objective).argmin(1)
        index = np.arange(len(winner))
        actions = played.actions[:, index, winner]
        objective = played.objective[index, winner]
        if self.teacher is not None:
            taught, value, valid = self.teach(env, problems)
            better_taught = valid & (sign * value < sign * objective)
            actions, taught = _equally_long(actions, taught)
            actions = np.where(better_taught, taught, actions)
            objective = np.where(better_taught, value, objective)
        return actions, objective

    def teach(self, env: Environment, problems: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(actions i32[T, B], objective i64[B], valid bool[B]) of the teacher.

        It plays under its own options; objective and validity are those of the same actions in ``env``.
        """
        assert self.teacher is not None
        if env not in self._teachers:
            self._teachers[env] = _teacher(env, self.entry, self.config.options, self.teacher)
        actions, objective, valid, length = map(np.asarray, self._teachers[env](problems))
        return actions[: int(length.max())], objective.astype(np.int64), valid

    def imitate(self, env: Environment, problems: Any, actions: np.ndarray) -> float:
        """Cross-entropy steps over the decisions of one solution per instance, i32[T, B]; the mean loss."""
        c = self.config
        seen = stepper(env).replay(problems, jax.device_put(np.ascontiguousarray(actions.T)))
        *parts, live = (to_torch(x) for x in seen)
        label = torch.from_numpy(np.ascontiguousarray(actions.T)).long()
        order = torch.randperm(label.shape[1], generator=self.random)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        losses = []
        for chosen in order.chunk(c.minibatches):
            step = Step(*(part[:, chosen] for part in parts))
            logits, _ = self.network(encode(self.network, env, problems), step)
            loss = _cross_entropy(logits, label[:, chosen], live[:, chosen])
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), c.clip)
            self.optimizer.step()
            losses.append(float(loss.detach()))
        return sum(losses) / len(losses)

    @torch.no_grad()
    def _average(self) -> None:
        memory = min(self.config.average, self.step / (self.step + 10))  # so that the first weights are soon forgotten
        for kept, new in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
            kept.lerp_(new, 1 - memory)

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine down to ``final_share``."""
        c = self.config
        if self.step < c.warm_up:
            return c.learning_rate * (self.step + 1) / c.warm_up
        angle = np.pi * (self.step - c.warm_up) / max(c.iterations - c.warm_up, 1)
        return float(c.learning_rate * (c.final_share + (1 - c.final_share) * 0.5 * (1 + np.cos(angle))))

    def evaluate(self) -> dict[str, float]:
        """Mean objective / offset of greedy play on fixed instances that training never draws.

        Where an offset is not positive, the mean objective of random play takes its place.
        """
        ratios = {f"eval/{name}": self.fixed[name].ratio(self.averaged) for name in self.config.validation}
        return ratios | {"eval/ratio": float(np.mean(list(ratios.values())))}

    def save(self) -> None:
        """What :class:`Run` needs to continue exactly."""
        extra = {
            "random": self.random.get_state(),
            "best": torch.tensor(self.best, dtype=torch.float64),
            "spent": torch.tensor(self.spent, dtype=torch.float64),
        } | {f"average.{k}": v for k, v in self.averaged.state_dict().items()}
        self.run.save_state(self.step, self.optimizer, self.network, extra)

    def export(self, folder: Path) -> None:
        """The policy as a checkpoint that eval reads."""
        spec = next(iter(self.envs.values())).graph
        c = self.config
        seconds = round(self.spent)
        details = {"algorithm": "self_labelling", "iterations": self.step, "seed": c.seed, "train_seconds": seconds}
        card = checkpoint.Card(c.env, spec.schema_hash(), self.network.architecture, c.options, details)
        checkpoint.save(folder, self.averaged, card)


def _cross_entropy(logits: Tensor, label: Tensor, live: Tensor) -> Tensor:
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), label.flatten(), reduction="none")
    weight = live.flatten().to(loss.dtype)
    return (loss * weight).sum() / weight.sum().clamp(min=1)


def _rule(entry: Entry, name: str | None) -> Rule | None:
    """The named rule of a family, None for a family without rules. Raises UnknownNameError for a name it lacks."""
    if name is None:
        return None
    try:
        rules: dict[str, Rule] = door("agents.rules", entry.family).RULES
    except ModuleNotFoundError as error:
        if error.name != f"dispatchgym.agents.rules.{entry.family}":
            raise
        return None
    if name not in rules:
        raise UnknownNameError("rule", name, rules)
    return rules[name]


def _teacher(env: Environment, entry: Entry, options: dict[str, Any], rule: Rule) -> Any:
    """Jitted: problems -> (actions [T, B], and of them in ``env``: objective [B], valid bool[B], length i32[B])."""
    own = entry.build(env.size, **(options | dict(rule.options)))
    policy = rule.make(own.graph)

    def judge(problem: Any, actions: Any) -> tuple:
        def body(state: Any, action: Any) -> tuple:
            live = ~env.terminated(problem, state)
            after = env.step(problem, state, action)
            return after.state, (live, live & after.invalid)

        live: Any
        wrong: Any
        end, (live, wrong) = jax.lax.scan(body, env.reset(problem), actions)
        return env.objective(problem, end), env.terminated(problem, end) & ~wrong.any(), live.sum()

    def teach(problems: Any) -> tuple:
        actions = rollout(own, policy, problems, jax.random.key(0)).actions
        return actions, *jax.vmap(judge, (0, 1))(problems, actions)

    return jax.jit(teach)


def _equally_long(*actions: np.ndarray) -> list[np.ndarray]:
    """Arrays [T, B] filled up with zeros to the longest T; what follows the end of an episode is not imitated."""
    longest = max(len(a) for a in actions)
    return [np.pad(a, ((0, longest - len(a)), (0, 0))) for a in actions]
