"""SocDag against published values, an independent twin, and the properties of its definition."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from twins.soc import SocTwin

from dispatchgym.agents.rules.soc import RULES
from dispatchgym.envs.registry import make
from dispatchgym.envs.soc import SocDag
from dispatchgym.envs.soc.problem import NEVER
from dispatchgym.eval.validators.soc import schedule
from dispatchgym.eval.validators.soc_schedule import completed_by
from dispatchgym.instances.base import DispatchGymError, common_size, stack
from dispatchgym.instances.soc import SocInstance, SocSize, generator

DATA = Path(__file__).parents[1] / "data" / "soc"
CHECKED = ("met", "etf_ds3", "mct", "heft_rt", "heft_dag", "fifo_random", "job_etf")


@cache
def data(name: str) -> dict:
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


def stream(given: dict) -> SocInstance:
    """A stream of the check files."""
    platform = data("mdp_platforms")[given["platform"]]
    graphs = platform["templates"]
    tasks, most = (max(len(g[part]) for g in graphs) for part in ("w", "edges"))
    time = np.full((len(graphs), tasks, len(platform["pe"])), -1)
    edges = np.zeros((len(graphs), most, 3), int)
    edges[..., 2] = -1
    for d, graph in enumerate(graphs):
        time[d, : len(graph["w"])] = graph["w"]
        edges[d, : len(graph["edges"])] = graph["edges"]
    n = len(given["template"])
    multiplier = np.full((n, tasks), 1000)
    for k, row in enumerate(given["mult"] or ()):
        multiplier[k, : len(row)] = row
    arrays = {
        "time": time,
        "n_tasks": [len(g["w"]) for g in graphs],
        "edges": edges,
        "bandwidth": platform["bw"],
        "n_pes": len(platform["pe"]),
        "power": platform["power_mw"],
        "n_jobs": n,
        "template": given["template"],
        "gap": given["gap"],
        "multiplier": multiplier,
        "cap": given["cap"],
    }
    return SocInstance(**{k: np.asarray(v, np.int32) for k, v in arrays.items()}, closed=np.bool_(given["closed"]))


@cache
def functions(size: SocSize, **options):
    """(environment, jitted prepare, reset, step, observe): tests of one shape share their compilations."""
    env = SocDag(size, **options)
    return env, *map(jax.jit, (env.prepare, env.reset, env.step, env.observe))


def play(env: SocDag, instances: list[SocInstance], rules: tuple[str, ...]):
    """The rollout of every rule on every instance, lanes rule by rule, as one program."""
    policies = [RULES[rule].make(env.graph) for rule in rules]

    def one(problem, rule):
        def body(state, _):
            observation = env.observe(problem, state)
            action = jnp.stack([p(observation, None) for p in policies])[rule]
            active, moved = ~env.terminated(problem, state), env.step(problem, state, action)
            return moved.state, (action, moved.reward, active)

        return jax.lax.scan(body, env.reset(problem), None, length=env.max_steps)

    problems = jax.vmap(env.prepare)(stack(instances, env.size))
    state, (actions, rewards, active) = jax.jit(jax.vmap(jax.vmap(one, (0, None)), (None, 0)))(
        problems, jnp.arange(len(rules))
    )
    return np.asarray(state.flow), np.asarray(actions), np.asarray(rewards, np.float64), np.asarray(active)


@pytest.mark.parametrize("group", ["top1-", "real-", "top10-"])
def test_flow_times_and_actions_of_the_check_streams(group):
    given = [i for i in data("mdp_instances") if i["name"].startswith(group)]
    instances = [stream(i) for i in given]
    env = SocDag(common_size(instances), window=given[0]["window"])
    flows, actions, rewards, active = play(env, instances, CHECKED)
    for lane, one in enumerate(given):
        for r, rule in enumerate(CHECKED):
            wanted = data("mdp_check_values")["results"][one["name"]][rule]
            real = active[r, lane]
            paid = rewards[r, lane][real]
            assert flows[r, lane] == wanted["total_flow"], (one["name"], rule)
            assert real.sum() == wanted["decisions"]
            assert paid.sum() == -wanted["total_flow"]
            for values, key in ((actions[r, lane][real], "actions_sha256"), (paid.astype(int), "rewards_sha256")):
                text = ",".join(map(str, values.tolist()))
                assert hashlib.sha256(text.encode()).hexdigest() == wanted[key], (one["name"], rule, key)


@pytest.mark.parametrize("mode", ["open", "closed"])
def test_worked_example_step_by_step(mode):
    example = data("mdp_check_values")["worked_example"][mode]
    env, prepare, reset, step, observe = functions(stream(example["instance"]).size, window=4)
    problem = prepare(stream(example["instance"]))
    state = reset(problem)
    tasks = env.size.tasks
    for wanted in example["steps"]:
        assert int(state.now) == wanted["t"]
        assert sorted(np.asarray(state.job)[np.asarray(state.job) >= 0].tolist()) == wanted["in_system"]
        window = [(int(state.job[c // tasks]), c % tasks) for c in np.asarray(state.window).tolist() if c >= 0]
        assert window == [tuple(pair) for pair in wanted["window"]]
        seen = observe(problem, state)
        assert np.flatnonzero(seen.action_mask).tolist() == wanted["mask"]
        pe_rows = slice(env.size.templates * tasks, env.size.templates * tasks + env.size.pes)
        busy = np.asarray(seen.nodes)[pe_rows, env.graph.index("node", "busy_until")]
        assert (busy + wanted["t"]).astype(int).tolist() == wanted["est_free"]
        ready = np.asarray(seen.action_features)[wanted["action"], env.graph.index("action", "data_ready")]
        assert int(ready) + wanted["t"] == wanted["data_ready"]
        moved = step(problem, state, jnp.int32(wanted["action"]))
        assert float(moved.reward) == wanted["reward"]
        state = moved.state
        if not moved.terminated:
            assert int(state.now) == wanted["t_next"]
    assert moved.terminated
    assert int(env.objective(problem, state)) == example["flow"]


def test_one_canonical_job_as_published():
    given = {"platform": "canonical_top1", "template": [0], "gap": [0], "mult": None, "cap": 1, "closed": True}
    _, prepare, reset, step, _ = functions(stream(given).size, window=16)
    problem = prepare(stream(given))
    for rule, wanted in data("mdp_vs_gym_ds3")["one_job"].items():
        state = reset(problem)
        for action in wanted["actions"]:
            moved = step(problem, state, jnp.int32(action))
            assert not moved.invalid, rule
            state = moved.state
        assert int(state.flow) == wanted["latency"], rule


def lehmer_gaps(seed: int, mean: int, jobs: int, fill: int) -> list[int]:
    state, values = seed, []
    for _ in range(10 + jobs):
        state = state * 16807 % (2**31 - 1)
        values.append(state)
    gaps = [int(np.floor(-mean * np.log(v / (2**31 - 1)))) for v in values[10:]]
    used = max(1, fill)
    return [0] * used + gaps[: jobs - used]


def test_closed_canonical_stream_against_gym_ds3():
    """Twenty seeds of the published setting: our own figures to the last digit given, and MET's within 1 % of gym-ds3's."""
    rules, jobs, horizon = ("met", "etf_ds3", "mct", "heft_rt"), 150, 4998
    base = {"platform": "canonical_top1", "template": [0] * jobs, "mult": None, "cap": 3, "closed": True}
    streams = [stream(base | {"gap": lehmer_gaps(1000 * k + 7, 25, jobs, 3)}) for k in range(1, 21)]
    _, actions, _, _ = play(SocDag(streams[0].size, window=16), streams, rules)
    for r, rule in enumerate(rules):
        (row,) = (x for x in data("mdp_vs_gym_ds3")["rows"] if x[0] == "first available" and x[1:4] == [25, 3, rule])
        latency, completed, measured = row[4], row[6], row[8]
        found = []
        for lane, instance in enumerate(streams):
            done = schedule(instance, actions[r, lane].tolist(), {"window": 16})
            found.append(completed_by(instance, done, horizon))
        counts, means = np.mean(found, axis=0)
        assert means == pytest.approx(latency, abs=0.006)
        assert counts == pytest.approx(completed, abs=0.006)
        if rule == "met":
            assert means == pytest.approx(measured, rel=0.01)


def small(key: int, **parameters) -> tuple[SocInstance, SocSize]:
    """A random stream on the host, and the size that its generator gives to all."""
    draw = generator(parameters.pop("name", "canonical-varied-6"), **parameters)
    return jax.tree.map(np.asarray, draw(jax.random.key(key))), draw.size


def random_walk(size: SocSize, instance: SocInstance, key: int, **options):
    """(state, observation, action, transition) of random legal play."""
    rng = np.random.default_rng(key)
    env, prepare, reset, step, observe = functions(size, **options)
    problem = prepare(instance)
    state = reset(problem)
    while True:
        seen = observe(problem, state)
        if env.terminated(problem, state):
            return
        action = int(rng.choice(np.flatnonzero(np.asarray(seen.action_mask))))
        moved = step(problem, state, jnp.int32(action))
        yield state, seen, action, moved
        state = moved.state


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_twin_step_by_step(seed):
    name, window = (("canonical-varied-6", 3), ("realworld-varied-4", 8), ("canonical-varied-6", 1))[seed % 3]
    instance, size = small(seed, name=name, cap=(1, 4))
    env, twin = functions(size, window=window)[0], SocTwin(instance, window=window)
    told = twin.reset()
    columns = {"time": "time", "data_ready": "data_ready", "start": "est_start", "finish": "est_finish"}
    steps = 0
    for state, seen, action, moved in random_walk(size, instance, seed, window=window):
        mask = told["mask"]
        assert int(state.now) == told["now"]
        assert (np.asarray(seen.action_mask) == mask).all()
        features = np.asarray(seen.action_features)
        for ours, theirs in columns.items():
            assert (features[mask, env.graph.index("action", ours)] == told[theirs].ravel()[mask]).all(), ours
        ranks = features[:, env.graph.index("action", "upward_rank")].reshape(len(told["rank_u"]), -1)
        assert (np.round(ranks.max(1) * 1000).astype(int) == told["rank_u"]).all()
        seen_globals = dict(zip(env.graph.names("global"), np.asarray(seen.globals).tolist(), strict=True))
        assert seen_globals["in_system"] == told["in_system"]
        assert seen_globals["jobs_left"] == told["left"]
        assert seen_globals["waiting"] == (told["source_blocked"] if instance.closed else told["outside"])
        assert seen_globals["oldest_wait"] == told["oldest"]
        told, reward, over = twin.step(action)
        assert float(moved.reward) == reward
        assert bool(moved.terminated) == over
        steps += 1
    assert steps == sum(int(instance.n_tasks[d]) for d in instance.template)


@pytest.mark.parametrize("options", [{"decide": "task"}, {"speeds": "order", "window": 2}])
def test_padding_changes_nothing(options):
    instance, plain = small(5)
    more = {"jobs": 3, "slots": 2, "templates": 1, "tasks": 2, "pes": 2, "edges": 4, "successors": 1, "pairs": 5}
    more |= {"predecessors": 1, "bandwidths": 1}
    wide = plain._replace(**{name: getattr(plain, name) + by for name, by in more.items()})
    env, *_ = functions(plain, **options)
    _, prepare, reset, step, observe = functions(wide, **options)
    padded = prepare(instance.pad(wide))
    other = reset(padded)
    names = ("time", "start", "finish", "exit_regret", "upward_rank", "work_left", "rivals")
    columns = [env.graph.index("action", name) for name in names]
    flow = 0.0
    for _, seen, action, moved in random_walk(plain, instance, 5, **options):
        same = action if options.get("decide") == "task" else action // plain.pes * wide.pes + action % plain.pes
        theirs = np.asarray(observe(padded, other).action_features)
        assert (theirs[same, columns] == np.asarray(seen.action_features)[action, columns]).all()
        stepped = step(padded, other, jnp.int32(same))
        assert not stepped.invalid
        assert stepped.reward == moved.reward
        other, flow = stepped.state, flow - float(moved.reward)
    assert stepped.terminated
    assert int(other.flow) == flow


def test_what_is_running_does_not_show_when_it_will_be_over():
    """The actual finish of a task that runs is in the state; moving it within the future must not change what is seen."""
    instance, size = small(3, noise=500)
    _, prepare, _, _, observe = functions(size)
    problem, tried = prepare(instance), 0
    for state, seen, _, _ in random_walk(size, instance, 3):
        running = (state.pe >= 0) & (state.queued == NEVER) & (state.finish > state.now)
        if not running.any():
            continue
        tried += 1
        later = {
            name: jnp.where(getattr(state, name) > state.now, getattr(state, name) + 17, getattr(state, name))
            for name in ("free", "completion", "ready")
        }
        moved = replace(state, finish=jnp.where(running, state.finish + 17, state.finish), **later)
        for ours, theirs in zip(jax.tree.leaves(seen), jax.tree.leaves(observe(problem, moved)), strict=True):
            assert (np.asarray(ours) == np.asarray(theirs)).all()
    assert tried > 10


def test_the_window_does_not_change_rules_that_take_the_first_task():
    instance, size = small(8)
    rules = ("met", "mct", "fifo_random")
    narrow, wide = (play(SocDag(size, window=window), [instance], rules)[0] for window in (1, 12))
    assert (narrow == wide).all()


def test_deciding_on_tasks_alone_equals_the_rule_that_places_them_so():
    instance, size = small(9)
    pair, task = (play(SocDag(size, decide=decide), [instance], ("heft_dag",))[0] for decide in ("pair", "task"))
    assert (pair == task).all()


@pytest.mark.parametrize("speeds", ["order", "hidden"])
def test_order_of_speeds_hides_the_times(speeds):
    """Two chips with other times in the same order per task look the same, before anything has run."""
    instance, size = small(2)
    squared = replace(instance, time=np.where(instance.time > 0, instance.time * instance.time, instance.time))
    _, prepare, reset, _, observe = functions(size, speeds=speeds)
    first, second = (prepare(i) for i in (instance, squared))
    ours, theirs = observe(first, reset(first)), observe(second, reset(second))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert (np.asarray(a) == np.asarray(b)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "at least 1"),
        ({"window": True}, "at least 1"),
        ({"decide": "both"}, "pair, task"),
        ({"speeds": "guess"}, "known, order, hidden"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(DispatchGymError, match=message):
        make("dispatchgym/SocDag-v0", generator="canonical-4", **options)


def test_the_cap_bounds_jobs_in_the_system():
    instance, size = small(11, cap=2)
    inside = [int((state.job >= 0).sum()) for state, *_ in random_walk(size, instance, 11)]
    assert 1 <= max(inside) <= 2
