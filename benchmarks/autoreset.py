"""What autoreset from the pool costs: steps per second with and without it, episodes out of phase, one scan each."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.vector import AutoresetMode

import dispatchgym
from dispatchgym.agents.rules.base import pick_uniform
from dispatchgym.envs.adapters.fused import Carry, Pool, advance, gather
from dispatchgym.envs.registry import lookup

STEPS = 128
POOL = 256


def compare(env_id: str, lanes: int, seconds: float) -> dict[str, Any]:
    """{"cost", "rate", "about", ...}: the dearer of the two modes, on bare masks and on full observations."""
    env = dispatchgym.make(env_id)
    problems = jax.jit(jax.vmap(env.prepare))(lookup(env_id).source().pool(POOL, np.random.default_rng(0)))
    pool = Pool(problems, jnp.int32(env.max_steps))
    key = jax.random.key(0)
    programs = {
        (mode.name, full): _program(env, mode, full)
        for mode in (AutoresetMode.DISABLED, AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP)
        for full in (False, True)
    }
    carry = _out_of_phase(env, pool, lanes)
    rates = dict.fromkeys(programs, 0.0)
    for program in programs.values():
        jax.block_until_ready(program(pool, carry, key))
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:  # interleaved, so that other load falls on all alike
        for name, program in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program(pool, carry, key))
            rates[name] = max(rates[name], lanes * STEPS / (time.perf_counter() - start))
    costs = {
        f"{mode}, {'full observation' if full else 'mask'}": rates["DISABLED", full] / rates[mode, full]
        for mode in ("NEXT_STEP", "SAME_STEP")
        for full in (False, True)
    }
    about = "; ".join(f"{name} {cost:.2f}x" for name, cost in costs.items())
    return {"rate": 1 / max(costs.values()), "cost": max(costs.values()), "about": about, "costs": costs}


def _program(env: Any, mode: AutoresetMode, full: bool) -> Any:
    def body(carry: Any, t: Any, pool: Pool, key: Any) -> tuple[Any, None]:
        lanes, mask, _ = carry
        keys = jax.random.split(jax.random.fold_in(key, t), mask.shape[0])
        lanes, step = advance(env, mode, pool, lanes, jax.vmap(pick_uniform)(mask, keys))
        if mode is AutoresetMode.DISABLED:  # never finished here: only the cost of the dense step counts
            lanes = replace(lanes, done=jnp.zeros_like(lanes.done))
        return (lanes, step.mask, step.observation if full else None), None

    def program(pool: Pool, carry: Carry, key: Any) -> Any:
        problems = gather(pool.problems, carry.index)
        mask = jax.vmap(env.action_mask)(problems, carry.state)
        seen = None
        if full:
            shape = jax.eval_shape(lambda c: advance(env, mode, pool, c, jnp.zeros(len(mask), jnp.int32))[1], carry)
            seen = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shape.observation)
        out, _ = jax.lax.scan(lambda c, t: body(c, t, pool, key), (carry, mask, seen), jnp.arange(STEPS))
        return out

    return jax.jit(program)


def _out_of_phase(env: Any, pool: Pool, lanes: int) -> Carry:
    """Lanes at random points of their episodes."""
    rng = np.random.default_rng(1)
    index = jnp.asarray(np.arange(lanes) % POOL, jnp.int32)
    age = jnp.asarray(rng.integers(0, env.max_steps, lanes), jnp.int32)
    problems = gather(pool.problems, index)

    def body(state: Any, t: Any) -> tuple[Any, None]:
        keys = jax.random.split(jax.random.fold_in(jax.random.key(2), t), lanes)
        action = jax.vmap(pick_uniform)(jax.vmap(env.action_mask)(problems, state), keys)
        moved = jax.vmap(lambda p, s, a: env.step(p, s, a).state)(problems, state, action)
        young = t < age
        keep = lambda x, y: jnp.where(young.reshape(young.shape + (1,) * (x.ndim - 1)), x, y)  # noqa: E731
        return jax.tree.map(keep, moved, state), None

    state, _ = jax.jit(lambda s: jax.lax.scan(body, s, jnp.arange(env.max_steps)))(jax.vmap(env.reset)(problems))
    return Carry(state, index, age, jnp.zeros(lanes, bool), jnp.int32(0))
