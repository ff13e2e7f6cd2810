"""Streams of jobs by integer arithmetic alone: the same seed gives the same instance everywhere.

A seed S stands for the Lehmer streams S (gaps), S + 1 (templates), S + 2 (multipliers) and S + 3 (bursts), each without
its first ten values. So noise, templates and bursts can be changed one by one, with all other draws as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, islice, pairwise

from dispatchgym.instances import lehmer
from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.soc.checks import MULTIPLIERS
from dispatchgym.instances.soc.chip import Chip
from dispatchgym.instances.soc.chips import usual_weights
from dispatchgym.instances.soc.instance import SocInstance
from dispatchgym.instances.task_graph import integers

SKIPPED = 10


def _states(seed: int) -> Iterator[int]:
    return islice(lehmer.stream(seed), SKIPPED, None)


def exponential_gaps(seed: int, jobs: int, mean: int, fill: int = 0) -> list[int]:
    """Gaps [ticks] of a Poisson stream of that mean gap; the first max(1, fill) jobs are there at once."""
    return bursty_gaps(seed, jobs, mean, 1, fill)


def bursty_gaps(seed: int, jobs: int, mean: int, burst: int, fill: int = 0, geometric: bool = True) -> list[int]:
    """Gaps [ticks] of batches that arrive at one instant, with exponential gaps of mean ``mean * burst`` between them.

    Batches hold ``burst`` jobs, on average (``geometric``) or each: the load is that of single jobs with gap ``mean``.
    """
    states, coins = _states(seed), _states(seed + 3)
    gaps = []
    for k in range(jobs):
        first = max(1, fill)
        begins = lehmer.uniform(next(coins), burst) == 0 if geometric else (k - first) % burst == 0
        gaps.append(lehmer.exponential(next(states), mean * burst) if k >= first and begins else 0)
    return gaps


def trace_gaps(arrivals: Sequence[int]) -> list[int]:
    """Gaps [ticks] of the jobs of an open stream that arrive at these instants. Raises InstanceError naming the job."""
    times = integers(arrivals, "arrival", lambda at: f"job {at[0]}").tolist()
    for k, (before, now) in enumerate(pairwise([0, *times])):
        if now < before:
            raise InstanceError(
                f"job {k} arrives at {now}, before {before}; give arrivals from 0 on in ascending order"
            )
    return [now - before for before, now in pairwise([0, *times])]


def random_templates(seed: int, jobs: int, weights: Sequence[int]) -> list[int]:
    """The number of each job's template, drawn in proportion to integer weights; of one template nothing is drawn."""
    if min(weights, default=0) < 0 or not 0 < sum(weights) < lehmer.MODULUS:
        raise InstanceError(f"the weights are {list(weights)}; give integers of 0 or more, at least one above 0")
    states, ends = _states(seed + 1), list(accumulate(weights))
    if len(weights) == 1:
        return [0] * jobs
    draws = (lehmer.uniform(next(states), ends[-1]) for _ in range(jobs))
    return [next(d for d, end in enumerate(ends) if draw < end) for draw in draws]


def random_multipliers(seed: int, tasks: Sequence[int], noise: int) -> list[list[int]]:
    """Multipliers [per mille] of jobs with so many tasks: normal about 1000 with deviation ``noise``, clipped."""
    states = _states(seed + 2)
    low, high = MULTIPLIERS
    return [[min(high, max(low, 1000 + noise * lehmer.normal(states) // 1000)) for _ in range(n)] for n in tasks]


def make(
    chip: Chip,
    seed: int,
    mean_gap: int = 0,
    jobs: int = 60,
    noise: int = 0,
    weights: Sequence[int] | None = None,
    burst: int = 1,
    geometric: bool = True,
    arrivals: Sequence[int] | None = None,
    cap: int = 8,
    closed: bool = False,
    fill: int = 0,
) -> SocInstance:
    """A stream on a chip: Poisson with a mean gap [ticks], in bursts, or (open only) with given arrivals [ticks].

    ``weights`` of the templates default to the usual ones, ``noise`` is in per mille of nominal times; ``fill`` jobs
    are there from the start ("pseudo steady state" with fill = cap). Raises InstanceError naming parameter or element.
    """
    for what, value, low, high in (
        ("seed", seed, 1, lehmer.MODULUS - 4),
        ("mean_gap", mean_gap, 0, 2**24),
        ("jobs", jobs, 1, 2**20),
        ("noise", noise, 0, 1000),
        ("burst", burst, 1, 2**10),
        ("fill", fill, 0, 2**20),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise InstanceError(f"{what} is {value!r}; give an integer in {low}..{high}")
    weights = usual_weights(chip) if weights is None else weights
    if len(weights) != len(chip.templates):
        raise InstanceError(
            f"{len(weights)} weights for the {len(chip.templates)} templates of {chip.name}; give one each"
        )
    if arrivals is None:
        gaps = bursty_gaps(seed, jobs, mean_gap, burst, fill, geometric)
    elif closed:
        raise InstanceError("a closed stream has no arrival times, its gaps start at admissions; use closed=False")
    else:
        gaps = trace_gaps(arrivals)
    template = random_templates(seed, len(gaps), weights)
    multiplier = None
    if noise:
        multiplier = random_multipliers(seed, [len(chip.templates[d].tasks) for d in template], noise)
    return SocInstance.from_stream(chip, template, gaps, multiplier, cap, closed)
