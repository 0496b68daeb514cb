"""Offline transitions with recorded rewards, or success as a sparse one, and the twin critics that learn from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from burnish.data import Dataset, Windows, require_successes
from burnish.networks import EnsembleMLP


@dataclass(frozen=True)
class TransitionBatch:
    """B decisions and where they led.

    Attributes:
        features: what the policy reads.
        action: the executed chunk, flattened.
        reward: what the chunk earned.
        terminal: the episode ended there by itself; a recording that merely stops is not terminal.
        next_features: after the chunk.
    """

    features: Float[Tensor, "B F"]
    action: Float[Tensor, "B TA"]
    reward: Float[Tensor, " B"]
    terminal: Bool[Tensor, " B"]
    next_features: Float[Tensor, "B F"]


class Transitions:
    """Every recorded decision of `chunk` actions that does not begin where an episode has ended, drawn uniformly.

    Where the data has rewards, a decision earns their sum over its actions, and is terminal where the data says that
    an episode terminated. Without rewards it earns 1 where a frame that it led to shows success, and is terminal there.
    """

    def __init__(self, features: Float[Tensor, "N F"], dataset: Dataset, chunk: int = 1) -> None:
        """Take the transitions of a dataset.

        Args:
            features: of every frame.
            dataset: where they come from.
            chunk: actions of one decision.

        Raises:
            InputError: there are no rewards and nothing succeeds, or no episode is long enough.
        """
        earned, ended = dataset.reward, dataset.terminated
        if earned is None:
            require_successes(dataset)
            ended = dataset.success
        frames = Windows(dataset, history=1, horizon=chunk).present_frames
        if ended is not None:
            frames = frames[~ended[frames]]
        following = frames[:, None] + torch.arange(chunk + 1, device=dataset.device)
        self.frames = frames
        self.features, self.next_features = features[frames], features[frames + chunk]
        self.action = dataset.actions[following[:, :-1]].flatten(1)
        never = torch.zeros(len(frames), dtype=torch.bool, device=dataset.device)
        self.terminal = never if ended is None else ended[following[:, 1:]].any(1)
        self.reward = self.terminal.float() if earned is None else earned[following[:, 1:]].sum(1)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.frames)

    def sample(self, batch_size: int, generator: torch.Generator) -> TransitionBatch:
        """Draw with replacement."""
        return self.rows(self.draw(batch_size, generator))

    def draw(self, batch_size: int, generator: torch.Generator) -> Int64[Tensor, " B"]:
        """Which ones, with replacement."""
        return torch.randint(len(self), (batch_size,), generator=generator, device=self.frames.device)

    def rows(self, index: Int64[Tensor, " B"]) -> TransitionBatch:
        """Those at `index`."""
        columns = self.features, self.action, self.reward, self.terminal, self.next_features
        return TransitionBatch(*(column[index] for column in columns))


class TwinCritic(nn.Module):
    """Two independent Q(x, a)."""

    def __init__(self, feature_dim: int, action_dim: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.network = EnsembleMLP(2, feature_dim + action_dim, hidden, 1)

    def forward(self, features: Float[Tensor, "B F"], action: Float[Tensor, "B TA"]) -> Float[Tensor, "2 B"]:
        """Both values."""
        return self.network(torch.cat([features, action], dim=-1)).squeeze(-1)


@torch.no_grad()
def follow(target: nn.Module, source: nn.Module, rate: float) -> None:
    """Polyak averaging: θ' ← (1 - rate) θ' + rate θ, for parameters; buffers are the same ones anyway."""
    for old, new in zip(target.parameters(), source.parameters(), strict=True):
        old.lerp_(new, rate)
