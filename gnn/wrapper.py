"""The Dict observation as PyTorch Geometric's ``Data``."""

from __future__ import annotations

from typing import Any

import gymnasium

from dispatchgym.envs.graph import GraphSpec
from dispatchgym.instances.extras import require


class PyGWrapper(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Observations as ``torch_geometric.data.Data`` (extra ``train``); ``observation_space`` stays the Dict."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        for package in ("torch", "torch_geometric"):
            require(package, "train", "PyGWrapper")
        from dispatchgym.gnn.convert import to_pyg  # imports torch, which may be missing

        self._convert = to_pyg
        self._spec: GraphSpec = env.unwrapped.core.graph  # type: ignore[attr-defined]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As the wrapped environment."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._convert(observation, self._spec), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the wrapped environment."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._convert(observation, self._spec), reward, terminated, truncated, info
