"""The single environment: Gymnasium's contract, bad input, instances, rendering, other views of its observation."""

import subprocess
import sys
from dataclasses import replace

import gymnasium as gym
import jax
import numpy as np
import pytest
from gymnasium.error import Error, ResetNeeded
from gymnasium.utils.env_checker import check_env
from small import IDS, small
from toys import Bare, Random, Toll, toy

from dispatchgym.envs.adapters import packed
from dispatchgym.envs.adapters.actions import ActionError, InvalidActionError
from dispatchgym.envs.adapters.single import SingleEnv
from dispatchgym.envs.adapters.wrappers import GraphSpaceWrapper
from dispatchgym.gnn.wrapper import PyGWrapper
from dispatchgym.instances.base import DispatchGymError, InstanceError, UnknownNameError

JOB_SHOP = "dispatchgym/JobShop-v0"


def legal(info):
    return int(np.flatnonzero(info["action_mask"])[0])


@pytest.fixture(params=IDS)
def env(request):
    return gym.make(request.param, **small(request.param)).unwrapped


def test_gymnasium_checker(env):
    check_env(env)


def test_an_episode(env):
    observation, info = env.reset(seed=0)
    assert isinstance(info["instance"], str)
    total, terminated = 0.0, False
    for _ in range(env.core.max_steps):
        assert observation in env.observation_space
        assert info["action_mask"].dtype == bool
        assert (info["action_mask"] == observation["action_mask"]).all()
        assert (info["action_mask"] == env.action_masks()).all()
        assert all(type(array) is np.ndarray and array.flags.writeable for array in observation.values())
        observation, reward, terminated, truncated, info = env.step(legal(info))
        total += reward
        assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
        assert not info["invalid_action"]
        if terminated:
            break
    assert terminated
    assert not truncated
    offset = int(env.core.offset(env.snapshot()[0]))
    assert total == {"min": offset - info["objective"], "max": info["objective"] - offset}[env.core.sense]


@pytest.mark.parametrize("shared", [True, False], ids=["one kernel", "many"])
def test_packing_changes_no_bit(env, shared, monkeypatch):
    if not shared:
        monkeypatch.setattr(packed, "one_kernel", lambda *_: None)
        packed._packed.cache_clear()
    core, rng = env.core, np.random.default_rng(0)
    step, look = jax.jit(core.step), jax.jit(core.observe)
    observation, info = env.reset(seed=0)
    problem, state = env.snapshot()
    for _ in range(core.max_steps):
        shown = look(problem, state).asdict()
        for name, array in observation.items():
            expected = np.asarray(shown[name]).astype(array.dtype)
            assert array.tobytes() == expected.tobytes(), name
        assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), state, env.snapshot()[1]))
        action = int(rng.choice(np.flatnonzero(info["action_mask"]))) if rng.random() < 0.8 else -1
        moved = step(problem, state, np.int32(action))
        observation, reward, terminated, _, info = env.step(action)
        state = moved.state
        assert (reward, terminated) == (float(moved.reward), bool(moved.terminated))
        assert info["invalid_action"] == bool(moved.invalid)
        if terminated:
            break
    packed._packed.cache_clear()


@pytest.mark.parametrize("scheme", ["semi_active", "non_delay", "giffler_thompson", "left_shift"])
def test_a_job_shop_step_is_one_kernel(scheme):
    env = gym.make(JOB_SHOP, instance="ft06", scheme=scheme).unwrapped
    env.reset()
    assert "xla_cpu_small_call" in env._calls.take.lower(env._words, env._state_words, np.int32(0)).as_text()


def test_what_is_no_one_kernel():
    assert packed.one_kernel(lambda x: jax.numpy.sort(x), np.zeros(3)) is None
    assert packed.one_kernel(lambda x: jax.numpy.dot(x, x), np.zeros(3)) is None


WORDS = [np.float32(-0.0), np.zeros((2, 0), np.int32), np.array([True, False, True]), np.arange(5, dtype=np.int8),
         np.arange(-3, 4, dtype=np.int16), np.array([[np.nan, np.inf, 1e-40]], np.float32), np.uint32(2**32 - 1),
         np.zeros((0,), bool), np.float16([1.5, -2])]  # fmt: skip


