"""Checks of the functional core: pure functions, honest masks, exact rewards, no look-ahead."""

from __future__ import annotations

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispatchgym.testing_subject import ROUNDING, Skip, Subject, difference, leaves, same

STATES = 24  # of a random episode, where each is looked at closely
MANY = 2048  # actions tried in one state


def arrays(s: Subject) -> str | None:
    """Arrays have the shapes and dtypes that GraphSpec declares; states keep their structure and have no weak types."""
    problem = s.problems[0]
    state = jax.jit(s.core.reset)(problem)
    kinds = _kinds(state)
    for _, _, moved in s.play(problem, 3):
        now = _kinds(moved.state)
        assert now == kinds, f"step changes the state's arrays: {now} against {kinds}"
        kind = moved.reward.shape, moved.reward.dtype
        assert kind == ((), np.float32), f"reward is {moved.reward.aval}, not f32[]"
        assert moved.terminated.dtype == bool, f"terminated is {moved.terminated.aval}, not bool[]"
    weak = [path for path, (_, _, is_weak) in kinds.items() if is_weak]
    assert not weak, f"weak types in the state (they compile twice): {', '.join(weak)}"
    have = {name: (array.shape, np.dtype(array.dtype)) for name, array in s.observe(problem, state).asdict().items()}
    for name, wanted in s.core.graph.shapes().items():
        assert have[name] == wanted, f"observation {name!r} is {have[name]}, GraphSpec says {wanted}"
    return f"{sum(np.prod(shape, dtype=int) for shape, _ in have.values())} numbers an observation"


def jit_equals_eager(s: Subject) -> None:
    """Compiled and uncompiled functions agree: integers and booleans exactly, floats to rounding."""
    problem = s.problems[0]
    for state, action, moved in s.play(problem, 2):
        seen = s.observe(problem, state)
        with jax.disable_jit():
            plain = leaves(s.core.step(problem, state, jnp.asarray(action))), leaves(s.core.observe(problem, state))
        same((leaves(moved), leaves(seen)), plain, "jit against no jit", ROUNDING)
    start = leaves(jax.jit(s.core.reset)(problem))
    with jax.disable_jit():
        eager_problem = s.core.prepare(s.instances[0])
        same(leaves(problem), leaves(eager_problem), "prepare with and without jit", ROUNDING)
        for _ in range(2):  # twice: a hidden counter shows at the second call
            same(start, leaves(s.core.reset(problem)), "reset with and without jit")


def vmap_equals_loop(s: Subject) -> None:
    """A batch gives what its lanes give alone: states, rewards and flags bit for bit, observations to rounding."""
    s.need_discrete()
    batch = jax.tree.map(lambda *x: jnp.stack(x), *s.problems)
    states = [jax.jit(s.core.reset)(problem) for problem in s.problems]
    step, observe = jax.jit(jax.vmap(s.core.step)), jax.jit(jax.vmap(s.core.observe))
    for t in range(min(STATES, s.core.max_steps)):
        actions = [s.choose(s.mask(p, state)) for p, state in zip(s.problems, states, strict=True)]
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *states)
        together = leaves(step(batch, stacked, np.array(actions))), leaves(observe(batch, stacked))
        for i, problem in enumerate(s.problems):
            moved = s.step(problem, states[i], actions[i])
            lane = [{path: leaf[i] for path, leaf in part.items()} for part in together]
            same(lane[0], leaves(moved), f"vmap against loop, step {t}, lane {i}")
            seen = leaves(s.observe(problem, states[i]))
            same(lane[1], seen, f"vmap against loop, observation of step {t}, lane {i}", ROUNDING)
            states[i] = moved.state


def masks(s: Subject) -> str | None:
    """Every legal action moves the state, every other one is flagged and changes nothing; some action is legal."""
    s.need_discrete()
    number = s.core.graph.n_actions
    tried = np.arange(-1, number + 1) if number <= MANY else s.rng.integers(-1, number + 1, MANY)
    tried = tried.astype(np.int32)
    every = jax.jit(jax.vmap(s.core.step, (None, None, 0)))
    states = 0
    for problem in s.problems[:2]:
        for state, _, _ in s.play(problem, STATES):
            mask = np.asarray(s.mask(problem, state))
            shown = np.asarray(s.observe(problem, state).action_mask)
            assert mask.any(), "the mask is all False in a state that is not terminal"
            assert (mask == shown).all(), f"observe shows mask {shown.astype(int)}, action_mask is {mask.astype(int)}"
            _judge(tried, mask, leaves(state), every(problem, state, tried))
            states += 1
    return f"{states} states"


def _judge(tried: np.ndarray, mask: np.ndarray, before: dict[str, np.ndarray], moved: Any) -> None:
    after, invalid, reward = leaves(moved.state), np.asarray(moved.invalid), np.asarray(moved.reward)
    for i, action in enumerate(tried):
        unchanged = difference(before, {path: leaf[i] for path, leaf in after.items()}) is None
        if 0 <= action < len(mask) and mask[action]:
            assert not invalid[i], f"action {action} is in the mask, but is flagged invalid"
            assert not unchanged, f"action {action} is in the mask, but leaves the state as it is"
        else:
            assert invalid[i], f"action {action} is outside the mask, but is not flagged invalid"
            assert unchanged, f"action {action} is outside the mask, but changes the state"
            assert reward[i] == 0, f"action {action} is outside the mask, but is paid {reward[i]}"


