"""Windows of programs: valid instances whose steps cost what they cost in the whole program."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dispatchgym.eval.validators.memory import validate
from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.memory.generators import generator
from dispatchgym.instances.memory.suites import SUITES
from dispatchgym.instances.memory.windows import longest, peak_granules, window

WHOLE = {entry.name: entry.instance for entry in SUITES["published"]()}


@pytest.mark.parametrize("name", list(WHOLE))
def test_windows_are_valid_and_their_latencies_add_up(name):
    whole = WHOLE[name]
    steps = int(whole.n_steps)
    cuts = [0, steps // 3, 2 * steps // 3, steps]
    parts = [window(whole, a, b - 1) for a, b in itertools.pairwise(cuts)]
    for part in parts:
        part.check()
    slow = [validate(part, [0] * int(part.n_events), {}).objective for part in parts]
    assert sum(slow) == validate(whole, [0] * int(whole.n_events), {}).objective
    assert sum(int(part.n_events) for part in parts) == int(whole.n_events)


@pytest.mark.parametrize("name", list(WHOLE))
def test_the_whole_program_is_a_window_of_itself(name):
    whole = WHOLE[name]
    same = window(whole, 0, int(whole.n_steps) - 1)
    used = np.unique(whole.event_buffer)
    assert (same.granules == np.asarray(whole.granules)[used]).all()
    assert (same.event_buffer == np.searchsorted(used, whole.event_buffer)).all()
    assert (same.output <= np.asarray(whole.output)[used]).all()


def test_what_crosses_the_borders_comes_from_slow_memory_and_goes_back():
    whole = next(iter(WHOLE.values()))
    define = np.asarray(whole.define)
    last = np.full(len(define), -1)
    np.maximum.at(last, whole.event_buffer, whole.event_step)
    b = int(np.flatnonzero((define >= 0) & (last > define))[0])  # written in one step and used in a later one
    first, later = int(define[b]), int(last[b])
    front, back = window(whole, 0, later - 1), window(whole, first + 1, int(whole.n_steps) - 1)
    number = np.flatnonzero(np.unique(whole.event_buffer[whole.event_step < later]) == b)[0]
    assert front.output[number] == 1
    assert front.define[number] == first
    number = np.flatnonzero(np.unique(whole.event_buffer[whole.event_step > first]) == b)[0]
    assert back.define[number] == -1
    assert back.output[number] == 0


@pytest.mark.parametrize("most", [1, 20, 10**6])
def test_the_longest_window_is_bounded_by_steps_and_events(most):
    whole = next(iter(WHOLE.values()))
    for first in range(int(whole.n_steps)):
        last = longest(whole, first, most)
        assert first <= last < int(whole.n_steps)
        count = ((whole.event_step >= first) & (whole.event_step <= last)).sum()
        assert last == first or (count <= most and last - first < most)


@pytest.mark.parametrize(("first", "last", "message"), [(-1, 2, "-1..2"), (3, 2, "3..2"), (0, 10**6, "0..1000000")])
def test_a_window_outside_the_program_is_refused(first, last, message):
    with pytest.raises(InstanceError, match=message):
        window(next(iter(WHOLE.values())), first, last)


def test_the_generator_cuts_every_training_program():
    made = generator("windows-60", cuts=4)
    members = made._members
    assert {max(part.size.steps, part.size.events) <= 60 for part, _ in members} == {True}
    for part, peak in members:
        part.check()
        assert peak == peak_granules(part) > 0
    assert made.size.events <= 60
