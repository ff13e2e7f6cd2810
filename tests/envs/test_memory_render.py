"""Pictures of fast memory: who lies where, what is copied, and what each decision saved."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from twins.memory import MemoryTwin
from twins.memory_cases import BY_HAND, LETTERS, SIZE, memory, random_memory, worked

from dispatchgym import cli
from dispatchgym.envs import gantt
from dispatchgym.envs.memory import MemoryMapping, waterfall
from dispatchgym.envs.memory.scene import scene
from dispatchgym.envs.memory.stays import stays
from dispatchgym.eval.validators.memory import replay
from dispatchgym.instances.base import DispatchGymError, UnknownNameError, fingerprint
from dispatchgym.instances.memory.instance import READ, MemoryInstance

SVG = "{http://www.w3.org/2000/svg}"
TINY = Path(__file__).parents[1] / "data" / "memory" / "tiny-worked.json"


class Played(NamedTuple):
    """An episode, or its beginning, in the environment and in the twin."""

    env: MemoryMapping
    problem: Any
    state: Any
    twin: MemoryTwin
    actions: list[int]
    rewards: list[int]


@cache
def functions(evictions: str) -> tuple[Any, ...]:
    env = MemoryMapping(SIZE, evictions=evictions)
    return env, jax.jit(env.prepare), jax.jit(env.reset), jax.jit(env.step)


def play(instance: MemoryInstance, script: str | int, evictions: str = "charged", moves: int = 99) -> Played:
    """At most so many moves: of a script, or random ones of a seed. The environment has padding."""
    env, prepare, reset, step = functions(evictions)
    problem = prepare(instance.pad(SIZE))
    state, twin = reset(problem), MemoryTwin(evictions)
    twin.reset(instance)
    rng = np.random.default_rng(script if isinstance(script, int) else 0)
    actions: list[int] = []
    rewards = []
    while not twin.over and len(actions) < moves:
        legal = np.flatnonzero(twin.mask())
        actions.append(int(rng.choice(legal)) if isinstance(script, int) else LETTERS.index(script[twin.k]))
        state = step(problem, state, np.int32(actions[-1])).state
        rewards.append(twin.step(actions[-1]))
    return Played(env, problem, state, twin, actions, rewards)


EPISODES = [
    (random_memory(seed), seed, mode, moves) for mode in ("charged", "free") for seed in range(16) for moves in (7, 99)
]
EPISODES += [(case, "".join(line.action for line in lines), mode, 99) for mode, case, lines in BY_HAND.values()]


def test_boxes_belong_to_the_buffers_that_the_validator_has_there() -> None:
    for instance, script, evictions, moves in EPISODES:
        played = play(instance, script, evictions, moves)
        plan = replay(instance, played.actions, {"evictions": evictions})[0]
        found, serving = stays(played.problem, played.state)
        ours, theirs = np.full((2, SIZE.steps, int(instance.capacity)), -1)
        for cells, rectangles in ((ours, found), (theirs, plan.rectangles)):
            for r in rectangles:
                place = cells[r.first : r.last + 1, r.offset : r.offset + r.granules]
                assert (place == -1).all()
                place[:] = r.buffer
        np.testing.assert_array_equal(ours, theirs)
        assert len(found) == int((played.state.space.last >= 0).sum())
        assert (serving >= 0)[: len(plan.served)].tolist() == plan.served.tolist()
        for e in np.flatnonzero(serving >= 0):
            stay, t = found[serving[e]], instance.event_step[e]
            assert stay.buffer == instance.event_buffer[e]
            assert stay.first <= t <= stay.last


def test_channels_show_what_the_copies_took() -> None:
    directions = [0, 0]
    for instance, script, evictions, moves in EPISODES:
        played = play(instance, script, evictions, moves)
        shown, twin = scene(played.problem, played.state), played.twin
        supply = np.maximum(instance.compute, instance.memory)
        assert shown.supply.tolist() == supply.tolist()
        for used, left in zip(shown.used, (twin.residual_in, twin.residual_out), strict=True):
            assert used.tolist() == (supply - left).tolist()
        counts = [sum(copy.channel == channel for copy in shown.copies) for channel in (0, 1)]
        assert counts == [twin.copies_in, twin.write_backs]
        directions = [a + b for a, b in zip(directions, counts, strict=True)]
        for copy in shown.copies:  # hatched is a part of the box
            assert copy.stay.first <= copy.first <= copy.last <= copy.stay.last
    assert min(directions) > 20


def test_shares_of_slices_are_those_of_their_steps() -> None:
    played = play(worked(), "CCDNNCDC")
    shown = scene(played.problem, played.state)
    assert shown.shares(5).tolist() == [[0, 0, 0, 4 / 6, 0], [0, 4 / 8, 4 / 8, 0, 2 / 5]]
    assert shown.shares(2).tolist() == [[0, 4 / 19], [4 / 13, 6 / 19]]


def test_text_of_the_worked_example() -> None:
    played = play(worked(), "CCDNNCDC")
    assert played.env.render(played.problem, played.state, "ansi").splitlines() == [
        "latency 16, all slow 32, ideal 10, capacity 4, peak 4",
        "  3 .22..",
        "  2 .2222",
        "  1 11122",
        "  0 11133",
        "    0    5",
        " in ...7.",
        "out .55.4",
    ]
    played = play(worked(), "CCDNNCDC", moves=4)
    assert played.env.render(played.problem, played.state, "ansi").splitlines() == [
        "latency 23, all slow 32, ideal 10, capacity 4, peak 4, 4/8 uses",
        "  3 .22..",
        "  2 .22..",
        "  1 111..",
        "  0 111..",
        "    0    5",
        " in .....",
        "out .55..",
        "      ^ step 2",
    ]


def elements(text: str, kind: str, of: str) -> list[ET.Element]:
    return [element for element in ET.fromstring(text).iter(f"{SVG}{kind}") if element.get("class") == of]


def test_svg_has_a_box_for_every_stay_and_hatches_every_copy() -> None:
    for instance, script, evictions, moves in EPISODES[::5]:
        played = play(instance, script, evictions, moves)
        text = played.env.render(played.problem, played.state, "svg")
        assert len(elements(text, "rect", "box")) == len(stays(played.problem, played.state)[0])
        assert len(elements(text, "rect", "copy")) == played.twin.copies_in + played.twin.write_backs
        assert len(elements(text, "path", "now")) == (not played.twin.over)
        assert f"latency {played.twin.latency}" in text


def test_any_episode_can_be_drawn() -> None:
    for instance, script, evictions, moves in EPISODES[::7]:
        played = play(instance, script, evictions, moves)
        assert played.env.render(played.problem, played.state, "rgb_array").shape == (540, 960, 3)
        lines = played.env.render(played.problem, played.state, "ansi").splitlines()
        assert len(lines) == 1 + int(instance.capacity) + 3 + (not played.twin.over)


def test_svg_tells_on_hover() -> None:
    played = play(worked(), "CCDNNCDC")
    text = played.env.render(played.problem, played.state, "svg")
    titles = [title.text for title in ET.fromstring(text).iter(f"{SVG}title")]
    assert titles == [
        "Fast memory: 4 granules, 5 steps",
        "buffer 1 (of step 0), steps 0 to 2, offset 0, 2 granules, used in 0, 2",
        "buffer 2 (of step 1), steps 1 to 2, offset 2, 2 granules, used in 1, 2",
        "buffer 3 (of step 3), steps 3 to 4, offset 0, 1 granules, used in 3",
        "buffer 2 (of step 1), steps 3 to 4, offset 1, 2 granules, used in 4",
        "buffer 1 copied out, steps 1 to 1, after step 0",
        "buffer 2 copied out, steps 2 to 2, after step 1",
        "buffer 3 copied out, steps 4 to 4, after step 3",
        "buffer 2 copied in, steps 3 to 3, for step 4",
        "step 3: copies in take 4 of 6",
        "step 1: copies out take 4 of 8",
        "step 2: copies out take 4 of 8",
        "step 4: copies out take 2 of 5",
    ]
    box = elements(text, "rect", "box")[3]
    track = elements(text, "rect", "track")[0]
    left, top, width, height = (float(track.get(name, 0)) for name in ("x", "y", "width", "height"))
    assert float(box.get("x", 0)) == pytest.approx(left + width * 3 / 5, abs=0.01)
    assert float(box.get("y", 0)) == pytest.approx(top + height * 1 / 4, abs=0.01)  # granules 1 and 2 of 0..3, upwards
    assert float(box.get("height", 0)) == pytest.approx(height / 2, abs=0.01)


def test_pixels_show_progress_and_a_line_for_now() -> None:
    frames = []
    for moves in (0, 4, 7, 8):
        played = play(worked(), "CCDNNCDC", moves=moves)
        frames.append(played.env.render(played.problem, played.state, "rgb_array"))
        assert (frames[-1].shape, frames[-1].dtype) == ((540, 960, 3), np.uint8)
    colored = [(np.ptp(frame.astype(int), axis=-1) > 40).sum() for frame in frames]
    assert colored[0] < colored[1] < colored[2] < colored[3]
    red = [np.flatnonzero((frame == gantt.MAKESPAN).all(-1).mean(0) > 0.7) for frame in frames]
    assert red[0].max() < red[1].min() <= red[1].max() < red[2].min()  # in the steps 0, 2 and 4
    assert not len(red[3])


def test_many_steps_and_granules_are_scaled() -> None:
    instance = memory([0] * 300, [8] * 300, 5000, [(2500, -1, 0, 6)], [(t, 0, READ, 3, 3) for t in (100, 299)])
    env = MemoryMapping(instance.size)

    def copied_and_kept(instance: MemoryInstance) -> tuple[Any, Any]:
        problem = env.prepare(instance)
        state = env.reset(problem)
        for action in (2, 1):
            state = env.step(problem, state, np.int32(action)).state
        return problem, state

    problem, state = jax.jit(copied_and_kept)(instance)
    lines = env.render(problem, state, "ansi").splitlines()
    assert (len(lines), {len(line) for line in lines[1:-3]}) == (20, {76})
    assert sum(set(line[5:]) == {"."} for line in lines[1:17]) == 8
    assert {line[5:].count("0") for line in lines[9:17]} == {48}  # middles of 71 slices that lie in 99..299
    assert env.render(problem, state, "rgb_array").shape == (540, 960, 3)


@pytest.mark.parametrize("by", waterfall.GROUPS)
def test_savings_are_the_rewards_and_add_up(by: str) -> None:
    for instance, script, evictions, moves in EPISODES:
        played = play(instance, script, evictions, moves)
        rows = waterfall.savings(played.problem, played.state, by)
        assert sum(row.ticks for row in rows) == int(played.problem.all_slow) - played.twin.latency
        column = instance.event_buffer if by == "buffer" else instance.event_step
        paid = dict.fromkeys(range(len(instance.define if by == "buffer" else instance.compute)), 0)
        for number, reward in zip(column.tolist(), played.rewards, strict=False):
            paid[number] += reward
        assert {row.label: row.ticks for row in rows} == {f"{by} {n}": ticks for n, ticks in paid.items()}
        assert [row.ticks for row in rows] == sorted(paid.values(), reverse=True)
        assert sum(row.uses for row in rows) == instance.size.events
        for most in (0, 1, 3):
            shown = waterfall.largest(rows, most)
            assert sum(row.ticks for row in shown) == sum(row.ticks for row in rows)
            assert sum(row.served for row in shown) == int((played.state.copy_in >= -2).sum())


def test_waterfall_descends_from_all_slow_to_the_latency() -> None:
    played = play(worked(), "CCDNNCDC")
    text = played.env.render(played.problem, played.state, "waterfall")
    bars = [(float(r.get("x", 0)), float(r.get("width", 0))) for r in elements(text, "rect", "saving")]
    (left, whole), (_, after) = (
        (float(r.get("x", 0)), float(r.get("width", 0))) for r in elements(text, "rect", "end")
    )
    unit, at = whole / 32, 32.0
    for (x, width), ticks in zip(bars, (9, 6, 1, 0), strict=True):
        at -= ticks
        assert (x, width) == pytest.approx((left + at * unit, ticks * unit), abs=0.02)
    assert at * unit == pytest.approx(after, abs=0.02)
    assert "buffer 2: 3 of 3 uses from fast memory save 9 ticks" in text


def test_table_of_savings() -> None:
    played = play(worked(), "CCDNNCDC")
    assert waterfall.table(played.problem, played.state, most=2).splitlines() == [
        "                    served        ticks   share",
        "all slow                             32",
        "buffer 2               3/3           -9   28.1%",
        "buffer 1               2/2           -6   18.8%",
        "2 others               1/3           -1    3.1%",
        "latency                              16   50.0%",
    ]
    with pytest.raises(UnknownNameError, match="buffer, step"):
        waterfall.table(played.problem, played.state, by="event")


def test_other_modes_are_refused() -> None:
    played = play(worked(), "", moves=0)
    with pytest.raises(DispatchGymError, match="rgb_array"):
        played.env.render(played.problem, played.state, "human")


def test_a_trace_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    trace = {
        "env_id": "dispatchgym/MemoryMapping-v0",
        "instance": str(TINY),
        "instance_sha256": fingerprint(worked()),
        "reset": {"options": {}},
        "actions": [LETTERS.index(letter) for letter in "CCDNNCDC"],
        "final": {"objective": 16},
    }
    file, picture, chart = (tmp_path / name for name in ("trace.json", "memory.svg", "waterfall.svg"))
    file.write_text(json.dumps(trace))
    argv = ["dispatchgym", "replay", str(file), "--json", "--svg", str(picture), "--waterfall", str(chart)]
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", jax.config.jax_compilation_cache_dir)
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out)["agrees"]
    assert len(elements(picture.read_text(encoding="utf-8"), "rect", "box")) == 4
    assert len(elements(chart.read_text(encoding="utf-8"), "rect", "saving")) == 4
