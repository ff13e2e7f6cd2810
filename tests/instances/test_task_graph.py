"""Task graphs: published ranks, the order, bounds by hand and errors that name the element."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatchgym.instances import InstanceError
from dispatchgym.instances.task_graph import MAX_TASKS, TaskGraph
from dispatchgym.instances.workflow import named

PUBLISHED = json.loads((Path(__file__).parents[1] / "data/workflow/published_ranks.json").read_text())["instances"]

dags = st.integers(1, 9).flatmap(
    lambda n: st.tuples(
        st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=2), min_size=n, max_size=n),
        st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1), st.integers(0, 9)), max_size=20).map(
            lambda rows: [list(row) for row in {row[:2]: row for row in rows if row[0] < row[1]}.values()]
        ),
        st.permutations(range(n)),
    )
)


def graph(time, edges, bandwidth=1, **options) -> TaskGraph:
    return TaskGraph.checked(time, edges, bandwidth, **options)


@pytest.mark.parametrize("name", PUBLISHED)
def test_ranks_are_the_published_ones(name: str) -> None:
    ours, published = named(name).instance.graph(), PUBLISHED[name]
    assert np.abs(ours.upward_ranks / 1000 - published["upward"]).max() < 0.01
    assert np.abs((ours.upward_ranks + ours.downward_ranks) / 1000 - published["priority"]).max() < 0.01
    assert (ours.optimistic_costs == 1000 * np.array(published["oct"])).all()
    assert np.abs(ours.optimistic_costs.mean(axis=1) / 1000 - published["oct_mean"]).max() < 0.001
    assert ours.lower_bound() <= min(published["makespans"].values())


def test_ranks_round_down_after_the_product() -> None:
    # Means: (3 + 4) / 2, and 2 alone; delays of 7 by bandwidth 2, 3: 3 and 2.
    ours = graph([[3, 4], [-1, 2]], [[0, 1, 7]], [[1, 2], [3, 1]])
    assert ours.mean_times.tolist() == [3500, 2000]
    assert ours.mean_delays.tolist() == [2500]
    assert ours.upward_ranks.tolist() == [8000, 2000]
    assert ours.downward_ranks.tolist() == [0, 6000]
    assert ours.optimistic_costs.tolist() == [[4500, 2000], [0, 0]]
    assert graph([[1, 1, 2]], []).mean_times.tolist() == [1333]
    alone = graph([[3], [4]], [[0, 1, 9]])
    assert (alone.mean_delays.tolist(), alone.horizon(), alone.bandwidths()) == ([0], 7, 0)


def test_bounds_by_hand() -> None:
    unlike = named("unlike").instance.graph()
    assert unlike.critical_path() == 4 + 2 + 3  # tasks 0, 3, 4
    assert unlike.lower_bound() == 9
    assert unlike.horizon() == (6 + 5 + 0 + 7 + 3) + (3 + 4 + 2 + 5 + 4)
    assert unlike.rank_bound() == 5 * 1000 * (7 + 5)
    assert (unlike.degrees(), unlike.bandwidths()) == ((2, 2), 3)
    assert graph([[5, 9]] * 3, []).lower_bound() == 8  # 15 / 2, rounded up


@settings(max_examples=60, deadline=None)
@given(dags)
def test_order_takes_the_lowest_ready_task(dag) -> None:
    time, edges, names = dag
    edges = [[names[i], names[j], volume] for i, j, volume in edges]
    ours = graph(time, edges)
    done: list[int] = []
    while len(done) < len(time):
        ready = [t for t in range(len(time)) if t not in done and all(i in done for i, j, _ in edges if j == t)]
        done.append(min(ready))
    assert ours.order == done
    assert sorted(task for piece in ours.components() for task in piece) == list(range(len(time)))


@settings(max_examples=60, deadline=None)
@given(dags)
def test_renaming_tasks_permutes_the_ranks(dag) -> None:
    time, edges, names = dag
    ours = graph(time, edges)
    moved = np.zeros_like(time)
    moved[list(names)] = time
    other = graph(moved, [[names[i], names[j], volume] for i, j, volume in edges])
    for field in ("upward_ranks", "downward_ranks", "optimistic_costs"):
        assert (getattr(other, field)[list(names)] == getattr(ours, field)).all()
    assert other.lower_bound() == ours.lower_bound()


TIME = [[1, 2], [3, 4], [5, 6]]
NAMES = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("time", "edges", "said"),
    [
        ([], [], "time has the shape (0,); give [tasks, processors]"),
        ([[1], [2, 3]], [], "time cannot be read as an array; give rows of equal length"),
        ([[1, 2], [3, 4.5], [5, 6]], [], "task 'b' on processor 1: time 4.5 is not an integer; scale"),
        ([[1, 2], [3, float("nan")], [5, 6]], [], "task 'b' on processor 1: time nan is not an integer"),
        ([[1, 2], [3, float("inf")], [5, 6]], [], "task 'b' on processor 1: time inf is too large"),
        ([[1, 2], [3, 2**70], [5, 6]], [], f"task 'b' on processor 1: time {2**70} is too large for int32"),
        ([[1, 2], [3, None], [5, 6]], [], "task 'b' on processor 1: time None is not an integer"),
        ([["1"]] * 3, [], "time holds <U1 values, not integers"),
        ([[1, 2], [3, -2], [5, 6]], [], "task 'b' on processor 1: time -2 is negative; give 0 or more, -1 if"),
        ([[1, 2], [-1, -1], [5, 6]], [], "task 'b' is supported by no processor; give"),
        (TIME, [[0, 1]], "edges have the shape (1, 2); give [edges, 3]"),
        (TIME, [[0, 3, 1]], "edge 0 from task 'a' to task 3: no task 3; give 0..2"),
        (TIME, [[0, 1, 1], [-1, 0, 1]], "edge 1 from task -1 to task 'a': no task -1"),
        (TIME, [[1, 1, 1]], "task 'b' precedes itself; remove"),
        (TIME, [[0, 1, -1]], "the edge from task 'a' to task 'b' has volume -1; give 0 or more"),
        (TIME, [[0, 1, 0.5]], "row 0: edges 0.5 is not an integer"),
        (TIME, [[0, 1, 1], [1, 2, 1], [0, 1, 2]], "the edge from task 'a' to task 'b' is given twice"),
        (TIME, [[0, 1, 1], [1, 0, 1]], "the tasks form a cycle, task 'a' -> task 'b' -> task 'a'; remove"),
        (TIME, [[0, 1, 1], [1, 2, 1], [2, 1, 1]], "the tasks form a cycle, task 'b' -> task 'c' -> task 'b'"),
        ([[1]] * (MAX_TASKS + 1), [], f"{MAX_TASKS + 1} tasks on 1 processors are too many; use at most 4096"),
        ([[1]] * 10_000, [], "10000 tasks on 1 processors are too many"),
    ],
)
def test_bad_graphs_name_the_element(time, edges, said: str) -> None:
    with pytest.raises(InstanceError) as caught:
        graph(time, edges, names=NAMES if len(time) == 3 else None, where="x.json: ")
    assert str(caught.value).startswith(f"x.json: {said}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("bandwidth", "said"),
    [
        (0, "the bandwidth from processor 0 to 1 is 0; give 1 or more"),
        ([[1, 2], [-3, 1]], "the bandwidth from processor 1 to 0 is -3"),
        ([[1, 2]], "bandwidth has the shape (1, 2); give one number or [2, 2]"),
        ([[1, 2], [1.5, 1]], "from processor 1 to 0: bandwidth 1.5 is not an integer"),
        (0.5, "bandwidth 0.5 is not an integer"),
    ],
)
def test_bad_bandwidths(bandwidth, said: str) -> None:
    with pytest.raises(InstanceError) as caught:
        graph(TIME, [], bandwidth)
    assert str(caught.value).startswith(said)


def test_the_diagonal_of_the_bandwidth_is_not_read() -> None:
    assert graph(TIME, [], [[0, 2], [3, -1]]).bandwidth.tolist() == [[1, 2], [3, 1]]


def test_bad_names() -> None:
    with pytest.raises(InstanceError, match="two tasks are named 'a'; rename one"):
        graph(TIME, [], names=["a", "b", "a"])
    with pytest.raises(InstanceError, match="2 names for 3 tasks"):
        graph(TIME, [], names=["a", "b"])


def test_pieces_are_refused_on_demand() -> None:
    assert len(graph(TIME, [[0, 2, 1]]).components()) == 2
    with pytest.raises(InstanceError, match="2 pieces: task 'b' is not connected with task 'a'; add"):
        graph(TIME, [[0, 2, 1]], names=NAMES, connected=True)
    with pytest.raises(InstanceError, match="2 pieces: task 0 and 1 more are not connected with task 2"):
        graph([[1]] * 5, [[0, 1, 1], [2, 3, 1], [3, 4, 1]], connected=True)


def test_long_cycles_are_shortened() -> None:
    edges = [[k, (k + 1) % 50, 0] for k in range(50)]
    with pytest.raises(InstanceError, match=r"task 4 -> \.\.\. -> task 49 -> task 0; remove"):
        graph([[1]] * 50, edges)
