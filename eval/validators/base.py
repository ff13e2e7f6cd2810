"""What every validator answers. Validators import instances only and share no code with the environments they check."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Verdict:
    """The judgement on a trace or a schedule."""

    valid: bool
    objective: int | None  # recomputed, in the family's natural units; None if not valid
    errors: tuple[str, ...] = ()  # one line each, naming position or place; empty if valid
    metrics: dict[str, float] = field(default_factory=dict)  # more that the schedule says, by name; empty if not valid

    @classmethod
    def refuse(cls, *errors: str) -> Verdict:
        """Not valid, for these reasons."""
        return cls(False, None, errors)
