"""From a robot's actions to the latent ones that a world model was trained on: the adapters of AdaWorld.

AdaWorld (arXiv 2503.18938, section 3.3): discrete actions get the mean latent action of their few labelled steps,
continuous ones a small network. Both stand where another world model's encoding of actions stands.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from burnish.config import within
from burnish.errors import InputError
from burnish.networks.action_encoding import ActionEncoding


@dataclass(frozen=True)
class AdapterConfig:
    """Of which kind, and how large."""

    kind: Literal["mlp", "codebook"] = "mlp"
    """`codebook`: the mean latent action of each different action, for discrete ones."""
    hidden: int = within(64, 1)
    """Width of the network's one hidden layer."""
    codes: int = within(32, 1)
    """At most so many different actions in a codebook."""


class ActionAdapter(ActionEncoding):
    """Maps actions (..., A) in [-1, 1] to latent ones (..., Z)."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def output_dim(self, action_dim: int, frames: int) -> int:
        """Z numbers for each action, however many dimensions it has."""
        return frames * self.latent_dim

    def tell(self, actions: Float[Tensor, "N A"], latents: Float[Tensor, "N Z"]) -> None:
        """Take over what can be known of labelled steps without training; raises InputError where they do not fit."""
        raise NotImplementedError

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of the latent actions, (B, A) to (B, Z)."""
        actions, latents = batch
        loss = (self(actions) - latents).square().mean()
        return loss, {"adapter_mse": loss.detach()}


class AdapterMLP(ActionAdapter):
    """A linear layer, SiLU, a linear layer."""

    def __init__(self, action_dim: int, latent_dim: int, config: AdapterConfig) -> None:
        super().__init__(latent_dim)
        self.body = nn.Sequential(nn.Linear(action_dim, config.hidden), nn.SiLU(), nn.Linear(config.hidden, latent_dim))

    def tell(self, actions: Float[Tensor, "N A"], latents: Float[Tensor, "N Z"]) -> None:
        """Nothing: it is all in the training."""

    def forward(self, action: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch Z"]:
        """Encode a batch of actions."""
        return self.body(action.clamp(-1, 1))


class AdapterCodebook(ActionAdapter):
    """The mean latent action of the nearest of the actions that were labelled."""

    actions: Tensor
    known: Bool[Tensor, " K"]

    def __init__(self, action_dim: int, latent_dim: int, config: AdapterConfig) -> None:
        super().__init__(latent_dim)
        self.register_buffer("actions", torch.zeros(config.codes, action_dim))
        self.register_buffer("known", torch.zeros(config.codes, dtype=torch.bool))
        self.latents = nn.Parameter(torch.zeros(config.codes, latent_dim))

    @torch.no_grad()
    def tell(self, actions: Float[Tensor, "N A"], latents: Float[Tensor, "N Z"]) -> None:
        """Take the means.

        Raises:
            InputError: more different actions than codes.
        """
        different, code = actions.clamp(-1, 1).unique(dim=0, return_inverse=True)
        if len(different) > len(self.actions):
            raise InputError(
                f"an action codebook: found {len(different)} different actions, expected at most codes = "
                f"{len(self.actions)}; continuous actions want the adapter of the kind mlp"
            )
        count = torch.bincount(code, minlength=len(different)).unsqueeze(1)
        total = latents.new_zeros(len(different), self.latent_dim).index_add_(0, code, latents)
        self.actions[: len(different)], self.latents[: len(different)] = different, total / count
        self.known.copy_(torch.arange(len(self.known), device=self.known.device) < len(different))

    def forward(self, action: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch Z"]:
        """Encode a batch of actions."""
        rows = action.clamp(-1, 1).reshape(-1, action.shape[-1])
        distance = torch.cdist(rows, self.actions, compute_mode="donot_use_mm_for_euclid_dist")
        code = distance.masked_fill(~self.known, torch.inf).argmin(1)
        return self.latents[code].reshape(*action.shape[:-1], self.latent_dim)


def action_adapter(config: AdapterConfig, action_dim: int, latent_dim: int) -> ActionAdapter:
    """Build the configured adapter."""
    return {"mlp": AdapterMLP, "codebook": AdapterCodebook}[config.kind](action_dim, latent_dim, config)
