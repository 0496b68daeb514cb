"""A small differentiable model of how features change: an MLP and a GRU (DMO, arXiv 2509.00215, CoRL 2025)."""

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.components import Component
from burnish.config import within
from burnish.data import STATE, Dataset, Normaliser, SequenceBatch
from burnish.errors import InputError
from burnish.networks import SimNorm, swap
from burnish.world_models.base import State
from burnish.world_models.history import frames_with_next

_LOG_VARIANCE = (-10.0, 0.5)
_GROUP = 8


@dataclass(frozen=True)
class LocalState(State):
    """The newest features, and what the recurrent layer remembers of those before; zero where an episode begins."""

    features: Float[Tensor, "B F"]
    memory: Float[Tensor, "B M"]


@dataclass(frozen=True)
class LocalDynamicsConfig:
    """Size; DMO has (512, 512) without memory for an ant, (1024, 1024) and a memory of 256 for a quadruped."""

    hidden: tuple[int, ...] = within((256, 256), 1)
    memory: int = within(64, 0)
    """Of the GRU; 0: none, and what was seen before the newest features is nothing."""
    slack: float = within(0.1, 0)
    """How far imagined values may leave the data's range, as a share of it, where nothing else gives the values."""

    def __post_init__(self) -> None:
        if self.hidden[0] % _GROUP:
            raise InputError(
                f"local_model.hidden: found {self.hidden[0]}, expected a multiple of {_GROUP}: its first layer is "
                "normalised in groups of so many"
            )


class LocalDynamics(Component):
    """x' = x + s · μ(x, a, h), a Gaussian with a learned, bounded variance; imagination follows its mean.

    What it observes are features of another world model, which are normalised already; s is their changes' standard
    deviation over the data. Its gradient is that of a network a few layers deep, whatever made the values.
    """

    action_steps = 1
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, observation_dim: int, action_dim: int, config: LocalDynamicsConfig) -> None:
        super().__init__()
        self.config, self.action_dim = config, action_dim
        self.observation_dim = self.feature_dim = observation_dim
        self.normaliser = Normaliser(observation_dim)
        first, *others = config.hidden
        layers: list[nn.Module] = [nn.Linear(observation_dim + action_dim, first), SimNorm(_GROUP)]
        width = first
        for size in others:
            layers += [nn.Linear(width, size), nn.SiLU(), nn.LayerNorm(size)]
            width = size
        self.body = nn.Sequential(*layers)
        self.gru = nn.GRUCell(width, config.memory) if config.memory else None
        self.head = nn.Linear(width + config.memory, 2 * observation_dim)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("scale", torch.ones(observation_dim))
        for name, bound in (("low", -torch.inf), ("high", torch.inf)):
            self.register_buffer(name, torch.full((observation_dim,), bound))

    def fit(self, dataset: Dataset) -> Self:
        """Take the scale of changes and the range of imagination; the features are as they are."""
        rows = dataset.observations[STATE]
        present = frames_with_next(dataset)
        self.scale.copy_((rows[present + 1] - rows[present]).std(0, correction=0))
        low, high = rows.amin(0), rows.amax(0)
        self.low.copy_(low - self.config.slack * (high - low))
        self.high.copy_(high + self.config.slack * (high - low))
        return self

    # -- the contract of a world model ---------------------------------------------------------------------------------

    def initial(self, batch_size: int) -> LocalState:
        """States of episodes that have not begun."""
        return LocalState(
            self.scale.new_zeros(batch_size, self.observation_dim), self.scale.new_zeros(batch_size, self.config.memory)
        )

    def observe(self, state: LocalState, action: Tensor | None, observation: dict[str, Tensor]) -> LocalState:
        """Take in features (B, F): the memory is of what was, the features of what is."""
        features = observation[STATE]
        if action is None:
            return LocalState(features, torch.zeros_like(state.memory))
        return LocalState(features, self._advance(state.features, action, state.memory)[1])

    @torch.no_grad()
    def recorded(self, dataset: Dataset) -> LocalState:
        """The state at every frame, in frame order."""
        rows, running = self.initial(dataset.num_frames), self.initial(dataset.num_episodes)
        for t in range(int(dataset.lengths.max())):
            alive = torch.nonzero(dataset.lengths > t).flatten()
            frames = dataset.starts[alive] + t
            seen = {STATE: dataset.observations[STATE][frames]}
            state = self.observe(running.rows(alive), dataset.actions[frames - 1] if t else None, seen)
            for name, values in state.tensors().items():
                running.tensors()[name][alive] = values
                rows.tensors()[name][frames] = values
        return rows

    def imagine(
        self, state: LocalState, action: Float[Tensor, "B A"], generator: torch.Generator | None = None
    ) -> LocalState:
        """The mean; nothing is drawn. Where the data's range ends the value stays, and the gradient does not."""
        output, memory = self._advance(state.features, action, state.memory)
        moved = state.features + self.scale * output.chunk(2, -1)[0]
        inside = torch.minimum(torch.maximum(moved.detach(), self.low), self.high)
        return LocalState(swap(moved, inside), memory)

    def features(self, state: LocalState) -> Float[Tensor, "B F"]:
        """Those of the other world model."""
        return state.features

    def decode(self, state: LocalState) -> dict[str, Tensor]:
        """The same."""
        return {STATE: state.features}

    # -- learning ------------------------------------------------------------------------------------------------------

    def loss(self, batch: SequenceBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """mean((μ - Δ)² exp(-v)) + mean(v) over the steps within episodes; v is the bounded log-variance."""
        rows, begins = batch.observation[STATE], batch.begins
        keep = (~begins).to(rows.dtype).unsqueeze(-1)
        inputs = self._inputs(rows[:, :-1], batch.previous_action[:, 1:])
        top = inputs
        if self.gru is not None:
            memory, along = rows.new_zeros(len(rows), self.config.memory), []
            for t, row in enumerate(inputs.unbind(1)):
                # A frame that begins an episode comes with an empty memory; the first of a sequence does anyway.
                memory = self.gru(row, memory * keep[:, t])
                along.append(memory)
            top = torch.cat([inputs, torch.stack(along, 1)], -1)
        mean, raw = self.head(top).chunk(2, -1)
        target = (rows[:, 1:] - rows[:, :-1]) / self.scale.clamp(min=1e-6)
        target = target.masked_fill(self.scale <= 1e-6, 0.0)
        # What leads to a beginning is no step.
        weight = keep[:, 1:] / keep[:, 1:].mean().clamp(min=1e-6)
        squared, variance = (mean - target).square() * weight, _bounded(raw)
        loss = (squared * (-variance).exp()).mean() + (variance * weight).mean()
        return loss, {"mse": squared.detach().mean(), "log_variance": variance.detach().mean()}

    def _inputs(self, features: Tensor, action: Tensor) -> Tensor:
        return self.body(torch.cat([features, action], -1))

    def _advance(self, features: Tensor, action: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised change and raw log-variance, and the next memory."""
        inputs = self._inputs(features, action)
        if self.gru is None:
            return self.head(inputs), memory
        memory = self.gru(inputs, memory)
        return self.head(torch.cat([inputs, memory], -1)), memory


def _bounded(raw: Tensor) -> Tensor:
    """Between the bounds, softly (PETS, arXiv 1805.12114, appendix A.1)."""
    low, high = _LOG_VARIANCE
    below = high - nn.functional.softplus(high - raw)
    return low + nn.functional.softplus(below - low)
