"""Evolution strategies on the index head: a linear index of the candidates' features, improved on whole episodes.

What a dispatching rule is - a sum of weighted features, the smallest wins - with weights that are learned, and that may depend
on some globals (how loaded the system is). No gradient of the environment, no critic, no credit for single decisions: pairs of
mirrored perturbations play the same fresh instances to the end, all on the device, and the weights move towards the better of
each pair (Salimans et al. 2017, arXiv 1703.03864). Few parameters and common random numbers make that fast and quiet.
Where decisions change in jumps, so that gradients are noise, ``climb`` accepts the best perturbation or none instead: a
(1 + 2 pairs) strategy whose perturbations change a few weights by much.

The result is a :class:`GraphScorer` whose other weights do not speak yet; ``rollout_improvement`` or PPO can go on from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from dispatchgym.envs.core import Array, Environment
from dispatchgym.envs.graph import GraphObservation, GraphSpec
from dispatchgym.envs.registry import lookup
from dispatchgym.gnn.network import Architecture
from dispatchgym.gnn.normalise import LINEAR_DAMPING
from dispatchgym.instances.base import DispatchGymError, UnknownNameError
from dispatchgym.train.settings import check_integers, check_name, check_numbers, refuse
from dispatchgym.train.trainer import NetworkConfig, NetworkTrainer, find_rule

SHARPNESS = 4.0  # logit of one standard deviation of the first index: what sampling from the policy spreads over


@dataclass(frozen=True)
class Config(NetworkConfig):
    """Everything that determines a run, besides versions and the machine. Each iteration plays all generators."""

    start: dict[str, float] = field(
        default_factory=dict
    )  # first index: weight of each action column named; smallest wins
    columns: tuple[str, ...] = ()  # action columns that the index may use; none: all
    context: tuple[str, ...] = ()  # globals that its weights may depend on, by their logarithmic reading
    pairs: int = 6  # mirrored perturbations
    sigma: float = 0.12  # their size, in units of the first index's standard deviation
    climb: int = (
        0  # 0: gradients; n > 0: the best of sparse perturbations if it is better, on instances that last n iterations
    )
    rule: str | None = None  # what validation compares with; none: random play

    def __post_init__(self) -> None:
        """Raises DispatchGymError for the first setting that cannot be."""
        super().__post_init__()
        check_integers(self, "pairs", 1)
        check_integers(self, "climb", 0)
        check_numbers(self, "sigma", above=True)
        check_name(self, "rule", optional=True)
        graph = lookup(self.env).build(lookup(self.env).source(generator=self.generators[0]).size, **self.options).graph
        for part, names in (("action", (*self.start, *self.columns)), ("global", self.context)):
            for name in names:
                if name not in graph.names(part):
                    raise UnknownNameError(f"{part} column", name, graph.names(part))
        if not self.start and self.initial is None:
            refuse("start", self.start, "a table of action columns and weights, such as {finish: 1}")


class Trainer(NetworkTrainer):
    """One run of evolution strategies."""

    algorithm = "evolution"
    config: Config

    def __init__(self, config: Config, folder: Path, resume: bool = False) -> None:
        self.rule = find_rule(lookup(config.env), config.rule)
        super().__init__(config, folder, resume)
        spec = self.network.normaliser.spec
        names = config.columns or tuple(spec.names("action"))
        self._columns = np.array([spec.index("action", name) for name in names])
        width = len(spec.global_columns)
        self._context = np.array([width + spec.index("global", name) for name in config.context], int)
        self._play = {name: _player(self.envs[name]) for name in config.generators}

    def architecture(self) -> Architecture:
        """With an index head."""
        c = self.config
        return Architecture(c.width, c.layers, c.hidden, c.heads, index=1)

    def prepare_network(self) -> None:
        """Scale the features by their deviation under the first index, and silence what is not trained here."""
        c, network = self.config, self.network
        if c.initial is not None:
            if not network.architecture.index:
                raise DispatchGymError(f"initial {c.initial} has no index head; start from a run of this algorithm")
            return
        spec = network.normaliser.spec
        start = np.zeros(len(spec.action_columns), np.float32)
        for name, weight in c.start.items():
            start[spec.index("action", name)] = weight
        env = self.envs[c.generators[0]]
        problems = self.problems(c.generators[0], jax.random.fold_in(self.key, 2**29), c.batch)
        deviation, unit = (np.maximum(np.asarray(x), 1e-3) for x in _deviations(env)(problems, jnp.asarray(start)))
        with torch.no_grad():
            network.index_scale.copy_(torch.from_numpy(SHARPNESS / deviation))  # type: ignore[operator]
            network.index.bias.copy_(torch.from_numpy(-start * deviation / unit))
            for parameter in network.score[-1].parameters():
                parameter.zero_()

    def iterate(self) -> dict[str, float]:
        """Play perturbations on the same instances, and move towards the better ones or to the best."""
        return self._climb() if self.config.climb else self._ascend()

    def _ascend(self) -> dict[str, float]:
        """One step along the gradient that mirrored perturbations estimate."""
        c = self.config
        rng = np.random.default_rng([c.seed, self.step])
        shift, tilt = self._noise(rng, c.pairs)
        both = [c.sigma * np.concatenate([noise, -noise]) for noise in (shift, tilt)]
        cost = self._costs(both[0], both[1], self.step)
        slope = (cost[: c.pairs] - cost[c.pairs :]) / (2 * c.sigma)
        for parameter, noise in ((self.network.index.bias, shift), (self.network.index.weight, tilt)):
            parameter.grad = torch.from_numpy(np.tensordot(slope, noise, 1) / c.pairs).float()
        self.update()
        self.average()
        return {"train/spread": float(np.std(cost)), "train/slope": float(np.abs(slope).mean())}

    def _climb(self) -> dict[str, float]:
        """To the best of 2 pairs perturbations, which change three weights on average, if it is better."""
        c = self.config
        rng = np.random.default_rng([c.seed, self.step])
        count = 2 * c.pairs
        noise = [np.concatenate([np.zeros_like(n[:1]), n]) for n in self._noise(rng, count)]
        share = min(3 / (len(self._columns) * (1 + len(self._context))), 1.0)
        size = np.concatenate([[0.0], c.sigma * np.exp(rng.standard_normal(count))])
        tried = [size.reshape(-1, *[1] * (n.ndim - 1)) * n * (rng.random(n.shape) < share) for n in noise]
        cost = self._costs(tried[0], tried[1], self.step // c.climb)
        best = int(cost.argmin())
        with torch.no_grad():
            for parameter, step in zip((self.network.index.bias, self.network.index.weight), tried, strict=True):
                parameter += torch.from_numpy(step[best]).float()
        self.average()
        return {"train/gain": float(cost[0] - cost[best]), "train/spread": float(np.std(cost))}

    def _noise(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Standard normal changes of bias and weight, [count, K] and [count, K, H], 0 where nothing is trained."""
        bias, weight = self.network.index.bias, self.network.index.weight
        shift, tilt = np.zeros((count, *bias.shape)), np.zeros((count, *weight.shape))
        shift[:, self._columns] = rng.standard_normal((count, len(self._columns)))
        grid = np.ix_(np.arange(count), self._columns, self._context)
        tilt[grid] = rng.standard_normal((count, len(self._columns), len(self._context)))
        return shift, tilt

    def _costs(self, shift: np.ndarray, tilt: np.ndarray, draw: int) -> np.ndarray:
        """f64[P]: mean objective of each change of the weights, instance by instance relative to the mean of all changes,
        on instances number ``draw``; smaller is better.
        """
        c = self.config
        bias, weight = (p.detach().numpy() for p in (self.network.index.bias, self.network.index.weight))
        tried = [np.asarray(mean + change, np.float32) for mean, change in ((bias, shift), (weight, tilt))]
        scale = jnp.asarray(self.network.index_scale.numpy())  # type: ignore[operator]

        def fitness(entry: tuple[int, str]) -> np.ndarray:
            number, name = entry
            key = jax.random.fold_in(jax.random.fold_in(self.key, draw), number)
            problems = self.problems(name, key, c.batch)
            objective = np.asarray(self._play[name](problems, *tried, scale), np.float64)
            ratio: np.ndarray = (objective / objective.mean(0)).mean(1)
            return ratio

        with ThreadPoolExecutor() as pool:  # a small program of XLA's runs on the thread that calls it
            found = list(pool.map(fitness, enumerate(c.generators)))
        costs: np.ndarray = np.average(found, axis=0, weights=c.weights) * (1 if self.sense == "min" else -1)
        return costs

    def evaluate(self) -> dict[str, float]:
        """Mean objective of greedy play over that of the rule, or of random play, on fixed instances."""
        return self.evaluate_beside(self.rule)


