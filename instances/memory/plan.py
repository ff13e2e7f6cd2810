"""A mapping in full: which events fast memory serves, when what is copied, and where everything lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

NONE = -2  # no copy; -1 is a time: before the first step


class Rectangle(NamedTuple):
    """A stay of a storage in fast memory."""

    buffer: int
    first: int  # step
    last: int  # step, inclusive
    offset: int  # granule
    granules: int


@dataclass(frozen=True)
class Plan:
    """A mapping of an instance without padding; arrays over its U events."""

    served: np.ndarray  # bool[U]  from fast memory
    copy_in: np.ndarray  # i64[U]  a: copied in during the steps a + 1 .. step - 1, for this event; NONE
    copy_out: np.ndarray  # i64[U]  e: copied out during the steps step + 1 .. e, after this event; NONE
    rectangles: tuple[Rectangle, ...]
