"""A policy that denoises action chunks, by diffusion or flow matching; PPO fine-tunes its last steps (DPPO, DiWA)."""

import copy
import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.config import within
from burnish.errors import InputError
from burnish.networks import ConditionalResidualMLP
from burnish.policies.base import Decision, Policy
from burnish.policies.denoising import (
    chain_log_prob,
    clip_schedule,
    denoising_discounts,
    diffusion_steps,
    diffusion_weights,
    flow_steps,
    flow_weights,
)

_PROCESSES = {"diffusion": (diffusion_weights, diffusion_steps), "flow": (flow_weights, flow_steps)}


@dataclass(frozen=True)
class DiffusionPolicyConfig:
    """Denoising, network size, and what DPPO (arXiv 2409.00588) needs to fine-tune the last steps."""

    chunk: int = within(4, 1)
    """T_a, the actions of one decision; they are executed open-loop (DiWA: 4)."""
    denoising_steps: int = within(20, 1)
    """K, the levels of noise (DiWA: 20 of a cosine schedule)."""
    sampling_steps: int | None = within(None, 1)
    """DDIM with so many of the K steps, evenly spread; None takes all of them, which is DDPM."""
    fine_tuned_steps: int = within(10, 1)
    """K', the last sampling steps that refinement may change; the others stay those of the pretrained policy."""
    width: int = within(256, 1)
    depth: int = within(2, 1)
    min_sampling_std: float = within(0.1, 0)
    """Least noise of every sampling step while exploring, the last one included."""
    min_log_prob_std: float = within(0.1, 0, open_low=True)
    """Least standard deviation with which a denoising step is scored."""
    noise_clamp: float = within(3.0, 0, open_low=True)
    step_discount: float = within(0.99, 0, 1)
    """γ_denoise: a step that is j steps before the last has its advantage multiplied by γ_denoise^j."""
    clip_base: float = within(0.1, 0, open_low=True)
    """PPO's clip range at the noisiest fine-tuned step, as a share of that at the last one (DPPO: 0.001 of 0.01)."""
    clip_rate: float = within(3.0, 0, open_low=True)
    """How late the clip range grows from the one to the other."""
    process: Literal["diffusion", "flow"] = "diffusion"
    """`diffusion` predicts the noise on a cosine schedule; `flow` the velocity on straight lines from noise to action
    (flow matching)."""