def index_action(spec: GraphSpec, o: GraphObservation, bias: Array, weight: Array, scale: Array) -> Array:
    """i32[]: the candidate of the largest index, as ``GraphScorer`` computes it; ties go to the lowest."""
    x, g = scaled(spec, "action", o.action_features, o.globals), scaled(spec, "global", o.globals, o.globals)
    readings = jnp.concatenate([LINEAR_DAMPING * g, jnp.sign(g) * jnp.log1p(jnp.abs(g))])
    index = (x * ((weight @ readings + bias) * scale)).sum(-1)
    return jnp.argmax(jnp.where(o.action_mask, index, -jnp.inf)).astype(jnp.int32)


def scaled(spec: GraphSpec, part: str, values: Array, globals_: Array) -> Array:
    """(x - origin) / magnitude by column, as ``gnn.normalise.Normaliser`` does it."""
    by_unit: Mapping[str, Any] = {scale.unit: scale for scale in spec.scales}
    magnitudes, origins = [], []
    for column in spec.columns(part):
        unit = by_unit.get(column.unit)
        magnitudes.append(1.0 if unit is None else jnp.maximum(globals_[spec.index("global", unit.magnitude)], 1e-6))
        has_origin = unit is not None and unit.origin is not None
        origins.append(globals_[spec.index("global", unit.origin)] if has_origin else 0.0)  # type: ignore[union-attr]
    return (values - jnp.stack([jnp.float32(x) for x in origins])) / jnp.stack([jnp.float32(x) for x in magnitudes])


