"""MemoryMapping-v0: what it shows of every move, beside the twin; its picture against a raster; its options."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from math import lcm
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

sys.path.insert(0, str(Path(__file__).parents[1]))
from small import small
from twins.memory import MemoryTwin, Move
from twins.memory_cases import LETTERS, SIZE, memory, random_memory, worked

from dispatchgym.envs.adapters.single import SingleEnv
from dispatchgym.envs.memory import MemoryMapping
from dispatchgym.envs.memory.problem import Event
from dispatchgym.envs.registry import make
from dispatchgym.instances.base import DispatchGymError, UnknownNameError
from dispatchgym.instances.memory import MemoryInstance, load
from dispatchgym.instances.memory.instance import READ

ID = "dispatchgym/MemoryMapping-v0"
DATA = Path(__file__).parents[1] / "data" / "memory"
SHAPE = (5, 7)  # of pictures: neither divides the other's length
NONE = -2


@cache
def functions(evictions: str = "charged", reward: str = "latency") -> tuple[Any, ...]:
    """(environment, start, step, observe), compiled once for all tests; with padding and a picture."""
    env = MemoryMapping(SIZE, evictions, reward, SHAPE)

    def start(instance: MemoryInstance) -> tuple[Any, Any]:
        problem = env.prepare(instance)
        return problem, env.reset(problem)

    return env, *map(jax.jit, (start, env.step, env.observe))


class Moment(NamedTuple):
    """A state of both, before an action."""

    twin: MemoryTwin
    problem: Any
    seen: dict[str, Any]  # columns by "node.name", "global.name" and "action.name", and the arrays


def moments(instance: MemoryInstance, script: str | int = 0, evictions: str = "charged") -> Iterator[Moment]:
    """Along an episode of a script, or of random moves of a seed, to the end."""
    env, start, step, observe = functions(evictions)
    problem, state = start(instance.pad(SIZE))
    twin = MemoryTwin(evictions)
    twin.reset(instance)
    rng = np.random.default_rng(script if isinstance(script, int) else 0)
    while True:
        arrays = {name: np.asarray(array) for name, array in observe(problem, state).asdict().items()}
        parts = (("node", "nodes"), ("global", "globals"), ("action", "action_features"))
        columns = {f"{p}.{c}": arrays[a][..., i] for p, a in parts for i, c in enumerate(env.graph.names(p))}
        yield Moment(twin, problem, arrays | columns)
        if twin.over:
            return
        legal = np.flatnonzero(twin.mask())
        action = int(rng.choice(legal)) if isinstance(script, int) else LETTERS.index(script[twin.k])
        state = step(problem, state, jnp.int32(action)).state
        twin.step(action)


WORTH = ("saves", "secured", "cost", "net", "displaces", "space_time", "worth", "worth_at_price")
EPISODES = [(seed, evictions) for evictions in ("charged", "free") for seed in range(12)]


def test_nodes_show_the_twins_state() -> None:
    for seed, evictions in EPISODES:
        for twin, _, seen in moments(random_memory(seed), seed, evictions=evictions):
            steps, buffers = twin.steps, twin.buffers
            rows = {name[5:]: column[:steps].tolist() for name, column in seen.items() if name.startswith("node.")}
            assert rows["supply_in"] == twin.residual_in
            assert rows["supply_out"] == twin.residual_out
            assert rows["saved"] == twin.saved
            load = [sum(r[3] for r in twin.rects if r[0] <= t <= r[1]) for t in range(steps)]
            assert rows["reserved"] == load
            rows = {
                name[5:]: column[SIZE.steps : SIZE.steps + buffers].tolist()
                for name, column in seen.items()
                if name.startswith("node.")
            }
            assert rows["held"] == [stay[1] if stay else NONE for stay in twin.residence]
            assert rows["reserved"] == [
                size if stay else 0 for stay, size in zip(twin.residence, twin.granules, strict=True)
            ]
            assert rows["ready"] == [ready if ready < steps else NONE for ready in twin.hbm_ready]
            assert seen["global.latency"] == twin.latency
            assert seen["global.event"] == twin.k
            if not twin.over:
                t, b, _ = twin.events[twin.k]
                assert seen["global.now"] == t
                assert seen["global.slack"] == twin._time(t, twin.saved[t]) - twin.compute[t]
                assert seen["global.supply_in"] == sum(twin.residual_in[:t])
                assert seen["global.supply_out"] == sum(twin.residual_out[t + 1 :])
                assert seen["global.free_now"] == twin.capacity - load[t]
                later = [s for s, of, _ in twin.events[twin.k + 1 :] if of == b]
                if later:
                    assert seen["global.free_next"] == twin.capacity - max(load[t + 1 : later[0] + 1])
                assert seen["global.resident"] == (twin.residence[b] is not None)


def after(twin: MemoryTwin, move: Move) -> dict[str, Any]:
    """What an action of the event to decide leads to, in words of the action columns."""
    t, b, _ = twin.events[twin.k]
    kept = move.stay is not None
    gain = twin.gain[twin.k] if kept else 0
    rest = [(s, e) for e, (s, of, _) in enumerate(twin.events) if of == b and e > twin.k]
    benefit = {e: twin._time(s, 0) - twin._time(s, twin.gain[e]) for s, e in rest}
    covered = [e for s, e in rest if move.stay is not None and s <= move.stay[1]]
    first, last, _, size = move.rectangle or (0, -1, 0, 0)
    supply = [twin._time(s, 0) for s in range(twin.steps)]
    load = [sum(r[3] for r in twin.rects if r[0] <= s <= r[1]) for s in range(first, last + 1)]
    return {
        "saves": twin._time(t, twin.saved[t]) - twin._time(t, twin.saved[t] + gain),
        "covers": len(covered),
        "secured": sum(benefit[e] for e in covered),
        "forgone": sum(benefit.values()) - sum(benefit[e] for e in covered),
        "first": first,
        "last": max(last, 0),
        "stay": sum(supply[first : last + 1]),
        "comes": twin.demand[b] if move.copy_in is not None else 0,
        "goes": twin.demand[b] if move.copy_out is not None else 0,
        "reach": sum(supply[move.copy_in + 1 : t]) if move.copy_in is not None else 0,
        "offset": move.stay[0] if move.stay else 0,
        "peak": max(load) + size if load else 0,
        "above": twin.capacity - move.stay[0] - twin.granules[b] if move.stay else 0,
        "keeps": int(kept),
    }


def test_actions_show_what_they_do() -> None:
    looked = [0, 0, 0]
    for seed, evictions in EPISODES:
        for twin, _, seen in moments(random_memory(seed), seed, evictions=evictions):
            if twin.over:
                continue
            t, b, _ = twin.events[twin.k]
            for action, move in enumerate(twin.moves()):
                assert seen["action_mask"][action] == (move is not None)
                if move is None:
                    assert not seen["action_features"][action].any()
                    continue
                looked[action] += 1
                assert seen["action_nodes"][action].tolist() == [t, SIZE.steps + b]
                wanted = after(twin, move)
                assert {name: seen[f"action.{name}"][action] for name in wanted} == wanted, (seed, twin.k, action)
    assert min(looked) > 50


def test_actions_show_what_their_space_is_worth() -> None:
    """Prices, room and floor of the relaxed plan, which test_memory_space.py builds by itself, summed over the new space."""
    displacing = stretched = 0
    for seed, evictions in EPISODES:
        for twin, problem, seen in moments(random_memory(seed), seed, evictions=evictions):
            if twin.over:
                continue
            _, b, kind = twin.events[twin.k]
            event = Event(*np.asarray(problem.events[twin.k]).tolist())
            paid, room, floor = (np.asarray(x) for x in (problem.price, problem.room, problem.floor))
            moves = twin.moves()
            stays = [0, 0, 0]
            for action, move in enumerate(moves):
                if move is None or move.rectangle is None:
                    continue
                first, last, _, size = move.rectangle
                during = range(first, last + 1)
                stays[action] = sum(twin._time(t, 0) for t in during)
                row = {name: float(seen[f"action.{name}"][action]) for name in WORTH}
                own = event.kept_so_far if kind == READ else (0, event.kept_all, event.kept)[action]
                displaces = 0 if own else sum(floor[t] * max(0, size - int(room[t])) for t in during)
                gained = row["saves"] + row["secured"]
                cost = size * (paid[last + 1] - paid[first])
                wanted = {
                    "cost": cost,
                    "net": gained - cost,
                    "displaces": displaces,
                    "space_time": stays[action] * twin.granules[b] / twin.capacity,
                    "worth": gained / max(gained + displaces, 1),
                    "worth_at_price": gained / max(gained + cost, 1),
                }
                assert {name: row[name] for name in wanted} == pytest.approx(wanted, rel=1e-4, abs=1e-4)
                displacing += displaces > 0
            wanted = min(20, stays[1] / max(stays[2], 1)) if moves[1] and moves[2] else 0
            assert seen["action.stretch"].tolist() == pytest.approx([0, wanted, 0], rel=1e-5)
            stretched += wanted > 1
    assert displacing > 20
    assert stretched > 5


def test_the_worked_example_is_shown() -> None:
    (*_, before, end) = moments(worked(), "CCDNNCDC")
    seen = before.seen  # step 4 reads B, which is in slow memory since step 2
    names = ("now", "granules", "demand", "gain", "slack", "resident", "free_now", "latency", "all_slow", "ideal")
    assert [seen[f"global.{name}"] for name in names] == [4, 2, 4, 3, 3, 1, 3, 19, 32, 10]
    assert seen["global.pressure"] == (2 + 2 + 2) / 4  # P, A and B live in the steps 1 and 2
    assert seen["action_mask"].tolist() == [1, 1, 1]
    copy = {name: float(seen[f"action.{name}"][2]) for name in ("first", "last", "offset", "comes", "goes", "reach")}
    assert copy == {"first": 3, "last": 4, "offset": 1, "comes": 4, "goes": 0, "reach": 6}
    kept = {name: float(seen[f"action.{name}"][1]) for name in ("first", "last", "offset", "peak", "saves", "keeps")}
    assert kept == {"first": 3, "last": 4, "offset": 2, "peak": 3, "saves": 3, "keeps": 1}
    assert end.seen["node.supply_in"][:5].tolist() == [5, 8, 8, 2, 5]
    assert end.seen["node.supply_out"][:5].tolist() == [5, 4, 4, 6, 3]


def raster(rectangles: list[tuple[int, int, int, int]], twin: MemoryTwin) -> np.ndarray:
    """f64[SHAPE]: shares of cells, counted in points of which each cell, step and granule has whole numbers."""
    height, width = SHAPE
    tall, wide = lcm(height, twin.capacity), lcm(width, twin.steps)
    points = np.zeros((tall, wide))
    y, x = tall // twin.capacity, wide // twin.steps
    for first, last, offset, size in rectangles:
        points[offset * y : (offset + size) * y, first * x : (last + 1) * x] = 1
    return points.reshape(height, tall // height, width, wide // width).mean((1, 3))


def test_the_picture_shows_what_is_reserved_and_what_moves_would_reserve() -> None:
    painted = np.zeros(3)
    for seed, evictions in EPISODES:
        for twin, _, seen in moments(random_memory(seed), seed, evictions=evictions):
            image = seen["image"]
            assert (image.shape, image.dtype) == ((3, *SHAPE), np.float32)
            assert (image >= 0).all()
            assert (image <= 1).all()
            moves = [None] * 3 if twin.over else twin.moves()
            added = [[move.rectangle] if move and move.rectangle else [] for move in moves[1:]]
            for channel, rectangles in enumerate((twin.rects, *added)):
                np.testing.assert_allclose(image[channel], raster(rectangles, twin), atol=1e-5)
                painted[channel] += bool(rectangles)
    assert painted.min() > 50


def test_the_picture_is_a_part_of_the_observation() -> None:
    plain, with_image = (make(ID, **small(ID), image=image) for image in (None, [4, 6]))
    assert "image" not in plain.graph.shapes()
    assert with_image.graph.shapes()["image"] == ((3, 4, 6), np.dtype(np.float32))
    assert with_image.graph.schema_hash() == plain.graph.schema_hash()  # a policy may ignore it


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_checkers_accept_the_picture() -> None:
    env = SingleEnv(ID, image=(4, 6), render_mode="rgb_array", **small(ID))
    check_env(env)
    pytest.importorskip("stable_baselines3.common.env_checker").check_env(env)


def test_lanes_show_pictures_of_their_own() -> None:
    lanes = gymnasium.make_vec(ID, num_envs=2, image=(4, 6), **small(ID))
    seen, _ = lanes.reset(seed=0)
    single = SingleEnv(ID, image=(4, 6), **small(ID))
    for lane, picture in enumerate(np.asarray(seen["image"])):
        alone, _ = single.reset(options={"instance": small(ID)["instance"][lane]})
        np.testing.assert_allclose(picture, alone["image"], atol=1e-6)


def saturated() -> MemoryInstance:
    """Step 1 computes for 6 ticks and moves data for 8, of which two reads could save 3 each."""
    buffers, events = [(1, -1, 0, 4)] * 2, [(1, 0, READ, 3, 3), (1, 1, READ, 3, 3)]
    return memory([0, 6], [8, 8], 4, buffers, events)


@pytest.mark.parametrize(("reward", "paid"), [("latency", [2, 0]), ("benefit", [2, 2])])
def test_the_benefit_counts_a_saturated_step_twice(reward: str, paid: list[int]) -> None:
    env, start, step, _ = functions(reward=reward)
    problem, state = start(saturated().pad(SIZE))
    for wanted in paid:
        moved = step(problem, state, jnp.int32(2))
        assert float(moved.reward) == wanted
        state = moved.state
    assert moved.terminated
    assert env.objective(problem, state) == 14


def test_copies_back_are_free_or_charged() -> None:
    """Both pin or keep what is written; only the output is copied back, and only where that is charged."""
    (*_, charged), (*_, free) = moments(worked(), "NNDNNCDN"), moments(worked(), "NNDDNNDD", evictions="free")
    assert [int(m.seen["node.supply_out"].sum()) for m in (charged, free)] == [32 - 2, 32]
    assert [int(m.seen["global.latency"]) for m in (charged, free)] == [16, 22]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"evictions": "none"}, "unknown evictions 'none'; choose one of charged, free"),
        ({"evictions": None}, "choose one of charged, free"),
        ({"reward": "linear"}, "unknown reward 'linear'; choose one of latency, benefit"),
        ({"image": 8}, r"image is 8; give \(height, width\)"),
        ({"image": (8,)}, r"each in 1\.\.512"),
        ({"image": (0, 8)}, r"each in 1\.\.512"),
        ({"image": (8, 513)}, r"each in 1\.\.512"),
        ({"image": (8, True)}, r"each in 1\.\.512"),
        ({"image": (8.0, 8)}, r"each in 1\.\.512"),
        ({"image": "8x8"}, r"each in 1\.\.512"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DispatchGymError, match=message):
        make(ID, **small(ID), **options)


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'evictions'"):
        make(ID, **small(ID), eviction="free")


@pytest.mark.parametrize(("file", "instance"), [("tiny-worked", worked()), ("tiny-updates", random_memory(2173))])
def test_the_small_files_hold_the_cases_of_the_twin(file: str, instance: MemoryInstance) -> None:
    read = load(DATA / f"{file}.json")
    for name, value in vars(instance).items():
        np.testing.assert_array_equal(getattr(read, name), value, err_msg=name)
