"""A policy of action tokens: pictures and a sentence in, a chunk of binned actions out.

OpenVLA's actions are tokens, one for each of 256 bins of each dimension; OpenVLA-OFT (arXiv 2502.19645) decides on all
tokens of a chunk at once. This is such a policy, small.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.config import within
from burnish.errors import InputError
from burnish.networks import InstructedConfig, InstructedTransformer, random_shift
from burnish.policies.base import Decision, Policy


@dataclass(frozen=True)
class TokenPolicyConfig:
    """What the features show, the transformer's size, and the actions' bins."""

    chunk: int = within(5, 1)
    """T_a, the actions of one decision (World-Gymnast: 5)."""
    bins: int = within(21, 2)
    """Of each action's dimension, centres evenly spread over [-1, 1] (OpenVLA: 256)."""
    temperature: float = within(1.0, 0, open_low=True)
    """Of exploration: log-probabilities are those of the tempered distribution (World-Gymnast: 1.6)."""
    network: InstructedConfig = InstructedConfig()
    frames: int = within(1, 1)
    """Pictures in a row of features, oldest first."""
    channels: int = within(3, 1)
    image_size: int = within(32, 8)
    shift: int = within(2, 0)
    """Random shifts of ± so many pixels while cloning; 0 for none."""


class TokenPolicy(Policy):
    """One categorical distribution for each of the T_a · A numbers of a chunk; K = T_a · A scored steps.

    Features are pictures (frames · channels, S, S) in [-1, 1], flattened, and the sentence's vector.
    """

    centres: Tensor

    def __init__(self, feature_dim: int, action_dim: int, config: TokenPolicyConfig) -> None:
        super().__init__()
        self.config, self.feature_dim, self.action_dim = config, feature_dim, action_dim
        c = config
        self.pictures = (c.frames * c.channels, c.image_size, c.image_size)
        self.text_dim = feature_dim - math.prod(self.pictures)
        if self.text_dim < 1:
            raise InputError(
                f"token policy: found {feature_dim} features, expected more than frames × channels × image_size² = "
                f"{math.prod(self.pictures)}: the vector of a sentence follows the pictures"
            )
        tokens = c.chunk * action_dim
        self.network = InstructedTransformer(self.pictures, self.text_dim, tokens, c.bins, c.network)
        self.register_buffer("centres", torch.linspace(-1, 1, c.bins), persistent=False)
        self.scored_at_once(tokens)

    def logits(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B K bins"]:
        """Of each token, before exploration's temperature."""
        return self.network(features)

    def act(
        self, features: Float[Tensor, "B F"], deterministic: bool = False, generator: torch.Generator | None = None
    ) -> Decision:
        """Draw every token, or take the likeliest; the trace is the tokens' numbers (B, K) as floats."""
        logits = self.logits(features)
        if deterministic:
            tokens = logits.argmax(-1)
            return Decision(self._actions(tokens), tokens.float())
        scores = torch.log_softmax(logits / self.config.temperature, dim=-1)
        drawn = torch.multinomial(scores.exp().flatten(0, 1), 1, generator=generator).view(scores.shape[:2])
        log_prob = scores.gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
        return Decision(self._actions(drawn), drawn.float(), log_prob)

    def log_prob(self, features: Float[Tensor, "B F"], trace: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Of each token of the trace."""
        return self.log_probs(features, [trace])[0]

    def log_probs(self, features: Float[Tensor, "B F"], traces: Sequence[Tensor]) -> list[Float[Tensor, "B K"]]:
        """`log_prob` of several traces, by one pass."""
        scores = torch.log_softmax(self.logits(features) / self.config.temperature, dim=-1)
        return [scores.gather(-1, trace.long().unsqueeze(-1)).squeeze(-1) for trace in traces]

    def trunk(self, hidden: Sequence[int], output_dim: int) -> nn.Module:
        """A transformer of the same size with one question; `hidden` is of no account."""
        return _Answer(InstructedTransformer(self.pictures, self.text_dim, 1, output_dim, self.config.network))

    def augment(self, features: Float[Tensor, "B F"], generator: torch.Generator | None = None) -> Float[Tensor, "B F"]:
        """Random shifts; all frames of a row move together, and the sentence stays."""
        pictures, said = features.split([self.feature_dim - self.text_dim, self.text_dim], dim=1)
        moved = random_shift(pictures.unflatten(1, self.pictures), self.config.shift, generator)
        return torch.cat([moved.flatten(1), said], dim=1)

    def entropy(self, features: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        """Of a whole chunk, in nats, while exploring."""
        scores = torch.log_softmax(self.logits(features) / self.config.temperature, dim=-1)
        return -(scores.exp() * scores).sum((1, 2))

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the bins that hold the demonstrated actions (B, T_a, A), for each token; augmented."""
        features, chunk = batch
        logits = self.logits(self.augment(features))
        action = chunk.flatten(1).clamp(-1, 1)
        wanted = ((action + 1) / 2 * (self.config.bins - 1)).round().long()
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
        chosen = self.centres[logits.detach().argmax(-1)]
        return loss, {"rmse": (chosen - action).square().mean().sqrt()}

    def _actions(self, tokens: Tensor) -> Float[Tensor, "B T_a A"]:
        return self.centres[tokens].unflatten(1, (self.config.chunk, self.action_dim))


class _Answer(nn.Module):
    """One answer without its own dimension."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch output"]:
        """Map (…, F) to (…, output_dim)."""
        return self.network(features).squeeze(-2)