def _player(env: Environment) -> Callable[..., Array]:
    """Jitted: problems [B], bias [P, K], weight [P, K, H], scale [K] -> objectives [P, B] at the end."""

    def lanes(function: Any, *axes: str) -> Any:
        inner = jax.vmap(function, [0 if "B" in a else None for a in axes])
        return jax.vmap(inner, [0 if "P" in a else None for a in axes])

    def move(problem: Any, state: Any, bias: Array, weight: Array, scale: Array) -> Any:
        action = index_action(env.graph, env.observe(problem, state), bias, weight, scale)
        return env.step(problem, state, action).state

    def play(problems: Any, bias: Array, weight: Array, scale: Array) -> Array:
        state = lanes(lambda p, _: env.reset(p), "B", "P")(problems, bias)
        over = lanes(env.terminated, "B", "PB")
        step = lanes(move, "B", "PB", "P", "P", "")
        state = jax.lax.while_loop(
            lambda s: ~over(problems, s).all(), lambda s: step(problems, s, bias, weight, scale), state
        )
        objective: Array = lanes(env.objective, "B", "PB")(problems, state)
        return objective

    return jax.jit(play)


def _deviations(env: Environment) -> Callable[..., tuple[Array, Array]]:
    """Jitted: problems, start f32[K] -> standard deviations of the scaled features, and of the first index, over candidates."""

    def one(problem: Any, start: Array) -> tuple[Array, Array, Array]:
        def body(state: Any, _: Any) -> tuple[Any, Any]:
            o = env.observe(problem, state)
            x = scaled(env.graph, "action", o.action_features, o.globals)
            x = jnp.concatenate([x, (x @ start)[:, None]], 1)
            live = o.action_mask & ~env.terminated(problem, state)
            count = jnp.maximum(live.sum(), 1)
            mean = jnp.where(live[:, None], x, 0).sum(0) / count
            square = jnp.where(live[:, None], (x - mean) ** 2, 0).sum(0)
            action = jnp.argmin(jnp.where(o.action_mask, x[:, -1], jnp.inf)).astype(jnp.int32)
            return env.step(problem, state, action).state, (square, live.sum())

        _, (square, count) = jax.lax.scan(body, env.reset(problem), None, length=env.max_steps)
        return square.sum(0), count.sum(), start

    def all_(problems: Any, start: Array) -> tuple[Array, Array]:
        square, count, _ = jax.vmap(one, (0, None))(problems, start)
        deviation = jnp.sqrt(square.sum(0) / count.sum())
        return deviation[:-1], deviation[-1]

    return jax.jit(all_)
