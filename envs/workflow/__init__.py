"""Workflows of dependent tasks on unrelated processors (``dispatchgym/WorkflowDag-v0``)."""

from dispatchgym.envs.workflow.env import WorkflowDag
from dispatchgym.envs.workflow.problem import WorkflowProblem
from dispatchgym.envs.workflow.state import WorkflowState

__all__ = ["WorkflowDag", "WorkflowProblem", "WorkflowState"]
