"""The device batch: equal to SyncVectorEnv, exact sweeps of the pool, one compilation, and clear refusals."""

import gymnasium as gym
import jax
import numpy as np
import pytest
from gymnasium.error import Error, ResetNeeded
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList, NormalizeObservation, RecordEpisodeStatistics
from small import IDS, small, small_random
from toys import Random, Toll, toy

from dispatchgym.envs.adapters.actions import ActionError, InvalidActionError
from dispatchgym.envs.adapters.vector import DeviceVectorEnv
from dispatchgym.instances.base import DispatchGymError, UnknownNameError
from dispatchgym.testing import check

JOB_SHOP = "dispatchgym/JobShop-v0"


def toll(num_envs, days=3, lanes=3, **kwargs):
    return DeviceVectorEnv(toy(Toll), num_envs, generator=Random(days, lanes), **kwargs)


def first_legal(infos):
    return np.argmax(np.asarray(infos["action_mask"]), axis=1)


@pytest.mark.parametrize("env_id", IDS)
def test_equal_to_sync_vector_env(env_id):
    report = check(
        env_id, only=("compiled_once", "seeds", "next_step", "same_step"), **small_random(env_id)
    )  # test_check has a list
    assert all(int(result.note.split()[0]) > 2 for result in report.results[2:])


@pytest.mark.parametrize("env_id", IDS)
def test_behind_make_vec(env_id):
    envs = gym.make_vec(env_id, num_envs=2, **small(env_id))
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observation, infos = envs.reset(seed=0)
    action = jax.device_put(first_legal(infos).astype(np.int32))
    for array in (*jax.tree.leaves(observation), *envs.step(action)[1:4], infos["action_mask"], infos["pool_row"]):
        assert isinstance(array, jax.Array)
    host = {name: np.asarray(array) for name, array in observation.items()}
    assert host in envs.observation_space
    assert envs.spec.id == env_id
    envs.close()
    envs.close()


@pytest.mark.parametrize("mode", ["SAME_STEP", "SameStep", "same_step", AutoresetMode.SAME_STEP])
def test_names_of_modes(mode):
    envs = gym.make_vec(JOB_SHOP, num_envs=2, instance="ft06", autoreset_mode=mode)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


def test_max_episode_steps():
    envs = gym.make_vec(JOB_SHOP, num_envs=2, instance="ft06", max_episode_steps=2, output="numpy")
    _, infos = envs.reset()
    assert not envs.step([0, 0])[3].any()
    *_, truncated, infos = envs.step([-1, 0])
    assert truncated.all()
    assert infos["invalid_action"].tolist() == [True, False]
    assert "objective" not in infos
    _, reward, terminated, truncated, infos = envs.step([-1, -1])  # ignored: the lanes reset
    assert not (terminated | truncated | infos["invalid_action"] | (reward != 0)).any()


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
def test_a_sweep_uses_every_instance_once_in_order(mode):
    envs = toll(3, pool_size=7, autoreset_mode=mode, max_episode_steps=3)
    _, infos = envs.reset(seed=0)
    played = np.asarray(infos["pool_row"]).tolist()
    rows = np.asarray(infos["pool_row"])
    rng = np.random.default_rng(0)
    for _ in range(60):
        *_, infos = envs.step(rng.integers(-1, 3, 3))
        now = np.asarray(infos["pool_row"])
        played += now[now != rows].tolist()
        rows = now
    assert len(played) > 30
    assert played == [i % 7 for i in range(len(played))]


def test_lists_are_played_in_order_whatever_the_seed():
    envs = gym.make_vec(JOB_SHOP, num_envs=2, instance=["ft06", "la01", "la02"], output="numpy")
    for seed in (0, 1):
        assert envs.reset(seed=seed)[1]["instance"].tolist() == ["ft06", "la01"]
    assert envs.reset()[1]["instance"].tolist() == ["la02", "ft06"]


