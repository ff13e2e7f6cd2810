"""What trainers of a :class:`GraphScorer` by gradient steps share: instances, evaluation, averaging, files and resumption."""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
import torch

from dispatchgym.agents import checkpoint
from dispatchgym.agents.lanes import play
from dispatchgym.agents.rules.base import Rule
from dispatchgym.envs.registry import Entry, door, lookup, make
from dispatchgym.gnn.network import Architecture, GraphScorer
from dispatchgym.instances.base import UnknownNameError
from dispatchgym.train.run import Run
from dispatchgym.train.settings import check_common, check_integers, check_names, check_numbers, check_weights
from dispatchgym.train.validation import VALIDATION_SEED, Fixed, better, draw, worst


@dataclass(frozen=True)
class NetworkConfig:
    """The settings that these trainers share."""

    env: str = "dispatchgym/JobShop-v0"
    options: dict[str, Any] = field(default_factory=dict)  # of the environment
    generators: tuple[str, ...] = ("taillard-10x10", "taillard-15x10", "taillard-20x10", "taillard-15x15")
    weights: tuple[float, ...] = (3.0, 3.0, 2.0, 2.0)  # how often each generator is drawn
    iterations: int = 4000
    batch: int = 16  # instances an iteration
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
        check_integers(self, "batch", 1)
        check_integers(self, "warm_up", 0)
        check_numbers(self, "clip", above=True)
        check_numbers(self, "average", high=1.0)


class NetworkTrainer(ABC):
    """One run. :meth:`iterate` is the algorithm; the rest is bookkeeping."""

    algorithm: ClassVar[str]

    def __init__(self, config: NetworkConfig, folder: Path, resume: bool = False) -> None:
        torch.set_num_threads(config.threads)
        self.config = config
        self.entry = lookup(config.env)
        self.sense = self.entry.load().sense
        self.envs = {name: make(config.env, generator=name, **config.options) for name in self._generators()}
        spec = next(iter(self.envs.values())).graph
        torch.manual_seed(config.seed)
        self.network = GraphScorer(spec, self.architecture())
        if config.initial is not None:
            env = next(iter(self.envs.values()))
            self.network = checkpoint.load(Path(config.initial), config.env, env)[0].train()
        self.random = torch.Generator().manual_seed(config.seed)
        self.key = jax.random.key(config.seed)
        self.step = 0
        self.fixed = {
            name: Fixed(self.entry, self.envs[name], name, config.seed, index, config.validation_count)
            for index, name in enumerate(dict.fromkeys((*config.validation, *config.generators)))
        }
        self.prepare_network()
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self._beside: dict[str, np.ndarray] = {}
        self.best = worst(self.sense)
        self.spent = 0.0
        self.run = Run(folder, config, resume)
        if resume and self.run.saved():
            self.step, extra = self.run.load_state(self.optimizer, self.network)
            self.random.set_state(extra["random"])
            self.averaged.load_state_dict({k: extra[f"average.{k}"] for k in self.averaged.state_dict()})
            self.best, self.spent = float(extra["best"]), float(extra["spent"])
            self.restore(extra)
        self.run.open(self.step)

    def architecture(self) -> Architecture:
        """Of the network to train."""
        c = self.config
        return Architecture(c.width, c.layers, c.hidden, c.heads)

    def extra(self) -> dict[str, torch.Tensor]:
        """A hook: what else a save has to hold."""
        return {}

    def restore(self, extra: dict[str, torch.Tensor]) -> None:
        """A hook: take it from a save again."""
        return None

    def prepare_network(self) -> None:
        """A hook before anything is trained or written: other first weights."""
        return None

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

    @abstractmethod
    def iterate(self) -> dict[str, float]:
        """One iteration; the scalars to log."""

    def next_generator(self) -> str:
        """Name of the generator of this iteration, drawn by ``weights``."""
        c = self.config
        weights = np.asarray(c.weights, float)
        rng = np.random.default_rng([c.seed, self.step])
        return c.generators[int(rng.choice(len(c.generators), p=weights / weights.sum()))]

    def problems(self, generator: str, key: jax.Array, count: int) -> Any:
        """``count`` prepared problems of a generator."""
        return draw(self.entry, self.envs[generator], generator, key, count)

    def descend(self, loss: torch.Tensor) -> float:
        """One step of the optimiser; the loss as a number."""
        self.optimizer.zero_grad()
        loss.backward()
        self.update()
        return float(loss.detach())

    def update(self) -> None:
        """One step of the optimiser by the gradients that are there."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.optimizer.step()

    @torch.no_grad()
    def average(self) -> None:
        """Move the evaluated weights towards the trained ones."""
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

    def evaluate_beside(self, rule: Rule | None, relative: bool = False) -> dict[str, float]:
        """Mean objective of greedy play over that of a rule (none: of random play) on the fixed instances.

        ``relative``: the mean of the instances' ratios instead of the ratio of the means.
        """
        ratios = {}
        for name in self.config.validation:
            fixed = self.fixed[name]
            if name not in self._beside:
                self._beside[name] = fixed.random_play[0] if rule is None else fixed.by_rule(rule)
            played = play(fixed.env, fixed.problems, self.averaged).objective[:, 0]
            beside = self._beside[name]
            ratios[f"eval/{name}"] = float((played / beside).mean() if relative else played.mean() / beside.mean())
        return ratios | {"eval/ratio": float(np.mean(list(ratios.values())))}

    def save(self) -> None:
        """What :class:`Run` needs to continue exactly."""
        extra = {
            "random": self.random.get_state(),
            "best": torch.tensor(self.best, dtype=torch.float64),
            "spent": torch.tensor(self.spent, dtype=torch.float64),
        } | {f"average.{k}": v for k, v in self.averaged.state_dict().items()}
        extra |= self.extra()
        self.run.save_state(self.step, self.optimizer, self.network, extra)

    def export(self, folder: Path) -> None:
        """The policy as a checkpoint that eval reads."""
        spec = next(iter(self.envs.values())).graph
        c = self.config
        seconds = round(self.spent)
        details = {"algorithm": self.algorithm, "iterations": self.step, "seed": c.seed, "train_seconds": seconds}
        card = checkpoint.Card(c.env, spec.schema_hash(), self.network.architecture, c.options, details)
        checkpoint.save(folder, self.averaged, card)


def find_rule(entry: Entry, name: str | None) -> Rule | None:
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
