"""Message passing over the static part of the padded graph: run once per instance, used at every step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dispatchgym.envs.graph import GraphSpec
from dispatchgym.gnn.normalise import Normaliser, compared, linear_and_log


class StaticEncoder(nn.Module):
    """Node embeddings from the static node columns and typed edges, both directions.

    Each layer: mean over incoming neighbours per (relation, direction), a linear map of them and of the node itself, ReLU,
    residual, layer norm. Masked edges are left out, so padding changes nothing.
    """

    def __init__(self, spec: GraphSpec, width: int, layers: int) -> None:
        super().__init__()
        self.normaliser = Normaliser(spec)
        self.relations = [i for i, c in enumerate(spec.edge_columns) if c.unit == "indicator" and not c.dynamic]
        inputs = 3 * len(self.normaliser.static_nodes)
        self.embed = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width))
        self.mix = nn.ModuleList(nn.Linear(width * (1 + 2 * len(self.relations)), width) for _ in range(layers))
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.mlp = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def forward(
        self, nodes: Tensor, node_mask: Tensor, edge_index: Tensor, edges: Tensor, edge_mask: Tensor, globals_: Tensor
    ) -> Tensor:
        """f32[B, N, width] of nodes f32[B, N, F or static F], edge_index int[B, 2, E], edges f32[B, E, G] and masks."""
        if nodes.shape[-1] != len(self.normaliser.static_nodes):
            nodes = nodes[..., self.normaliser.static_nodes]
        batch, n, _ = nodes.shape
        x = self.normaliser.scaled("node", nodes, globals_, rows=1)
        h = self.embed(torch.cat([*linear_and_log(x), compared(x, node_mask)], -1)).reshape(batch * n, -1)
        links = [self._links(edge_index, edges[..., r] * edge_mask, n) for r in self.relations]
        for mix, norm, mlp in zip(self.mix, self.norm, self.mlp, strict=True):
            messages = [h]
            for source, target, into_target, into_source in links:
                messages += [_mean(h, source, target, into_target), _mean(h, target, source, into_source)]
            h = norm(h + mlp(torch.relu(mix(torch.cat(messages, -1)))))
        return h.reshape(batch, n, -1) * node_mask.unsqueeze(-1)

    @staticmethod
    def _links(edge_index: Tensor, kind: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        batch = edge_index.shape[0]
        flat = edge_index.long() + n * torch.arange(batch, device=edge_index.device)[:, None, None]
        keep = kind > 0
        source, target = flat[:, 0][keep], flat[:, 1][keep]
        degree = torch.zeros(2, batch * n, device=edge_index.device)
        one = torch.ones_like(source, dtype=degree.dtype)
        degree[0].index_add_(0, target, one)
        degree[1].index_add_(0, source, one)
        return source, target, degree[0].clamp(min=1), degree[1].clamp(min=1)


def _mean(h: Tensor, source: Tensor, target: Tensor, degree: Tensor) -> Tensor:
    return torch.zeros_like(h).index_add(0, target, h[source]) / degree.unsqueeze(-1)
