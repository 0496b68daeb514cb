"""Inverse dynamics: the action that led from one observation to the next; DAWM's second model (arXiv 2509.19538)."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.components import Component
from burnish.config import within
from burnish.data import Dataset, Normaliser, RowSampler
from burnish.networks import MLP
from burnish.world_models.history import STATE_KEY, frames_with_next


@dataclass(frozen=True)
class InverseDynamicsConfig:
    """Size of the network."""

    hidden: tuple[int, ...] = within((256, 256), 1)


@dataclass(frozen=True)
class ActionBatch:
    """B actions, and the observations before and after them, in the data's units."""

    before: Float[Tensor, "B D"]
    after: Float[Tensor, "B D"]
    action: Float[Tensor, "B A"]


class InverseDynamics(Component):
    """a = f(s, s' - s), both standardised; the mean of the actions that explain a change where several do."""

    def __init__(self, observation_dim: int, action_dim: int, config: InverseDynamicsConfig) -> None:
        super().__init__()
        self.config, self.observation_dim, self.action_dim = config, observation_dim, action_dim
        self.normaliser, self.change = Normaliser(observation_dim), Normaliser(observation_dim)
        self.network = MLP(2 * observation_dim, config.hidden, action_dim)

    def fit(self, dataset: Dataset) -> Self:
        """Statistics of observations and of their changes, once."""
        rows = RecordedActions(dataset.thinned()).all
        self.normaliser.fit(rows.before)
        self.change.fit(rows.after - rows.before)
        return self

    def forward(self, before: Float[Tensor, "B D"], after: Float[Tensor, "B D"]) -> Float[Tensor, "B A"]:
        """The action between observations in the data's units, in [-1, 1]."""
        return self._mean(before, after).clamp(-1, 1)

    def loss(self, batch: ActionBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error."""
        loss = (self._mean(batch.before, batch.after) - batch.action).square().mean()
        return loss, {"rmse": loss.detach().sqrt()}

    @torch.no_grad()
    def explained(self, dataset: Dataset) -> dict[str, Any]:
        """R² of recorded actions over all dimensions and of each (None where it never varies), and the RMSE."""
        rows = RecordedActions(dataset).all
        wrong = (self(rows.before, rows.after) - rows.action).square().sum(0)
        spread = (rows.action - rows.action.mean(0)).square().sum(0)
        each = [None if s == 0 else float(1 - w / s) for w, s in zip(wrong.tolist(), spread.tolist(), strict=True)]
        whole = float(spread.sum())
        return {
            "r2": None if whole == 0 else float(1 - wrong.sum() / whole),
            "r2_each": each,
            "rmse": float((wrong.sum() / rows.action.numel()).sqrt()),
            "transitions": len(rows.action),
        }

    def _mean(self, before: Tensor, after: Tensor) -> Tensor:
        return self.network(torch.cat([self.normaliser.normalise(before), self.change.normalise(after - before)], -1))


class RecordedActions(RowSampler[Tensor]):
    """Every recorded transition, drawn uniformly."""

    def __init__(self, dataset: Dataset) -> None:
        frames, states = frames_with_next(dataset), dataset.observations[STATE_KEY]
        self.all = ActionBatch(states[frames], states[frames + 1], dataset.actions[frames])

    def draw(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Which transitions, with replacement."""
        count, device = len(self.all.action), self.all.action.device
        return torch.randint(count, (batch_size,), generator=generator, device=generator.device).to(device)

    def gather(self, drawn: Tensor) -> ActionBatch:
        """These transitions."""
        return ActionBatch(self.all.before[drawn], self.all.after[drawn], self.all.action[drawn])
