"""WorkflowDag-v0 against published schedules, a plain twin step by step, enumeration, and its own invariants."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from twins.checks import read, workflow
from twins.workflow import WorkflowTwin

from dispatchgym import testing_core
from dispatchgym.envs.workflow import WorkflowDag
from dispatchgym.envs.workflow.problem import TASK_FEATURES
from dispatchgym.envs.workflow.spec import NODE_COLUMNS
from dispatchgym.instances.base import DispatchGymError
from dispatchgym.instances.workflow.instance import WorkflowInstance, WorkflowSize
from dispatchgym.testing_subject import Skip, Subject

CHECK = read("workflow/mdp_workflow_check.json")
WORKED = {
    name: workflow(case["compute"], [[a - 1, b - 1, volume] for a, b, volume in case["edges"]])
    for name, case in read("workflow/worked_examples.json").items()
}
EXAMPLES = {name: workflow(case["w"], case["edges"], case["bw"]) for name, case in CHECK["examples"].items()}
SIZE = WorkflowSize(tasks=10, processors=4, edges=20, successors=9, predecessors=9, bandwidths=12)


def random_workflow(seed: int) -> WorkflowInstance:
    """Up to nine tasks with times and volumes of 0, missing support, unequal bandwidths; padded to ``SIZE``."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 10)), int(rng.integers(1, 5))
    time = rng.choice([-1, 0, 1, 2, 3, 5, 8, 40], (n, m))
    time[np.arange(n), rng.integers(0, m, n)] = rng.integers(0, 6, n)  # every task has a processor
    name = rng.permutation(n)  # so that numbers are no topological order
    pairs = [(a, b) for a in range(n) for b in range(a + 1, n) if rng.random() < 0.4]
    edges = [(name[a], name[b], rng.choice([0, 0, 2, 5, 17])) for a, b in pairs[:20]]
    prediction = rng.integers(0, 5, n)
    made = WorkflowInstance.from_arrays(time, np.array(edges).reshape(-1, 3), rng.integers(1, 4, (m, m)), prediction)
    return made.pad(SIZE)


@functools.cache
def jitted(size: WorkflowSize, **options):
    env = WorkflowDag(size, **options)
    return env, *(jax.jit(f) for f in (env.prepare, env.reset, env.step, env.observe))


def replay(instance, trace, size=None, **options):
    """(state, rewards) after the [task, processor] pairs of a trace."""
    env, prepare, reset, step, _ = jitted(size or instance.size, **options)
    problem = prepare(instance)
    state, rewards = reset(problem), []
    for task, processor in trace:
        k = np.asarray(state.window).tolist().index(task)
        moved = step(problem, state, np.int32(k * env.size.processors + processor))
        assert not moved.invalid
        state = moved.state
        rewards.append(int(moved.reward))
    assert bool(env.terminated(problem, state)) == (len(trace) == int(instance.n_tasks))
    return state, rewards


@pytest.mark.parametrize("name", CHECK["published"])
def test_published_schedules(name):
    """Every start, finish and reward of HEFT, CPOP and PEFT on the graphs of their papers."""
    case, instance = CHECK["published"][name], WORKED[name.split("/")[0]]
    state, rewards = replay(instance, case["actions"])
    assert rewards == case["rewards"]
    assert np.asarray(state.start).tolist() == case["start"]
    assert np.asarray(state.finish).tolist() == case["finish"]
    assert int(state.makespan) == case["makespan"]
    assert int(replay(instance, case["actions"], insertion=False)[0].makespan) == case["same_actions_append"]


