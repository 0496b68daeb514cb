"""What the first denoising step knows, for policies to read (GWM, arXiv 2508.17600: features for behaviour cloning)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.components import frozen
from burnish.data import Normaliser
from burnish.networks import preconditioning
from burnish.world_models.base import Observed
from burnish.world_models.history import HistoryState, TransitionSpace
from burnish.world_models.token_diffusion import TokenDiffusion


class DenoisedFeatures(Observed):
    """`world`, whose features are the state's and, beside them, the mean hidden token of `source`'s first step.

    That step begins at sigma_max from the mean of its noise, zero, under actions of zero: what is known before anything
    is done. `source` is frozen, so that features stay what a policy was cloned from while worlds come and go.
    """

    action_steps = 1

    def __init__(self, world: TokenDiffusion, source: TokenDiffusion) -> None:
        super().__init__()
        self.world, self.source = world, frozen(source)
        self.observation_dim = world.observation_dim
        self.feature_dim = world.feature_dim + source.config.transformer.width

    @property
    def observer(self) -> TransitionSpace:
        """The world's space, which keeps the states."""
        return self.world.space

    @property
    def normaliser(self) -> Normaliser:
        """The world's."""
        return self.world.normaliser

    def features(self, state: HistoryState) -> Float[Tensor, "B F"]:
        """The state's features, then the first denoising step's."""
        source, action = self.source, torch.zeros_like(state.action[:, 0])
        context = source.network.embed_context(source.space.context(state, action))
        sigma = torch.full((1,), source.config.sampler.sigma_max, device=action.device)
        c_noise = preconditioning(sigma, source.config.sigma_data)[3]
        nothing = torch.zeros(len(action), self.observation_dim, device=action.device)
        return torch.cat([self.world.features(state), source.network.hidden(nothing, c_noise, context).mean(1)], dim=1)

    @property
    def shown_frames(self) -> int:
        """Frames that a row of features shows."""
        return self.observer.shown_frames

    def shown(self, features: Float[Tensor, "B F"]) -> dict[str, Tensor]:
        """The frames that features are."""
        return self.observer.shown(features[:, : self.world.feature_dim])

    def imagine(
        self, state: HistoryState, action: Float[Tensor, "B A"], generator: torch.Generator | None = None
    ) -> HistoryState:
        """The world's."""
        return self.world.imagine(state, action, generator)

    def imagine_rows(
        self, state: HistoryState, action: Tensor, rows: Tensor, generator: torch.Generator | None = None
    ) -> HistoryState:
        """The world's."""
        return self.world.imagine_rows(state, action, rows, generator)

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The world's."""
        return self.world.loss(batch)