def test_words_hold_every_dtype():
    layout = packed.Layout([jax.ShapeDtypeStruct(x.shape, x.dtype) for x in WORDS])
    for before, after in zip(WORDS, jax.jit(lambda tree: layout.unpack(layout.pack(tree)))(WORDS), strict=True):
        assert (after.dtype, after.shape) == (before.dtype, before.shape)
        assert np.asarray(after).tobytes() == before.tobytes()


NO_ACTIONS = [
    float("nan"), float("inf"), 0.5, 1.0, np.float32(1), True, np.bool_(False), "1", None, [0], (0, 1),
    np.zeros(1, int), [[0], [0, 1]], {}, pytest.param(object(), id="object"),
]  # fmt: skip


@pytest.mark.parametrize("action", NO_ACTIONS, ids=repr)
def test_what_is_no_action_changes_nothing(env, action):
    if not isinstance(env.action_space, gym.spaces.Discrete):
        pytest.skip("actions are not Discrete")
    _, info = env.reset(seed=0)
    with pytest.raises(ActionError, match=rf"0\.\.{env.action_space.n - 1}"):
        env.step(action)
    after = env.step(legal(info))
    env.reset(seed=0)
    again = env.step(legal(info))
    assert after[1:4] == again[1:4]
    assert all((after[0][key] == again[0][key]).all() for key in again[0])


@pytest.mark.parametrize("kind", [int, np.int8, np.uint16, np.int64, np.array, jax.numpy.asarray])
def test_integers_of_any_kind_are_actions(env, kind):
    _, info = env.reset(seed=0)
    assert not env.step(kind(legal(info)))[-1]["invalid_action"]


@pytest.mark.parametrize("action", [-1, 10**6, 2**31, 2**32, -(2**63), 2**80, np.uint64(2**64 - 1)])
def test_integers_out_of_range_are_flagged(env, action):
    before, _ = env.reset(seed=0)
    after, reward, terminated, truncated, info = env.step(action)
    assert info["invalid_action"] is True
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert all((before[key] == after[key]).all() for key in before)
    raising = SingleEnv(env.spec.id, invalid_action="raise", **small(env.spec.id))
    raising.reset(seed=0)
    with pytest.raises(InvalidActionError, match=rf"^action {int(action)} is not legal now; legal actions: "):
        raising.step(action)


def test_masked_actions():
    for invalid_action in ("ignore", "raise"):
        env = gym.make(JOB_SHOP, instance="ft06", scheme="non_delay", invalid_action=invalid_action)
        _, info = env.reset()
        while info["action_mask"].all():
            *_, info = env.step(legal(info))
        masked = int(np.flatnonzero(~info["action_mask"])[0])
        if invalid_action == "ignore":
            assert env.step(masked)[-1]["invalid_action"]
            continue
        options = ", ".join(map(str, np.flatnonzero(info["action_mask"])))
        with pytest.raises(InvalidActionError, match=f"action {masked} is not legal now; legal actions: {options}$"):
            env.step(masked)
        assert not env.step(legal(info))[-1]["invalid_action"]


def test_invalid_actions_run_out_of_time(env):
    env.reset(seed=0)
    for t in range(env.core.max_steps):
        _, _, terminated, truncated, info = env.step(-1)
        assert not terminated
        assert truncated == (t == env.core.max_steps - 1)
    assert "objective" not in info
    with pytest.raises(ResetNeeded, match="over"):
        env.step(0)


def test_max_episode_steps(env):
    short = SingleEnv(env.spec.id, max_episode_steps=2, **small(env.spec.id))
    _, info = short.reset(seed=0)
    assert short.step(legal(info))[3] is False
    assert short.step(-1)[3] is True
    with pytest.raises(DispatchGymError, match="max_episode_steps is 0"):
        SingleEnv(env.spec.id, max_episode_steps=0)