def rewards_sum(s: Subject) -> str | None:
    """The rewards of an episode add up to its objective, measured from the offset, exactly."""
    s.need_discrete()
    result = s.episodes
    total = np.asarray(result.rewards, np.float64).sum(axis=0)
    sign = {"min": -1, "max": 1}[s.core.sense]
    for i, problem in enumerate(s.problems):
        offset, objective = (np.asarray(x).item() for x in (s.core.offset(problem), result.objective[i]))
        assert offset + sign * total[i] == objective, (
            f"rewards add up to {total[i]}; objective {objective} and offset {offset} are {objective - offset} apart"
        )
    return f"objectives {np.asarray(result.objective).tolist()}"


def after_the_end(s: Subject) -> None:
    """Episodes end within max_steps; then nothing moves or is paid, masks are full and observations finite."""
    problem = s.problems[0]
    state = s.end(problem)
    assert np.asarray(s.mask(problem, state)).all(), "the mask of a terminal state is not all True"
    for action in (0, s.core.graph.n_actions - 1):
        moved = s.step(problem, state, np.int32(action))
        same(leaves(state), leaves(moved.state), f"action {action} after the end moves the state")
        assert float(moved.reward) == 0, f"action {action} after the end is paid {float(moved.reward)}"
        assert bool(moved.terminated), "a step after the end takes termination back"
    for name, array in s.observe(problem, state).asdict().items():
        assert np.isfinite(np.asarray(array)).all(), f"observation {name!r} is not finite after the end"


def no_look_ahead(s: Subject) -> str | None:
    """Observation and mask stay the same under another future of the exogenous data."""
    for index, problem in enumerate(s.problems):
        for t, (state, _, _) in enumerate(s.play(problem, STATES)):
            other = s.core.perturb_future(problem, state, jax.random.key(97 * index + t))
            if other is None:
                raise Skip("perturb_future gives None: the agent may see the whole instance")
            same(leaves(s.observe(problem, state)), leaves(s.observe(other, state)), f"step {t} shows the future")
            same(leaves(s.mask(problem, state)), leaves(s.mask(other, state)), f"the mask of step {t} knows the future")
    return None


def padding(s: Subject) -> str | None:
    """A padded instance gives the trajectory and, without its padding, the observations of the unpadded one."""
    s.need_discrete()
    roomy = s.entry.build(type(s.source.size)(*(n + 1 for n in s.source.size)), **s.options)
    step, observe, objective = jax.jit(roomy.step), jax.jit(roomy.observe), jax.jit(roomy.objective)
    for problem, instance in zip(s.problems[:2], s.instances[:2], strict=True):
        large = jax.jit(roomy.prepare)(instance.pad(roomy.size))
        other = jax.jit(roomy.reset)(large)
        for t, (state, action, moved) in enumerate(s.play(problem, s.core.max_steps)):
            seen, seen_large = s.observe(problem, state), observe(large, other)
            same(unpadded(seen), unpadded(seen_large), f"observation of step {t}, unpadded against padded", ROUNDING)
            # Padding may change the numbers of the legal actions, but not their order.
            nth = int(np.asarray(seen.action_mask)[:action].sum())
            after = step(large, other, np.int32(np.flatnonzero(np.asarray(seen_large.action_mask))[nth]))
            plain, roomed = ((m.reward, m.terminated, m.invalid) for m in (moved, after))
            same(plain, roomed, f"(reward, terminated, invalid) of step {t}, unpadded against padded")
            value = s.objective(problem, moved.state)
            same(value, objective(large, after.state), f"objective after step {t}, unpadded against padded")
            other = after.state
    return f"{tuple(s.source.size)} in {tuple(roomy.size)}"


def unpadded(observation: Any) -> dict[str, np.ndarray]:
    """The arrays of an observation without padding, nodes renumbered."""
    o = {name: np.asarray(array) for name, array in observation.asdict().items()}
    number = np.cumsum(o["node_mask"]) - 1
    return {
        "nodes": o["nodes"][o["node_mask"]],
        "edge_index": number[o["edge_index"][:, o["edge_mask"]]],
        "edges": o["edges"][o["edge_mask"]],
        "globals": o["globals"],
        "action_nodes": number[o["action_nodes"][o["action_mask"]]],
        "action_features": o["action_features"][o["action_mask"]],
    }


def validator(s: Subject) -> str | None:
    """The family's validator accepts random episodes and finds the same objective."""
    s.need_discrete()
    module = f"dispatchgym.eval.validators.{s.core.family}"
    try:
        validate = importlib.import_module(module).validate
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise Skip(f"there is no {module}") from None
    result = s.episodes
    for i, instance in enumerate(s.instances):
        actions = np.asarray(result.actions)[np.asarray(result.active)[:, i], i].tolist()
        verdict = validate(instance, actions, s.options)
        assert verdict.valid, f"the validator refuses a random episode: {'; '.join(map(str, verdict.errors))}"
        objective = np.asarray(result.objective)[i]
        assert verdict.objective == objective, f"the validator finds {verdict.objective}, the environment {objective}"
    return f"{len(s.instances)} episodes"


def _kinds(state: Any) -> dict[str, tuple[Any, Any, bool]]:
    found = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): (leaf.shape, leaf.dtype, leaf.weak_type) for path, leaf in found}


CORE_CHECKS = (
    arrays,
    jit_equals_eager,
    vmap_equals_loop,
    masks,
    rewards_sum,
    after_the_end,
    no_look_ahead,
    padding,
    validator,
)
