"""A given diffusion policy, refined along its own denoising chain (DPPO, arXiv 2409.00588)."""

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.data import ACTION
from burnish.errors import InputError
from burnish.policies.base import Decision
from burnish.policies.denoising import chain_log_prob, clip_schedule, denoising_discounts
from burnish.policies.given.around import GivenConfig, GivenPolicy
from burnish.policies.given.lerobot import LeRobotDiffusion
from burnish.policies.given.views import View

_NOISE_CLAMP = 3.0
_STEP_DISCOUNT = 0.99
_CLIP_BASE, _CLIP_RATE = 0.1, 3.0


class ChainPolicy(GivenPolicy):
    """Every sampling step is scored, and one network does them all: it stays the type that it was.

    The trace (B, K + 1, horizon, A) holds the whole chain in the checkpoint's normalised units. Deterministic decisions
    start from zero noise and add none.
    """

    base: LeRobotDiffusion

    def __init__(self, base: LeRobotDiffusion, view: View, config: GivenConfig) -> None:
        super().__init__(base, view, config)
        if config.refine == "residual":
            raise InputError("given.refine: found 'residual', expected an AroundPolicy for it")
        steps = len(base.level)
        self.register_buffer("step_weights", denoising_discounts(steps, _STEP_DISCOUNT), persistent=False)
        self.register_buffer("clip_scale", clip_schedule(steps, _CLIP_BASE, _CLIP_RATE), persistent=False)

    def act(
        self, features: Float[Tensor, "B F"], deterministic: bool = False, generator: torch.Generator | None = None
    ) -> Decision:
        """Sample a chunk with its denoising chain."""
        condition = self.base.condition(self.observation(features))
        x = self._noise(features, deterministic, generator)
        chain = [x]
        for number in range(len(self.base.level)):
            mean = self.base.mean(x, torch.full((len(x),), number, device=x.device), condition)
            std = self.base.std[number].clamp(min=self.config.std)
            x = mean + std * self._noise(features, deterministic, generator)
            chain.append(x)
        actions = self.view.inside(self.base.executed(x)[:, : self.config.chunk])
        return Decision(actions.clamp(-1, 1), torch.stack(chain, dim=1))

    def log_prob(self, features: Float[Tensor, "B F"], trace: Float[Tensor, "B K1 T A"]) -> Float[Tensor, "B K"]:
        """Log-density of each step, averaged over the elements, each clamped as DPPO has it."""
        condition = self.base.condition(self.observation(features))
        steps = len(self.base.level)
        step = torch.arange(steps, device=trace.device).repeat(len(trace))
        means = self.base.mean(trace[:, :-1].flatten(0, 1), step, condition.repeat_interleave(steps, 0))
        std = self.base.std.clamp(min=self.config.std).unsqueeze(-1)
        return chain_log_prob(trace[:, 1:].flatten(2), means.unflatten(0, (-1, steps)).flatten(2), std)

    def entropy(self, features: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        """Zero: the noise of every step is fixed."""
        return features.new_zeros(len(features))

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of what the network tells, on the executed part of (features (B, F), chunk (B, T_a, A)).

        Around it the horizon is filled with copies of the chunk's ends.
        """
        features, chunk = batch
        base, first = self.base, self.base.frames - 1
        clean = base.statistics.normalise(ACTION, self.view.outside(chunk))
        place = (torch.arange(base.horizon, device=chunk.device) - first).clamp(0, chunk.shape[1] - 1)
        clean = clean[:, place]
        step = torch.randint(len(base.level), (len(clean),), device=clean.device)
        signal, noise = base.signal[step].view(-1, 1, 1), torch.randn_like(clean)
        x = signal.sqrt() * clean + (1 - signal).sqrt() * noise
        output = base.network(x, base.level[step], base.condition(self.observation(features)))
        executed = slice(first, first + chunk.shape[1])
        target = noise if base.tells_noise else clean
        loss = (output - target)[:, executed].square().mean()
        found = (x - (1 - signal).sqrt() * output) / signal.sqrt() if base.tells_noise else output
        error = (found.detach() - clean)[:, executed].clamp(-base.clip, base.clip)
        return loss, {"rmse": error.square().mean().sqrt()}

    def _noise(self, features: Tensor, deterministic: bool, generator: torch.Generator | None) -> Tensor:
        shape = (len(features), self.base.horizon, self.action_dim)
        if deterministic:
            return features.new_zeros(shape)
        noise = torch.randn(shape, generator=generator, device=features.device, dtype=features.dtype)
        return noise.clamp(-_NOISE_CLAMP, _NOISE_CLAMP)
