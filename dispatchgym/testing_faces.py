"""Checks of the faces: Gymnasium's and SB3's checkers, seeds, one compilation, all adapters in agreement."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from dispatchgym.envs.adapters.single import SingleEnv
from dispatchgym.envs.adapters.vector import DeviceVectorEnv
from dispatchgym.testing_subject import ROUNDING, Skip, Subject, Sweep, compilations, same

LANES = 3  # as many as the subject has problems, so that both share a compilation
LONG = 120  # steps; episodes that may last longer are truncated, so that several end within a check
ILLEGAL = 0.1  # share of actions drawn without regard to the mask


def gymnasium_checker(s: Subject) -> None:
    """Gymnasium's check_env accepts the single environment, every render mode included."""
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*not a recognized.*")
        check_env(gymnasium.make(s.env_id, disable_env_checker=True, **s.kwargs).unwrapped)


def sb3_checker(s: Subject) -> None:
    """Stable-Baselines3's check_env accepts the single environment."""
    _need_sb3()
    from stable_baselines3.common.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every Box that is neither a vector nor an image
        check_env(SingleEnv(s.env_id, **s.kwargs))


def spaces(s: Subject) -> None:
    """Observations lie in the observation space from the first to the last step, batched ones in the batched space."""
    env, batch = SingleEnv(s.env_id, **s.kwargs), _vector(s, AutoresetMode.NEXT_STEP)
    observation, info = env.reset(seed=0)
    for _ in range(LONG):
        _inside(env.observation_space, observation)
        observation, _, terminated, truncated, info = env.step(_sample(s, info["action_mask"][None])[0])
        if terminated or truncated:
            break
    _inside(env.observation_space, observation)
    _inside(batch.observation_space, batch.reset(seed=0)[0])


def seeds(s: Subject) -> None:
    """Equal seeds give equal episodes in every face, other seeds other instances, and NumPy integers are seeds too."""
    env, batch = SingleEnv(s.env_id, **s.kwargs), _vector(s, AutoresetMode.NEXT_STEP)
    first, info = env.reset(seed=3)
    numpy_seed: Any = np.int64(3)
    same((first, info), env.reset(seed=numpy_seed), "reset(seed=3) twice")
    later = env.reset()
    env.reset(seed=3)
    same(later, env.reset(), "reset(seed=3), reset() twice")
    together, infos = batch.reset(seed=3)
    same((together, infos), batch.reset(seed=[3, 4, 5]), "seed=3 against seed=[3, 4, 5]")
    if s.source.generator is None:
        return
    for lane in range(LANES):
        alone = env.reset(seed=3 + lane)[0]
        same(alone, {k: v[lane] for k, v in together.items()}, f"seed {3 + lane}, single against lane {lane}", ROUNDING)
    names = {env.reset(seed=seed)[1]["instance"] for seed in range(8)}
    assert len(names) > 1, "eight seeds give one and the same instance"


def compiled_once(s: Subject) -> str | None:
    """Other seeds, instances, pools and kinds of actions recompile nothing."""
    s.need_discrete()
    env, batch = SingleEnv(s.env_id, **s.kwargs), _vector(s, AutoresetMode.NEXT_STEP)

    def exercise(seed: int) -> None:
        env.reset(seed=seed)
        env.step(0)
        batch.reset(seed=seed)
        on_device = jax.device_put(np.zeros(LANES, np.int32), jax.devices()[0])
        for actions in (
            np.zeros(LANES, np.int64),
            on_device,
            jax.numpy.asarray(np.zeros(LANES, np.int32)),
            [0] * LANES,
        ):
            batch.step(actions)
        batch.refill()
        batch.step(on_device)
        batch.reset()

    exercise(0)
    with compilations() as seen:
        exercise(1)
        exercise(2)
    assert not seen, f"{len(seen)} compilations after the first use"
    return None


def next_step(s: Subject) -> str | None:
    """The device batch returns what SyncVectorEnv returns on the same instances, autoreset in the next step."""
    return _against_sync(s, AutoresetMode.NEXT_STEP)


def same_step(s: Subject) -> str | None:
    """The same with autoreset in the same step, final observations and infos included."""
    return _against_sync(s, AutoresetMode.SAME_STEP)


