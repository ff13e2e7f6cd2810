"""The SB3 VecEnv: its dialect, its masks, and MaskablePPO through truncated episodes."""

import numpy as np
import pytest
from small import IDS, small
from toys import Random, Toll, toy

from dispatchgym.envs.adapters.single import SingleEnv
from dispatchgym.instances.base import DispatchGymError, UnknownNameError

pytest.importorskip("stable_baselines3")
sb3_contrib = pytest.importorskip("sb3_contrib")

from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported  # noqa: E402
from stable_baselines3.common.env_checker import check_env  # noqa: E402
from stable_baselines3.common.monitor import Monitor  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor  # noqa: E402

from dispatchgym.envs.adapters.sb3 import make_sb3  # noqa: E402


def toll(num_envs=2, **kwargs):
    return make_sb3(toy(Toll), num_envs, generator=Random(3, 3), **kwargs)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("env_id", IDS)
def test_checker(env_id):
    check_env(SingleEnv(env_id, **small(env_id)))


def test_the_first_episode_equals_dummy_vec_env():
    ours, theirs = toll(), DummyVecEnv([lambda: SingleEnv(toy(Toll), generator=Random(3, 3))] * 2)
    for envs in (ours, theirs):
        envs.seed(4)
    seen, wanted = ours.reset(), theirs.reset()
    for _ in range(3):
        for key in wanted:
            np.testing.assert_array_equal(seen[key], wanted[key])
            assert seen[key].dtype == wanted[key].dtype
        actions = np.argmax(get_action_masks(theirs), axis=1)
        assert (get_action_masks(ours) == get_action_masks(theirs)).all()
        (seen, *result, infos), (wanted, *expected, told) = ours.step(actions), theirs.step(actions)
        for a, b in zip(result, expected, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
    for info, other in zip(infos, told, strict=True):
        assert info["TimeLimit.truncated"] is other["TimeLimit.truncated"] is False
        assert info["objective"] == other["objective"]
        assert info["metrics"] == pytest.approx(other["metrics"])
        for key, value in other["terminal_observation"].items():
            np.testing.assert_array_equal(info["terminal_observation"][key], value)


def test_arrays_are_writable_and_survive():
    envs = toll()
    first = envs.reset()
    kept = {key: value.copy() for key, value in first.items()}
    _, rewards, dones, _ = envs.step(np.array([0, 0]))
    rewards[0] += 1
    dones[0] = False
    for key, value in first.items():
        np.testing.assert_array_equal(value, kept[key])
        value[:] = 0


def test_masks_and_attributes():
    envs = toll(3)
    envs.reset()
    assert is_masking_supported(envs)
    assert get_action_masks(envs).shape == (3, 3)
    envs.step(np.array([0, 1, 2]))
    assert (get_action_masks(envs) == ~np.eye(3, dtype=bool)).all()
    assert len(envs.env_method("action_masks", indices=[1])) == 1
    assert envs.get_attr("max_steps", indices=1) == [3]
    assert not envs.has_attr("colour")
    assert envs.env_is_wrapped(Monitor) == [False] * 3
    envs.set_attr("invalid_action", "raise")
    with pytest.raises(ValueError, match="in common"):
        envs.set_attr("invalid_action", "ignore", indices=[0])
    envs.close()


def test_seeds_are_used_once():
    envs = toll()
    envs.seed(3)
    envs.reset()
    names = [info["instance"] for info in envs.reset_infos]
    envs.reset()
    assert [info["instance"] for info in envs.reset_infos] != names
    envs.seed(3)
    envs.reset()
    assert [info["instance"] for info in envs.reset_infos] == names


def test_arguments():
    with pytest.raises(DispatchGymError, match="SB3 fixes output"):
        toll(output="jax")
    with pytest.raises(UnknownNameError, match="did you mean 'free'"):
        toll(fre=True)
    envs = toll()
    envs.set_options({"instance": "ft06"})
    with pytest.raises(DispatchGymError, match=r"make_sb3\(instance=\[...\]\)"):
        envs.reset()


def test_maskable_ppo_collects_truncated_episodes():
    envs = VecMonitor(toll(4, max_episode_steps=2))
    model = sb3_contrib.MaskablePPO("MultiInputPolicy", envs, n_steps=16, batch_size=32, n_epochs=1, seed=0)
    model.learn(128)
    assert model.num_timesteps == 128
    assert {episode["l"] for episode in model.ep_info_buffer} == {2}
    assert model.rollout_buffer.rewards.shape == (16, 4)


def test_maskable_ppo_on_a_job_shop():
    envs = VecMonitor(make_sb3("dispatchgym/JobShop-v0", 2, instance="ft06"))
    model = sb3_contrib.MaskablePPO("MultiInputPolicy", envs, n_steps=40, batch_size=40, n_epochs=1, seed=0)
    model.learn(80)
    assert {episode["l"] for episode in model.ep_info_buffer} == {36}  # masks: no action was wasted
