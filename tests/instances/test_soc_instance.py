"""The SoC instance: check values, padding, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from dispatchgym.instances import InstanceError, UnknownNameError
from dispatchgym.instances.soc import Chip, SocInstance, Template, chip, coerce

DATA = Path(__file__).parents[1] / "data" / "soc"


def data(file: str) -> dict:
    return json.loads((DATA / file).read_text(encoding="utf-8"))


def platform(name: str) -> Chip:
    given = data("mdp_platforms.json")[name]
    templates = tuple(
        Template(
            t["name"], tuple(map(str, range(len(t["w"])))), tuple(map(tuple, t["w"])), tuple(map(tuple, t["edges"]))
        )
        for t in given["templates"]
    )
    return Chip(name, tuple(given["pe"]), tuple(map(tuple, given["bw"])), tuple(given["power_mw"]), templates)


def checked(name: str) -> SocInstance:
    x = next(x for x in data("mdp_instances.json") if x["name"] == name)
    return SocInstance.from_stream(platform(x["platform"]), x["template"], x["gap"], x["mult"], x["cap"], x["closed"])


TINY = SocInstance.from_stream(
    platform("tiny"), ["fork", 1, 0], [0, 1, 1], [[1000, 1500, 1000], None, [1000] * 3], cap=2
)
NAMES = [x["name"] for x in data("mdp_instances.json")]


@pytest.mark.parametrize("name", NAMES)
def test_lower_bounds_of_the_check_instances(name: str) -> None:
    instance = checked(name)
    assert instance.lower_bound() == data("mdp_check_values.json")["bounds"][name]["lower_critical_path"]
    assert {leaf.dtype for leaf in jax.tree.leaves(instance)} == {np.dtype(np.int32), np.dtype(bool)}


def test_size_counts_pairs_degrees_and_bandwidths() -> None:
    assert TINY.size == (3, 2, 2, 3, 2, 2, 2, 1, 9, 1)
    real = checked("real-open-n0").size
    assert (real.slots, real.templates, real.tasks, real.pes, real.edges) == (12, 6, 34, 16, 37)
    assert (real.successors, real.predecessors, real.bandwidths) == (5, 5, 2)
    table = data("mdp_platforms.json")["realworld"]["templates"]
    assert real.pairs == sum(w >= 0 for template in table for row in template["w"] for w in row)


def test_sizes_are_at_least_one() -> None:
    lone = Chip("lone", ("P",), ((0,),), (0,), (Template("one", ("a",), ((0,),), ()),))
    instance = SocInstance.from_stream(lone, [0], [0], cap=1)
    assert instance.size == (1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    assert instance.lower_bound() == 0


def test_padding_keeps_the_stream() -> None:
    size = TINY.size
    room = size._replace(jobs=5, slots=4, templates=3, tasks=5, pes=4, edges=6, pairs=50)
    padded = TINY.pad(room)
    padded.check()
    assert padded.size == room._replace(slots=2, pairs=size.pairs)
    assert padded.lower_bound() == TINY.lower_bound()
    assert padded.jobs() == TINY.jobs() == [(0, 0, [1000, 1500, 1000]), (1, 1, [1000, 1000]), (0, 1, [1000] * 3)]
    assert padded.pad(room).size == padded.size
    with pytest.raises(InstanceError, match="does not fit"):
        TINY.pad(size._replace(jobs=2))


def changed(field: str, at: tuple, value: int, base: SocInstance = TINY) -> SocInstance:
    array = np.array(getattr(base, field))
    array[at] = value
    return replace(base, **{field: array})


PADDED = TINY.pad(TINY.size._replace(jobs=4, templates=3, tasks=4, pes=3, edges=3))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (changed("time", (0, 1, 1), -2), "template 0: task 1 on processor 1: time -2 is negative"),
        (changed("time", (0, 2, 0), -1), "template 0: task 2 is supported by no processor"),
        (changed("time", (1, 0, 1), 715_001), "template 1: task 0 takes 715001 on PE 1; times must be 0..715000"),
        (changed("edges", (0, 1), (1, 0, 1)), "template 0: the tasks form a cycle, task 0 -> task 1 -> task 0"),
        (changed("edges", (0, 0), (1, 0, -3)), "has volume -3"),
        (changed("edges", (0, 0), (1, 7, 3)), "no task 7"),
        (changed("bandwidth", (0, 1), 0), "the bandwidth from processor 0 to 1 is 0"),
        (changed("power", 0, -1), "PE 0 has the power -1 mW"),
        (changed("template", 1, 2), "job 1 is of template 2; give 0..1"),
        (changed("gap", 2, -4), "job 2 has the gap -4; give 0 or more"),
        (changed("gap", 2, 2**30), "3 jobs may need times up to"),
        (changed("gap", 2, 2**30 - 1000), "a total flow time up to"),
        (changed("multiplier", (0, 1), 99), "job 0, task 1: multiplier 99 is outside 100..3000 per mille"),
        (changed("multiplier", (0, 1), 3001), "multiplier 3001 is outside"),
        (changed("multiplier", (1, 2), 900), r"multiplier\[1, 2\] is 900, in the padding; set it to 1000"),
        (changed("n_tasks", 0, 4), "template 0 has 4 tasks in arrays of 3"),
        (changed("n_tasks", 0, 0), "template 0 has 0 tasks; move it behind the others"),
        (replace(TINY, cap=np.int32(0)), "cap is 0, but it bounds the jobs in the system"),
        (replace(TINY, n_jobs=np.int32(0)), "the stream has 0 jobs in arrays of 3; give at least one"),
        (replace(TINY, n_jobs=np.int32(4)), "the stream has 4 jobs in arrays of 3"),
        (replace(TINY, n_pes=np.int32(3)), "the stream has 3 PEs in arrays of 2"),
        (replace(TINY, closed=np.int32(1)), "closed is 1; give True or False"),
        (replace(TINY, gap=np.array([0, 1.5, 1])), "gap 1.5 is not an integer"),
        (replace(TINY, gap=np.array([0, 1])), r"gap has the shape \(2,\); give \[N\]"),
        (replace(TINY, power=np.array([1, 2, 3])), r"power has the shape \(3,\); give \[M\]"),
        (changed("time", (0, 3, 0), 4, PADDED), r"time\[0, 3, 0\] is 4, in the padding; set it to -1"),
        (changed("time", (0, 0, 2), 4, PADDED), r"time\[0, 0, 2\] is 4, in the padding"),
        (changed("power", 2, 4, PADDED), r"power\[2\] is 4, in the padding; set it to 0"),
        (changed("bandwidth", (2, 0), 4, PADDED), r"bandwidth\[2, 0\] is 4, in the padding; set it to 1"),
        (changed("gap", 3, 4, PADDED), r"gap\[3\] is 4, in the padding"),
        (changed("edges", (2, 0), (0, 1, 4), PADDED), r"edges\[2, 0\] is \[0, 1, 4\], in the padding"),
        (changed("edges", (0, 2), (1, 1, -1), PADDED), r"edges\[0, 2\] is \[1, 1, -1\], in the padding"),
    ],
)
def test_wrong_arrays_are_refused(broken: SocInstance, said: str) -> None:
    with pytest.raises(InstanceError, match=said) as caught:
        coerce(broken)
    assert "\n" not in str(caught.value)


def test_overflow_names_a_remedy() -> None:
    slow = Chip("slow", ("P",), ((1,),), (0,), (Template("one", ("a",), ((700_000,),), ()),))
    SocInstance.from_stream(slow, [0] * 50, [0] * 50)
    with pytest.raises(InstanceError, match=r"60 jobs may need .* a total flow time up to 2520000000; use fewer jobs"):
        SocInstance.from_stream(slow, [0] * 60, [0] * 60)
    wide = Template("wide", tuple(map(str, range(4))), ((700_000,),) * 4, ())
    with pytest.raises(InstanceError, match=r"template 'wide': tasks x 1000 x .* overflows the ranks"):
        replace(slow, templates=(wide,)).check(disconnected=True)


def graph(tasks: int, edges: list[tuple[int, int, int]], names: list[str] | None = None) -> Chip:
    given = tuple(names or (f"t{i}" for i in range(tasks)))
    return Chip(
        "chip", ("P", "Q"), ((1, 1), (1, 1)), (1, 1), (Template("app", given, ((1, 2),) * tasks, tuple(edges)),)
    )


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (
            graph(2, [(0, 1, 1), (1, 0, 1)]),
            "template 'app': the tasks form a cycle, task 't0' -> task 't1' -> task 't0'",
        ),
        (graph(3, [(0, 1, 1)]), "template 'app': 2 pieces: task 't2' is not connected with task 't0'"),
        (graph(2, [(0, 1, 1)], ["a", "a"]), "template 'app': two tasks are named 'a'"),
        (graph(10_000, []), "template 'app': 10000 tasks on 2 processors are too many"),
        (graph(0, []), "template 'app' has 0 tasks"),
        (graph(2, [(0, 1, -1)]), "template 'app': the edge 0-1 has volume -1"),
        (replace(graph(1, []), templates=()), "at least one PE and one template"),
        (replace(graph(1, []), templates=graph(1, []).templates * 2), "two templates are named 'app'"),
        (replace(graph(1, []), pes=("P", "P")), "two PEs are named 'P'"),
        (replace(graph(1, []), power=(1,)), "1 powers for 2 PEs"),
    ],
)
def test_wrong_chips_are_refused(broken: Chip, said: str) -> None:
    with pytest.raises(InstanceError, match=said):
        broken.check()


def test_a_graph_in_pieces_is_allowed_on_request() -> None:
    pieces = graph(3, [(0, 1, 1)])
    pieces.check(disconnected=True)
    SocInstance.from_stream(pieces, [0], [0]).check()


def test_subset_of_a_chip() -> None:
    small = chip("realworld", pes=("A7.0", "A15.2", "FFT.1"), profiles=("SC-T", "lag_detection"))
    assert (small.pes, small.kinds, small.power) == (("A7.0", "A15.2", "FFT.1"), ("A7", "A15", "FFT"), (203, 1728, 91))
    assert small.template_names == ("SC-T", "lag_detection")
    assert small.templates[1].time[2] == (150, 60, 30)
    assert small.bandwidth == ((1000, 1000, 10), (1000, 1000, 10), (10, 10, 1000))
    with pytest.raises(UnknownNameError, match=r"unknown PE 'A7\.9'; did you mean 'A7\.[0-3]'"):
        chip("realworld", pes=("A7.9",))
    with pytest.raises(InstanceError, match="chosen twice"):
        chip("realworld", pes=("A7.0", "A7.0"))
    with pytest.raises(InstanceError, match="template 'WiFi_Transmitter': task 'scrambler_encoder' is supported by no"):
        chip("realworld", pes=("FFT.0",))


@pytest.mark.parametrize(
    ("template", "gap", "multiplier", "said"),
    [
        (["fork"], [0, 1], None, "1 templates, 2 gaps"),
        (["spoon"], [0], None, "job 0: the chip has no template 'spoon'; it has fork, pair"),
        ([2], [0], None, "job 0 is of template 2"),
        ([0.5], [0], None, "job 0: template 0.5 is not an integer"),
        ([0], [0], [[1000]], "job 0 has 1 multipliers for 3 tasks"),
        ([0], [0], [[1000, 1000, 0.5]], "job 0: task 2: multiplier 0.5 is not an integer"),
        ([], [], None, "the stream has 0 jobs"),
    ],
)
def test_wrong_streams_are_refused(template, gap, multiplier, said: str) -> None:
    with pytest.raises(InstanceError, match=said):
        SocInstance.from_stream(platform("tiny"), template, gap, multiplier)
