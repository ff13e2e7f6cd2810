"""The candidate-scoring network as a policy of Stable-Baselines3's MaskablePPO, for every discrete environment.

Observations are the flat Dict of ``SB3VecEnv``; nothing is flattened and no features are extracted. The static
encoding, which is most of the work, is made once per distinct graph of a batch, and kept from step to step of a rollout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.distributions import MaskableCategoricalDistribution, MaskableDistribution
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor

from dispatchgym.envs.graph import GraphSpec
from dispatchgym.gnn.network import Architecture, GraphScorer, Step
from dispatchgym.instances.base import DispatchGymError

Observation = dict[str, Tensor]
Graphs = dict[str, Tensor]  # what the static encoder reads of a batch of observations, by the names of an observation


class GraphMaskablePolicy(MaskableActorCriticPolicy):
    """A :class:`GraphScorer` behind SB3's interface; ``policy_kwargs`` must hold ``spec``, the environment's graph.

    The weights are ``policy.network``; the same network plays through ``agents.lanes``. The observation's mask always
    holds, ``action_masks`` may narrow it. The deterministic action is the legal one of the largest logit, the lowest
    index of equals.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        spec: GraphSpec,
        architecture: Architecture | None = None,
        share_encodings: bool = True,  # False encodes every observation anew, to compare
        **kwargs: Any,
    ) -> None:
        if not isinstance(action_space, spaces.Discrete):
            raise DispatchGymError(f"{type(self).__name__} chooses among candidates, but actions are {action_space}")
        self.spec, self.architecture, self.share_encodings = spec, architecture or Architecture(), share_encodings
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        self.network = GraphScorer(self.spec, self.architecture)
        self.static = StaticPart(self.spec)
        self.memory = Memory()
        self.action_dist = MaskableCategoricalDistribution(int(self.action_space.n))  # type: ignore[attr-defined]
        adam: Any = self.optimizer_class
        self.optimizer = adam(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"spec": self.spec, "architecture": self.architecture, "share_encodings": self.share_encodings}
        return super()._get_constructor_parameters() | own

    def set_training_mode(self, mode: bool) -> None:
        """As in SB3; training changes the weights, so kept encodings are dropped."""
        super().set_training_mode(mode)
        if mode:
            self.memory.clear()

    def forward(  # type: ignore[override]
        self, obs: Observation, deterministic: bool = False, action_masks: np.ndarray | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(actions, values, log-probabilities)."""
        logits, values, distribution = self._evaluate(obs, action_masks)
        actions = logits.argmax(-1) if deterministic else distribution.get_actions()
        return actions, values, distribution.log_prob(actions)

    def evaluate_actions(  # type: ignore[override]
        self, obs: Observation, actions: Tensor, action_masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """(values, log-probabilities of the actions, entropy)."""
        _, values, distribution = self._evaluate(obs, action_masks)
        return values, distribution.log_prob(actions), distribution.entropy()

    def predict_values(self, obs: Observation) -> Tensor:  # type: ignore[override]
        """f32[B]."""
        return self._score(obs, None)[1]

    def get_distribution(  # type: ignore[override]
        self, obs: Observation, action_masks: np.ndarray | None = None
    ) -> MaskableDistribution:
        """Of the actions."""
        return self._evaluate(obs, action_masks)[2]

    def _predict(  # type: ignore[override]
        self, observation: Observation, deterministic: bool = False, action_masks: np.ndarray | None = None
    ) -> Tensor:
        logits, _, distribution = self._evaluate(observation, action_masks)
        return logits.argmax(-1) if deterministic else distribution.get_actions()

    def _evaluate(self, obs: Observation, action_masks: Any) -> tuple[Tensor, Tensor, MaskableDistribution]:
        logits, values, mask = self._score(obs, action_masks)
        distribution = self.action_dist.proba_distribution(action_logits=logits)
        distribution.apply_masking(mask)
        return logits, values, distribution

    def _score(self, obs: Observation, action_masks: Any) -> tuple[Tensor, Tensor, Tensor]:
        mask = obs["action_mask"].bool()
        if action_masks is not None:
            mask = mask & torch.as_tensor(action_masks, device=mask.device).bool().reshape(mask.shape)
        encoded, graph = self._encode(obs)
        step = Step(mask, obs["action_nodes"], obs["action_features"], obs["globals"])
        logits, values = self.network(encoded, step, graph)
        return logits, values, mask

    def _encode(self, obs: Observation) -> tuple[Tensor, Tensor | None]:
        """(encodings, the row of each observation, None if they come one to one)."""
        graphs = self.static.graphs(obs)
        if not self.share_encodings:
            return self._encode_graphs(graphs, None), None
        if torch.is_grad_enabled():
            rows, group = self.static.distinct(graphs)
            return self._encode_graphs(graphs, rows), group
        changed = self.memory.changed(graphs, self.network)
        if changed.numel():
            new = {name: part[changed] for name, part in graphs.items()}
            rows, group = self.static.distinct(new)
            encoded = self._encode_graphs(new, rows)
            self.memory.keep(graphs, changed, encoded if group is None else encoded[group])
        return self.memory.encoded, None  # type: ignore[return-value]

    def _encode_graphs(self, graphs: Graphs, rows: Tensor | None) -> Tensor:
        return self.network.encode(graphs if rows is None else {name: part[rows] for name, part in graphs.items()})


class StaticPart:
    """What of an observation the static encoder reads, and which observations of a batch agree in it."""

    def __init__(self, spec: GraphSpec) -> None:
        self.spec = spec
        scales = {scale.unit: scale for scale in spec.scales}
        self.nodes = [i for i, column in enumerate(spec.node_columns) if not column.dynamic]
        used = [scales[spec.node_columns[i].unit] for i in self.nodes if spec.node_columns[i].unit in scales]
        names = {name for scale in used for name in (scale.magnitude, scale.origin) if name is not None}
        self.ignored = [i for i, name in enumerate(spec.names("global")) if name not in names]
        self._multipliers: dict[str, Tensor] = {}

    def graphs(self, obs: Observation) -> Graphs:
        """The arrays that the encoder takes; globals that it does not read are zero, so they make no difference."""
        part = self.spec.static_part(obs)
        globals_ = part["globals"].clone()
        globals_[:, self.ignored] = 0.0
        masks = {name: part[name].bool() for name in ("node_mask", "edge_mask")}
        return part | masks | {"nodes": part["nodes"][..., self.nodes], "globals": globals_}

    def distinct(self, graphs: Graphs) -> tuple[Tensor | None, Tensor | None]:
        """(row of one observation of each distinct graph, graph of each observation); Nones where none is shared.

        Equal fingerprints only propose a group. Every member is then compared with the first; a single difference,
        which takes a collision of 64 bits, gives up all sharing in the batch.
        """
        codes = self.fingerprint(graphs)
        unique, group = torch.unique(codes, return_inverse=True)
        count = len(codes)
        if len(unique) == count:
            return None, None
        index = torch.arange(count, device=codes.device)
        rows = torch.full_like(unique, count).scatter_reduce(0, group, index, "amin")
        first = rows[group]
        if not all(torch.equal(part, part[first]) for part in graphs.values()):
            return None, None
        return rows, group

    def fingerprint(self, graphs: Graphs) -> Tensor:
        """i64[B]: a random linear form of the bits modulo 2**64; exact, so it depends on no order of summation."""
        total: Tensor | int = 0
        for name, part in graphs.items():
            bits = part.flatten(1).contiguous()
            bits = bits.view(torch.int32) if bits.dtype == torch.float32 else bits
            total = total + (bits.long() * self._multiplier(name, bits.shape[1], bits.device)).sum(1)
        return total  # type: ignore[return-value]

    def _multiplier(self, name: str, size: int, device: torch.device) -> Tensor:
        if name not in self._multipliers:
            random = torch.Generator().manual_seed(len(self._multipliers))
            self._multipliers[name] = torch.randint(-(2**62), 2**62, (size,), generator=random)
        return self._multipliers[name].to(device)


class Memory:
    """The encodings of the last batch of observations, valid while weights and graphs stay."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget."""
        self.encoded: Tensor | None = None
        self._graphs: Graphs = {}
        self._weights: tuple[Any, ...] = ()

    def changed(self, graphs: Graphs, network: GraphScorer) -> Tensor:
        """Rows whose encoding is not known; all of them after a change of weights."""
        weights = tuple((id(p), p._version) for p in network.parameters())
        count = len(graphs["nodes"])
        device = graphs["nodes"].device
        known = self.encoded is not None and weights == self._weights
        if not known or len(self.encoded) != count or self.encoded.device != device:  # type: ignore[arg-type, union-attr]
            self.clear()
            self._weights = weights
            return torch.arange(count, device=device)
        same = torch.ones(count, dtype=torch.bool, device=device)
        for name, part in graphs.items():
            same &= (part == self._graphs[name]).flatten(1).all(1)
        return torch.nonzero(~same).flatten()

    def keep(self, graphs: Graphs, rows: Tensor, encoded: Tensor) -> None:
        """Store ``encoded`` for ``rows``; copies, since SB3 may reuse the memory of observations."""
        if self.encoded is None:
            self.encoded, self._graphs = encoded, {name: part.clone() for name, part in graphs.items()}
            return
        self.encoded[rows] = encoded
        for name, part in graphs.items():
            self._graphs[name][rows] = part[rows]
