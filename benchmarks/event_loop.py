"""How the event loop of a chip should run under vmap: what lanes wait for, and decisions per second of six forms of it.

    python benchmarks/event_loop.py                        all batches, both settings of throughput_soc.py
    python benchmarks/event_loop.py --batches 256          some of them
    python benchmarks/event_loop.py --json out.json        also write what was measured

Between two decisions queued tasks start on their PEs: a loop, whose batch runs until its slowest lane is through.

* "while, one": each pass starts one task, the first in time (the environment's own form).
* "while, several": each pass starts all tasks that begin before any of them ends or anything can be decided; same result.
* "for, one" and "for, several": as many passes as any lane ever needed here. No bound of use holds for all streams, so this
  is what a bounded loop would gain, and nothing that could be shipped.
* "step, one" and "step, several": no loop; a step is a decision, with one pass and the jump behind it if nothing is left to
  start. In a lane where something is left, the next step decides nothing: nobody waits, but observing costs the same.

All forms give the same flow times, which is checked first. One process, the full observation carried from step to step,
MET decides, lanes out of phase. "us" is CPU time per decision, the least of all calls: other load on the machine hardly
changes it, while it does change decisions per second.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from throughput_soc import SETTINGS, Setting, busy_lanes, restart

from dispatchgym.agents.rules.soc import RULES
from dispatchgym.envs.core import rollout
from dispatchgym.envs.soc import SocDag, clock
from dispatchgym.envs.soc.problem import NEVER, SocProblem, actual
from dispatchgym.envs.soc.state import SocState, take
from dispatchgym.instances.base import stack

Array = jax.Array
FORMS = [(kind, how) for kind in ("while", "for", "step") for how in ("one", "several")]
CHECKED_STREAMS, CHECKED_JOBS = 6, 25


def start_several(problem: SocProblem, state: SocState) -> Callable[[clock.Drain], clock.Drain]:
    """A pass that starts all tasks that begin before any of them ends, or the first one if it takes no time."""
    slots, tasks = state.pe.shape
    pes = state.free.shape[0]
    pe, code_of = jnp.arange(pes), jnp.arange(slots * tasks)
    on_pe = state.pe.ravel() == pe[:, None]
    in_system = state.job >= 0
    full, released = in_system.sum() >= problem.cap, clock.release(problem, state)
    job = jnp.maximum(state.job, 0)
    template_of = take(problem.template, job)

    def start(c: clock.Drain) -> clock.Drain:
        at = jnp.maximum(c.free, c.first_data)
        queued = c.queued.ravel()
        can = on_pe & (queued <= at[:, None]) & (queued < NEVER)
        order = jnp.where(can, state.order.ravel(), NEVER)
        first = can & (order == order.min(1, keepdims=True))
        code = jnp.where(first, code_of, 0).max(1)
        j, i = code // tasks, code % tasks
        template = take(template_of, j)
        end = at + jax.vmap(partial(actual, problem))(take(job, j), template, i, pe)
        end = jnp.where(at < NEVER, end, NEVER)
        early = at < jnp.minimum(c.until, end.min())
        starts = jnp.where(early.any(), early, pe == jnp.argmin(at))
        shown = jnp.where(starts, jax.vmap(partial(take, problem.shown))(template, i, pe), 0)
        now = first & starts[:, None]
        queued = jnp.where(now.any(0), NEVER, queued)
        of_slot = (j[:, None] == jnp.arange(slots)) & starts[:, None]
        left = c.unstarted - of_slot.sum(0)
        completion = jnp.maximum(c.completion, jnp.where(of_slot, end[:, None], 0).max(0))
        after = take(problem.successors, template, i)
        after = jnp.where(starts[:, None] & (after < tasks), j[:, None] * tasks + after, slots * tasks)
        waiting = c.waiting.ravel().at[after].add(-1, mode="drop").reshape(slots, tasks)
        ready = c.ready.ravel().at[after].max(end[:, None], mode="drop").reshape(slots, tasks)
        opened = jnp.where((waiting == 0) & (state.pe < 0), ready, NEVER).min()
        leaves = jnp.where(in_system & (left == 0), completion, NEVER).min()
        entry = jnp.where(full, jnp.maximum(released, leaves), released)
        finish = jnp.where(now, end[:, None], 0).max(0)
        return clock.Drain(
            until=jnp.minimum(jnp.minimum(c.until, opened), entry),
            unstarted=left,
            completion=completion,
            waiting=waiting,
            ready=ready,
            queued=queued.reshape(slots, tasks),
            finish=jnp.where(now.any(0), finish, c.finish.ravel()).reshape(slots, tasks),
            free=jnp.where(starts, end, c.free),
            expected=jnp.where(starts, at + shown, c.expected),
            backlog=c.backlog - shown,
            queue=c.queue - starts,
            first_data=jnp.where(starts, jnp.where(on_pe, queued, NEVER).min(1), c.first_data),
        )

    return start


def choose(condition: Array, new: Any, old: Any) -> Any:
    """``new`` if the condition holds, else ``old``."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), new, old)


