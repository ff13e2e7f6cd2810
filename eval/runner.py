"""Run a method on instances and have every result checked by the family's validator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from dispatchgym.agents.catalogue import Learned, Method, find, methods
from dispatchgym.agents.rules.base import Rule
from dispatchgym.agents.solvers.base import Solver
from dispatchgym.envs.core import Environment, rollout
from dispatchgym.envs.programs import let_go_of_programs
from dispatchgym.envs.registry import Entry
from dispatchgym.eval.validators import validator
from dispatchgym.instances.base import DispatchGymError, SuiteEntry, stack

EVERY_RULE = "rules"  # among the opponents
ROWS_AT_ONCE = 32_768  # candidates in flight; more does not speed up a CPU and costs memory

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Request:
    """What to evaluate, and how."""

    entry: Entry
    policy: str  # name, or folder of a checkpoint
    problems: Sequence[SuiteEntry]
    samples: int = 1  # 1: greedy; k > 1: best of k sampled episodes
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)  # of the environment; override those the method is meant for
    time_limit: float | None = None  # seconds per instance, for solvers
    workers: int | None = None  # threads, for solvers


@dataclass(frozen=True)
class Outcome:
    """One instance's result as the method reports it."""

    position: int  # in Request.problems
    actions: list[int] | None
    objective: int | None
    seconds: float
    decisions: int  # made in these seconds, over all samples
    options: dict[str, Any]
    bound: int | None = None
    status: str = ""


@dataclass(frozen=True)
class Result:
    """An outcome and the validator's judgement of it; an unsolved or refused instance is not valid."""

    problem: SuiteEntry
    outcome: Outcome
    valid: bool
    objective: int | None
    errors: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)  # the validator's; empty if not valid


def run(request: Request, progress: Progress | None = None) -> tuple[str, list[Result]]:
    """(mode, results in the order of the problems). Raises DispatchGymError before any work if the request makes no sense."""
    method = find(request.entry, request.policy)
    mode = describe_mode(method, request)
    if not request.problems:
        raise DispatchGymError("no instances to evaluate; pass --suite or --instance")
    validate = validator(request.entry.family)
    results: dict[int, Result] = {}
    for outcome in _outcomes(method, request):
        problem = request.problems[outcome.position]
        results[outcome.position] = _judge(validate, problem, outcome)
        if progress is not None:
            progress(len(results))
    return mode, [results[i] for i in range(len(request.problems))]


def describe_mode(method: Method, request: Request) -> str:
    """ "greedy", "best-of-k", "deterministic", "sampled" or "solver"; refuses what a method cannot do."""
    k = request.samples
    if k < 1:
        raise DispatchGymError(f"--samples is {k}; give at least 1")
    if isinstance(method, Solver):
        if request.time_limit is not None and not request.time_limit > 0:  # NaN too
            raise DispatchGymError(f"--time-limit is {request.time_limit:g}; give seconds above 0")
        if request.options:
            raise DispatchGymError(
                f"{request.policy} is a solver and takes no --option; it builds schedules in its own way"
            )
        if k > 1:
            raise DispatchGymError(f"{request.policy} is a solver and has no --samples; give it a --time-limit")
        if request.time_limit is not None and not method.timed:
            raise DispatchGymError(f"{request.policy} runs to its end and has no --time-limit; leave it out")
        if request.workers is not None and not method.threaded:
            raise DispatchGymError(f"{request.policy} runs on one thread and has no --workers; leave it out")
        return "solver" if request.time_limit is None else f"solver, {request.time_limit:g} s"
    if request.workers is not None:
        raise DispatchGymError(f"{request.policy} is no solver and has no --workers; leave it out")
    if request.time_limit is not None:
        raise DispatchGymError(f"{request.policy} is no solver and has no --time-limit; use --samples")
    if isinstance(method, Rule) and not method.stochastic:
        if k > 1:
            raise DispatchGymError(
                f"{request.policy} is deterministic, --samples {k} would repeat it; try randomised_{request.policy}"
            )
        return "deterministic"
    if k > 1:
        return f"best-of-{k}"
    return "sampled" if isinstance(method, Rule) else "greedy"


def opponents(request: Request, names: Sequence[str]) -> tuple[Request, list[Request]]:
    """(the policy's request, one of each method it is compared with) on the same instances and with the same seed.

    "rules" among the names stands for every rule of the family. Of samples, options and limits a method gets what it has
    a use for; a limit that one of them takes need not suit the policy. Raises DispatchGymError for a name that is none.
    """
    rules = [name for name, method in methods(request.entry).items() if isinstance(method, Rule)]
    if request.policy in names:
        raise DispatchGymError(f"--against {request.policy} is the policy itself; give another method")
    chosen = [known for name in names for known in (rules if name == EVERY_RULE else [name])]
    others = [_suited(request, name) for name in dict.fromkeys(chosen) if name != request.policy]
    if names and not others:
        raise DispatchGymError(f"{request.entry.id} has no other rule; give --against the name of a method")
    for other in others:
        describe_mode(find(other.entry, other.policy), other)
    suited = _suited(request, request.policy)
    if any(other.time_limit is not None for other in others):
        request = replace(request, time_limit=suited.time_limit)
    if any(other.workers is not None for other in others):
        request = replace(request, workers=suited.workers)
    return request, others


