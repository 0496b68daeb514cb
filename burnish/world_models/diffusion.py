"""World4RL's transition model for state observations: EDM-preconditioned diffusion over the next observation."""

import functools
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from burnish.config import within
from burnish.data import Normaliser, WindowBatch
from burnish.networks import ConditionalResidualMLP, denoising_error, preconditioning
from burnish.world_models.base import Observed
from burnish.world_models.history import STATE_KEY, HistoryState, TransitionSpace
from burnish.world_models.sampler import SamplerConfig, sample


@dataclass(frozen=True)
class DiffusionConfig:
    """Noise levels of training, network size and sampler."""

    width: int = within(256, 1)
    depth: int = within(3, 1)
    sigma_data: float = within(1.0, 0, open_low=True)
    """Standard deviation of the clean data; what is predicted is standardised, so 1."""
    noise_mean: float = 0.0
    noise_std: float = within(1.2, 0, open_low=True)
    """Training noise: ln σ ~ N(noise_mean, noise_std²)."""
    context_noise: float = within(0.1, 0)
    """Noise on the learned dimensions of past frames in training, in standard deviations of what is predicted."""
    rollout_steps: int = within(2, 1)
    """Predicted frames per training window; later ones see the model's own prediction as their past."""
    sampler: SamplerConfig = SamplerConfig()


class DiffusionWorldModel(Observed):
    """Predicts what inertia leaves of the change of the observation, given H frames and two-hot actions, by denoising.

    Preconditioning and loss: EDM (arXiv 2206.00364, Table 1), as in World4RL Eqs. 4, 6 and 7.
    """

    action_steps = 1

    def __init__(self, space: TransitionSpace, config: DiffusionConfig) -> None:
        super().__init__()
        self.space, self.config = space, config
        self.feature_dim, self.observation_dim = space.feature_dim, space.observation_dim
        self.network = self._network()

    def _network(self) -> Any:
        """F_θ, which also embeds contexts."""
        space, config = self.space, self.config
        return ConditionalResidualMLP(len(space.learned_dims), space.context_dim, config.width, config.depth)

    @property
    def observer(self) -> TransitionSpace:
        """The space, which keeps the states."""
        return self.space

    @property
    def normaliser(self) -> Normaliser:
        """The space's own."""
        return self.space.normaliser

    def denoise(
        self, x: Float[Tensor, "B d"], sigma: Float[Tensor, "#B 1"], context: Float[Tensor, "B width"]
    ) -> Float[Tensor, "B d"]:
        """D_θ(x; σ) = c_skip x + c_out F_θ(c_in x; c_noise, context)."""
        c_skip, c_out, c_in, c_noise = preconditioning(sigma, self.config.sigma_data)
        return c_skip * x + c_out * self.network(c_in * x, c_noise.squeeze(-1), context)

    def imagine(
        self, state: HistoryState, action: Float[Tensor, "B A"], generator: torch.Generator | None = None
    ) -> HistoryState:
        """Sample the next frame with the configured number of denoising steps."""
        shape = (len(action), len(self.space.learned_dims))
        start = torch.randn(shape, generator=generator, device=action.device)
        return self.space.advance(state, action, self._from_noise(state, action, start))

    def imagine_rows(
        self,
        state: HistoryState,
        action: Float[Tensor, "B A"],
        rows: Int[Tensor, " n"],
        generator: torch.Generator | None = None,
    ) -> HistoryState:
        """Those rows of what `imagine` finds, with the random numbers of all."""
        shape = (len(action), len(self.space.learned_dims))
        start = torch.randn(shape, generator=generator, device=action.device)[rows]
        state, action = state.rows(rows), action[rows]
        return self.space.advance(state, action, self._from_noise(state, action, start))

    def _from_noise(
        self, state: HistoryState, action: Float[Tensor, "B A"], start: Float[Tensor, "kB d"]
    ) -> Float[Tensor, "kB d"]:
        """What k times B rows of noise become, those of the first noise of each transition first."""
        context = self.network.embed_context(self.space.context(state, action))
        context = context.repeat(len(start) // max(1, len(context)), 1)

        def denoise(x: Tensor, sigma: float) -> Tensor:
            return self.denoise(x, torch.full((1, 1), sigma, device=x.device), context)

        return sample(denoise, tuple(start.shape), self.config.sampler, None, start.device, start=start)

    def loss(self, batch: WindowBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of F_θ, averaged over the predicted frames of each window (World4RL Eq. 7)."""
        wrong, error = self._errors(batch)
        losses = [each.square().mean() for each in wrong]
        loss = torch.stack(losses).mean()
        return loss, {"loss_first": losses[0].detach(), "loss_last": losses[-1].detach(), "denoised_mse": error}

    def _errors(self, batch: WindowBatch) -> tuple[list[Float[Tensor, "B d"]], Tensor]:
        """The error of F_θ at each predicted frame, and the last one's mean squared error of what was denoised."""
        config, frames = self.config, self.space.config.frames
        future = self.space.normaliser.normalise(batch.observation[STATE_KEY][:, frames:])
        if future.shape[1] < config.rollout_steps:
            raise ValueError(
                f"windows have {future.shape[1]} following frames, rollout_steps is {config.rollout_steps}"
            )
        state, found, error = self.space.window_state(batch), [], torch.zeros(())
        for step in range(config.rollout_steps):
            action = batch.action[:, frames - 1 + step]
            state = self._disturb(state)
            target = self.space.delta(state, action, future[:, step])
            sigma = (config.noise_mean + config.noise_std * torch.randn_like(target[:, :1])).exp()
            context = self.network.embed_context(self.space.context(state, action))
            network = functools.partial(self.network, context=context)
            wrong, clean = denoising_error(network, target, sigma, torch.randn_like(target), config.sigma_data)
            found.append(wrong)
            with torch.no_grad():
                error = (clean - target).square().mean()
                state = self.space.advance(state, action, clean)
        return found, error

    def _disturb(self, state: HistoryState) -> HistoryState:
        # A model that only ever sees true pasts drifts on its own predictions; a little noise teaches it to return.
        if self.config.context_noise == 0:
            return state
        scale = self.config.context_noise * self.space.delta_std * self.space.inertia.error_std
        level = torch.rand(len(state.observation), 1, 1, device=scale.device)
        noise = torch.randn(*state.observation.shape[:2], len(scale), device=scale.device) * scale * level
        observation = state.observation.clone()
        observation[:, :, self.space.learned] += noise
        return HistoryState(observation, state.action, state.valid)