class Form(SocDag):
    """SocDag with another form of the loop."""

    def __init__(self, size: Any, how: str = "one", bound: int = 0) -> None:
        super().__init__(size)
        self.how, self.bound = how, bound

    def pieces(self, problem: SocProblem, state: SocState, active: Array) -> Any:
        """As ``clock.pieces``."""
        carry, more, start = clock.pieces(problem, state, active)
        return carry, more, start if self.how == "one" else start_several(problem, state)

    def _drain(self, problem: SocProblem, state: SocState, active: Array) -> tuple[SocState, Array]:
        carry, more, start = self.pieces(problem, state, active)
        if self.bound:
            end = jax.lax.fori_loop(0, self.bound, lambda _, c: choose(more(c), start(c), c), carry)
        else:
            end = jax.lax.while_loop(more, start, carry)
        return clock.drained(state, end)

    def passes(self, problem: SocProblem, state: SocState, action: Array) -> Array:
        """i32[]: passes of the loop after an action."""
        committed = self._commit(problem, state, action)
        carry, more, start = self.pieces(problem, committed, committed.n_ready == 0)
        begin = (carry, jnp.int32(0))
        return jax.lax.while_loop(lambda c: more(c[0]), lambda c: (start(c[0]), c[1] + 1), begin)[1]

    def small_step(self, problem: SocProblem, state: SocState, action: Array) -> tuple[SocState, Array]:
        """(state, whether it decided): commit if a task is ready; then one pass, and the jump if no other has to follow."""
        decides = state.n_ready > 0
        committed = choose(decides, self._commit(problem, state, action), state)
        active = (committed.n_ready == 0) & ~self.terminated(problem, state)
        carry, more, start = self.pieces(problem, committed, active)
        end = choose(more(carry), start(carry), carry)
        drained, until = clock.drained(committed, end)
        return self._jump(problem, drained, until, active & ~more(end))[0], decides

    def move(self, kind: str, problem: SocProblem, state: SocState, action: Array) -> tuple[SocState, Array]:
        """(state, whether it decided) after a step of this kind."""
        if kind == "step":
            return self.small_step(problem, state, action)
        return self.step(problem, state, action).state, jnp.bool_(True)


def check(setting: Setting, bounds: dict[str, int]) -> None:
    """Raise SystemExit unless all forms give the same flow times on a handful of streams."""
    setting = replace(setting, parameters=setting.parameters | {"jobs": CHECKED_JOBS})
    streams = setting.streams(CHECKED_STREAMS, seed=99)
    env = SocDag(streams[0].size)
    problems = jax.jit(jax.vmap(env.prepare))(stack(streams, env.size))
    for rule in ("met", "fifo_random"):
        policy = RULES[rule].make(env.graph)
        wanted = np.asarray(jax.jit(lambda p, f=policy: rollout(env, f, p, jax.random.key(0)).objective)(problems))
        for kind, how in FORMS:
            form = Form(env.size, how, bounds[how] if kind == "for" else 0)

            def body(state: Any, _: Any, form: Form = form, kind: str = kind, policy: Any = policy) -> tuple[Any, None]:
                def one(p: Any, s: Any) -> Any:
                    return form.move(kind, p, s, policy(form.observe(p, s), jax.random.key(0)))[0]

                return jax.vmap(one)(problems, state), None

            length = env.max_steps * (2 if kind == "step" else 1)  # a task is committed once and started once
            state = jax.jit(lambda s, b=body, n=length: jax.lax.scan(b, s, None, length=n)[0])(
                jax.vmap(env.reset)(problems)
            )
            flows = np.where(np.asarray(jax.vmap(env.terminated)(problems, state)), np.asarray(state.flow), -1)
            if (flows != wanted).any():
                raise SystemExit(f"{kind}, {how} under {rule}: flow times {flows.tolist()}, not {wanted.tolist()}")


