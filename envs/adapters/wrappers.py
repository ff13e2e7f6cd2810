"""The Dict observation as ``gymnasium.spaces.Graph``; PyTorch Geometric's ``Data`` is in ``gnn/wrapper.py``."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Graph, GraphInstance

from dispatchgym.envs.graph import BOUND


def to_graph(observation: dict[str, np.ndarray]) -> GraphInstance:
    """The graph without padding: nodes f32[n, F], edges f32[m, max(G, 1)], edge_links i32[m, 2]."""
    real, kept = observation["node_mask"].astype(bool), observation["edge_mask"].astype(bool)
    links = compact(real)[observation["edge_index"][:, kept]].T  # (m, 2) here, (2, m) in PyG
    edges = observation.get("edges", np.zeros((len(kept), 0), np.float32))[kept]
    if edges.shape[1] == 0:  # Graph takes edges and links together or not at all
        edges = np.zeros((len(edges), 1), np.float32)
    return GraphInstance(observation["nodes"][real], edges, np.ascontiguousarray(links))


def compact(real: np.ndarray) -> np.ndarray:
    """i32[N]: new number of each node once padding is dropped; 0 for padding."""
    return ((np.cumsum(real) - 1) * real).astype(np.int32)


class GraphSpaceWrapper(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Observations in ``gymnasium.spaces.Graph``, exact and unpadded.

    What a Graph cannot hold goes to ``info``: ``globals``, ``action_features`` and ``action_nodes`` (renumbered like
    the nodes).
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        shapes = env.observation_space.spaces  # type: ignore[attr-defined]
        columns = shapes["nodes"].shape[1], max(shapes["edges"].shape[1] if "edges" in shapes else 0, 1)
        nodes, edges = (Box(-BOUND, BOUND, (width,), np.float32) for width in columns)
        self.observation_space = Graph(nodes, edges)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[GraphInstance, dict[str, Any]]:
        """As the wrapped environment."""
        observation, info = self.env.reset(seed=seed, options=options)
        return to_graph(observation), info | self._rest(observation)

    def step(self, action: Any) -> tuple[GraphInstance, Any, bool, bool, dict[str, Any]]:
        """As the wrapped environment."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return to_graph(observation), reward, terminated, truncated, info | self._rest(observation)

    def _rest(self, observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        number = compact(observation["node_mask"].astype(bool))
        nodes = number[observation["action_nodes"]]
        rest = {name: observation[name] for name in ("globals", "action_features") if name in observation}
        return rest | {"action_nodes": nodes}
