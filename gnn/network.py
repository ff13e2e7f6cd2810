"""The candidate-scoring network: one for all families, all sizes.

A static encoder runs once per instance. At each step a candidate is its nodes' embeddings, its own features (scaled,
and compared with the other candidates) and the globals. Candidates then hear of each other through two weighted averages,
over all legal ones and over those that want the same last node (the machine); the weights are learned per candidate and
head, as in attention whose keys do not depend on the query. Masked attention in its place made whole episodes about twice
as slow on a CPU (384 lanes of 15x10); whether it makes better policies was not tried. A small head gives each a logit.
With an index head, a linear index of the candidate's features is added, whose weights depend on the globals: what a
dispatching rule is, learned (``train/evolution.py``). Nothing in the weights knows a size.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dispatchgym.envs.graph import GraphSpec
from dispatchgym.gnn.encoder import StaticEncoder
from dispatchgym.gnn.normalise import Normaliser, compared, linear_and_log

MASKED = -1e9


@dataclass(frozen=True)
class Architecture:
    """Integer sizes that, with the observation schema, determine every weight's shape."""

    width: int = 64
    layers: int = 3
    hidden: int = 64
    heads: int = 4
    index: int = 0  # 1: with an index head

    def asdict(self) -> dict[str, Any]:
        """For the card of a checkpoint."""
        return asdict(self)


class Step(NamedTuple):
    """The part of a GraphObservation that changes at each step, batched: leading axes [B] or [B, k]."""

    action_mask: Tensor  # bool[..., A]
    action_nodes: Tensor  # int[..., A, c]
    action_features: Tensor  # f32[..., A, K]
    globals: Tensor  # f32[..., H]


class GraphScorer(nn.Module):
    """Logits per candidate and a value, from a static encoding and the current step."""

    def __init__(self, spec: GraphSpec, architecture: Architecture | None = None) -> None:
        super().__init__()
        self.architecture = a = architecture or Architecture()
        self.normaliser = Normaliser(spec)
        self.nodes_per_action = spec.nodes_per_action
        self.encoder = StaticEncoder(spec, a.width, a.layers)
        self.project = nn.Linear(a.width, a.hidden * spec.nodes_per_action, bias=False)
        self.features = nn.Linear(3 * len(spec.action_columns), a.hidden)
        self.context = nn.Linear(2 * len(spec.global_columns), a.hidden)
        self.enter = nn.Linear(a.hidden, a.hidden)
        self.weigh = nn.Linear(a.hidden, a.heads)
        self.offer = nn.Linear(a.hidden, a.hidden)
        self.merge = nn.Linear(2 * a.hidden, a.hidden)
        self.pool = nn.Linear(2 * a.hidden, a.hidden)
        self.score = nn.Sequential(nn.Linear(a.hidden, a.hidden), nn.ReLU(), nn.Linear(a.hidden, 1))
        if a.index:
            self.index = nn.Linear(2 * len(spec.global_columns), len(spec.action_columns))
            nn.init.zeros_(self.index.weight)
            nn.init.zeros_(self.index.bias)
            self.register_buffer("index_scale", torch.ones(len(spec.action_columns)))
        self.value = nn.Sequential(nn.Linear(2 * a.hidden, a.hidden), nn.ReLU(), nn.Linear(a.hidden, 1))

    def encode(self, observation: dict[str, Tensor]) -> Tensor:
        """``GraphSpec.static_part`` of B observations -> f32[B, c, S + 1, hidden], what each node adds to a candidate.

        The last row, of zeros, stands for all nodes that come and go: what they are now is in the candidate's features.
        """
        keys = ("nodes", "node_mask", "edge_index", "edges", "edge_mask", "globals")
        h = self.project(self.encoder(*(observation[k] for k in keys)))
        h = nn.functional.pad(h, (0, 0, 0, 1))
        return h.reshape(*h.shape[:2], self.nodes_per_action, -1).transpose(1, 2).contiguous()

    def candidates(self, encoded: Tensor, step: Step, graph: Tensor | None = None) -> Tensor:
        """f32[B, k, A, hidden] for lanes of B instances with k lanes each; ``graph`` as in :meth:`forward`."""
        x = self.normaliser.scaled("action", step.action_features, step.globals, rows=1)
        g = self.normaliser.scaled("global", step.globals, step.globals, rows=0)
        u = self.features(torch.cat([*linear_and_log(x), compared(x, step.action_mask)], -1))
        u = u + self.context(torch.cat(linear_and_log(g), -1)).unsqueeze(-2)
        u = u + self._gather(encoded, step.action_nodes, graph)
        u = torch.relu(self.enter(torch.relu(u)))
        return u + self._exchange(u, step)

    def forward(self, encoded: Tensor, step: Step, graph: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(logits f32[B, k, A] with MASKED where illegal, value f32[B, k]).

        ``graph`` i64[B]: the row of ``encoded`` that each entry of ``step`` plays on, if not one to one.
        """
        u = self.candidates(encoded, step, graph)
        weight = step.action_mask.unsqueeze(-1).to(u.dtype)
        mean = (u * weight).sum(-2) / weight.sum(-2).clamp(min=1)
        top = u.masked_fill(~step.action_mask.unsqueeze(-1), float("-inf")).amax(-2)
        pooled = torch.cat([mean, top], -1)
        v = torch.relu(u + self.pool(pooled).unsqueeze(-2))
        logits = self.score(v).squeeze(-1)
        if self.architecture.index:
            logits = logits + self._index(step)
        return logits.masked_fill(~step.action_mask, MASKED), self.value(pooled).squeeze(-1)

    def _index(self, step: Step) -> Tensor:
        """f32[B, k, A]: sum over the scaled features, each weighted linearly in the globals' two readings."""
        x = self.normaliser.scaled("action", step.action_features, step.globals, rows=1)
        g = self.normaliser.scaled("global", step.globals, step.globals, rows=0)
        weight = self.index(torch.cat(linear_and_log(g), -1)) * self.index_scale
        return (x * weight.unsqueeze(-2)).sum(-1)

    def _gather(self, encoded: Tensor, action_nodes: Tensor, graph: Tensor | None) -> Tensor:
        batch, roles, n, hidden = encoded.shape
        offset = n * torch.arange(batch * roles, device=encoded.device).reshape(batch, roles)
        offset = offset if graph is None else offset[graph]
        index = action_nodes.long().clamp(max=n - 1) + offset.reshape(
            len(offset), *[1] * (action_nodes.dim() - 2), roles
        )
        flat = encoded.reshape(-1, hidden)
        return sum(flat[index[..., role]] for role in range(roles))  # type: ignore[return-value]

    def _exchange(self, u: Tensor, step: Step) -> Tensor:
        mask = step.action_mask.unsqueeze(-1)
        weight = torch.exp(self.weigh(u).clamp(-8, 8)) * mask
        summand = torch.cat([self.offer(u) * self._per_head(weight), weight], -1)
        resource = step.action_nodes[..., -1]
        rivals = (resource.unsqueeze(-1) == resource.unsqueeze(-2)).to(u.dtype)
        to_all, to_rivals = summand.sum(-2, keepdim=True).expand_as(summand), rivals @ summand
        hidden = self.architecture.hidden
        averages = [t[..., :hidden] / (self._per_head(t[..., hidden:]) + 1e-6) for t in (to_all, to_rivals)]
        return self.merge(torch.cat(averages, -1))

    def _per_head(self, weight: Tensor) -> Tensor:
        return weight.repeat_interleave(self.architecture.hidden // self.architecture.heads, -1)
