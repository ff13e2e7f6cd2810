"""What the candidate-scoring network must not notice: padding, the order of jobs, the unit of time, the size."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
import torch

import dispatchgym
from dispatchgym.agents.lanes import play, stepper
from dispatchgym.gnn.convert import as_tensor
from dispatchgym.gnn.network import MASKED, Architecture, GraphScorer, Step
from dispatchgym.instances.job_shop import JobShopInstance, JobShopSize, generator

ENV = "dispatchgym/JobShop-v0"
SIZE = JobShopSize(5, 4, 4)
ROOM = JobShopSize(7, 6, 5)


@pytest.fixture(scope="module")
def network() -> GraphScorer:
    torch.manual_seed(0)
    return GraphScorer(core(SIZE).graph, Architecture(width=16, layers=2, hidden=16, heads=2)).eval()


def core(size: JobShopSize):
    return dispatchgym.make(ENV, generator="taillard-5x4", size=size)


def shop(seed: int = 0, name: str = "taillard-5x4") -> JobShopInstance:
    return jax.tree.map(np.asarray, generator(name)(jax.random.key(seed)))


def observed(instance: JobShopInstance, size: JobShopSize, actions=(0, 1, 0, 2)) -> dict[str, torch.Tensor]:
    """The observation after some decisions, with a batch axis."""
    env = core(size)
    problem = env.prepare(instance.pad(size))
    state = env.reset(problem)
    step = jax.jit(env.step)
    for action in actions:
        state = step(problem, state, action).state
    arrays = env.observe(problem, state).asdict()
    return {name: as_tensor(np.array(value))[None] for name, value in arrays.items()}


@torch.no_grad()
def scored(network: GraphScorer, o: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    encoded = network.encode(o)
    logits, value = network(encoded, Step(*(o[k] for k in Step._fields)))
    return logits[0], value[0]


def assert_padding_changes_nothing(network, actions) -> None:
    logits, value = scored(network, observed(shop(), SIZE, actions))
    padded, padded_value = scored(network, observed(shop(), ROOM, actions))
    assert torch.allclose(logits, padded[: SIZE.jobs], atol=1e-5)
    assert (padded[SIZE.jobs :] == MASKED).all()
    assert torch.allclose(value, padded_value, atol=1e-5)


def test_padding_changes_nothing(network) -> None:
    """Once a job is finished: its candidate is masked as those of padding are."""
    assert_padding_changes_nothing(network, (0, 0, 0, 0, 1, 2))


def test_padding_changes_nothing_while_all_are_legal(network) -> None:
    assert_padding_changes_nothing(network, (0, 1, 0, 2))


def test_values_in_padding_rows_are_never_read(network) -> None:
    o = observed(shop(), ROOM)
    before, value = scored(network, o)
    o["nodes"][~o["node_mask"]] = 1e4
    o["edges"][~o["edge_mask"]] = 1.0
    o["edge_index"][:, :, ~o["edge_mask"][0]] = 3
    o["action_features"][~o["action_mask"]] = -1e4
    o["action_nodes"][~o["action_mask"]] = 2
    after, value_after = scored(network, o)
    assert torch.equal(before, after)
    assert torch.equal(value, value_after)


def test_renamed_jobs_have_the_same_scores(network) -> None:
    order = np.array([3, 0, 4, 1, 2])
    given = shop()
    renamed = JobShopInstance(given.machine[order], given.duration[order], given.n_operations[order])
    new_name = np.argsort(order)
    actions = (0, 1, 0, 2)
    logits, value = scored(network, observed(given, SIZE, actions))
    permuted, permuted_value = scored(network, observed(renamed, SIZE, tuple(new_name[list(actions)])))
    assert torch.allclose(logits[torch.from_numpy(order)], permuted, atol=1e-5)
    assert torch.allclose(value, permuted_value, atol=1e-5)


def test_the_unit_of_time_does_not_matter(network) -> None:
    env = core(SIZE)
    problems = [env.prepare(replace(shop(i), duration=shop(i).duration * f)) for i in range(4) for f in (1, 7)]
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *problems)
    played = play(env, batch, network)
    assert np.array_equal(played.actions[:, 0::2], played.actions[:, 1::2])
    assert np.array_equal(played.objective[0::2] * 7, played.objective[1::2])


@pytest.mark.parametrize("name", ["taillard-2x2", "taillard-6x3"])
def test_the_same_weights_play_any_size(network, name) -> None:
    env = dispatchgym.make(ENV, generator=name)
    problems = stepper(env).prepare(jax.tree.map(lambda leaf: leaf[None], shop(1, name)))
    played = play(env, problems, network)
    assert (played.lengths == env.max_steps).all()


def test_entries_may_share_encodings(network) -> None:
    """``graph`` picks rows of the encodings: the same as repeating them."""
    observations = [observed(shop(i), SIZE) for i in (0, 1)]
    o = {name: torch.cat([part[name] for part in observations]) for name in observations[0]}
    graph = torch.tensor([1, 0, 1])
    step = Step(*(o[k][graph] for k in Step._fields))
    with torch.no_grad():
        encoded = network.encode(o)
        shared, apart = network(encoded, step, graph), network(encoded[graph], step)
    assert all(torch.equal(left, right) for left, right in zip(shared, apart, strict=True))
