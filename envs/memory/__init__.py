"""Mapping of a program's buffers to a slow and a fast memory (``dispatchgym/MemoryMapping-v0``)."""

from dispatchgym.envs.memory.env import MemoryMapping
from dispatchgym.envs.memory.moves import MemoryState
from dispatchgym.envs.memory.problem import MemoryProblem

__all__ = ["MemoryMapping", "MemoryProblem", "MemoryState"]
