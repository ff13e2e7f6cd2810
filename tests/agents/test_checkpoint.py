"""Policies on disk: what is read is checked, and what is wrong is said in one line."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import dispatchgym
from dispatchgym.agents import checkpoint
from dispatchgym.agents.checkpoint import CARD, WEIGHTS, Card, CheckpointError
from dispatchgym.gnn.network import Architecture, GraphScorer

ENV = "dispatchgym/JobShop-v0"


@pytest.fixture(scope="module")
def env():
    return dispatchgym.make(ENV, generator="taillard-4x3")


@pytest.fixture
def saved(env, tmp_path: Path) -> tuple[Path, GraphScorer]:
    """A small policy and its folder."""
    torch.manual_seed(0)
    network = GraphScorer(env.graph, Architecture(width=8, layers=1, hidden=8, heads=2))
    folder = tmp_path / "policy"
    options, details = {"scheme": "semi_active"}, {"seed": 3}
    checkpoint.save(folder, network, Card(ENV, env.graph.schema_hash(), network.architecture, options, details))
    return folder, network


def refused(folder: Path, env, match: str, env_id: str = ENV) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        checkpoint.load(folder, env_id, env)
    assert "\n" not in str(caught.value)


def edit_card(folder: Path, change) -> None:
    data = json.loads((folder / CARD).read_text())
    change(data)
    (folder / CARD).write_text(json.dumps(data))


def test_round_trip(saved, env) -> None:
    folder, network = saved
    loaded, card = checkpoint.load(folder, ENV, env)
    assert card.architecture == network.architecture
    assert card.options == {"scheme": "semi_active"}
    assert card.details == {"seed": 3}
    assert not loaded.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    assert sorted(path.name for path in folder.iterdir()) == [CARD, WEIGHTS]


def test_the_same_weights_fit_every_size(saved) -> None:
    checkpoint.load(saved[0], ENV, dispatchgym.make(ENV, generator="taillard-6x6"))


def test_another_environment_is_refused(saved, env) -> None:
    refused(saved[0], env, "was trained for dispatchgym/JobShop-v0, not dispatchgym/Fleet-v0", "dispatchgym/Fleet-v0")


def test_another_schema_is_refused(saved, env) -> None:
    edit_card(saved[0], lambda data: data.update(observation_schema="0" * 64))
    refused(saved[0], env, "observation schema 000000000000")


@pytest.mark.parametrize("name", [WEIGHTS, CARD])
def test_a_missing_file_is_named(saved, env, name) -> None:
    (saved[0] / name).unlink()
    refused(saved[0], env, f"holds no {name}")


class Payload:
    """Shows itself when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


def test_a_pickle_posing_as_safetensors_is_never_run(saved, env, tmp_path) -> None:
    payload = Payload()
    payload.path = str(tmp_path / "ran")
    (saved[0] / WEIGHTS).write_bytes(pickle.dumps(payload))
    refused(saved[0], env, "is not a safetensors file")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", b"\xff" * 64])
def test_other_weights_files_are_refused(saved, env, content) -> None:
    (saved[0] / WEIGHTS).write_bytes(content)
    refused(saved[0], env, "is not a safetensors file")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(saved, env, value) -> None:
    tensors = load_file(saved[0] / WEIGHTS)
    tensors["enter.weight"][0, 0] = value
    save_file(tensors, saved[0] / WEIGHTS)
    refused(saved[0], env, "'enter.weight' holds NaN or infinity")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.pop("enter.bias"), "'enter.bias'"),
        (lambda t: t.update(surplus=torch.zeros(2)), "'surplus'"),
        (lambda t: t.update({"enter.bias": torch.zeros(9)}), "'enter.bias'"),
        (lambda t: t.update({"enter.bias": torch.zeros(8, dtype=torch.float64)}), "'enter.bias'"),
    ],
    ids=["missing", "extra", "shape", "dtype"],
)
def test_tensors_that_do_not_match_the_card_are_refused(saved, env, change, match) -> None:
    tensors = load_file(saved[0] / WEIGHTS)
    change(tensors)
    save_file(tensors, saved[0] / WEIGHTS)
    refused(saved[0], env, f"1 tensors do not match the card, the first is {match}")


@pytest.mark.parametrize("sizes", [{"width": 10**9}, {"width": 0}, {"layers": -1}, {"width": 8.0}, {"width": "8"}])
def test_absurd_sizes_are_refused(saved, env, sizes) -> None:
    edit_card(saved[0], lambda data: data["architecture"].update(sizes))
    refused(saved[0], env, "must be integers in 1..512")


@pytest.mark.parametrize("sizes", [{"width": 512, "layers": 512, "hidden": 512}, {"width": 16}])
def test_sizes_that_the_weights_do_not_have_are_refused(saved, env, sizes) -> None:
    edit_card(saved[0], lambda data: data["architecture"].update(sizes))
    refused(saved[0], env, "do not match the card")


def test_heads_must_divide_hidden(saved, env) -> None:
    edit_card(saved[0], lambda data: data["architecture"].update(heads=3))
    refused(saved[0], env, "heads must divide hidden")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", '{"format": 1}', "[" * 100_000, '{"format": 1, "architecture": "os.system"}', "\x00"],
)
def test_other_cards_are_refused(saved, env, text) -> None:
    (saved[0] / CARD).write_text(text)
    refused(saved[0], env, "is not a policy card")


@pytest.mark.parametrize("change", [{"format": 99}, {"architecture": {"name": "os.system", "width": 8}}])
def test_unknown_formats_are_refused(saved, env, change) -> None:
    edit_card(saved[0], lambda data: data.update(change))
    refused(saved[0], env, "are not known to this version")


def test_an_interrupted_save_leaves_the_old_policy(saved, env, monkeypatch) -> None:
    folder, network = saved
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def killed(tensors, path, *_) -> None:
        Path(path).write_bytes(b"half of the")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_file", killed)
    changed = replace(network.architecture, layers=2)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(folder, GraphScorer(env.graph, changed), Card(ENV, env.graph.schema_hash(), changed))
    assert all((folder / name).read_bytes() == content for name, content in before.items())
    checkpoint.load(folder, ENV, env)
