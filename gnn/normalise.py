"""Natural units to what a network likes: size-agnostic, and blind to the unit of time or money.

Every column of a unit u is read as (x - origin) / magnitude with the globals that ``GraphSpec.scales`` names for u. A
network then sees each column in three ways: linear (damped), compressed by a signed logarithm, and compared with the
other rows.
"""

from __future__ import annotations

from torch import Tensor, log1p, where

from dispatchgym.envs.graph import GraphSpec

LINEAR_DAMPING = 0.1


class Normaliser:
    """Column-wise scaling for one schema. Holds no parameters; indices depend on names only, never on sizes."""

    def __init__(self, spec: GraphSpec) -> None:
        self.spec = spec
        self.by_unit = {scale.unit: scale for scale in spec.scales}
        self.static_nodes = [i for i, c in enumerate(spec.node_columns) if not c.dynamic]

    def scaled(self, part: str, values: Tensor, globals_: Tensor, rows: int) -> Tensor:
        """(x - origin) / magnitude per column; ``rows`` axes lie between the batch axes of ``globals_`` and columns."""
        columns = self.spec.columns(part)
        if part == "node" and values.shape[-1] == len(self.static_nodes):
            columns = tuple(columns[i] for i in self.static_nodes)
        magnitude, origin = self._coefficients(tuple(c.unit for c in columns), globals_)
        for _ in range(rows):
            magnitude, origin = magnitude.unsqueeze(-2), origin.unsqueeze(-2)
        return (values - origin) / magnitude

    def _coefficients(self, units: tuple[str, ...], globals_: Tensor) -> tuple[Tensor, Tensor]:
        magnitude = globals_.new_ones(*globals_.shape[:-1], len(units))
        origin = globals_.new_zeros(*globals_.shape[:-1], len(units))
        for i, unit in enumerate(units):
            scale = self.by_unit.get(unit)
            if scale is None:
                continue
            magnitude[..., i] = globals_[..., self.spec.index("global", scale.magnitude)].clamp(min=1e-6)
            if scale.origin is not None:
                origin[..., i] = globals_[..., self.spec.index("global", scale.origin)]
        return magnitude, origin


def linear_and_log(x: Tensor) -> list[Tensor]:
    """Damped linear and signed-log readings of scaled values."""
    return [LINEAR_DAMPING * x, x.sign() * log1p(x.abs())]


def compared(x: Tensor, mask: Tensor) -> Tensor:
    """Standard score of each row among the masked rows of its set; x [..., R, C], mask [..., R]; 0 outside the mask."""
    weight = mask.unsqueeze(-1).to(x.dtype)
    count = weight.sum(-2, keepdim=True).clamp(min=1)
    mean = (x * weight).sum(-2, keepdim=True) / count
    spread = (((x - mean) * weight) ** 2).sum(-2, keepdim=True) / count
    return where(mask.unsqueeze(-1), (x - mean) / (spread.sqrt() + 1e-3), 0.0)
