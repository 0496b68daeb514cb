"""The contract of a policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.components import Component
from burnish.networks import MLP


@dataclass(frozen=True)
class Decision:
    """What a policy decided for a batch of B features.

    `action_chunk` (B, T_a, A) is to be executed; `trace` (B, ...) is whatever is needed to score the decision again:
    the sampled action of a Gaussian policy, the denoising chain of a diffusion policy. `log_prob` (B, K) is what the
    policy's `log_prob` says of the trace, where it is known without asking the network again.
    """

    action_chunk: Float[Tensor, "B T_a A"]
    trace: Tensor
    log_prob: Float[Tensor, "B K"] | None = None


class Policy(Component, register=False):
    """A policy that PPO can refine. K is 1 for a Gaussian, the number of fine-tuned denoising steps for diffusion.

    `step_weights` (K,) multiplies the advantage of each scored step (DPPO's discount over denoising steps) and
    `clip_scale` (K,) multiplies PPO's clip range; both are ones for a Gaussian policy.
    """

    step_weights: Tensor
    clip_scale: Tensor
    feature_dim: int
    action_dim: int
    config: Any
    """The family's own; its `chunk` is T_a."""

    def scored_at_once(self, steps: int = 1) -> None:
        """For constructors: `steps` scored steps of a decision, all of which count the same."""
        for name in ("step_weights", "clip_scale"):
            self.register_buffer(name, torch.ones(steps), persistent=False)

    def act(self, features: Tensor, deterministic: bool, generator: torch.Generator | None) -> Decision:
        """Decide for a batch of features (B, F)."""
        raise NotImplementedError

    def log_prob(self, features: Tensor, trace: Tensor) -> Float[Tensor, "B K"]:
        """Log-probability of each scored step of the traces, under the present parameters."""
        raise NotImplementedError

    def log_probs(self, features: Tensor, traces: Sequence[Tensor]) -> list[Float[Tensor, "B K"]]:
        """`log_prob` of several traces of the same features; a family that can asks its network only once."""
        return [self.log_prob(features, trace) for trace in traces]

    def trunk(self, hidden: Sequence[int], output_dim: int) -> nn.Module:
        """A fresh network that reads this policy's features, (…, F) to (…, output_dim), and starts small.

        PPO builds its critic from it; a family whose features are no plain vectors overrides it.
        """
        return MLP(self.feature_dim, hidden, output_dim, output_scale=0.1)

    def augment(self, features: Float[Tensor, "B F"], generator: torch.Generator | None = None) -> Float[Tensor, "B F"]:
        """Features that ask for the same decisions, for training; as they are, where a family knows nothing better."""
        return features

    def begin_refinement(self) -> None:
        """Called once before PPO starts (again when it resumes): the present weights are the pretrained policy's."""

    def entropy(self, features: Tensor) -> Float[Tensor, " B"]:
        """Entropy of the decision, or zeros where it has no closed form."""
        raise NotImplementedError

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Behaviour cloning on (features (B, F), action chunks (B, T_a, A))."""
        raise NotImplementedError