class DiffusionPolicy(Policy):
    """Denoises Gaussian noise into an action chunk, given features, by the configured process.

    Two copies of the network: `network` learns; `pretrained` is frozen and does the first sampling steps, so that
    refinement works on the last K' only. Until `begin_refinement` both are the same policy.

    Every sampling step is x ← N(μ_i(x), max(σ_i, min_sampling_std)²); the trace (B, K'+1, T_a, A) holds the input of
    the first fine-tuned step and the K' outputs. Deterministic decisions start from zero noise and add none: the
    same features give the same actions.
    """

    step_weights: Tensor
    clip_scale: Tensor
    level: Tensor
    clean_of_x: Tensor
    clean_of_output: Tensor
    mean_of_clean: Tensor
    mean_of_x: Tensor
    std: Tensor
    clean_weight: Tensor
    noise_weight: Tensor

    def __init__(self, feature_dim: int, action_dim: int, config: DiffusionPolicyConfig) -> None:
        super().__init__()
        steps = config.sampling_steps or config.denoising_steps
        if config.process not in _PROCESSES:
            raise InputError(f"diffusion policy: found process '{config.process}', expected {' or '.join(_PROCESSES)}")
        if not 1 <= config.fine_tuned_steps <= steps <= config.denoising_steps:
            raise InputError(
                f"diffusion policy: found fine_tuned_steps {config.fine_tuned_steps}, sampling_steps {steps} and "
                f"denoising_steps {config.denoising_steps}, expected 1 <= the first <= the second <= the third"
            )
        self.config, self.feature_dim, self.action_dim = config, feature_dim, action_dim
        self.shape = (config.chunk, action_dim)
        self.steps = steps
        self.network = ConditionalResidualMLP(config.chunk * action_dim, feature_dim, config.width, config.depth)
        self.pretrained = copy.deepcopy(self.network).requires_grad_(False)
        weights, sampling = _PROCESSES[config.process]
        for name, values in (weights(config.denoising_steps) | sampling(config.denoising_steps, steps)).items():
            self.register_buffer(name, values.float(), persistent=False)
        tuned = config.fine_tuned_steps
        self.register_buffer("step_weights", denoising_discounts(tuned, config.step_discount), persistent=False)
        clip_scale = clip_schedule(tuned, config.clip_base, config.clip_rate)
        self.register_buffer("clip_scale", clip_scale, persistent=False)

    def begin_refinement(self) -> None:
        """From here on the present network is the pretrained one."""
        self.pretrained.load_state_dict(self.network.state_dict())

    def act(
        self, features: Float[Tensor, "B F"], deterministic: bool = False, generator: torch.Generator | None = None
    ) -> Decision:
        """Sample a chunk with its denoising chain."""
        tuned_from = self.steps - self.config.fine_tuned_steps
        networks = [self.pretrained, self.network]
        contexts = [network.embed_context(features) for network in networks]
        x = self._noise(features, deterministic, generator)
        chain = [x]
        for i in range(self.steps):
            tuned = int(i >= tuned_from)
            mean = self._mean(networks[tuned], x, slice(i, i + 1), contexts[tuned])
            # DPPO keeps some noise at every step, the last one too: without it nothing would be explored there.
            std = self.std[i].clamp(min=self.config.min_sampling_std)
            x = mean + std * self._noise(features, deterministic, generator)
            chain = [*chain, x] if tuned else [x]
        trace = torch.stack(chain, dim=1).unflatten(-1, self.shape)
        return Decision(trace[:, -1].clamp(-1, 1), trace)

    def log_prob(self, features: Float[Tensor, "B F"], trace: Float[Tensor, "B K1 T A"]) -> Float[Tensor, "B K"]:
        """Log-density of each fine-tuned step, averaged over the chunk's elements, each clamped to [-5, 2] (DPPO)."""
        tuned = slice(self.steps - self.config.fine_tuned_steps, self.steps)
        chain = trace.flatten(2)
        mean = self._mean(self.network, chain[:, :-1], tuned, self.network.embed_context(features).unsqueeze(1))
        std = self.std[tuned].clamp(min=self.config.min_log_prob_std).unsqueeze(-1)
        return chain_log_prob(chain[:, 1:], mean, std)

    def entropy(self, features: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        """Zero: the noise of every step is fixed by the schedule."""
        return torch.zeros(len(features), device=features.device)

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of the network on (features (B, F), chunk (B, T_a, A)), at one random level each."""
        features, chunk = batch
        clean, levels = chunk.flatten(1), self.config.denoising_steps
        k = torch.randint(levels, (len(clean),), device=clean.device)
        noise = torch.randn_like(clean)
        clean_weight, noise_weight = self.clean_weight[k].unsqueeze(-1), self.noise_weight[k].unsqueeze(-1)
        x = clean_weight * clean + noise_weight * noise
        flow = self.config.process == "flow"
        output = self.network(x, (k + 1) / levels, self.network.embed_context(features))
        loss = (output - (noise - clean if flow else noise)).square().mean()
        with torch.no_grad():
            found = x - noise_weight * output if flow else (x - noise_weight * output) / clean_weight
            error = found.clamp(-1, 1) - clean
        return loss, {"rmse": error.square().mean().sqrt()}

    def _mean(self, network: ConditionalResidualMLP, x: Tensor, steps: slice, context: Tensor) -> Tensor:
        """μ_i(x): rows of `x` (…, K, T·A) for the sampling steps `steps`, or (B, T·A) for one of them."""
        output = network(x, self.level[steps], context)
        rows = [c[steps].unsqueeze(-1) for c in (self.clean_of_x, self.clean_of_output)]
        clean = (rows[0] * x - rows[1] * output).clamp(-1, 1)
        return self.mean_of_clean[steps].unsqueeze(-1) * clean + self.mean_of_x[steps].unsqueeze(-1) * x

    def _noise(self, features: Tensor, deterministic: bool, generator: torch.Generator | None) -> Tensor:
        shape = (len(features), math.prod(self.shape))
        if deterministic:
            return torch.zeros(shape, device=features.device, dtype=features.dtype)
        noise = torch.randn(shape, generator=generator, device=features.device, dtype=features.dtype)
        return noise.clamp(-self.config.noise_clamp, self.config.noise_clamp)