def sb3_lanes(s: Subject) -> str | None:
    """The SB3 VecEnv tells the same story as the device batch, in its own dialect."""
    _need_sb3()
    s.need_discrete()
    from dispatchgym.envs.adapters.sb3 import make_sb3

    limit = min(s.core.max_steps, LONG)
    batch = _vector(s, AutoresetMode.SAME_STEP, max_episode_steps=limit)
    lanes = make_sb3(s.env_id, LANES, max_episode_steps=limit, **s.kwargs)
    lanes.seed(5)
    observation, infos = batch.reset(seed=5)
    same(observation, lanes.reset(), "first observation")
    ended = 0
    for t in range(_horizon(s)):
        mask = infos["action_mask"]
        same(list(mask), lanes.env_method("action_masks"), f"masks before step {t}")
        actions = _sample(s, mask)
        observation, reward, terminated, truncated, infos = batch.step(actions)
        seen, paid, done, told = lanes.step(actions)
        same((observation, reward.astype(np.float32), terminated | truncated), (seen, paid, done), f"step {t}")
        for lane in np.flatnonzero(done):
            ended += 1
            same(infos["final_obs"][lane], told[lane]["terminal_observation"], f"terminal observation, step {t}")
            assert told[lane]["TimeLimit.truncated"] == bool(truncated[lane]), f"TimeLimit.truncated, step {t}"
    return f"{ended} episodes"


def rollouts(s: Subject) -> str | None:
    """``rollout`` on the device and the batch, fed its actions, pay the same and end alike."""
    s.need_discrete()
    batch = _vector(s, AutoresetMode.DISABLED)
    _, infos = batch.reset(seed=7)
    assert batch.lanes.pool is not None
    rows = np.arange(LANES) % batch.lanes.pool_size
    problems = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], batch.lanes.pool.problems)
    run = s.rollout(problems, jax.random.key(1))
    active, actions, rewards = (np.asarray(x) for x in (run.active, run.actions, run.rewards))
    lengths = active.sum(axis=0)
    for t in range(int(lengths.min())):  # DISABLED: until the first lane ends
        _, reward, terminated, _, infos = batch.step(actions[t])
        same(reward, rewards[t].astype(np.float64), f"rewards of step {t}")
        assert (terminated == (lengths == t + 1)).all(), f"ends of step {t}: {terminated} against {lengths == t + 1}"
    if lengths.min() > 0:
        ended = lengths == lengths.min()
        same(np.asarray(run.objective)[ended].astype(np.int64), infos["objective"][ended], "objectives")
    return f"{int(lengths.min())} steps"


def _against_sync(s: Subject, mode: AutoresetMode) -> str | None:
    s.need_discrete()
    limit = min(s.core.max_steps, LONG)
    batch = _vector(s, mode, max_episode_steps=limit)
    ours: tuple[Any, ...] = batch.reset(seed=11)
    singles = SyncVectorEnv(
        [lambda: SingleEnv(s.env_id, max_episode_steps=limit, **s.kwargs)] * LANES, autoreset_mode=mode, copy=True
    )
    sweep: Any = Sweep(batch.source, batch.lanes.tickets)  # the lanes reset in order, as the pool deals
    for env in singles.envs:
        env.set_wrapper_attr("source", sweep)
    theirs: tuple[Any, ...] = singles.reset(seed=11)
    same(theirs, ours, "SyncVectorEnv against device batch, reset", ROUNDING)
    ended = 0
    for t in range(_horizon(s)):
        actions = _sample(s, ours[-1]["action_mask"])
        ours, theirs = batch.step(actions), singles.step(actions)
        what = f"SyncVectorEnv against device batch, step {t}"
        same(theirs[1:4], ours[1:4], what)
        same(theirs, ours, what, ROUNDING)
        ended += int((ours[2] | ours[3]).sum())
    return f"{ended} episodes"


def _vector(s: Subject, mode: AutoresetMode, **kwargs: Any) -> DeviceVectorEnv:
    return DeviceVectorEnv(s.env_id, LANES, autoreset_mode=mode, output="numpy", **kwargs, **s.kwargs)


def _horizon(s: Subject) -> int:
    return min(2 * s.core.max_steps, LONG) + 20


def _sample(s: Subject, mask: np.ndarray) -> np.ndarray:
    """One action per lane, a few of them illegal or out of range."""
    s.need_discrete()
    wild = s.rng.integers(-2, mask.shape[1] + 2, len(mask))
    tame = np.array([s.choose(row) for row in mask])
    return np.where(s.rng.random(len(mask)) < ILLEGAL, wild, tame).astype(np.int64)


def _inside(space: Any, observation: dict[str, Any]) -> None:
    wrong = [name for name, part in space.spaces.items() if observation[name] not in part]
    assert not wrong, f"outside the observation space: {', '.join(wrong)}"


def _need_sb3() -> None:
    if importlib.util.find_spec("stable_baselines3") is None:
        raise Skip("Stable-Baselines3 is not installed; `pip install dispatchgym[train]`")


FACE_CHECKS = (
    gymnasium_checker,
    sb3_checker,
    spaces,
    seeds,
    compiled_once,
    next_step,
    same_step,
    sb3_lanes,
    rollouts,
)
