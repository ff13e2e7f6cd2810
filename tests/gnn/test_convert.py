"""Conversion to PyTorch Geometric: equal to PyG's own batching, whatever the arrays come from."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.nn import SimpleConv

import dispatchgym
from dispatchgym.gnn.convert import as_tensor, to_padded, to_pyg
from dispatchgym.instances import extras
from dispatchgym.instances.base import stack
from dispatchgym.instances.job_shop import generator

KEYS = ("x", "edge_index", "edge_attr", "u", "action_index", "action_features", "action_mask")


@pytest.fixture(scope="module")
def shops():
    """(environment, observations of three shops of different sizes in one padded batch, after two decisions)."""
    shops = [generator(f"taillard-{size}")(jax.random.key(i)) for i, size in enumerate(("3x2", "4x3", "2x3"))]
    batch = stack([jax.tree.map(np.asarray, shop) for shop in shops])
    env = dispatchgym.make("dispatchgym/JobShop-v0", size=shops[1].size, generator="taillard-4x3")

    def show(instance):
        problem = env.prepare(instance)
        state = env.reset(problem)
        for action in (0, 1):
            state = env.step(problem, state, action).state
        return env.observe(problem, state).asdict()

    return env, jax.tree.map(np.array, jax.jit(jax.vmap(show))(batch))


def row(observations: dict, i: int) -> dict:
    return {name: value[i] for name, value in observations.items()}


def same(left: Data, right: Data, keys) -> None:
    for key in keys:
        assert left[key].dtype == right[key].dtype, key
        assert torch.equal(left[key], right[key]), key


def test_a_single_graph_has_no_padding(shops) -> None:
    env, observations = shops
    o = row(observations, 0)
    data = to_pyg(o)
    assert isinstance(data, Data)
    assert not isinstance(data, Batch)
    assert data.validate()
    assert data.num_nodes == o["node_mask"].sum() == 3 * 2 + 2
    assert data.num_edges == o["edge_mask"].sum()
    assert np.array_equal(data.x.numpy(), o["nodes"][o["node_mask"]])
    # the end points are the same nodes as before: node columns of both ends agree
    ends = o["nodes"][o["edge_index"][:, o["edge_mask"]]]
    assert np.array_equal(data.x[data.edge_index].numpy(), ends)
    legal = o["action_mask"]
    assert np.array_equal(data.x[data.action_index.T][legal].numpy(), o["nodes"][o["action_nodes"]][legal])
    assert data.action_mask.shape == (env.graph.n_actions,)
    assert data.u.shape == (1, len(env.graph.global_columns))


def test_a_batch_equals_from_data_list(shops) -> None:
    env, observations = shops
    mine = to_pyg(observations, env.graph)
    singles = [to_pyg(row(observations, i), env.graph) for i in range(3)]
    theirs = Batch.from_data_list(singles, follow_batch=["action_features"])
    assert set(mine.keys()) == set(theirs.keys())
    same(mine, theirs, theirs.keys())
    assert mine.num_graphs == len(mine) == 3
    for back, single in zip(mine.to_data_list(), singles, strict=True):
        same(back, single, single.keys())


def with_int8_masks(array: np.ndarray) -> np.ndarray:
    return array.astype(np.int8) if array.dtype == bool else array


@pytest.mark.parametrize("convert", [jax.numpy.asarray, as_tensor, with_int8_masks])
def test_arrays_of_any_library_give_the_same(shops, convert) -> None:
    _, observations = shops
    same(to_pyg({k: convert(v) for k, v in observations.items()}), to_pyg(observations), KEYS)


def test_edge_types_name_relations(shops) -> None:
    env, observations = shops
    data = to_pyg(row(observations, 1), env.graph)
    names = np.asarray(env.graph.names("edge"))[data.edge_type.numpy()]
    assert (names == "precedence").sum() == 4 * 2
    assert (names == "on_machine").sum() == 4 * 3


def test_padded_form_passes_the_same_messages(shops) -> None:
    env, observations = shops
    exact, padded = to_pyg(observations), to_padded(observations)
    conv = SimpleConv("sum")
    assert padded.x.shape[0] == 3 * env.graph.n_nodes + 1
    assert padded.edge_index.shape[1] == 3 * env.graph.n_edges
    real = padded.node_mask
    assert torch.allclose(conv(padded.x, padded.edge_index)[real], conv(exact.x, exact.edge_index))
    assert torch.equal(padded.batch[real], exact.batch)
    assert torch.equal(padded.edge_attr[padded.edge_mask], exact.edge_attr)
    legal = exact.action_mask
    assert torch.equal(padded.x[padded.action_index][:, legal], exact.x[exact.action_index][:, legal])
    assert torch.equal(padded.action_features_batch, exact.action_features_batch)


def test_a_missing_extra_is_named(shops, monkeypatch) -> None:
    def absent(module: str):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(extras.importlib, "import_module", absent)
    with pytest.raises(extras.MissingExtraError, match=r"dispatchgym\[train\]"):
        to_pyg(row(shops[1], 0))
