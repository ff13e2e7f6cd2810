"""Training distributions of streams on chips, sampled with ``jax.random`` on the device.

Streams of ``jax.random`` change between versions: scores use suites.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dispatchgym.instances.base import InstanceError
from dispatchgym.instances.soc import checks
from dispatchgym.instances.soc.chip import Chip
from dispatchgym.instances.soc.instance import SocInstance, SocSize

LONGEST_GAP = 16  # mean gaps; a longer one is drawn once in 9 million and clipped

_LIMITS = {
    "mean_gap": (1, 2**20),
    "noise": (0, 1000),
    "cap": (1, checks.MAX_CAP),
    "burst": (1, 1000),
    "speed": (100, 10_000),
}

Range = int | tuple[int, int]  # a number, or the least and the greatest of a range


class _Platform(NamedTuple):
    time: Any  # i32[D, T, M]
    bandwidth: Any  # i32[M, M]
    power: Any  # i32[M]
    n_pes: Any  # i32[]


@dataclass(frozen=True)
class RandomStream:
    """Streams of ``jobs`` jobs on a chip; what has a range is drawn anew for each instance.

    Ranges: ``mean_gap`` [ticks] and ``speed`` [per mille, one factor per kind of PE] are log-uniform, ``noise`` [per
    mille of the nominal times], ``burst`` [mean number of jobs that arrive at one instant] and ``cap`` uniform.
    Probabilities: ``burst_probability`` that a stream has bursts, ``closed`` that admission is closed (the first cap
    jobs are there at once), ``missing`` that a PE is missing (every task keeps one that supports it) and ``mix`` that
    half of the templates are absent and the others have random weights instead of ``weights`` (default: equal).

    Raises InstanceError naming the parameter, or for times that int32 cannot hold.
    """

    chip: Chip
    jobs: int
    mean_gap: Range = (25, 200)
    noise: Range = (0, 500)
    weights: tuple[int, ...] | None = None
    cap: Range = 8
    closed: float = 0.0
    burst: Range = (2, 8)
    burst_probability: float = 0.0
    speed: Range = 1000
    missing: float = 0.0
    mix: float = 0.0

    def __post_init__(self) -> None:
        _range("jobs", self.jobs, 1, 2**20)
        for name, (low, high) in _LIMITS.items():
            object.__setattr__(self, name, _range(name, getattr(self, name), low, high))
        for name in ("closed", "burst_probability", "missing", "mix"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise InstanceError(f"{name} is {value!r}; give a probability in 0..1")
        weights = (1,) * len(self.chip.templates) if self.weights is None else tuple(self.weights)
        if len(weights) != len(self.chip.templates) or min(weights) < 0 or max(weights) == 0:
            expected = f"{len(self.chip.templates)} numbers of 0 or more, one per template, at least one above 0"
            raise InstanceError(f"weights are {list(weights)}; give {expected}")
        object.__setattr__(self, "weights", weights)
        self._check_bounds()

    def _bounds(self, name: str) -> tuple[int, int]:
        low, high = getattr(self, name)
        return low, high

    @property
    def _longest_gap(self) -> int:
        burst = self._bounds("burst")[1] if self.burst_probability else 1
        return LONGEST_GAP * self._bounds("mean_gap")[1] * burst

    def _check_bounds(self) -> None:
        time, n_tasks, edges = self.chip.arrays()
        slow = np.asarray(_at_speed(time, np.int64(self._bounds("speed")[0])))
        noisy = checks.MULTIPLIERS[1] if self._bounds("noise")[1] else 1000
        graphs = checks.platform(slow, n_tasks, edges, np.array(self.chip.bandwidth), self.chip.template_names)
        longest = [checks.actual_times(g.time.max(axis=1), noisy).sum() + g.largest_delays().sum() for g in graphs]
        h = self.jobs * (int(max(longest)) + self._longest_gap)
        if h >= checks.MAX_H or self.jobs * h >= checks.MAX_FLOW:
            bounds = f"times up to {h} and a total flow time up to {self.jobs * h}"
            most = f"less than {checks.MAX_H} and {checks.MAX_FLOW}"
            raise InstanceError(f"{self.jobs} jobs may need {bounds}, not {most}; use fewer jobs or a smaller mean_gap")

    @cached_property
    def size(self) -> SocSize:
        """Static sizes that every sample fits in."""
        one = SocInstance.from_stream(self.chip, [0], [0])
        return one.size._replace(jobs=self.jobs, slots=self._bounds("cap")[1])

    def __call__(self, key: jax.Array) -> SocInstance:
        """One instance of int32 device arrays; traced under jit and vmap."""
        keys = dict(zip(("chip", "gap", "template", "noise", "cap", "closed"), jax.random.split(key, 6), strict=True))
        _, n_tasks, edges = (jnp.asarray(array, jnp.int32) for array in self.chip.arrays())
        platform = self._platform(keys["chip"])
        template = self._templates(keys["template"])
        cap = _uniform(keys["cap"], self._bounds("cap"))
        closed = jax.random.bernoulli(keys["closed"], self.closed) if self.closed else jnp.bool_(False)
        gap = jnp.where(jnp.arange(self.jobs) < jnp.where(closed, cap, 1), 0, self._gaps(keys["gap"]))
        multiplier = jnp.where(
            jnp.arange(platform.time.shape[1]) < n_tasks[template, None],
            self._multipliers(keys["noise"], platform.time.shape[1]),
            1000,
        )
        return SocInstance(
            time=platform.time,
            n_tasks=n_tasks,
            edges=edges,
            bandwidth=platform.bandwidth,
            n_pes=platform.n_pes,
            power=platform.power,
            n_jobs=jnp.int32(self.jobs),
            template=template,
            gap=gap,
            multiplier=multiplier,
            cap=cap,
            closed=closed,
        )

    def _platform(self, key: jax.Array) -> _Platform:
        """The chip with random speeds and without the missing PEs; those left come first, in their order."""
        speed_key, drop_key, order_key = jax.random.split(key, 3)
        kinds = sorted(set(self.chip.kinds))
        factor = jnp.round(_log_uniform(speed_key, self._bounds("speed"), (len(kinds),))).astype(jnp.int32)
        time = _at_speed(
            jnp.asarray(self.chip.arrays()[0], jnp.int32), factor[np.array([kinds.index(k) for k in self.chip.kinds])]
        )
        bandwidth, power = (jnp.asarray(array, jnp.int32) for array in (self.chip.bandwidth, self.chip.power))
        pes = len(self.chip.pes)
        if not self.missing:
            return _Platform(time, bandwidth, power, jnp.int32(pes))
        rows = np.array([row for template in self.chip.templates for row in template.time]) >= 0
        support = jnp.asarray(np.unique(rows, axis=0))  # bool[R, M], the different sets of supporting PEs
        dropped = jax.random.bernoulli(drop_key, self.missing, (pes,))
        order = jnp.argsort(jax.random.bits(order_key, (pes,), jnp.uint32))

        def drop(i: jax.Array, present: jax.Array) -> jax.Array:
            without = present.at[order[i]].set(False)
            kept = (support & without).any(axis=1).all() & dropped[order[i]]
            return jnp.where(kept, without, present)

        present = jax.lax.fori_loop(0, pes, drop, jnp.ones(pes, bool))
        first = jnp.argsort(~present, stable=True)
        n_pes = present.sum(dtype=jnp.int32)
        real = jnp.arange(pes) < n_pes
        return _Platform(
            jnp.where(real, time[..., first], -1),
            jnp.where(real & real[:, None], bandwidth[first][:, first], 1),
            jnp.where(real, power[first], 0),
            n_pes,
        )

    def _templates(self, key: jax.Array) -> jax.Array:
        """i32[N]: the template of each job."""
        job_key, mix_key, one_key, mixed_key = jax.random.split(key, 4)
        logits = jnp.log(jnp.asarray(self.weights, jnp.float32))
        if self.mix:
            weight, coin = jax.random.uniform(mix_key, (2, len(logits)))
            kept = (coin < 0.5) | (jnp.arange(len(logits)) == jax.random.categorical(one_key, logits))
            random = jnp.where(kept & (logits > -jnp.inf), jnp.log(-jnp.log1p(-weight)), -jnp.inf)
            logits = jnp.where(jax.random.bernoulli(mixed_key, self.mix), random, logits)
        return jax.random.categorical(job_key, logits, shape=(self.jobs,)).astype(jnp.int32)

    def _gaps(self, key: jax.Array) -> jax.Array:
        """i32[N]: the gap of each job, 0 within a burst."""
        mean_key, gap_key, burst_key, size_key, begin_key = jax.random.split(key, 5)
        gaps = jax.random.exponential(gap_key, (self.jobs,)) * _log_uniform(mean_key, self._bounds("mean_gap"), ())
        if self.burst_probability:
            bursty = jax.random.bernoulli(burst_key, self.burst_probability)
            burst = jnp.where(bursty, _uniform(size_key, self._bounds("burst")), 1)
            begins = jax.random.uniform(begin_key, (self.jobs,)) * burst < 1
            gaps = jnp.where(begins, gaps * burst, 0)
        return jnp.minimum(gaps, self._longest_gap).astype(jnp.int32)

    def _multipliers(self, key: jax.Array, tasks: int) -> jax.Array:
        """i32[N, T]: per mille, normal about 1000 and clipped."""
        if not self._bounds("noise")[1]:
            return jnp.full((self.jobs, tasks), 1000, jnp.int32)
        deviation_key, normal_key = jax.random.split(key)
        deviation = _uniform(deviation_key, self._bounds("noise"))
        normal = jax.random.normal(normal_key, (self.jobs, tasks))
        return jnp.clip(jnp.round(1000 + deviation * normal), *checks.MULTIPLIERS).astype(jnp.int32)


def _range(what: str, value: Any, low: int, high: int) -> tuple[int, int]:
    """A number or a pair as (least, greatest). Raises InstanceError unless they are integers in order and range."""
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    whole = all(isinstance(x, int) and not isinstance(x, bool) for x in pair)
    if not whole or len(pair) != 2 or not low <= pair[0] <= pair[1] <= high:
        raise InstanceError(f"{what} is {value!r}; give an integer in {low}..{high}, or the least and the greatest one")
    return pair


def _at_speed(time: Any, speed: Any) -> Any:
    """Times at a speed [per mille], rounded to the nearest tick; those above 0 stay above 0, -1 stays -1."""
    return jnp.where(time > 0, jnp.maximum(1, (time * 1000 + speed // 2) // speed), time)


def _uniform(key: jax.Array, bounds: tuple[int, int]) -> jax.Array:
    """i32[]: an integer within the bounds; nothing is drawn if they are equal."""
    low, high = bounds
    return jnp.int32(low) if low == high else jax.random.randint(key, (), low, high + 1, jnp.int32)


def _log_uniform(key: jax.Array, bounds: tuple[int, int], shape: tuple[int, ...]) -> jax.Array:
    """f32[*shape]: numbers within the bounds; nothing is drawn if they are equal."""
    low, high = np.log(bounds)
    if low == high:
        return jnp.full(shape, bounds[0], jnp.float32)
    return jnp.exp(jax.random.uniform(key, shape, minval=low, maxval=high))
