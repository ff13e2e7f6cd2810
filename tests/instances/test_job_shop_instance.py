"""The job-shop instance: what is refused when the arrays do not come from ``from_jobs``."""

import jax
import numpy as np
import pytest

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.job_shop import JobShopInstance, coerce, generator
from dispatchgym.instances.job_shop.instance import MAX_TOTAL_WORK

MACHINE, DURATION, LENGTHS = [[0, 1], [1, 0]], [[3, 2], [4, 0]], [2, 1]


def shop(machine=MACHINE, duration=DURATION, lengths=LENGTHS) -> JobShopInstance:
    return JobShopInstance(np.asarray(machine), np.asarray(duration), np.asarray(lengths))


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.int64])
def test_integers_of_any_kind_become_int32(dtype):
    given = shop(*(np.asarray(x, dtype) for x in (MACHINE, DURATION, LENGTHS)))
    taken = coerce(given)
    assert {leaf.dtype for leaf in jax.tree.leaves(taken)} == {np.dtype(np.int32)}
    assert taken.jobs() == [[(0, 3), (1, 2)], [(1, 4)]]


def test_what_generators_and_padding_make_passes():
    made = generator("uniform-4x3", min_operations=1)(jax.random.key(0))
    made.check()
    made.pad(made.size._replace(jobs=6, machines=5, operations=4)).check()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (shop(duration=[[-5, 2], [4, 0]]), "job 0, operation 0: duration -5 is outside 0..16777215"),
        (shop(duration=[[3, 2], [np.nan, 0]]), "job 1, operation 0: duration nan is not an integer"),
        (shop(duration=[[3, 2.5], [4, 0]]), "job 0, operation 1: duration 2.5 is not an integer"),
        (shop(duration=[[3.0, 2.0], [4.0, 0.0]]), "duration holds float64 values"),
        (shop(duration=[[True, True], [True, False]]), "duration holds bool values"),
        (shop(duration=[[3, 2], [4, 1]]), "job 1, operation 1: duration 1 is in the padding"),
        (shop(duration=[[2**23, 2**23], [4, 0]]), f"add up to {MAX_TOTAL_WORK + 4}"),
        (shop(duration=[[2**62, 2**62], [4, 0]]), f"job 0, operation 0: duration {2**62} is outside"),
        (shop(duration=[[3, 2]]), "the arrays have shapes"),
        (shop(machine=[0, 1], duration=[3, 2]), "the arrays have shapes"),
        (shop(machine=[[0, -1], [1, 0]]), "job 0, operation 1: machine -1 is outside 0..65535"),
        (shop(machine=[[0, 2**16], [1, 0]]), "job 0, operation 1: machine 65536 is outside"),
        (shop(machine=[[0, 1], [1, 2]]), "job 1, operation 1: machine 2 is in the padding"),
        (shop(lengths=[2, 3]), "job 1 has 3 operations in arrays of 2"),
        (shop(lengths=[2, -1]), "job 1 has -1 operations"),
        (shop([[0]], [[0]], [0]), "at least one operation"),
        (JobShopInstance([[0, 1], [1]], DURATION, LENGTHS), "machine cannot be read as an array"),
    ],
)
def test_broken_arrays(broken, said):
    with pytest.raises(InstanceError, match=said) as caught:
        coerce(broken)
    assert "\n" not in str(caught.value)


def test_work_is_exact_in_float32():
    JobShopInstance.from_jobs([[(0, MAX_TOTAL_WORK - 1)]])
    assert np.float32(MAX_TOTAL_WORK - 1) != np.float32(MAX_TOTAL_WORK)
    with pytest.raises(InstanceError, match="float32 rewards are exact only up to 16777215; use a coarser time unit"):
        JobShopInstance.from_jobs([[(0, MAX_TOTAL_WORK - 1), (0, 1)]])
