"""Traces: the actions of one episode, which replay exactly and are checked twice, by the environment and by the validator."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dispatchgym.envs.registry import Entry, lookup
from dispatchgym.eval.runner import Result
from dispatchgym.eval.validators import validator
from dispatchgym.instances.base import DispatchGymError, fingerprint
from dispatchgym.instances.files import write_text

MAX_BYTES = 64 * 2**20
MAX_ACTIONS = 10**7


class TraceError(DispatchGymError, ValueError):
    """A trace cannot be read; the message names file and cause."""


@dataclass(frozen=True)
class Trace:
    """One recorded episode. ``claimed`` is compared, never trusted."""

    env_id: str
    instance: str  # name or path, as evaluated
    instance_sha256: str
    options: dict[str, Any]
    actions: list[int]
    claimed: int | None
    policy: str = ""


@dataclass(frozen=True)
class Replay:
    """What environment and validator say of a trace."""

    objective: int | None  # of the environment; None if the episode did not end
    validated: int | None  # of the validator; None if refused
    errors: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Environment and validator found the same finished, feasible episode."""
        return not self.errors and self.objective is not None and self.objective == self.validated


def write(folder: Path, entry: Entry, policy: str, results: Sequence[Result]) -> int:
    """One file per solved instance in ``folder``, those of one name numbered (``ft06-2.json``); the number written."""
    folder.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    solved = [r for r in results if r.outcome.actions is not None]
    for r in solved:
        data = {
            "env_id": entry.id,
            "instance": r.problem.name,
            "instance_sha256": fingerprint(r.problem.instance),
            "policy": policy,
            "reset": {"options": r.outcome.options},
            "actions": r.outcome.actions,
            "final": {"objective": r.outcome.objective, "terminated": True},
        }
        stem = name = re.sub(r"[^A-Za-z0-9._-]", "_", r.problem.name)
        number = 1
        while name.lower() in taken:  # some file systems do not tell cases apart
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.lower())
        write_text(folder / f"{name}.json", json.dumps(data) + "\n")
    return len(solved)


def read(path: Path) -> Trace:
    """Parse a trace file. Raises TraceError naming what is missing or wrong."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise TraceError(f"{path} is larger than {MAX_BYTES // 2**20} MiB, no episode is that long; is it a trace?")
        data = json.loads(path.read_text(encoding="utf-8"))
        actions = data["actions"]
        if not isinstance(actions, list) or len(actions) > MAX_ACTIONS or not all(type(a) is int for a in actions):
            raise TraceError(f"{path}: actions must be a list of at most {MAX_ACTIONS} integers")
        claimed = data.get("final", {}).get("objective")
        if claimed is not None and type(claimed) is not int:
            raise TraceError(f"{path}: final.objective must be an integer")
        return Trace(
            env_id=str(data["env_id"]),
            instance=str(data["instance"]),
            instance_sha256=str(data["instance_sha256"]),
            options=dict(data["reset"]["options"]),
            actions=actions,
            claimed=claimed,
            policy=str(data.get("policy", "")),
        )
    except OSError as error:
        raise TraceError(
            f"{path} cannot be read ({error.strerror}); give the path of a file written by --save-traces"
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, TraceError):
            raise
        cause = f"{type(error).__name__}: {error}"
        raise TraceError(f"{path} is no trace ({cause}); write one with `dispatchgym eval --save-traces`") from error


def replay(trace: Trace, instance: Any = None) -> tuple[Any, Any, Replay]:
    """(instance, final state, Replay). ``instance`` (object, name or path) replaces the one the trace names.

    Raises TraceError if the instance is not the one that was recorded.
    """
    entry = lookup(trace.env_id)
    problem = entry.family_module().coerce(trace.instance if instance is None else instance)
    if fingerprint(problem) != trace.instance_sha256:
        raise TraceError(
            f"instance {trace.instance!r} is not the recorded one (sha256 differs); pass it with --instance"
        )
    env = entry.build(problem.size, **trace.options)
    prepared = jax.jit(env.prepare)(problem)

    def body(state: Any, action: Any) -> tuple[Any, Any]:
        after = env.step(prepared, state, action)
        return after.state, after.invalid | env.terminated(prepared, state)

    # int32 would wrap a huge action into a legal one; such values are illegal anyhow.
    actions = np.asarray([a if abs(a) < 2**31 else -1 for a in trace.actions], np.int32)
    state, invalid = jax.jit(lambda a: jax.lax.scan(body, env.reset(prepared), a))(actions)
    refused = np.flatnonzero(np.asarray(invalid))
    ended = bool(env.terminated(prepared, state))
    errors = [f"action {refused[0]} is illegal" if len(refused) else "", "" if ended else "the episode is not finished"]
    verdict = validator(entry.family)(problem, trace.actions, trace.options)
    errors += [f"validator: {e}" for e in verdict.errors]
    objective = int(env.objective(prepared, state)) if ended and not len(refused) else None
    if trace.claimed is not None and objective is not None and trace.claimed != objective:
        errors.append(f"the trace claims {trace.claimed}, it is {objective}")
    return problem, state, Replay(objective, verdict.objective, tuple(e for e in errors if e))
