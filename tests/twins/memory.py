"""MemoryMapping in plain Python, one decision at a time: a list of rectangles, searched as a whole at every move.

Of the package it uses the instance, and nothing that the environment or the validator is made of.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dispatchgym.instances.memory.instance import READ, UPDATE, WRITE, MemoryInstance

DROP, NO_COPY, COPY = range(3)
NEVER = 2**40  # step after which slow memory holds what only fast memory has

Stay = tuple[int, int]  # (offset, last step that its newest rectangle covers)


class Move(NamedTuple):
    """What an action does to the storage of the event."""

    ready: int  # step after which slow memory holds the contents
    stay: Stay | None  # the residence afterwards
    rectangle: tuple[int, int, int, int] | None = None  # (first, last, offset, granules) that is added
    copy_in: int | None = None  # a: consumes supplies of steps a + 1 .. t - 1, the latest first
    copy_out: int | None = None  # e: consumes supplies of steps t + 1 .. e, the earliest first


class MemoryTwin:
    """One episode at a time: ``reset(instance)``, then ``reward = step(action)`` of an action in ``mask()`` until ``over``.

    ``residual_in`` and ``residual_out`` [T] are what copies have left of the supplies, ``rects`` the rectangles in the
    order in which they were added, ``residence`` [B] the stays, ``hbm_ready`` [B] as ``Move.ready``, ``saved`` [T] the
    gains of the events served so far, ``k`` the next event.
    """

    def __init__(self, evictions: str = "charged", reward: str = "latency") -> None:
        self.free, self.linear = evictions == "free", reward == "benefit"

    def reset(self, instance: MemoryInstance) -> None:
        """Start over: parameters are in slow memory, fast memory is empty."""
        plain: dict[str, Any] = {name: np.asarray(value).tolist() for name, value in vars(instance.trimmed()).items()}
        self.compute: list[int] = plain["compute"]
        self.memory: list[int] = plain["memory"]
        self.capacity, self.granules, self.demand = plain["capacity"], plain["granules"], plain["demand"]
        self.output, self.define, self.gain = plain["output"], plain["define"], plain["gain"]
        self.events = list(zip(plain["event_step"], plain["event_buffer"], plain["event_kind"], strict=True))
        self.writes = [
            [t for t, b, kind in self.events if b == buffer and kind != READ] for buffer in range(self.buffers)
        ]
        self.last = [max(t for t, b, _ in self.events if b == buffer) for buffer in range(self.buffers)]
        self.residual_in = [max(c, m) for c, m in zip(self.compute, self.memory, strict=True)]
        self.residual_out = self.residual_in[:]
        self.rects: list[tuple[int, int, int, int]] = []
        self.residence: list[Stay | None] = [None] * self.buffers
        self.hbm_ready = [-1 if d < 0 else NEVER for d in self.define]
        self.saved = [0] * self.steps
        self.k = self.copies_in = self.write_backs = 0

    @property
    def steps(self) -> int:
        return len(self.compute)

    @property
    def buffers(self) -> int:
        return len(self.define)

    @property
    def over(self) -> bool:
        return self.k == len(self.events)

    @property
    def latency(self) -> int:
        """Ticks of the program with what has been decided so far."""
        return sum(self._time(t, saved) for t, saved in enumerate(self.saved))

    def _time(self, t: int, saved: int) -> int:
        return max(self.compute[t], self.memory[t] - saved)

    def mask(self) -> list[bool]:
        """Which of Drop, NoCopy and Copy are legal for the next event."""
        return [move is not None for move in self.moves()]

    def step(self, action: int) -> int:
        """Take the action; the reward in ticks. Raises ValueError if it is masked."""
        move = self.moves()[action] if 0 <= action <= COPY else None
        if move is None:
            raise ValueError(f"action {action} is masked")
        t, b, _ = self.events[self.k]
        if move.copy_in is not None:
            self._take(self.residual_in, range(t - 1, move.copy_in, -1), self.demand[b])
            self.copies_in += 1
        if move.copy_out is not None:
            self._take(self.residual_out, range(t + 1, move.copy_out + 1), self.demand[b])
            self.write_backs += 1
        if move.rectangle is not None:
            self.rects.append(move.rectangle)
        self.hbm_ready[b], self.residence[b] = move.ready, move.stay
        gain = self.gain[self.k] if action != DROP else 0
        before = 0 if self.linear else self.saved[t]
        reward = self._time(t, before) - self._time(t, before + gain)
        self.saved[t] += gain
        self.k += 1
        return reward

    def moves(self) -> list[Move | None]:
        """What Drop, NoCopy and Copy would do to the next event; None where it is illegal."""
        t, b, kind = self.events[self.k]
        if kind == WRITE:
            return self._define(t, b)
        if kind == UPDATE:
            return self._update(t, b)
        return self._read(t, b)

    def _define(self, t: int, b: int) -> list[Move | None]:
        drop = Move(t, None)
        if self.free:
            return [drop, self._new(b, t, t, t), None]
        pin = None if self.output[b] else self._new(b, t, self.last[b], NEVER)
        copy = None
        if (self.last[b] > t or self.output[b]) and (e := self._written_back(t, b)) is not None:
            copy = self._new(b, t, e, e, copy_out=e)
        return [drop, pin, copy]

    def _read(self, t: int, b: int) -> list[Move | None]:
        ready, stay = self.hbm_ready[b], self.residence[b]
        if stay is not None and t <= stay[1]:
            return [None, Move(ready, stay), None]
        drop = Move(ready, None) if ready < t else None
        return [drop, self._extended(b, t, ready), self._fetched(b, t, t, ready)]

    def _update(self, t: int, b: int) -> list[Move | None]:
        drop = Move(t, None) if self.hbm_ready[b] < t else None
        if self.free:
            return [drop, self._extended(b, t, t), self._fetched(b, t, t, t)]
        pin = None if self.output[b] else self._extended(b, self.last[b], NEVER)
        copy = None
        if (e := self._written_back(t, b)) is not None:
            copy = self._extended(b, e, e, copy_out=e) or self._fetched(b, t, e, e, copy_out=e)
        return [drop, pin, copy]

    def _new(
        self, b: int, first: int, last: int, ready: int, copy_in: int | None = None, copy_out: int | None = None
    ) -> Move | None:
        """A stay at the lowest offset that is free throughout first .. last."""
        size, base = self.granules[b], 0
        for bottom, height in sorted((o, s) for a, e, o, s in self.rects if a <= last and first <= e):
            if bottom - base >= size:
                break
            base = max(base, bottom + height)
        if base + size > self.capacity:
            return None
        return Move(ready, (base, last), (first, last, base, size), copy_in, copy_out)

    def _extended(self, b: int, last: int, ready: int, copy_out: int | None = None) -> Move | None:
        """The stay goes on at its offset through the step ``last``."""
        stay, size = self.residence[b], self.granules[b]
        if stay is None:
            return None
        offset, end = stay
        if last <= end:
            return Move(ready, stay, copy_out=copy_out)
        if any(a <= last and end < e and o < offset + size and offset < o + s for a, e, o, s in self.rects):
            return None
        return Move(ready, (offset, last), (end + 1, last, offset, size), copy_out=copy_out)

    def _fetched(self, b: int, t: int, last: int, ready: int, copy_out: int | None = None) -> Move | None:
        """A stay that begins with the latest copy that is there in step t, if the contents are in slow memory by then."""
        got = 0
        for first in range(t - 1, self.hbm_ready[b], -1):
            got += self.residual_in[first]
            if got >= self.demand[b]:
                return self._new(b, first, last, ready, first - 1, copy_out)
        return None

    def _written_back(self, t: int, b: int) -> int | None:
        """The step with which a copy that begins after step t is complete, before the next write."""
        got = 0
        for e in range(t + 1, min((w for w in self.writes[b] if w > t), default=self.steps)):
            got += self.residual_out[e]
            if got >= self.demand[b]:
                return e
        return None

    @staticmethod
    def _take(residual: list[int], order: range, demand: int) -> None:
        for q in order:
            taken = min(demand, residual[q])
            residual[q] -= taken
            demand -= taken
