"""Self-labelling: sample k solutions of an instance, imitate the best one (SLIM, Corsini et al., NeurIPS 2024).

No reward, no critic: cross-entropy on the decisions of the best sampled solution. A dispatching rule may put its own
solution among the samples (``teacher``): while the network is worse than the rule it learns from the rule, afterwards from
itself, so that no separate warm start is needed. The instance is encoded once; candidates are scored by a small head at
each step.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from torch import Tensor

from dispatchgym.agents.lanes import Played, encode, play, stepper, to_torch
from dispatchgym.agents.rules.base import Rule
from dispatchgym.envs.core import Environment, rollout
from dispatchgym.envs.registry import Entry, lookup
from dispatchgym.gnn.network import Step
from dispatchgym.train.settings import check_integers, check_name
from dispatchgym.train.trainer import NetworkConfig, NetworkTrainer, find_rule


@dataclass(frozen=True)
class Config(NetworkConfig):
    """Everything that determines a run, besides versions and the machine."""

    samples: int = 24  # solutions of each
    minibatches: int = 4  # optimiser steps an iteration, over disjoint decisions
    teacher: str | None = "fdd_mwkr"  # rule whose solution joins the samples; nothing where the family has no rules

    def __post_init__(self) -> None:
        """Raises DispatchGymError for the first setting that cannot be."""
        super().__post_init__()
        check_integers(self, "samples minibatches", 1)
        check_name(self, "teacher", optional=True)


class Trainer(NetworkTrainer):
    """One run of self-labelling."""

    algorithm = "self_labelling"
    config: Config

    def __init__(self, config: Config, folder: Path, resume: bool = False) -> None:
        self.teacher = find_rule(lookup(config.env), config.teacher)
        super().__init__(config, folder, resume)
        self._teachers: dict[Environment, Any] = {}

    def iterate(self) -> dict[str, float]:
        """Sample, choose the best, imitate it."""
        c = self.config
        name = self.next_generator()
        env = self.envs[name]
        problems = self.problems(name, jax.random.fold_in(self.key, self.step), c.batch)
        played = play(env, problems, self.network, c.samples, self.random)
        actions, objective = self.best_actions(env, problems, played)
        loss = self.imitate(env, problems, actions)
        self.average()
        scale = self.fixed[name].reference(problems)
        return {
            "train/loss": loss,
            "train/best_ratio": float((objective / scale).mean()),
            "train/mean_ratio": float((played.objective / scale[:, None]).mean()),
        }

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
        losses = []
        for chosen in order.chunk(c.minibatches):
            step = Step(*(part[:, chosen] for part in parts))
            logits, _ = self.network(encode(self.network, env, problems), step)
            loss = _cross_entropy(logits, label[:, chosen], live[:, chosen])
            losses.append(self.descend(loss))
        return sum(losses) / len(losses)


def _cross_entropy(logits: Tensor, label: Tensor, live: Tensor) -> Tensor:
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), label.flatten(), reduction="none")
    weight = live.flatten().to(loss.dtype)
    return (loss * weight).sum() / weight.sum().clamp(min=1)


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
