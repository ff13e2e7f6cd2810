"""Observations as PyTorch Geometric data: one vectorised conversion of a batch, without a loop over its graphs.

Keys follow PyG's own naming rule, so that ``Batch``, ``DataLoader`` and ``to_data_list`` treat them correctly without a
subclass of ``Data``: what holds "index" counts nodes and is offset by graph. Candidates are kept in full, legal or not:
row a of a graph is action a, and a network's scores reshape to [graphs, actions].

* ``x`` f32[V, F], ``edge_index`` i64[2, E], ``edge_attr`` f32[E, G], ``u`` f32[B, H] (the globals)
* ``edge_type`` i64[E]: position among the relations (indicator columns); only with a ``spec``
* ``action_index`` i64[k, B A]: the nodes of each candidate; what points at padding points at the graph's first node
* ``action_features`` f32[B A, K], ``action_mask`` bool[B A]
* of a batch: ``batch`` i64[V] and ``ptr`` i64[B + 1] for nodes, and the same for candidates under
  ``action_features_batch`` and ``action_features_ptr``, as PyG's ``follow_batch`` makes them
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import torch
from torch import Tensor

from dispatchgym.envs.graph import GraphObservation, GraphSpec
from dispatchgym.instances.extras import require

CANDIDATES = "action_features"  # the key to pass to PyG's ``follow_batch``
MASKS = ("node_mask", "edge_mask", "action_mask")
INDICES = ("edge_index", "action_nodes")


def to_pyg(observation: GraphObservation | Mapping[str, Any], spec: GraphSpec | None = None) -> Any:
    """A ``Data`` without padding of one observation, or the ``Batch`` of a batched one.

    Arrays may be NumPy, JAX or torch. A batch equals ``Batch.from_data_list(graphs, ["action_features"])``.
    ``spec`` adds ``edge_type`` for relational layers. Raises MissingExtraError without torch_geometric.
    """
    data = require("torch_geometric.data", "train", "to_pyg")
    arrays, single = _tensors(observation)
    node_mask, edge_mask = arrays["node_mask"], arrays["edge_mask"]
    count, n = node_mask.shape
    device = node_mask.device
    graph = torch.arange(count, device=device)
    nodes, edges = node_mask.sum(1), edge_mask.sum(1)
    ptr = _pointers(nodes)
    new_id = (node_mask.flatten().cumsum(0) - 1).reshape(count, n)
    new_id = torch.where(node_mask, new_id, ptr[:-1, None])
    offset = graph[:, None, None] * n
    kept_edges = (arrays["edge_index"] + offset).transpose(0, 1)[:, edge_mask]
    parts = {
        "x": arrays["nodes"][node_mask],
        "edge_index": new_id.flatten()[kept_edges],
        "edge_attr": arrays["edges"][edge_mask],
        "u": arrays["globals"],
        "action_index": new_id.flatten()[arrays["action_nodes"] + offset].flatten(0, 1).T.contiguous(),
        CANDIDATES: arrays["action_features"].flatten(0, 1),
        "action_mask": arrays["action_mask"].flatten(),
    }
    if spec is not None:
        parts["edge_type"] = _relation(parts["edge_attr"], spec)
    if single:
        return data.Data(**parts)
    actions = torch.full_like(nodes, arrays["action_mask"].shape[1])
    batch = data.Batch(
        **parts,
        batch=graph.repeat_interleave(nodes),
        ptr=ptr,
        **{f"{CANDIDATES}_batch": graph.repeat_interleave(actions), f"{CANDIDATES}_ptr": _pointers(actions)},
    )
    counts = {"x": nodes, "u": torch.ones_like(nodes)} | dict.fromkeys(("edge_index", "edge_attr", "edge_type"), edges)
    # what ``from_data_list`` remembers, and ``batch[i]`` and ``to_data_list`` need
    batch._num_graphs = count
    batch._slice_dict = {key: _pointers(counts.get(key, actions)).cpu() for key in parts}
    batch._inc_dict = {key: ptr[:-1].cpu() if key.endswith("_index") else None for key in parts}
    return batch


def to_padded(observation: GraphObservation | Mapping[str, Any], spec: GraphSpec | None = None) -> Any:
    """One ``Data`` of static shapes that keeps the padding: faster than :func:`to_pyg`, and never waits for a GPU.

    Node i of graph b is row ``b * N + i``. One more row at the end, of zeros, is the sink of masked edges; its entry in
    ``batch`` is B, so pool into B + 1 rows and drop the last. ``node_mask`` and ``edge_mask`` tell what is real.
    """
    data = require("torch_geometric.data", "train", "to_padded")
    arrays, _ = _tensors(observation)
    count, n = arrays["node_mask"].shape
    graph = torch.arange(count, device=arrays["nodes"].device)
    offset, sink = graph[:, None, None] * n, count * n
    x = arrays["nodes"].flatten(0, 1)
    edge_index = (arrays["edge_index"] + offset).masked_fill(~arrays["edge_mask"][:, None], sink)
    actions = arrays["action_mask"].shape[1]
    parts = {
        "x": torch.cat([x, x.new_zeros(1, x.shape[1])]),
        "edge_index": edge_index.transpose(0, 1).flatten(1),
        "edge_attr": arrays["edges"].flatten(0, 1),
        "u": arrays["globals"],
        "action_index": (arrays["action_nodes"] + offset).flatten(0, 1).T.contiguous(),
        CANDIDATES: arrays["action_features"].flatten(0, 1),
        "action_mask": arrays["action_mask"].flatten(),
        "node_mask": torch.cat([arrays["node_mask"].flatten(), graph.new_zeros(1, dtype=torch.bool)]),
        "edge_mask": arrays["edge_mask"].flatten(),
        "batch": torch.cat([graph.repeat_interleave(n), graph.new_full((1,), count)]),
        f"{CANDIDATES}_batch": graph.repeat_interleave(actions),
    }
    if spec is not None:
        parts["edge_type"] = _relation(parts["edge_attr"], spec)
    return data.Data(**parts)


def _tensors(observation: GraphObservation | Mapping[str, Any]) -> tuple[dict[str, Tensor], bool]:
    """The arrays as tensors with a batch axis (masks bool, indices i64), and whether it had to be added."""
    given = observation.asdict() if isinstance(observation, GraphObservation) else dict(observation)
    arrays = {name: as_tensor(value) for name, value in given.items()}
    single = arrays["nodes"].dim() == 2
    if single:
        arrays = {name: value.unsqueeze(0) for name, value in arrays.items()}
    arrays |= {name: arrays[name].bool() for name in MASKS} | {name: arrays[name].long() for name in INDICES}
    return arrays, single


def as_tensor(array: Any) -> Tensor:
    """A NumPy or JAX array as a tensor, shared where that is possible without a writable view of read-only memory."""
    if isinstance(array, Tensor):
        return array
    if isinstance(array, jax.Array):
        return torch.from_dlpack(array)
    array = np.asarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _pointers(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _relation(edges: Tensor, spec: GraphSpec) -> Tensor:
    relations = [i for i, column in enumerate(spec.edge_columns) if column.unit == "indicator"]
    return edges[:, relations].argmax(1)