def test_a_longer_limit_leaves_room_for_illegal_actions():
    env = SingleEnv(JOB_SHOP, instance="ft06", max_episode_steps=100)
    _, info = env.reset()
    for _ in range(5):
        _, _, terminated, truncated, info = env.step(-1)
        assert not terminated
        assert not truncated
    for _ in range(env.core.max_steps):
        _, _, terminated, truncated, info = env.step(legal(info))
    assert terminated
    assert not truncated


def test_step_outside_an_episode(env):
    fresh = SingleEnv(env.spec.id, **small(env.spec.id))
    for call in (lambda: fresh.step(0), fresh.action_masks):
        with pytest.raises(ResetNeeded, match=r"call reset\(\) before"):
            call()
    _, info = fresh.reset()
    over = False
    while not over:
        *_, over, _, info = fresh.step(legal(info))
    with pytest.raises(ResetNeeded, match=r"the episode is over; call reset\(\)"):
        fresh.step(0)


@pytest.mark.parametrize("seed", [0, np.int64(5), np.uint8(5), 2**64, 2**200])
def test_seeds(env, seed):
    first, again = env.reset(seed=seed), env.reset(seed=seed)
    assert first[1]["instance"] == again[1]["instance"]


@pytest.mark.parametrize(
    ("seed", "said"), [(-1, "seed -1 is negative"), (1.5, "seed 1.5 is not"), ("a", "seed 'a' is not")]
)
def test_bad_seeds(env, seed, said):
    with pytest.raises(Error, match=said):
        env.reset(seed=seed)


def test_reset_options(env):
    with pytest.raises(UnknownNameError, match="did you mean 'instance'"):
        env.reset(options={"instanse": 1})
    with pytest.raises(DispatchGymError):
        env.reset(options={"instance": object()})


def test_instances_of_a_job_shop(tmp_path):
    env = gym.make(JOB_SHOP, instance=["ft06", "la01"]).unwrapped
    assert {env.reset(seed=seed)[1]["instance"] for seed in range(20)} == {"ft06", "la01"}
    small_one = env.source.family.coerce("ft06")
    path = tmp_path / "two.txt"
    path.write_text("2 2\n0 3 1 2\n1 4 0 1\n")
    for instance, name in (("ft06", "ft06"), (small_one, "JobShopInstance"), (path, str(path)), (str(path), str(path))):
        _, info = env.reset(seed=1, options={"instance": instance})
        assert info["instance"] == name
    assert env.reset(seed=1)[1]["instance"] in ("ft06", "la01")
    with pytest.raises(InstanceError, match="does not fit"):
        env.reset(options={"instance": "ft10"})
    broken = replace(small_one, duration=np.where(small_one.duration == 1, -5, small_one.duration))
    for call in (
        lambda: env.reset(options={"instance": broken}),
        lambda: gym.make(JOB_SHOP, instance=broken),
    ):
        with pytest.raises(InstanceError, match="job 0, operation 0: duration -5 is outside"):
            call()
    with pytest.raises(UnknownNameError, match="unknown instance 'ft07'; did you mean"):
        env.reset(options={"instance": "ft07"})


def test_arguments():
    with pytest.raises(UnknownNameError, match="did you mean 'scheme'"):
        gym.make(JOB_SHOP, shceme="non_delay")
    with pytest.raises(UnknownNameError, match="did you mean 'ignore'"):
        gym.make(JOB_SHOP, invalid_action="ignor")
    with pytest.raises(UnknownNameError, match="did you mean 'taillard"):
        gym.make(JOB_SHOP, suite="tailard-15x15")
    with pytest.raises(DispatchGymError, match="not from instance and suite"):
        gym.make(JOB_SHOP, suite="ft", instance="ft06")
    with pytest.raises(DispatchGymError, match="do not fit"):
        gym.make(JOB_SHOP, instance="ft10", size=(6, 6, 6, 1))
    with pytest.raises(DispatchGymError, match="give one like"):
        gym.make(JOB_SHOP, instance="ft06", size=(6, 6))
    for arguments, said in (
        ({"instance": "ft06", "size": ("a", 6, 6, 6)}, "give one like"),
        ({"instance": "ft06", "size": 6}, "give one like"),
        ({"generator": 3}, "3 is no generator; give the name"),
        ({"generator": Random}, "is no generator; give the name"),
        ({"suite": 3}, "3 is no suite; give the name"),
        ({"suite": ["ft"]}, "is no suite; give the name"),
    ):
        with pytest.raises(DispatchGymError, match=said):
            gym.make(JOB_SHOP, **arguments)
    roomy = gym.make(JOB_SHOP, generator="uniform-3x2", size=(4, 4, 4, 1))
    assert roomy.reset(seed=0)[0] in roomy.observation_space


