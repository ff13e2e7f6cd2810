"""The one observation of all families: a fixed-shape graph in natural units, and the table that names its columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import gymnasium
import jax
import numpy as np

BOUND = float(2**31)  # every column lies well inside; Gymnasium's checkers want finite limits


@dataclass(frozen=True)
class Column:
    """One named feature, described here and nowhere else."""

    name: str
    doc: str
    unit: str = "1"  # "1" plain number, "indicator" 0/1, else a unit that GraphSpec.scales relates to global columns
    dynamic: bool = False  # changes during an episode


@dataclass(frozen=True)
class Scale:
    """How a size-agnostic network reads columns of a unit: (x - origin) / magnitude, both columns of the globals."""

    unit: str
    magnitude: str  # global column that holds a typical size of the unit, > 0
    origin: str | None = None  # global column that holds "now" where only differences mean anything


@dataclass(frozen=True)
class GraphSpec:
    """Sizes of the arrays of a GraphObservation, and the meaning of every column.

    Edge columns with unit ``indicator`` name the relation an edge belongs to. Columns say for themselves whether they change
    during an episode. The first ``static_nodes`` nodes and ``static_edges`` edges (None: all) keep their masks, indices and
    static columns throughout an episode; what comes and goes with arrivals stands behind them, in edge columns that may be
    dynamic for its sake. A network may encode that
    part once per instance.
    """

    n_nodes: int
    n_edges: int
    n_actions: int
    nodes_per_action: int
    node_columns: tuple[Column, ...]
    edge_columns: tuple[Column, ...]
    global_columns: tuple[Column, ...]
    action_columns: tuple[Column, ...]
    scales: tuple[Scale, ...] = ()
    static_nodes: int | None = None
    static_edges: int | None = None
    image: tuple[int, int, int] | None = None  # channels, height and width of the picture that comes along, if any

    @property
    def static_graph(self) -> bool:
        """Whether no node and no edge comes or goes during an episode."""
        return self.static_nodes is None and self.static_edges is None

    def static_part(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """The leading static nodes and edges of batched arrays of an observation, by name, with its globals."""
        nodes, edges = self.static_nodes, self.static_edges
        return {
            "nodes": arrays["nodes"][:, :nodes],
            "node_mask": arrays["node_mask"][:, :nodes],
            "edge_index": arrays["edge_index"][:, :, :edges],
            "edges": arrays["edges"][:, :edges],
            "edge_mask": arrays["edge_mask"][:, :edges],
            "globals": arrays["globals"],
        }

    def index(self, part: str, name: str) -> int:
        """Position of column ``name`` in ``part`` ("node", "edge", "global" or "action")."""
        names = self.names(part)
        if name not in names:
            raise KeyError(f"no {part} column {name!r}; there are {', '.join(names)}")
        return names.index(name)

    def columns(self, part: str) -> tuple[Column, ...]:
        """The columns of "node", "edge", "global" or "action"."""
        return getattr(self, f"{part}_columns")

    def names(self, part: str) -> list[str]:
        """Column names of one part, in order."""
        return [column.name for column in self.columns(part)]

    def schema(self) -> dict[str, Any]:
        """Everything a network's weights depend on: columns and scales, but no sizes."""
        parts = ("node", "edge", "global", "action")
        described = {part: [[c.name, c.unit, c.dynamic] for c in self.columns(part)] for part in parts}
        return described | {
            "scales": [[s.unit, s.magnitude, s.origin] for s in self.scales],
            "nodes_per_action": self.nodes_per_action,
        }

    def schema_hash(self) -> str:
        """sha256 of the schema: a checkpoint made for another one is refused."""
        return hashlib.sha256(json.dumps(self.schema(), sort_keys=True).encode()).hexdigest()

    def shapes(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Name -> (shape, dtype) of the arrays of a GraphObservation, in field order."""
        n, e, a = self.n_nodes, self.n_edges, self.n_actions
        f32, i32, boolean = np.dtype(np.float32), np.dtype(np.int32), np.dtype(np.bool_)
        image = {} if self.image is None else {"image": (self.image, f32)}
        return {
            "nodes": ((n, len(self.node_columns)), f32),
            "node_mask": ((n,), boolean),
            "edge_index": ((2, e), i32),
            "edges": ((e, len(self.edge_columns)), f32),
            "edge_mask": ((e,), boolean),
            "globals": ((len(self.global_columns),), f32),
            "action_mask": ((a,), boolean),
            "action_nodes": ((a, self.nodes_per_action), i32),
            "action_features": ((a, len(self.action_columns)), f32),
            **image,
        }

    def space(self) -> gymnasium.spaces.Dict:
        """The flat Dict space of the observation (SB3 has no Graph space; masks are MultiBinary, as masks are int8 there)."""
        return gymnasium.spaces.Dict({name: self._box(shape, dtype) for name, (shape, dtype) in self.shapes().items()})

    def _box(self, shape: tuple[int, ...], dtype: np.dtype) -> gymnasium.spaces.Space:
        if dtype == np.bool_:
            return gymnasium.spaces.MultiBinary(shape[0])
        if dtype == np.int32:
            return gymnasium.spaces.Box(0, self.n_nodes, shape, np.int32)
        return gymnasium.spaces.Box(-BOUND, BOUND, shape, np.float32)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GraphObservation:
    """What an agent sees. Shapes are fixed per environment; padding is masked, and padded edges point at node 0."""

    nodes: Any  # f32[N, F]   natural units; columns in GraphSpec.node_columns
    node_mask: Any  # bool[N]
    edge_index: Any  # i32[2, E]   source and target node (PyG convention)
    edges: Any  # f32[E, G]
    edge_mask: Any  # bool[E]
    globals: Any  # f32[H]
    action_mask: Any  # bool[A]     never all False
    action_nodes: Any  # i32[A, k]   the nodes that candidate action a concerns
    action_features: Any  # f32[A, K]   what is specific to the candidate now
    image: Any = None  # f32[C, H, W]   in 0..1, where GraphSpec has one

    def asdict(self) -> dict[str, Any]:
        """The arrays by name, as the Dict space wants them."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in arrays.items() if array is not None}