def test_a_refill_keeps_what_is_being_played():
    envs = toll(2, pool_size=4, output="numpy")
    _, infos = envs.reset(seed=0)
    names, before = infos["instance"].tolist(), np.array(envs.lanes.pool.problems.toll)
    envs.refill()
    after = np.array(envs.lanes.pool.problems.toll)
    assert (before[:2] == after[:2]).all()
    assert (before[2:] != after[2:]).any(axis=(1, 2)).all()
    assert [envs.source.name(ticket) for ticket in envs.lanes.tickets[:2]] == names
    for row, ticket in enumerate(envs.lanes.tickets):
        assert (envs.source.instance(ticket).toll == after[row]).all()


def test_disabled():
    envs = toll(3, autoreset_mode="DISABLED", output="numpy")
    with pytest.raises(DispatchGymError, match="reset all lanes first"):
        envs.reset(options={"reset_mask": np.array([True, False, False])})
    _, infos = envs.reset(seed=0)
    for action in (0, 1, 2):
        _, _, terminated, _, infos = envs.step([action, action, -1 if action == 2 else action])
    assert terminated.tolist() == [True, True, False]
    assert infos["_objective"].tolist() == [True, True, False]
    with pytest.raises(ResetNeeded, match=r"lanes \[0, 1, 2\] are over"):  # lane 2 ran out of time
        envs.step([0, 0, 0])
    last, _ = envs.reset(options={"reset_mask": np.array([True, False, True])})
    assert last["globals"][:, 0].tolist() == [0.0, 3.0, 0.0]
    with pytest.raises(ResetNeeded, match=r"lanes \[1\] are over"):
        envs.step([0, 0, 0])
    _, infos = envs.reset(options={"reset_mask": np.array([False, True, False])})
    assert infos["_action_mask"].tolist() == [False, True, False]
    assert not envs.step([0, 0, 0])[2].any()


BAD_MASKS = [np.zeros(3, bool), np.ones(2, bool), np.ones(3, int), [True, True, True]]


@pytest.mark.parametrize("mask", BAD_MASKS, ids=repr)
def test_bad_reset_masks(mask):
    envs = toll(3, autoreset_mode="DISABLED")
    envs.reset()
    with pytest.raises(ValueError, match=r"reset_mask must be a NumPy bool array of shape \(3,\)"):
        envs.reset(options={"reset_mask": mask})


def test_final_observations_of_many_lanes():
    envs = toll(150, autoreset_mode="SAME_STEP", output="numpy")
    observation, infos = envs.reset(seed=0)
    paid = np.zeros(150)
    for _ in range(3):
        observation, reward, terminated, _, infos = envs.step(first_legal(infos))
        paid -= reward
    assert terminated.all()
    assert infos["_final_obs"].all()
    assert (observation["globals"] == 0).all()
    for lane, final in enumerate(infos["final_obs"]):
        assert final in envs.single_observation_space
        assert final["globals"].tolist() == [3.0, paid[lane]]
    assert infos["final_info"]["objective"].tolist() == paid.tolist()
    assert np.allclose(infos["final_info"]["metrics"]["mean_toll"], paid / 3)
    assert infos["final_info"]["_metrics"].all()
    assert "objective" not in infos


def test_nothing_to_decide():
    for mode in ("NEXT_STEP", "SAME_STEP"):
        envs = toll(2, days=0, autoreset_mode=mode, output="numpy")
        envs.reset(seed=0)
        _, reward, terminated, truncated, _ = envs.step([0, 1])
        assert terminated.all()
        assert not truncated.any()
        assert (reward == 0).all()
        assert envs.step([0, 1])[2].all() == (mode == "SAME_STEP")


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
def test_gymnasium_wrappers(mode):
    envs = RecordEpisodeStatistics(toll(2, autoreset_mode=mode, output="numpy"))
    _, infos = envs.reset(seed=0)
    returns = []
    for _ in range(12):
        *_, infos = envs.step(first_legal(infos))
        if "episode" in infos:
            returns += infos["episode"]["r"][infos["_episode"]].tolist()
            assert set(infos["episode"]["l"][infos["_episode"]].tolist()) == {3}
    assert len(returns) >= 6
    assert all(value < 0 for value in returns)
    told = DictInfoToList(toll(2, autoreset_mode=mode, output="numpy"))
    assert [set(info) for info in told.reset(seed=0)[1]] == [{"action_mask", "invalid_action", "instance"}] * 2


