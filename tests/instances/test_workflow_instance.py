"""The workflow instance: construction, padding, checks of foreign arrays, exact ranges and predictions."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from dispatchgym.instances import InstanceError
from dispatchgym.instances.base import fingerprint, stack
from dispatchgym.instances.lehmer import MODULUS, exponential, normal, stream, uniform
from dispatchgym.instances.task_graph import MAX_VALUE
from dispatchgym.instances.workflow import WorkflowInstance, WorkflowSize, coerce, generate, named, with_predictions
from dispatchgym.instances.workflow.instance import MAX_HORIZON

TIME = [[2, 3], [3, -1], [9, 2]]
EDGES = [[0, 1, 4], [0, 2, 5]]


def small(**changes) -> WorkflowInstance:
    return replace(WorkflowInstance.from_arrays(TIME, EDGES), **changes)


PADDED = small().pad(WorkflowSize(4, 2, 2, 2))


def test_from_arrays_keeps_everything() -> None:
    made = WorkflowInstance.from_arrays(np.array(TIME, float), EDGES, [[0, 2], [3, 0]], [7, 0, 1])
    assert (made.n_tasks, made.n_processors) == (3, 2)
    assert made.time.tolist() == TIME
    assert made.edges.tolist() == EDGES
    assert made.bandwidth.tolist() == [[1, 2], [3, 1]]
    assert made.prediction.tolist() == [7, 0, 1]
    assert small().prediction.tolist() == [0, 0, 0]
    assert all(leaf.dtype == np.int32 for leaf in jax.tree.leaves(made))


def test_size_pad_and_stack() -> None:
    made = WorkflowInstance.from_arrays(TIME, EDGES, [[1, 2], [3, 1]], [1, 2, 3])
    assert made.size == WorkflowSize(3, 2, 2, successors=2, predecessors=1, bandwidths=2)
    room = WorkflowSize(5, 4, 6, 3, 2, 2)
    padded = made.pad(room)
    padded.check()
    assert padded.size == WorkflowSize(5, 4, 6, 2, 1, 2)
    assert padded.graph().time.tolist() == made.graph().time.tolist()
    assert padded.graph().edges.tolist() == EDGES
    assert padded.lower_bound() == made.lower_bound()
    assert stack([made, named("gap").instance]).time.shape == (2, 5, 2)
    with pytest.raises(InstanceError, match=r"does not fit .* make the environment with larger sizes"):
        padded.pad(made.size)


def test_a_task_alone() -> None:
    alone = WorkflowInstance.from_arrays([[0]], [])
    assert alone.size == WorkflowSize(1, 1)
    assert alone.edges.tolist() == [[0, 0, -1]]
    alone.check()
    assert alone.lower_bound() == 0


def test_pieces_are_allowed_by_hand() -> None:
    assert len(named("gap").instance.graph().components()) == 2


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (small(time=[[2, 3]]), "n_tasks is 3 in arrays of 1; give one number in 1..1"),
        (small(time=[2, 3]), "the arrays have shapes time (2,)"),
        (small(edges=[[0, 1]]), "the arrays have shapes"),
        (small(bandwidth=[[1]]), "the arrays have shapes"),
        (small(n_tasks=2), "task 2 on processor 0: time 9 is in the padding; set it to -1"),
        (small(n_tasks=0), "n_tasks is 0"),
        (small(n_tasks=[3]), "n_tasks is [3]"),
        (small(n_tasks=2.5), "n_tasks 2.5 is not an integer"),
        (small(n_processors=1), "task 0 on processor 1: time 3 is in the padding"),
        (small(n_processors=3), "n_processors is 3 in arrays of 2"),
        (small(edges=[[0, 1, 4], [0, 2, -1]]), "edge 1: [0, 2, -1] has volume -1, which is padding"),
        (small(edges=[[0, 1, 4], [0, 2, -2]]), "the edge from task 0 to task 2 has volume -2"),
        (small(edges=[[0, 1, 4], [1, 0, 0]]), "the tasks form a cycle, task 0 -> task 1 -> task 0"),
        (small(edges=[[0, 3, 4]]), "edge 0 from task 0 to task 3: no task 3; give 0..2"),
        (small(bandwidth=[[1, 0], [1, 1]]), "the bandwidth from processor 0 to 1 is 0"),
        (small(time=[[2, 3], [-1, -1], [9, 2]]), "task 1 is supported by no processor"),
        (small(time=[[2, 3], [3, -1], [9, 2.5]]), "task 2 on processor 1: time 2.5 is not an integer"),
        (small(prediction=[0, 0]), "prediction has the shape (2,); give one number for each of 3 tasks"),
        (small(prediction=[0, -1, 0]), "task 1: prediction -1 is negative"),
        (replace(PADDED, prediction=[0, 0, 0, 5]), "task 3: prediction 5 is in the padding; set it to 0"),
    ],
)
def test_broken_arrays(broken: WorkflowInstance, said: str) -> None:
    with pytest.raises(InstanceError) as caught:
        coerce(broken)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_makespans_are_exact_in_float32() -> None:
    WorkflowInstance.from_arrays([[MAX_VALUE // 1000]], [])
    WorkflowInstance.from_arrays([[5, 3]] * 2, [[0, 1, 10]])
    wide = [[4095]] * 400 + [[0]]
    assert WorkflowInstance.from_arrays(wide, []).graph().horizon() < MAX_HORIZON
    with pytest.raises(
        InstanceError, match="add up to 16777216, but float32 rewards are exact only up to 16777215; use"
    ):
        WorkflowInstance.from_arrays([[4096]] * 4096, [])
    with pytest.raises(
        InstanceError, match=r"tasks x 1000 x .* is 2148000000, but ranks are exact only below 2147483648"
    ):
        WorkflowInstance.from_arrays([[2000, 0]] * 2 + [[0, 0]] * 998, [[0, 1, 148]])
    with pytest.raises(InstanceError, match="use a coarser unit of time"):
        coerce(small(time=[[2**22, 1]] * 3))


def test_coerce_converts_arrays() -> None:
    made = small()
    assert coerce(made) is made
    wide = coerce(jax.tree.map(lambda leaf: np.asarray(leaf, np.int64), made))
    assert all(leaf.dtype == np.int32 for leaf in jax.tree.leaves(wide))
    assert fingerprint(wide) == fingerprint(made)


def test_exact_predictions_count_every_descendant_once() -> None:
    diamond = WorkflowInstance.from_arrays(
        [[1, 2], [10, 10], [20, 20], [7, -1]], [[0, 1, 0], [0, 2, 0], [1, 3, 0], [2, 3, 0]]
    )
    assert with_predictions(diamond, 0).prediction.tolist() == [39, 17, 27, 7]  # 1.5 is rounded up
    padded = with_predictions(diamond.pad(WorkflowSize(6, 3, 5, 2, 2)), 0)
    assert padded.prediction.tolist() == [39, 17, 27, 7, 0, 0]
    padded.check()


def test_distorted_predictions() -> None:
    exact = with_predictions(generate("layered-400x2", 3), 0)
    noisy = with_predictions(exact, 500, seed=9)
    assert (noisy.prediction == with_predictions(exact, 500, seed=9).prediction).all()
    assert (noisy.prediction != with_predictions(exact, 500, seed=10).prediction).any()
    ratio = noisy.prediction / exact.prediction
    assert 0.4 < (ratio > 1).mean() < 0.6
    assert 1.2 < np.exp(np.abs(np.log(ratio)).mean()) < 1.6  # E log(1 + |e|) with e ~ N(0, 0.5): a factor of 1.38
    assert with_predictions(exact, 10_000).prediction.max() < 2**24
    for error, seed in ((-1, 1), (10_001, 1), (0, 0), (0, MODULUS)):
        with pytest.raises(InstanceError, match=r"is -?\d+; give an integer in"):
            with_predictions(exact, error, seed)


def test_portable_numbers() -> None:
    states = stream(1)
    values = [next(states) for _ in range(20_000)]
    assert [uniform(state, 6) for state in (1, MODULUS - 1)] == [0, 5]
    assert np.bincount([uniform(state, 6) for state in values]).min() > 3100
    assert exponential(MODULUS - 1, 10**9) == 0
    assert exponential(1, 1000) == 21487  # 1000 x ln(2^31 - 1) = 21487.56...
    assert exponential(5, 0) == 0
    drawn = np.array([exponential(state, 1000) for state in values[:5000]])
    assert (drawn == np.floor(-1000 * np.log(np.array(values[:5000]) / MODULUS))).all()
    states = stream(7)
    sample = np.array([normal(states) for _ in range(3000)])
    assert abs(sample.mean()) < 60
    assert 950 < sample.std() < 1050