def test_rendering(env):
    for mode in env.core.render_modes:
        drawing = gym.make(env.spec.id, render_mode=mode, **small(env.spec.id))
        _, info = drawing.reset(seed=0)
        pictures = [drawing.render()]
        for _ in range(3):
            info = drawing.step(legal(info))[-1]
            pictures.append(drawing.render())
        if mode == "rgb_array":
            assert len({picture.shape for picture in pictures}) == 1
            assert pictures[0].dtype == np.uint8
        else:
            assert all(isinstance(picture, str) and picture for picture in pictures)
        drawing.close()
        drawing.close()
    env.reset()
    with pytest.raises(DispatchGymError, match="pass render_mode="):
        env.render()
    with pytest.raises(UnknownNameError, match="did you mean 'rgb_array'"):
        SingleEnv(env.spec.id, render_mode="rgb-array", **small(env.spec.id))


def test_a_family_without_pictures():
    with pytest.raises(UnknownNameError, match="render_mode"):
        SingleEnv(toy(Toll), render_mode="ansi")


def test_nothing_to_decide():
    env = SingleEnv(toy(Toll), generator=Random(0, 3))
    _, info = env.reset(seed=0)
    assert info["action_mask"].all()
    _, reward, terminated, truncated, info = env.step(1)
    assert (reward, terminated, truncated, info["objective"]) == (0.0, True, False, 0)
    assert info["metrics"] == {"mean_toll": 0.0}


def test_graph_space(env):
    wrapped = GraphSpaceWrapper(env)
    observation, info = wrapped.reset(seed=0)
    for _ in range(5):
        assert observation in wrapped.observation_space
        assert info["action_nodes"].max() < len(observation.nodes)
        observation, *_, info = wrapped.step(legal(info))
    assert observation.edge_links.shape == (len(observation.edges), 2)


def test_graph_space_drops_padding():
    env = GraphSpaceWrapper(gym.make(JOB_SHOP, instance="ft06", size=(8, 7, 9, 1)).unwrapped)
    plain = GraphSpaceWrapper(gym.make(JOB_SHOP, instance="ft06").unwrapped)
    (padded, info), (exact, exact_info) = env.reset(), plain.reset()
    for part in ("nodes", "edges", "edge_links"):
        assert (getattr(padded, part) == getattr(exact, part)).all()
    assert (info["action_nodes"][:6] == exact_info["action_nodes"]).all()


def test_graph_space_without_edge_columns():
    env = GraphSpaceWrapper(SingleEnv(toy(Bare)))
    assert env.reset(seed=0)[0] in env.observation_space


def test_pyg(env):
    pytest.importorskip("torch_geometric")
    pytest.importorskip("dispatchgym.gnn.convert", exc_type=ImportError)
    wrapped = PyGWrapper(env)
    data, info = wrapped.reset(seed=0)
    exact = GraphSpaceWrapper(env).reset(seed=0)[0]
    assert data.num_nodes in (len(exact.nodes), env.core.graph.n_nodes)
    assert type(wrapped.step(legal(info))[0]) is type(data)


def test_torch_is_not_imported():
    code = (
        "import sys, gymnasium, dispatchgym\n"
        f"env = gymnasium.make({JOB_SHOP!r}, instance='ft06')\n"
        "env.reset(); env.step(0)\n"
        f"gymnasium.make_vec({JOB_SHOP!r}, num_envs=2, instance='ft06').reset()\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'stable_baselines3', 'ortools')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.strip() == "[]", done.stderr
