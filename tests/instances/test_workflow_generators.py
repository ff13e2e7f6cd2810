"""Portable and traced generators: published counts, work and shapes, statistics, static sizes and refusals."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest

from dispatchgym.instances import InstanceError, UnknownNameError
from dispatchgym.instances.base import Generator
from dispatchgym.instances.task_graph import TaskGraph
from dispatchgym.instances.workflow import GENERATORS, WorkflowInstance, generate, generator
from dispatchgym.instances.workflow.portable import KINDS
from dispatchgym.instances.workflow.structures import STRUCTURES, cholesky, fft, forkjoin, gaussian, lu, qr


def levels(graph: TaskGraph) -> list[int]:
    """The level of each task: edges on the longest path from a head."""
    level = [0] * len(graph.time)
    for i in graph.order:
        for _, j in graph.successors[i]:
            level[j] = max(level[j], level[i] + 1)
    return level


@pytest.mark.parametrize("t", range(1, 10))
def test_factorisations_have_the_published_tasks_and_work(t: int) -> None:
    assert len(cholesky(t).weights) == t * (t + 1) * (t + 2) // 6
    assert len(lu(t).weights) == len(qr(t).weights) == t * (t + 1) * (2 * t + 1) // 6
    # n^3 / 3, 2 n^3 / 3 and 4 n^3 / 3 operations of an n x n matrix, in units of b^3 / 3 for n = t b.
    assert [sum(kind(t).weights) for kind in (cholesky, lu, qr)] == [t**3, 2 * t**3, 4 * t**3]


def test_cholesky_by_hand() -> None:
    # POTRF 0, TRSM 10, TRSM 20, SYRK 11, SYRK 22, GEMM 21, POTRF 1, TRSM 21, SYRK 22, POTRF 2
    assert cholesky(3).weights == (1, 3, 3, 3, 3, 6, 1, 3, 3, 1)
    assert set(cholesky(3).edges) == {
        *((0, 1), (0, 2), (1, 3), (2, 4), (1, 5), (2, 5), (3, 6), (5, 7), (6, 7), (4, 8), (7, 8), (8, 9))
    }
    assert (len(cholesky(4).weights), len(cholesky(8).weights)) == (20, 120)


def test_graphs_of_topcuoglu() -> None:
    assert [len(gaussian(m).weights) for m in (5, 10, 20)] == [14, 54, 209]  # (m^2 + m - 2) / 2
    for points in (2, 4, 8, 16, 32):
        weights, edges = fft(points)
        assert len(weights) == 2 * points - 1 + points * int(math.log2(points))
        assert len(edges) == 2 * points - 2 + 2 * points * int(math.log2(points))
    graph = TaskGraph.checked([[1]] * 15, [[i, j, 0] for i, j in fft(4).edges])
    level = levels(graph)
    assert np.bincount(level).tolist() == [1, 2, 4, 4, 4]
    below = TaskGraph.checked([[1]] * 15, [[j, i, 0] for i, j in fft(4).edges])
    assert set(np.add(level, levels(below)).tolist()) == {4}  # every path is critical, as the paper says


def test_forks_and_joins() -> None:
    weights, edges = forkjoin(5)
    assert (len(weights), len(edges)) == (19, 30)
    graph = TaskGraph.checked([[1]] * 19, [[i, j, 0] for i, j in edges])
    assert np.bincount(levels(graph)).tolist() == [1, 5, 1, 5, 1, 5, 1]


@pytest.mark.parametrize("kind", STRUCTURES)
def test_structures_ascend_and_are_connected(kind: str) -> None:
    weights, edges = STRUCTURES[kind](8)
    assert len(set(edges)) == len(edges)
    assert all(i < j for i, j in edges)
    graph = TaskGraph.checked([[1]] * len(weights), [[i, j, 0] for i, j in edges], connected=True)
    assert graph.order[0] == 0


def reduces_to_one_edge(edges: set[tuple[int, int]]) -> bool:
    """Whether series and parallel reductions leave one edge (Valdes, Tarjan and Lawler, 1982)."""
    while len(edges) > 1:
        nodes = {node for edge in edges for node in edge}
        for node in nodes:
            into, out = [e for e in edges if e[1] == node], [e for e in edges if e[0] == node]
            if len(into) == len(out) == 1:
                edges = (edges - {into[0], out[0]}) | {(into[0][0], out[0][1])}
                break
        else:
            return False
    return True


def test_series_parallel_graphs_are_that() -> None:
    for seed in range(1, 8):
        graph = generate("series-parallel-40x2", seed).graph()
        assert reduces_to_one_edge({(i, j) for i, j, _ in graph.edges.tolist()})
    wheatstone = {(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)}
    assert not reduces_to_one_edge(wheatstone)


@pytest.mark.parametrize("shape", [500, 1000, 2000])
def test_random_graphs_have_the_shape_asked_for(shape: int) -> None:
    graphs = [generate("random-100x2", seed, shape=shape, degree=3).graph() for seed in range(1, 61)]
    depths = [max(levels(graph)) + 1 for graph in graphs]
    assert 0.85 < np.mean(depths) / (1 + 99 / (10 * shape / 1000)) < 1.2
    degrees = [len(graph.edges) / 100 for graph in graphs]
    assert 2.2 < np.mean(degrees) <= 3.1
    for graph in graphs:
        assert len(graph.components()) == 1
        assert set(graph.edges[:, 1].tolist()) == set(range(1, 100))  # one head


@pytest.mark.parametrize(("ccr", "beta"), [(0, 0), (100, 250), (1000, 500), (10_000, 1000)])
@pytest.mark.parametrize("kind", KINDS)
def test_ratio_of_communication_and_heterogeneity(kind: str, ccr: int, beta: int) -> None:
    order = 5 if kind in ("cholesky", "lu", "qr") else 32
    graphs = [generate(f"{kind}-{order}x8", seed, ccr=ccr, beta=beta).graph() for seed in range(1, 13)]
    work = np.concatenate([graph.time.mean(axis=1) for graph in graphs]).mean()
    volume = np.concatenate([graph.edges[:, 2] for graph in graphs]).mean()
    assert 80 < work < 120
    assert abs(volume / 100 - ccr / 1000) <= 0.1 * ccr / 1000
    for graph in graphs:
        middle = np.where(graph.time.mean(axis=1) > 40, graph.time.mean(axis=1), np.inf)
        spread = ((graph.time.max(axis=1) - graph.time.min(axis=1)) / middle).max()
        assert spread <= 1.1 * beta / 1000 / (1 - beta / 4000) + 0.06
        assert graph.time.min() >= 1


def test_portable_instances_are_what_they_were() -> None:
    made = generate("random-6x2", 1)
    assert made.time.tolist() == RECORDED["time"]
    assert made.edges.tolist() == RECORDED["edges"]
    assert (made.time == generate("random-6x2", 1).time).all()
    assert (made.time != generate("random-6x2", 2).time).any()


RECORDED = {
    "time": [[87, 83], [81, 111], [198, 146], [6, 8], [10, 9], [93, 98]],
    "edges": [
        [0, 1, 33],
        [0, 2, 97],
        [0, 3, 180],
        [1, 4, 182],
        [1, 5, 12],
        [2, 4, 181],
        [3, 4, 101],
        [3, 5, 103],
        [4, 5, 64],
    ],
}


def test_layers() -> None:
    graph = generate("layered-60x2", 5, layers=6, degree=2).graph()
    assert all(j // 10 == i // 10 + 1 for i, j, _ in graph.edges.tolist())
    assert 60 < len(graph.edges) < 140  # 50 tasks of 2 predecessors on average
    assert graph.edges[:, 2].max() == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: generate("random-0x2", 1), "tasks is 0; give an integer in 1..4096"),
        (lambda: generate("random-10000x2", 1), "tasks is 10000; give an integer in 1..4096"),
        (lambda: generate("random-20x0", 1), "processors is 0"),
        (lambda: generate("random-20x2", 0), "seed is 0; give an integer in 1..2147483646"),
        (lambda: generate("random-20x2", 1, beta=2001), "beta is 2001"),
        (lambda: generate("random-20x2", 1, ccr=-1), "ccr is -1"),
        (lambda: generate("random-20x2", 1, work=10**6), "use a coarser unit of time"),
        (lambda: generate("random-20x2", 1, speed=3), "workflow 'random-20x2': "),
        (lambda: generate("fft-6x2", 1), "points is 6; give a power of 2, such as 8"),
        (lambda: generate("cholesky-99x2", 1), "tiles is 99; give an integer in 1..27"),
        (lambda: generator("random-1x4"), "tasks is 1; give an integer in 2..4096"),
        (lambda: generator("random-20x0"), "processors is 0"),
        (lambda: generator("random-20x4", degree=0), "degree is 0"),
        (lambda: generator("random-20x4", shape=()), "shape is an empty tuple"),
        (lambda: generator("random-20x4", ccr=(100, -5)), "ccr is -5"),
        (lambda: generator("random-20x4", successors=20), "successors is 20; give an integer in 1..19"),
        (lambda: generator("random-1000x4"), "1000 tasks of up to 298 and 4995 delays of up to 2000 may exceed"),
        (lambda: generator("random-20x4", low=3), "generator 'random-20x4': "),
        (lambda: generator("fft-6x4"), "points is 6; give a power of 2"),
    ],
)
def test_refusals(call, said: str) -> None:
    with pytest.raises(InstanceError) as caught:
        call()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [generator, lambda name: generate(name, 1)])
def test_unknown_names(make) -> None:
    with pytest.raises(UnknownNameError, match="unknown generator 'colesky-8x4'; did you mean 'cholesky-8x4'"):
        make("colesky-8x4")
    with pytest.raises(UnknownNameError, match="unknown generator 'random-20'"):
        make("random-20")


def sample(name: str, count: int, **parameters) -> tuple[Generator, list[WorkflowInstance]]:
    made = generator(name, **parameters)
    batch = jax.device_get(jax.jit(jax.vmap(made))(jax.random.split(jax.random.key(3), count)))
    return made, [jax.tree.map(lambda leaf, k=k: leaf[k], batch) for k in range(count)]


@pytest.mark.parametrize("kind", GENERATORS)
def test_traced_samples_are_workflows_of_the_static_size(kind: str) -> None:
    made, instances = sample(f"{kind}-8x3", 16)
    assert isinstance(made, Generator)
    for instance in instances:
        instance.check()
        assert instance.time.shape == (made.size.tasks, 3)
        assert instance.edges.shape == (made.size.edges, 3)
        assert all(have <= room for have, room in zip(instance.size, made.size, strict=True))
        assert all(leaf.dtype == np.int32 for leaf in jax.tree.leaves(instance))
    if kind != "random":
        expected = [list(edge) for edge in STRUCTURES[kind](8).edges]
        assert instances[0].graph().edges[:, :2].tolist() == expected
        assert instances[0].size[2:5] == made.size[2:5]


@pytest.mark.parametrize("shape", [500, 1000, 2000])
def test_traced_random_graphs_have_the_shape_asked_for(shape: int) -> None:
    _, instances = sample("random-60x2", 64, shape=shape)
    graphs = [instance.graph() for instance in instances]
    depths = [max(levels(graph)) + 1 for graph in graphs]
    assert 0.85 < np.mean(depths) / (1 + 59 / (math.sqrt(60) * shape / 1000)) < 1.25
    assert 2.0 < np.mean([len(graph.edges) / 60 for graph in graphs]) <= 3.1
    heads = [60 - len(set(graph.edges[:, 1].tolist())) for graph in graphs]
    assert np.mean(heads) < 1.2


def test_traced_times_and_volumes() -> None:
    _, instances = sample("random-40x6", 64, ccr=2000, beta=400, work=200)
    graphs = [instance.graph() for instance in instances]
    assert 190 < np.mean([graph.time.mean() for graph in graphs]) < 210
    assert 380 < np.concatenate([graph.edges[:, 2] for graph in graphs]).mean() < 420
    for graph in graphs:
        assert ((graph.time.max(axis=1) - graph.time.min(axis=1)) <= 0.5 * graph.time.mean(axis=1) + 1).all()
    _, instances = sample("cholesky-4x2", 64, ccr=[100, 10_000], beta=0)
    volumes = np.array([instance.edges[:, 2].mean() for instance in instances])
    assert 10 < (volumes < 20).sum() < 54
    assert ((volumes < 20) | (volumes > 500)).all()
    assert instances[0].time[:, 0].tolist() == [100 * weight * 20 // 64 for weight in cholesky(4).weights]


def test_the_most_successors_are_kept_to() -> None:
    made, instances = sample("random-40x2", 32, shape=3000, degree=4, successors=3)
    assert made.size.successors == 3
    assert max(instance.size.successors for instance in instances) == 3
