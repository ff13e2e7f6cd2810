"""Holds an environment to its contract: ``check("dispatchgym/JobShop-v0")``, or ``dispatchgym check ID``.

It works for every registered id, a user's own included. Each check is a small function of a :class:`Subject`; it raises
AssertionError if the environment breaks the rule, Skip if there is nothing to check, and may return a note.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dispatchgym.testing_core import CORE_CHECKS
from dispatchgym.testing_faces import FACE_CHECKS
from dispatchgym.testing_subject import Skip, Subject

CHECKS: tuple[Callable[[Subject], str | None], ...] = (*CORE_CHECKS, *FACE_CHECKS)


@dataclass(frozen=True)
class Result:
    """The outcome of one check."""

    name: str
    status: str  # "ok" | "failed" | "skipped"
    note: str  # why it failed or was skipped, or what else is worth knowing
    seconds: float
    rule: str  # what was checked, in a line


@dataclass(frozen=True)
class Report:
    """All outcomes for one environment."""

    env_id: str
    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """No check failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Result, ...]:
        """The checks that failed."""
        return tuple(result for result in self.results if result.status == "failed")

    def __str__(self) -> str:
        rows = [f"{r.status:8}{r.name:22}{r.seconds:6.1f} s  {r.note or r.rule}" for r in self.results]
        return "\n".join([self.env_id, *rows])


class CheckError(AssertionError):
    """An environment breaks its contract; ``report`` has all outcomes."""

    def __init__(self, report: Report) -> None:
        self.report = report
        lines = [f"  {failure.name}: {failure.note}" for failure in report.failures]
        super().__init__("\n".join([f"{report.env_id} fails {len(lines)} of {len(report.results)} checks:", *lines]))


def check(env_id: str, *, only: tuple[str, ...] | None = None, **make_kwargs: object) -> Report:
    """Run all checks, or those of ``only``, on an id made with ``make_kwargs`` (instances and family options).

    Raises CheckError, which lists every failure, unless all pass or are skipped.
    """
    subject = Subject(env_id, make_kwargs)
    chosen = [one for one in CHECKS if only is None or one.__name__ in only]
    report = Report(env_id, tuple(_run(one, subject) for one in chosen))
    if not report.ok:
        raise CheckError(report)
    return report


def _run(one: Callable[[Subject], str | None], subject: Subject) -> Result:
    start = time.perf_counter()
    status, note = "ok", ""
    try:
        note = one(subject) or ""
    except Skip as skip:
        status, note = "skipped", str(skip)
    except AssertionError as error:
        status, note = "failed", str(error).strip() or "assertion failed"
    except Exception as error:  # whatever a broken environment raises is a finding, and the other checks go on
        status, note = "failed", f"{type(error).__name__}: {str(error).strip()}"
    rule = (one.__doc__ or "").strip().splitlines()[0]
    return Result(one.__name__, status, note, time.perf_counter() - start, rule)