def _suited(request: Request, name: str) -> Request:
    """The request of another method, less what it refuses."""
    method = find(request.entry, name)
    if isinstance(method, Solver):
        time_limit = request.time_limit if method.timed else None
        workers = request.workers if method.threaded else None
        return replace(request, policy=name, samples=1, options={}, time_limit=time_limit, workers=workers)
    samples = 1 if isinstance(method, Rule) and not method.stochastic else request.samples
    return replace(request, policy=name, samples=samples, time_limit=None, workers=None)


def _judge(validate: Callable[..., Any], problem: SuiteEntry, outcome: Outcome) -> Result:
    if outcome.actions is None:
        return Result(problem, outcome, False, None, (f"no solution ({outcome.status or 'none found'})",))
    verdict = validate(problem.instance, outcome.actions, outcome.options)
    if verdict.valid and verdict.objective != outcome.objective:
        message = f"claims {outcome.objective}, the validator finds {verdict.objective}"
        return Result(problem, outcome, False, verdict.objective, (message,))
    return Result(problem, outcome, verdict.valid, verdict.objective, tuple(verdict.errors), dict(verdict.metrics))


def _outcomes(method: Method, request: Request) -> Iterator[Outcome]:
    if isinstance(method, Solver):
        yield from _solve(method, request)
        return
    options = request.entry.defaults() | dict(method.options) | request.options
    sizes: dict[Any, list[int]] = {}
    for position, problem in enumerate(request.problems):
        sizes.setdefault(problem.instance.size, []).append(position)
    for size, positions in sizes.items():
        env = request.entry.build(size, **options)
        runner = _run_learned if isinstance(method, Learned) else _run_rule
        yield from runner(method, request, env, positions, options)  # type: ignore[arg-type]
        let_go_of_programs()


def _solve(solver: Solver, request: Request) -> Iterator[Outcome]:
    for position, problem in enumerate(request.problems):
        began = time.perf_counter()
        s = solver.solve(problem.instance, time_limit=request.time_limit, seed=request.seed, workers=request.workers)
        seconds = time.perf_counter() - began
        let_go_of_programs()
        yield Outcome(
            position, s.actions, s.objective, seconds, len(s.actions or ()), dict(s.options), s.bound, s.status
        )


def _run_rule(
    rule: Rule, request: Request, env: Environment, positions: list[int], options: dict[str, Any]
) -> Iterator[Outcome]:
    policy = rule.make(env.graph)
    # All instances share the keys of the samples: what one instance gives does not depend on its place in the suite.
    play = jax.jit(lambda problems, key: rollout(env, policy, problems, key))
    problems = jax.jit(jax.vmap(env.prepare))(stack([request.problems[i].instance for i in positions], env.size))
    samples = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(request.seed), np.arange(request.samples))
    keys = [jax.numpy.broadcast_to(samples[s], len(positions)) for s in range(request.samples)]
    compiled = play.lower(problems, keys[0]).compile()
    began = time.perf_counter()
    runs = [jax.block_until_ready(compiled(problems, key)) for key in keys]
    seconds = (time.perf_counter() - began) / len(positions)
    objective = np.stack([np.asarray(r.objective) for r in runs])
    best = (objective if env.sense == "min" else -objective).argmin(0)
    for lane, position in enumerate(positions):
        chosen = runs[best[lane]]
        length = int(np.asarray(chosen.active[:, lane]).sum())
        actions = np.asarray(chosen.actions[:length, lane]).tolist()
        decisions = length * request.samples
        yield Outcome(position, actions, int(objective[best[lane], lane]), seconds, decisions, options)


def _run_learned(
    learned: Learned, request: Request, env: Environment, positions: list[int], options: dict[str, Any]
) -> Iterator[Outcome]:
    network = learned.network(request.entry.id, env)  # names a missing extra before torch is imported below
    import torch

    from dispatchgym.agents.lanes import play, stepper, warm_up

    per_instance = request.samples * env.graph.n_actions
    # Sampling runs one instance at a time with a generator of its own: results do not depend on the rest of the suite.
    width = 1 if request.samples > 1 else max(1, min(len(positions), ROWS_AT_ONCE // per_instance))
    for first in range(0, len(positions), width):
        chunk = positions[first : first + width]
        problems = stepper(env).prepare(stack([request.problems[i].instance for i in chunk], env.size))
        generator = None
        if request.samples > 1:
            generator = torch.Generator().manual_seed(request.seed)
        warm_up(env, problems, network, request.samples)
        began = time.perf_counter()
        played = play(env, problems, network, request.samples, generator)
        seconds = (time.perf_counter() - began) / len(chunk)
        sign = 1 if env.sense == "min" else -1
        for lane, position in enumerate(chunk):
            best = int((sign * played.objective[lane]).argmin())
            actions = played.actions[: played.lengths[lane, best], lane, best].tolist()
            decisions = int(played.lengths[lane].sum())
            yield Outcome(position, actions, int(played.objective[lane, best]), seconds, decisions, options)
