"""Many episodes of a JAX environment stepped by a torch network: one jitted call a step, views of its arrays by DLPack."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor

from dispatchgym.envs.core import Environment
from dispatchgym.gnn.network import GraphScorer, Step


@dataclass(frozen=True)
class Played:
    """Episodes of B instances with k lanes each, T decisions at most."""

    actions: np.ndarray  # i32[T, B, k]; meaningless after the end of a lane
    lengths: np.ndarray  # i32[B, k]  decisions of each lane
    objective: np.ndarray  # i64[B, k]


class Stepper:
    """The jitted functions of one environment for [B, k] lanes; what only the static encoder needs is not computed."""

    def __init__(self, env: Environment) -> None:
        self.env = env

        def seen(problem: Any, state: Any) -> tuple:
            o = env.observe(problem, state)
            return o.action_mask, o.action_nodes, o.action_features, o.globals

        def step(problem: Any, state: Any, action: Any) -> tuple:
            after = env.step(problem, state, action)
            return after.state, env.terminated(problem, after.state), seen(problem, after.state)

        def replay(problem: Any, actions: Any) -> tuple:
            def body(state: Any, action: Any) -> tuple:
                live = ~env.terminated(problem, state)
                return env.step(problem, state, action).state, (*seen(problem, state), live)

            return jax.lax.scan(body, env.reset(problem), actions)[1]

        first: Any = jax.vmap(lambda p: env.observe(p, env.reset(p)).asdict())
        lanes = functools.partial(jax.vmap, in_axes=(None, 0))
        self._prepare = jax.jit(jax.vmap(env.prepare))
        self.static = jax.jit(lambda p: env.graph.static_part(first(p)))
        self.reset = jax.jit(
            lambda p, k: jax.vmap(lambda q: jax.vmap(lambda _: env.reset(q))(jnp.arange(k)))(p), static_argnums=1
        )
        self.first = jax.jit(jax.vmap(lanes(seen)))
        self.step = jax.jit(jax.vmap(jax.vmap(step, (None, 0, 0))), donate_argnums=1)
        self.objective = jax.jit(jax.vmap(lanes(env.objective)))
        self.offset = jax.jit(jax.vmap(env.offset))
        self.replay = jax.jit(jax.vmap(replay))

    def prepare(self, instances: Any) -> Any:
        """Prepared problems of stacked instances, committed to the CPU, where the network is; what they meet follows."""
        return self._prepare(jax.device_put(instances, jax.devices("cpu")[0]))


@functools.lru_cache(maxsize=64)
def stepper(env: Environment) -> Stepper:
    """The stepper of an environment, compiled once."""
    return Stepper(env)


def to_torch(array: jax.Array) -> Tensor:
    """A read-only view of a device array."""
    return torch.from_dlpack(array)


def encode(network: GraphScorer, env: Environment, problems: Any) -> Tensor:
    """The static encoding of B prepared problems."""
    return network.encode({name: to_torch(part) for name, part in stepper(env).static(problems).items()})


def begin(env: Environment, problems: Any, lanes: int) -> tuple[Any, Any]:
    """Problems and first states of [B, lanes], both committed to the device: a step then compiles once, not once for
    fresh arrays and again for its own results."""
    problems = jax.device_put(problems, jax.devices("cpu")[0])
    return problems, jax.device_put(stepper(env).reset(problems, lanes), jax.devices("cpu")[0])


@torch.no_grad()
def play(
    env: Environment,
    problems: Any,
    network: GraphScorer,
    lanes: int = 1,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
) -> Played:
    """Run B prepared problems to the end, ``lanes`` times each; greedy without a ``generator``, sampled with one.

    Ties of the greedy choice go to the lowest index.
    """
    jitted = stepper(env)
    problems, state = begin(env, problems, lanes)
    encoded = encode(network, env, problems)
    step = Step(*map(to_torch, jitted.first(problems, state)))
    chosen: list[np.ndarray] = []
    lengths = np.zeros(step.action_mask.shape[:2], np.int32)
    over = np.zeros_like(lengths, bool)
    for _ in range(env.max_steps):
        if over.all():
            break
        logits, _ = network(encoded, step)
        if generator is not None:
            noise = torch.empty_like(logits).exponential_(generator=generator)
            logits = logits / temperature - noise.log()
        action = logits.argmax(-1).to(torch.int32).numpy()
        chosen.append(action)
        lengths += ~over
        state, ended, seen = jitted.step(problems, state, jax.device_put(action))
        step = Step(*map(to_torch, seen))
        over = np.asarray(ended)
    objective = np.asarray(jitted.objective(problems, state)).astype(np.int64)
    return Played(np.stack(chosen), lengths, objective)


@torch.no_grad()
def warm_up(env: Environment, problems: Any, network: GraphScorer, lanes: int) -> None:
    """Compile what :func:`play` runs for these shapes, so that a timing of it holds no compilation."""
    jitted = stepper(env)
    problems, state = begin(env, problems, lanes)
    step = Step(*map(to_torch, jitted.first(problems, state)))
    logits, _ = network(encode(network, env, problems), step)
    state, *_ = jitted.step(problems, state, jax.device_put(logits.argmax(-1).to(torch.int32).numpy()))
    jax.block_until_ready(jitted.objective(problems, state))
