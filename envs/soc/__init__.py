"""SoC task graphs: the environment and its parts."""

from dispatchgym.envs.soc.env import SocDag
from dispatchgym.envs.soc.problem import SocProblem
from dispatchgym.envs.soc.state import SocState

__all__ = ["SocDag", "SocProblem", "SocState"]
