"""Policy improvement by rollouts: learn, of each decision, what every candidate costs if a rule decides from then on.

States are drawn from episodes of the network (some of the rule, above all at first). In each, some candidates are tried: the
environment takes the candidate, then the rule plays to the end, on the instance's own future. That future is a sample of what
the observation leaves open, so the loss, the expected cost under the network's probabilities, needs only one of them a state;
all candidates of a state share it, which cancels most of its noise. (Moments are drawn per episode, among the states with more
than one legal candidate: states of episodes with few of them come up more often.) A cross-entropy with the
rule's own action decides between candidates that cost about the same: the network leaves the rule where that pays. One round
improves on the rule by one step of policy iteration (Bertsekas, Tsitsiklis & Wu, Rollout algorithms for combinatorial optimization, 1997;
Lagoudakis & Parr, Reinforcement learning as classification, ICML 2003). With ``refresh``, the network takes the rule's place
whenever it has become better on the validation instances: further steps of policy iteration. With ``keep``, what an
iteration has found is learned from more than once, as rollouts cost far more than gradients.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from torch import Tensor

from dispatchgym.agents.lanes import encode, play, stepper, to_torch
from dispatchgym.envs.core import Environment
from dispatchgym.envs.registry import lookup
from dispatchgym.gnn.network import GraphScorer, Step
from dispatchgym.instances.base import DispatchGymError
from dispatchgym.train.kept import Entry, Kept
from dispatchgym.train.rollouts import Trials, continued, padded, trials_of
from dispatchgym.train.settings import check_integers, check_name, check_numbers
from dispatchgym.train.trainer import NetworkConfig, NetworkTrainer, find_rule
from dispatchgym.train.validation import better


@dataclass(frozen=True)
class Config(NetworkConfig):
    """Everything that determines a run, besides versions and the machine."""

    base: str = "fdd_mwkr"  # rule that plays after the tried candidate; deterministic
    states: int = 8  # of each instance, at random moments of its episode
    tries: int = 8  # candidates tried in each: sampled by the network without replacement, and the rule's own
    minibatches: int = 4  # optimiser steps of an epoch, over disjoint instances
    epochs: int = 1  # of the states of an iteration
    rule_share: float = 0.2  # of the episodes that states are taken from, at the end; at first all are the rule's
    rule_until: int = 60  # iterations over which the share falls
    pull: float = 0.02  # towards the rule's action, where nothing speaks clearly for another; at first 1
    pull_until: int = 60  # iterations over which the pull falls
    entropy: float = 0.0
    relative: bool = False  # costs, and the validation, as shares of the rule's objective on the instance
    refresh: int = 0  # iterations after which the network replaces the base, if it is better; 0: never
    keep: int = 0  # iterations whose states are kept, and
    replays: int = 0  # further optimiser steps an iteration, each over what one kept iteration found

    def __post_init__(self) -> None:
        """Raises DispatchGymError for the first setting that cannot be."""
        super().__post_init__()
        check_name(self, "base")
        check_integers(self, "states tries minibatches epochs", 1)
        check_integers(self, "rule_until pull_until", 1)
        check_integers(self, "refresh keep replays", 0)
        if self.replays and not self.keep:
            raise DispatchGymError(f"replays is {self.replays}, but keep is 0; keep iterations to learn from again")
        check_numbers(self, "rule_share pull", high=1.0)
        check_numbers(self, "entropy")


class Trainer(NetworkTrainer):
    """One run of policy improvement by rollouts."""

    algorithm = "rollout_improvement"
    config: Config

    def __init__(self, config: Config, folder: Path, resume: bool = False) -> None:
        self.base = find_rule(lookup(config.env), config.base)
        if self.base is None or self.base.stochastic:
            raise DispatchGymError(f"base {config.base!r} is no deterministic rule of {config.env}; name one that is")
        self.champion: GraphScorer | None = None  # the network in the place of the rule
        self.least = 1.0  # what the base's objective is of the rule's, on the validation instances
        self.kept = Kept(folder / "kept", config.keep)
        super().__init__(config, folder, resume)

    def trials(self, env: Environment) -> Trials:
        """The jitted functions for one environment."""
        return trials_of(env, self.config.base)

    def save(self) -> None:
        super().save()
        self.kept.saved(self.step)

    def extra(self) -> dict[str, Tensor]:
        if self.champion is None:
            return {}
        weights = {f"champion.{k}": v for k, v in self.champion.state_dict().items()}
        return weights | {"least": torch.tensor(self.least, dtype=torch.float64)}

    def restore(self, extra: dict[str, Tensor]) -> None:
        self.kept.restore(self.step)
        if "least" in extra:
            self.least = float(extra["least"])
            self.champion = copy.deepcopy(self.averaged)
            self.champion.load_state_dict({k: extra[f"champion.{k}"] for k in self.champion.state_dict()})

    def iterate(self) -> dict[str, float]:
        """Play, try candidates in some of the states, learn what they cost."""
        c = self.config
        if c.refresh and self.step % c.refresh == 0 and (self.step or c.initial):
            self._refresh()
        name = self.next_generator()
        env = self.envs[name]
        trials = self.trials(env)
        problems = self.problems(name, jax.random.fold_in(self.key, self.step), c.batch)
        rng = np.random.default_rng([c.seed, self.step, 1])
        actions, base_objective, ratio = self._episodes(env, problems, rng)
        moments = np.sort(rng.random((c.batch, c.states), np.float32), 1)
        states, seen, rule_action = trials.at(problems, jax.device_put(actions), jax.device_put(moments))
        step = Step(*map(to_torch, seen))
        own = to_torch(rule_action) if self.champion is None else self._greedy(env, problems, step)
        chosen = self._choose(env, problems, step, own)
        first = chosen.to(torch.int32).numpy()
        if self.champion is None:
            objective = trials.costs(problems, states, first)
        else:
            objective = continued(env, problems, states, first, self.champion)
        cost = torch.from_numpy(objective if self.sense == "min" else -objective)
        if c.relative:
            cost = cost / torch.from_numpy(np.abs(base_objective)).clamp(min=1)[:, None, None]
        tried = step.action_mask.gather(-1, chosen)
        loss, regret = self._learn(env, problems, step, chosen, cost, tried)
        self.average()
        return {
            "train/loss": loss,
            "train/regret_of_rule": regret,
            "train/played_to_rule": ratio,
            "train/base": self.least,
        }

    def _refresh(self) -> None:
        """The averaged network becomes the base if it is better than it."""
        ratio = self.evaluate_beside(self.base, self.config.relative)["eval/ratio"]
        if better(self.sense, ratio, self.least):
            self.least = ratio
            self.champion = copy.deepcopy(self.averaged)

    @torch.no_grad()
    def _greedy(self, env: Environment, problems: Any, step: Step) -> Tensor:
        """i64[B, S]: the base network's action."""
        assert self.champion is not None
        logits: Tensor = self.champion(encode(self.champion, env, problems), step)[0]
        return logits.argmax(-1)

    def _episodes(
        self, env: Environment, problems: Any, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """(actions i32[B, T], the base's objectives f64[B], mean objective of the network's episodes over the base's)."""
        c = self.config
        if self.champion is None:
            ruled, ruled_objective = map(np.asarray, self.trials(env).rule(problems))
        else:
            own = play(env, problems, self.champion, 1)
            ruled, ruled_objective = padded(own.actions, env), own.objective[:, 0]
        played = play(env, problems, self.network, 1, self.random)
        ratio = float((played.objective[:, 0] / np.maximum(np.abs(ruled_objective), 1)).mean())
        if not c.relative:
            ratio = float(played.objective.mean() / ruled_objective.mean())
        share = max(c.rule_share, 1 - self.step / c.rule_until)
        by_rule = rng.random(len(ruled)) < share
        actions = np.where(by_rule[:, None], ruled, padded(played.actions, env))
        return actions.astype(np.int32), ruled_objective.astype(np.float64), ratio

    @torch.no_grad()
    def _choose(self, env: Environment, problems: Any, step: Step, rule_action: Tensor) -> Tensor:
        """i64[B, S, C]: the rule's action, then candidates by the network without replacement; illegal ones come last."""
        logits, _ = self.network(encode(self.network, env, problems), step)
        noise = torch.empty_like(logits).exponential_(generator=self.random)
        score = torch.log_softmax(logits, -1) - noise.log()
        rule_action = rule_action.long().unsqueeze(-1)
        score = score.masked_fill(~step.action_mask, float("-inf")).scatter(-1, rule_action, float("inf"))
        return score.topk(min(self.config.tries, score.shape[-1]), -1).indices

    def _learn(
        self, env: Environment, problems: Any, step: Step, chosen: Tensor, cost: Tensor, tried: Tensor
    ) -> tuple[float, float]:
        """(mean loss, mean regret of the base's action in units of the mean spread)."""
        c = self.config
        least = cost.masked_fill(~tried, float("inf")).amin(-1, keepdim=True)
        regret = (cost - least).masked_fill(~tried, 0.0)
        found = {name: to_torch(x) for name, x in stepper(env).static(problems).items()}
        found = {f"static.{name}": x for name, x in found.items()} | {f"step.{k}": v for k, v in step._asdict().items()}
        found |= {"chosen": chosen, "tried": tried, "regret": regret.float()}
        found |= {"sum": regret.sum(), "count": tried.sum().double()}
        self.kept.add(self.step, found)
        # One unit for all that is kept: iterations differ widely in how much is at stake.
        scale = max(self.kept.mean("sum", "count") if c.keep else float(found["sum"] / found["count"]), 1e-9)
        losses = []
        shuffled = [torch.randperm(len(cost), generator=self.random).chunk(c.minibatches) for _ in range(c.epochs)]
        for part in itertools.chain(*shuffled):
            losses.append(self.descend(self._loss({k: v[part] if v.dim() else v for k, v in found.items()}, scale)))
        for _ in range(c.replays):
            number = int(torch.randint(len(self.kept.entries), (), generator=self.random))
            self.descend(self._loss(self.kept.entries[number], scale))
        return sum(losses) / len(losses), float(regret[..., 0].mean() / scale)

    def _loss(self, found: Entry, scale: float) -> Tensor:
        """Expected regret, in units of ``scale``, with the pull towards the base's action."""
        encoded = self.network.encode(
            {k.removeprefix("static."): v for k, v in found.items() if k.startswith("static.")}
        )
        logits, _ = self.network(encoded, Step(**{name: found[f"step.{name}"] for name in Step._fields}))
        logits = logits.gather(-1, found["chosen"]).masked_fill(~found["tried"], -1e9)
        logp = torch.log_softmax(logits, -1)
        expected = (logp.exp() * found["regret"] / scale).sum(-1).mean()
        entropy = -(logp.exp() * logp).masked_fill(~found["tried"], 0.0).sum(-1).mean()
        pull = max(self.config.pull, 1 - self.step / self.config.pull_until)
        return expected - self.config.entropy * entropy - pull * logp[..., 0].mean()

    def evaluate(self) -> dict[str, float]:
        """Mean objective of greedy play over that of the rule, on fixed instances that training never draws."""
        return self.evaluate_beside(self.base, self.config.relative)