def test_observation_wrappers_meet_their_own_refusal():
    with pytest.raises((ValueError, AssertionError)):
        NormalizeObservation(toll(2, autoreset_mode="SAME_STEP"))


@pytest.mark.parametrize(
    "actions",
    [[0.0, 1.0], [float("nan"), 0], [0], [[0, 0]], [True, False], None, np.zeros(3, int), jax.numpy.zeros(2), "ab"],
    ids=repr,
)
def test_what_are_no_actions(actions):
    envs = toll(2)
    envs.reset()
    with pytest.raises(ActionError, match=r"give 2 actions, each an integer in 0\.\.2"):
        envs.step(actions)


def test_illegal_actions():
    ignoring, raising = (toll(2, invalid_action=kind, output="numpy") for kind in ("ignore", "raise"))
    for envs in (ignoring, raising):
        envs.reset(seed=0)
        envs.step([0, 1])
    assert ignoring.step(np.array([0, 2**32]))[-1]["invalid_action"].all()
    with pytest.raises(InvalidActionError, match="action 1 of lane 1 is not legal now; legal actions: 0, 2"):
        raising.step([1, 1])
    with pytest.raises(InvalidActionError, match="action 99 of lane 0 is not legal now"):
        raising.step(np.array([99, 1], np.uint8))
    raising.step([1, 0])
    raising.step([0, 1])
    assert not raising.step([-7, 99])[-1]["invalid_action"].any()  # ignored: both lanes reset


@pytest.mark.parametrize("seed", [0, np.int64(3), 2**64, [1, 2], (1, None), np.array([5, 6])])
def test_seeds(seed):
    envs = toll(2)
    envs.reset(seed=seed)
    first = envs.lanes.tickets[0]
    envs.reset(seed=seed)
    assert envs.lanes.tickets[0] == first


@pytest.mark.parametrize(
    ("seed", "said"), [(-1, "negative"), ([0, -1], "negative"), (1.5, "not an integer"), ([1], "1 seeds for 2")]
)
def test_bad_seeds(seed, said):
    with pytest.raises((Error, ValueError), match=said):
        toll(2).reset(seed=seed)


def test_arguments():
    with pytest.raises(UnknownNameError, match="did you mean"):
        toll(2, output="numpi")
    with pytest.raises(UnknownNameError, match="NEXT_STEP"):
        toll(2, autoreset_mode="sometimes")
    with pytest.raises(DispatchGymError, match="num_envs is 0"):
        toll(0)
    with pytest.raises(DispatchGymError, match=r"pool_size is 2\.5"):
        toll(2, pool_size=2.5)
    envs = toll(2)
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        envs.step([0, 0])
    with pytest.raises(UnknownNameError, match="did you mean 'reset_mask'"):
        envs.reset(options={"resetmask": None})
    with pytest.raises(DispatchGymError, match=r"give them to make_vec\(instance=\[...\]\)"):
        envs.reset(options={"instance": "ft06"})


def test_attributes():
    envs = toll(2)
    envs.reset(seed=0)
    assert [row.tolist() for row in envs.call("action_masks")] == [[True] * 3] * 2
    assert envs.get_attr("max_steps") == (3, 3)
    envs.set_attr("invalid_action", "raise")
    assert envs.get_attr("invalid_action") == ("raise", "raise")
    with pytest.raises(ValueError, match="in common"):
        envs.set_attr("invalid_action", ["raise", "ignore"])
    with pytest.raises(AttributeError):
        envs.get_attr("colour")


def test_rendering():
    envs = gym.make_vec(JOB_SHOP, num_envs=2, instance="ft06", render_mode="ansi")
    envs.reset()
    assert [type(text) for text in envs.render()] == [str, str]
