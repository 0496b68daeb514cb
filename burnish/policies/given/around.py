"""A given policy made refinable: a Gaussian around its chunk, its own weights or a small residual learning."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.config import within
from burnish.errors import InputError
from burnish.networks import MLP
from burnish.policies.base import Decision, Policy
from burnish.policies.gaussian import gaussian_log_prob
from burnish.policies.given.base import Given
from burnish.policies.given.views import View


@dataclass(frozen=True)
class GivenConfig:
    """How a policy that was made elsewhere is read and refined."""

    refine: Literal["auto", "whole", "residual"] = "auto"
    """whole: its own weights learn, inside a Gaussian around its chunk (a diffusion policy: along its denoising chain),
    and it stays what it was. residual: it is frozen, and a small network adds to its actions. auto: whole where it has
    weights that can learn."""
    reads: tuple[str, ...] = ()
    """What each of its inputs is of the data's state, where that is not plain: "observation.state=0:2"."""
    chunk: int | None = within(None, 1)
    """Actions of one decision that are executed; None: as many as it says itself."""
    sampling_steps: int | None = within(None, 1)
    """Of a diffusion policy: DDIM with so many steps instead of its own sampler. 10 of 100 refine ten times as fast."""
    std: float = within(0.1, 0, open_low=True)
    """Of the Gaussian when it begins to learn, in half ranges of the actions; of every denoising step, at least."""
    min_std: float = within(0.02, 0, open_low=True)
    max_std: float = within(0.5, 0, open_low=True)
    hidden: tuple[int, ...] = within((256, 256), 1)
    """Of the residual network."""
    reach: float = within(0.3, 0, open_low=True)
    """The most that the residual adds, in half ranges of the actions."""


class GivenPolicy(Policy, register=False):
    """What both ways to refine a given policy share."""

    step_weights: Tensor
    clip_scale: Tensor
    config: Any

    def __init__(self, base: Given, view: View, config: GivenConfig) -> None:
        super().__init__()
        chunk = config.chunk or base.chunk
        if chunk > base.chunk:
            raise InputError(f"given.chunk: found {chunk}, but the policy decides on {base.chunk} actions at once")
        self.base, self.view, self.config = base, view, replace(config, chunk=chunk)
        self.feature_dim, self.action_dim = view.feature_dim, view.action_dim
        self.shape = (chunk, view.action_dim)

    def observation(self, features: Float[Tensor, "B F"]) -> dict[str, Float[Tensor, "B frames D"]]:
        """The newest frames of every input, as many as the policy reads."""
        return {key: values[:, -self.base.frames :] for key, values in self.view.observation(features).items()}


class AroundPolicy(GivenPolicy):
    """N(m(x), σ²) around the given policy's chunk m, σ learned for each dimension of the action.

    The trace (B, 2, T_a · A) holds the unclipped actions and the given policy's chunk, so that a frozen one is asked
    once a decision and never again.
    """

    def __init__(self, base: Given, view: View, config: GivenConfig) -> None:
        super().__init__(base, view, config)
        self.learns_whole = config.refine == "whole" or (config.refine == "auto" and base.learns)
        if self.learns_whole and not base.learns:
            raise InputError(
                "given.refine: found 'whole', but this policy has no weights to learn; expected 'residual'"
            )
        if not config.min_std <= config.std <= config.max_std:
            raise InputError(f"given.std: found {config.std}, expected min_std to max_std")
        self.residual = None
        if not self.learns_whole:
            base.requires_grad_(False)
            self.residual = MLP(view.feature_dim, config.hidden, math.prod(self.shape), output_scale=0.0)
        low, high = math.log(config.min_std), math.log(config.max_std)
        share = min(max((math.log(config.std) - low) / max(high - low, 1e-6), 1e-3), 1 - 1e-3)
        self.raw_std = torch.nn.Parameter(torch.full((view.action_dim,), math.log(share / (1 - share))))
        self.scored_at_once()

    @property
    def std(self) -> Float[Tensor, " TA"]:
        """σ of the flattened chunk."""
        low, high = math.log(self.config.min_std), math.log(self.config.max_std)
        return (low + (high - low) * torch.sigmoid(self.raw_std)).exp().repeat(self.config.chunk)

    def planned(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B TA"]:
        """The given policy's own chunk, flattened, as imagination knows actions."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.learns_whole):
            chunk = self.base.plan(self.observation(features))[:, : self.config.chunk]
            return self.view.inside(chunk).flatten(1)

    def mean(self, features: Float[Tensor, "B F"], planned: Float[Tensor, "B TA"]) -> Float[Tensor, "B TA"]:
        """m(x), where the given policy plans `planned`."""
        if self.residual is None:
            return planned
        return planned + self.config.reach * self.residual(features).tanh()

    def act(
        self, features: Float[Tensor, "B F"], deterministic: bool = False, generator: torch.Generator | None = None
    ) -> Decision:
        """Sample a chunk, or take the mean."""
        planned = self.planned(features)
        action = self.mean(features, planned)
        if not deterministic:
            noise = torch.randn(action.shape, generator=generator, device=action.device, dtype=action.dtype)
            action = action + self.std * noise
        chunk = action.clamp(-1, 1).unflatten(-1, self.shape)
        return Decision(chunk, torch.stack([action, planned], dim=1))

    def log_prob(self, features: Float[Tensor, "B F"], trace: Float[Tensor, "B 2 TA"]) -> Float[Tensor, "B 1"]:
        """Log-density of the unclipped actions."""
        action, planned = trace.unbind(1)
        mean = self.mean(features, self.planned(features) if self.learns_whole else planned)
        return gaussian_log_prob(action, mean, self.std.expand_as(action)).unsqueeze(-1)

    def entropy(self, features: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        """Differential entropy of the unclipped Gaussian: the same everywhere."""
        each = 0.5 * math.log(2 * math.pi * math.e) + self.std.log()
        return each.sum().expand(len(features))

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative log-likelihood of chunks (B, T_a, A), for each element."""
        features, chunk = batch
        action = chunk.flatten(1)
        mean = self.mean(features, self.planned(features))
        loss = -gaussian_log_prob(action, mean, self.std.expand_as(action)).mean() / action.shape[1]
        error = (mean.detach().clamp(-1, 1) - action).square().mean().sqrt()
        return loss, {"rmse": error, "std": self.std.detach().mean()}
