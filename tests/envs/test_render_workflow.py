"""Pictures of workflow schedules: complete, partial, empty."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from twins.checks import read, workflow

from dispatchgym.envs import gantt
from dispatchgym.envs.workflow import WorkflowDag
from dispatchgym.envs.workflow.render import chart
from dispatchgym.instances.base import DispatchGymError
from dispatchgym.instances.workflow.instance import WorkflowSize

GAP = read("workflow/mdp_workflow_check.json")["examples"]["gap"]
ENV = WorkflowDag(WorkflowSize(6, 3, 5, 2, 2, 1))  # with padding
SVG = "{http://www.w3.org/2000/svg}"


def played(decisions):
    """(problem, state) of the worked example after so many of its decisions."""
    problem = ENV.prepare(workflow(GAP["w"], GAP["edges"], GAP["bw"]).pad(ENV.size))
    state = ENV.reset(problem)
    for wanted in GAP["insertion"]["steps"][:decisions]:
        task, processor = wanted["action"]
        k = np.asarray(state.window).tolist().index(task)
        state = ENV.step(problem, state, np.int32(k * ENV.size.processors + processor)).state
    return problem, state


def test_text_shows_every_processor_to_scale():
    assert ENV.render(*played(5), "ansi").splitlines() == [
        "makespan 12, lower bound 7",
        "P0 00111.....44",
        "P1 33333..22...",
        "   0",
    ]
    assert ENV.render(*played(2), "ansi").splitlines()[:2] == ["makespan 9, lower bound 7, 2/5 tasks", "P0 00......."]
    assert ENV.render(*played(0), "ansi").startswith("makespan 0, lower bound 7, 0/5 tasks")


def test_svg_has_a_bar_for_every_planned_task():
    for decisions in (0, 3, 5):
        text = ENV.render(*played(decisions), "svg")
        root = ET.fromstring(text)
        assert sum(bool(rect.get("rx")) for rect in root.iter(f"{SVG}rect")) == decisions
    assert "task 3, processor 1: 0 to 5" in text
    assert "reference 11" in gantt.svg(chart(*played(5), reference=11))


def test_pixels_show_progress():
    frames = [ENV.render(*played(decisions), "rgb_array") for decisions in (0, 3, 5)]
    assert {frame.shape for frame in frames} == {(540, 960, 3)}
    colored = [(np.ptp(frame.astype(int), axis=-1) > 40).sum() for frame in frames]
    assert colored[0] < colored[1] < colored[2]


def test_other_modes_are_refused():
    with pytest.raises(DispatchGymError, match="rgb_array"):
        ENV.render(*played(0), "human")