def legal_pairs(env, problem, state):
    mask = np.flatnonzero(np.asarray(env.action_mask(problem, state)))
    window = np.asarray(state.window)
    return [[int(window[a // env.size.processors]), int(a % env.size.processors)] for a in mask]


@pytest.mark.parametrize("mode", ["insertion", "append"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_small_examples_step_by_step(name, mode):
    """Masks, data ready, starts, rewards: unequal bandwidths, no support, a time of 0, a gap to fill."""
    instance = EXAMPLES[name]
    env, prepare, reset, step, observe = jitted(instance.size, insertion=mode == "insertion")
    problem = prepare(instance)
    state = reset(problem)
    for wanted in CHECK["examples"][name][mode]["steps"]:
        pairs = legal_pairs(env, problem, state)
        assert pairs == wanted["mask"]
        action = np.flatnonzero(np.asarray(env.action_mask(problem, state)))[pairs.index(wanted["action"])]
        row = dict(
            zip(env.graph.names("action"), np.asarray(observe(problem, state).action_features[action]), strict=True)
        )
        moved = step(problem, state, action.astype(np.int32))
        state = moved.state
        shown = {key: row[key] for key in ("data_ready", "start", "finish")}
        assert shown == {key: wanted[key] for key in shown}
        assert (int(moved.reward), int(state.makespan)) == (wanted["reward"], wanted["makespan"])
        assert row["increase"] == -wanted["reward"]


@pytest.mark.parametrize("insertion", [True, False])
@pytest.mark.parametrize("name", EXAMPLES)
def test_optimum_of_all_complete_sequences(name, insertion):
    instance, case = EXAMPLES[name], CHECK["examples"][name]["insertion" if insertion else "append"]
    env, prepare, reset, _, _ = jitted(instance.size, insertion=insertion)
    problem = prepare(instance)
    every = jax.jit(jax.vmap(env.step, (None, 0, 0)))
    mask_of = jax.jit(jax.vmap(env.action_mask, (None, 0)))
    states = jax.tree.map(lambda leaf: leaf[None], reset(problem))
    for _ in range(int(instance.n_tasks)):
        parent, action = np.nonzero(np.asarray(mask_of(problem, states)))
        states = every(
            problem, jax.tree.map(lambda leaf, rows=parent: leaf[rows], states), action.astype(np.int32)
        ).state
    assert len(states.makespan) == case["complete_sequences"]
    assert int(states.makespan.min()) == case["optimum"]


VARIANTS = [
    {},
    {"insertion": False},
    {"window": 1},
    {"window": 2, "insertion": False},
    {"information": "online"},
    {"information": "online", "insertion": False, "window": 2},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_equals_the_twin_step_by_step(options):
    """Masks, candidates, clocks and rewards of random episodes; exactly one decision a task; a bound that never falls."""
    env, prepare, reset, step, observe = jitted(SIZE, **options)
    names = env.graph.names("action")
    compared = [names.index(name) for name in ("data_ready", "start", "finish")]
    now, bound = (env.graph.index("global", name) for name in ("now", "lower_bound"))
    options = {"online" if key == "information" else key: value for key, value in options.items()}
    for seed in range(60):
        instance = random_workflow(seed)
        rng = np.random.default_rng(seed)
        twin = WorkflowTwin(instance, **options)
        wanted, over, bounds, decisions = twin.reset(), False, [0.0], 0
        problem = prepare(instance)
        state = reset(problem)
        while not over:
            seen = observe(problem, state)
            mask = np.asarray(seen.action_mask)
            assert mask.tolist() == wanted["mask"][: len(mask)].tolist()
            assert mask.any()
            table = np.asarray(seen.action_features)[:, compared]
            expected = np.stack([wanted[name].ravel() for name in ("data_ready", "start", "finish")], axis=1)
            assert (table[mask] == expected[: len(mask)][mask]).all()
            assert int(seen.globals[now]) == wanted["now"]
            bounds.append(float(seen.globals[bound]))
            action = rng.choice(np.flatnonzero(mask))
            wanted, reward, over = twin.step(action)
            moved = step(problem, state, np.int32(action))
            assert (int(moved.reward), bool(moved.terminated), bool(moved.invalid)) == (reward, over, False)
            state = moved.state
            decisions += 1
        assert decisions == int(instance.n_tasks)
        assert int(state.makespan) == twin.makespan
        assert {i: (int(state.processor[i]), int(state.start[i]), int(state.finish[i])) for i in twin.plan} == twin.plan
        assert bounds == sorted(bounds)
        assert bounds[-1] <= twin.makespan


@pytest.mark.parametrize("seed", range(8))
def test_a_trace_means_the_same_in_every_window_and_padding(seed):
    instance = random_workflow(seed)
    twin, rng, trace = WorkflowTwin(instance), np.random.default_rng(seed), []
    seen, over = twin.reset(), False
    while not over:
        action = rng.choice(np.flatnonzero(seen["mask"]))
        trace.append((int(seen["task"][action // twin.pes]), int(action % twin.pes)))
        seen, _, over = twin.step(action)
    roomy = WorkflowSize(12, 6, 25, 11, 11, 30)
    schedules = [replay(instance, trace, SIZE, **options) for options in ({}, {"window": 9})]
    schedules.append(replay(instance.pad(roomy), trace, roomy))
    starts = [np.asarray(state.start)[: len(trace)].tolist() for state, _ in schedules]
    assert starts[0] == starts[1] == starts[2]
    assert schedules[0][1] == schedules[1][1] == schedules[2][1]


def test_a_window_smaller_than_the_ready_set_hides_the_rest():
    instance = workflow([[3], [2], [1], [4]], [])
    env, prepare, reset, step, _ = jitted(instance.size, window=2)
    problem = prepare(instance)
    state = reset(problem)
    shown = []
    while not bool(env.terminated(problem, state)):
        shown.append(np.asarray(state.window).tolist())
        state = step(problem, state, np.int32(0)).state
    assert shown == [[0, 1], [1, 2], [2, 3], [3, 4]]


def test_task_decisions_take_the_processor_of_the_earliest_finish():
    """Like the pair of that finish, ties to the lower processor."""
    by_task, prepare, reset, step, observe = jitted(SIZE, decide="task")
    by_pair, _, _, step_pair, observe_pair = jitted(SIZE)
    finish = by_pair.graph.index("action", "finish")
    for seed in range(25):
        problem = prepare(random_workflow(seed))
        state = reset(problem)
        rng = np.random.default_rng(seed)
        while not bool(by_task.terminated(problem, state)):
            rows, pairs = observe(problem, state), observe_pair(problem, state)
            k = rng.choice(np.flatnonzero(np.asarray(rows.action_mask)))
            of_task = np.where(np.asarray(pairs.action_mask), np.asarray(pairs.action_features)[:, finish], np.inf)
            processor = int(of_task.reshape(-1, SIZE.processors)[k].argmin())
            action = k * SIZE.processors + processor
            assert np.array_equal(rows.action_features[k], pairs.action_features[action])
            assert np.array_equal(rows.action_nodes[k], pairs.action_nodes[action])
            moved = step(problem, state, np.int32(k))
            same = step_pair(problem, state, np.int32(action))
            jax.tree.map(np.testing.assert_array_equal, moved, same)
            state = moved.state


@pytest.mark.parametrize("seed", range(30))
def test_static_columns_equal_the_ranks_worked_out_on_the_host(seed):
    instance = random_workflow(seed)
    graph, n, m = instance.graph(), int(instance.n_tasks), int(instance.n_processors)
    _, prepare, _, _, _ = jitted(SIZE)
    problem = prepare(instance)
    nodes = dict(zip([c.name for c in NODE_COLUMNS], np.asarray(problem.node_rows)[:, :n], strict=False))
    assert np.allclose(nodes["upward_rank"], graph.upward_ranks / 1000)
    assert np.allclose(nodes["downward_rank"], graph.downward_ranks / 1000)
    assert np.allclose(nodes["optimistic_cost"], graph.optimistic_costs.mean(axis=1) / 1000)
    assert np.allclose(nodes["mean_time"], graph.mean_times / 1000)
    assert int(problem.lower_bound) == graph.lower_bound()
    transfer = np.asarray(problem.edges)[: len(graph.edges), 3]
    assert np.allclose(transfer, graph.mean_delays / 1000)
    rows = dict(zip(TASK_FEATURES, np.asarray(problem.task_rows, np.float64)[:, :n], strict=True))
    exact = {
        "upward": graph.upward_ranks,
        "through": graph.upward_ranks + graph.downward_ranks,
    }
    for name, wanted in exact.items():
        shown = 1000 * rows[f"{name}_rank"] + np.rint(1000 * rows[f"{name}_fraction"])
        assert shown.tolist() == wanted.tolist()
    row_sums = graph.optimistic_costs.sum(axis=1)
    shown = 1000 * m * rows["optimistic_rank"] + np.rint(1000 * m * rows["optimistic_rank_fraction"])
    assert shown.tolist() == row_sums.tolist()
    assert np.argsort(rows["topological"], stable=True).tolist() == graph.order
    times = [[w for w in row if w >= 0] for row in graph.time.tolist()]
    assert rows["median_time"].tolist() == [float(np.median(row)) for row in times]
    level = {}
    for i in reversed(graph.order):
        level[i] = np.median(times[i]) + max((level[j] for _, j in graph.successors[i]), default=0)
    assert rows["static_level"].tolist() == [level[i] for i in range(n)]


ONLINE = {"generator": "random-8x3", "information": "online"}


@pytest.mark.parametrize(
    "kwargs",
    [
        ONLINE | {"prediction": "weight"},
        ONLINE | {"prediction": "order", "insertion": False, "window": 3},
        {"generator": "random-8x3", "decide": "task", "window": 2},
    ],
    ids=str,
)
def test_variants_keep_the_contracts(kwargs):
    """No look-ahead, honest masks, rewards, padding and the validator's verdict, where only the default is checked elsewhere."""
    subject = Subject("dispatchgym/WorkflowDag-v0", kwargs)
    for check in testing_core.CORE_CHECKS:
        if check is testing_core.no_look_ahead and "information" not in kwargs:
            with pytest.raises(Skip):
                check(subject)
        elif check is not testing_core.jit_equals_eager:
            check(subject)


def test_online_shows_nothing_of_unseen_tasks():
    """Whatever follows the visible tasks, and how much, the observation is the same; a task shows once its data exist."""
    env, prepare, reset, step, observe = jitted(
        WorkflowSize(5, 2, 4, 3, 2, 1), information="online", prediction="weight"
    )
    instances = [
        workflow([[4, 2], [3, 3]], []),
        workflow([[4, 2], [3, 3], [9, 1], [1, 1]], [(0, 2, 7), (2, 3, 1), (1, 3, 2)]),
        workflow([[4, 2], [3, 3], [5, 5], [1, -1], [2, 2]], [(0, 2, 1), (0, 3, 1), (0, 4, 0)]),
    ]
    problems = [prepare(instance.pad(env.size)) for instance in instances]
    first = [jax.tree.map(np.asarray, observe(p, reset(p)).asdict()) for p in problems]
    for other in first[1:]:
        jax.tree.map(np.testing.assert_array_equal, first[0], other)
    assert first[0]["node_mask"].tolist() == [True, True, False, False, False, True, True]

    state = reset(problems[2])
    seen = []
    for action in (1, 0):  # task 0 on processor 1 until 2, then task 1 on processor 0 until 3
        seen.append(np.flatnonzero(observe(problems[2], state).node_mask[:5]).tolist())
        state = step(problems[2], state, np.int32(action)).state
    seen.append(np.flatnonzero(observe(problems[2], state).node_mask[:5]).tolist())
    assert seen == [[0, 1], [0, 1], [0, 1, 2, 3, 4]]
    assert int(state.now) == 2


def test_predictions_are_shown_as_asked():
    size = WorkflowSize(4, 1)
    instance = replace(workflow([[1], [1], [1], [1]], []), prediction=np.array([5, 9, 5, 0], np.int32)).pad(size)
    shown = {}
    for prediction in ("none", "weight", "order"):
        env, prepare, reset, _, observe = jitted(size, prediction=prediction)
        problem = prepare(instance)
        table = np.asarray(observe(problem, reset(problem)).action_features)
        shown[prediction] = [
            table[:, env.graph.index("action", f"predicted_{what}")].tolist() for what in ("work", "order")
        ]
    none = [0.0] * 4
    assert shown == {"none": [none, none], "weight": [[5, 9, 5, 0], none], "order": [none, [2, 1, 2, 4]]}


def test_a_batch_of_instances_prepares_like_each_alone():
    """Loops to a fixed point run as long as the slowest lane needs."""
    instances = [random_workflow(seed) for seed in range(12)]
    _, prepare, _, _, _ = jitted(SIZE)
    together = jax.jit(jax.vmap(WorkflowDag(SIZE).prepare))(jax.tree.map(lambda *x: np.stack(x), *instances))
    for i, instance in enumerate(instances):
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-6), together, prepare(instance))


def test_wrong_options_are_refused():
    for options in ({"decide": "both"}, {"information": "some"}, {"prediction": "exact"}, {"window": 0}):
        with pytest.raises(DispatchGymError):
            WorkflowDag(SIZE, **options)
    with pytest.raises(DispatchGymError, match="processors"):
        WorkflowDag(WorkflowSize(1, 216))


def test_large_workflows_stay_cheap():
    """500 tasks on 8 processors: arrays of a state are linear in tasks times processors."""
    env = WorkflowDag(WorkflowSize(500, 8, 2000, 30, 30, 1), window=32)
    problem = jax.eval_shape(env.prepare, WorkflowInstance(*(jnp.zeros(s, jnp.int32) for s in shapes(env.size))))
    state = jax.eval_shape(env.reset, problem)
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) < 5 * 500 * 8


def shapes(size):
    t, m, e = size[:3]
    return (t, m), (), (), (e, 3), (m, m), (t,)
