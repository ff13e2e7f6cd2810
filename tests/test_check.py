"""``dispatchgym.testing.check``: registered environments pass, a user's own too, and broken ones are caught."""

import pytest
from small import IDS, small
from toys import BROKEN, Toll, toy

from dispatchgym.instances.base import UnknownNameError
from dispatchgym.testing import CHECKS, CheckError, check


@pytest.mark.parametrize("env_id", IDS)
def test_registered_environments_pass(env_id):
    report = check(env_id, **small(env_id))
    assert report.ok
    assert [result.name for result in report.results] == [one.__name__ for one in CHECKS]
    assert env_id in str(report)
    assert {result.name for result in report.results if result.status == "skipped"} <= {"no_look_ahead", "validator"}


def test_a_users_own_environment_passes():
    report = check(toy(Toll), size=(5, 4))
    skipped = [result for result in report.results if result.status == "skipped"]
    assert [result.name for result in skipped] == ["validator"]
    assert "dispatchgym.eval.validators.toys" in skipped[0].note


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_environment_is_caught(cls):
    with pytest.raises(CheckError) as caught:
        check(
            toy(cls),
            only=("arrays", "jit_equals_eager", "masks", "rewards_sum", "after_the_end", "no_look_ahead", "padding"),
        )
    assert BROKEN[cls] in [failure.name for failure in caught.value.report.failures]
    assert BROKEN[cls] in str(caught.value)


def test_an_environment_that_raises_is_a_finding():
    class Raising(Toll):
        def observe(self, problem, state):
            raise RuntimeError("no view today")

    import toys

    toys.Raising = Raising
    Raising.__name__ = "Raising"
    with pytest.raises(CheckError, match="no view today"):
        check(toy(Raising), only=("arrays",))


def test_unknown_id():
    with pytest.raises(UnknownNameError, match="JobShop"):
        check("dispatchgym/JobShop-v1")


def test_unknown_option():
    with pytest.raises(UnknownNameError, match="did you mean 'scheme'"):
        check("dispatchgym/JobShop-v0", shceme="non_delay")