def count(env: SocDag, lanes: Any, steps: int) -> dict[str, dict[str, float]]:
    """How often the loop runs: passes per lane and decision, and per step, which is what the slowest lane needs."""
    problems, fresh, state = lanes
    met = RULES["met"].make(env.graph)
    forms = {how: Form(env.size, how) for how in ("one", "several")}

    @jax.jit
    def walk(problems: Any, fresh: Any, state: Any) -> Any:
        def body(state: Any, _: Any) -> tuple[Any, Any]:
            action = jax.vmap(lambda p, s: met(env.observe(p, s), jax.random.key(0)))(problems, state)
            passes = {how: jax.vmap(form.passes)(problems, state, action) for how, form in forms.items()}
            moved = jax.vmap(env.step)(problems, state, action)
            return restart(moved.terminated, fresh, moved.state), passes

        return jax.lax.scan(body, state, None, length=steps)[1]

    found = {}
    for how, passes in walk(problems, fresh, state).items():
        passes = np.asarray(passes)
        slowest = passes.max(1)
        found[how] = {
            "passes_per_decision": float(passes.mean()),
            "passes_per_step": float(slowest.mean()),
            "largest": int(passes.max()),
            "waiting": float(1 - passes.mean() / slowest.mean()),
            "steps_per_decision": float(np.maximum(passes, 1).mean()),  # of the forms without a loop
        }
    return found


def compiled(form: Form, kind: str, steps: int, problems: Any, fresh: Any, carry: Any) -> Callable[[Any], Any]:
    """So many steps of all lanes, as a function of (state, observation, number of decisions), which it uses up."""
    met = RULES["met"].make(form.graph)

    def run(problems: Any, fresh: Any, carry: Any) -> Any:
        def body(carry: Any, _: Any) -> tuple[Any, None]:
            state, seen, decisions = carry
            action = jax.vmap(met, (0, None))(seen, jax.random.key(0))
            state, decided = jax.vmap(partial(form.move, kind))(problems, state, action)
            state = restart(jax.vmap(form.terminated)(problems, state), fresh, state)
            return (state, jax.vmap(form.observe)(problems, state), decisions + decided.sum()), None

        return jax.lax.scan(body, carry, None, length=steps)[0]

    return partial(jax.jit(run, donate_argnums=2).lower(problems, fresh, carry).compile(), problems, fresh)


def measure(name: str, batch: int, seconds: float, rounds: int) -> dict[str, Any]:
    """All forms at one batch, interleaved."""
    setting = SETTINGS[name]
    env = SocDag(setting.streams(1)[0].size)
    problems, fresh, state = lanes = busy_lanes(env, setting, batch)
    counts = count(env, lanes, max(2**16 // batch, 32))
    first = (state, jax.jit(jax.vmap(env.observe))(problems, state), jnp.int32(0))
    steps = max(setting.decisions // batch, 4)
    programs = {}
    for kind, how in FORMS:
        form = Form(env.size, how, int(counts[how]["largest"]) if kind == "for" else 0)
        programs[f"{kind}, {how}"] = compiled(form, kind, steps, problems, fresh, first)
    rows = {form: {"us": float("inf"), "decisions_per_second": 0.0} for form in programs}
    for _ in range(rounds):
        for form, play in programs.items():
            row, carry = rows[form], jax.block_until_ready(play(jax.tree.map(jnp.copy, first)))  # it is donated
            began = time.perf_counter()
            while time.perf_counter() - began < seconds:
                start, cpu, before = time.perf_counter(), time.process_time(), int(carry[-1])
                carry = jax.block_until_ready(play(carry))
                decisions = int(carry[-1]) - before
                row["us"] = min(row["us"], 1e6 * (time.process_time() - cpu) / decisions)
                row["decisions_per_second"] = max(
                    row["decisions_per_second"], decisions / (time.perf_counter() - start)
                )
    return {"setting": name, "batch": batch, "counts": counts, "forms": rows}


def report(found: dict[str, Any]) -> None:
    """One setting and batch."""
    print(f"\n{found['setting']}, batch {found['batch']}:")
    for how, row in found["counts"].items():
        print(
            f"  {how:8} {row['passes_per_decision']:.2f} passes a decision, {row['passes_per_step']:.2f} a step, at most "
            f"{row['largest']}; {row['waiting']:.0%} of the lanes' passes are waiting; "
            f"without a loop {row['steps_per_decision']:.2f} steps a decision"
        )
    base = found["forms"]["while, one"]["us"]
    for form, row in found["forms"].items():
        print(
            f"  {form:15} {row['us']:8.2f} us {base / row['us']:6.2f}x {row['decisions_per_second']:12,.0f} decisions/s"
        )


def main() -> None:
    """Parse the command line, check, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16, 256, 4096])
    parser.add_argument("--seconds", type=float, default=3.0, help="per form and round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write all measurements there")
    arguments = parser.parse_args()
    measured = []
    for name in arguments.settings:
        check(SETTINGS[name], {"one": 12, "several": 8})
        for batch in arguments.batches:
            load = os.getloadavg()[0]
            measured.append(measure(name, batch, arguments.seconds, arguments.rounds) | {"load": round(load, 2)})
            report(measured[-1])
    if arguments.json:
        command = f"python benchmarks/event_loop.py --rounds {arguments.rounds} --seconds {arguments.seconds:g}"
        command += f" --json {arguments.json}"
        document = {"command": command, "cores": os.cpu_count(), "measured": measured}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
