"""Diffusion forcing over the latents of frames: World-Gymnast's world model (arXiv 2602.02454).

Every frame of a training window has a noise level of its own (arXiv 2407.01392), and a causal transformer denoises all
of them at once. So the same network continues a film of clean frames by one noisy one, frame after frame. What a model
imagines is never as clean as what it learned from; therefore past frames are told to be slightly noisy.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.config import within
from burnish.data import Dataset, Normaliser, WindowBatch
from burnish.errors import InputError
from burnish.networks import FrameDiT, FrameDiTConfig
from burnish.world_models.base import Observed
from burnish.world_models.film_history import FilmHistory, FilmState


@dataclass(frozen=True)
class DiffusionForcingConfig:
    """Network, objective and sampler."""

    network: FrameDiTConfig = FrameDiTConfig()
    objective: Literal["v", "flow"] = "v"
    """v: v-prediction with a sigmoid schedule and DDIM. flow: the velocity of a straight line, and Euler steps."""
    steps: int = within(10, 1)
    """Denoising steps of a frame (World-Gymnast: 10)."""
    stabilisation: float = within(0.015, 0, 1, open_high=True)
    """Noise level that past frames are told to have, and are scaled to (v: 0.015, flow: 0.01)."""
    action_dropout: float = within(0.1, 0, 1, open_high=True)
    """Share of frames whose action is left out in training, so that there is a model without actions, too."""
    guidance: float = within(1.0, 0)
    """How far to go from the prediction without actions to that with them: 1 is the latter itself."""

    def __post_init__(self) -> None:
        if self.guidance != 1 and self.action_dropout == 0:
            raise InputError(f"diffusion forcing: found guidance {self.guidance} without action_dropout, expected both")


class DiffusionForcing(Observed):
    """Imagines the next frame from H past ones and the actions between them.

    `encoder` (a `FrameEncoder`) makes latents of frames; it is frozen.
    """

    action_steps = 1

    def __init__(self, history: FilmHistory, encoder: Any, config: DiffusionForcingConfig) -> None:
        super().__init__()
        self.history, self.config = history, config
        self.encoder = encoder.requires_grad_(False)
        self.feature_dim = history.feature_dim
        self.network = FrameDiT(encoder.side, encoder.latent_dim, history.action_dim + 1, config.network)

    @property
    def observer(self) -> FilmHistory:
        """The history, which keeps the states."""
        return self.history

    @property
    def normaliser(self) -> Normaliser:
        """There is none: raises InputError."""
        raise InputError("a world model of pictures has no state vector to be judged by; compare its pictures")

    def check(self, dataset: Dataset) -> "DiffusionForcing":
        """Raises InputError where the data set lacks the pictures or the actions that the model is made for."""
        self.history.pictures_of.pictures({key: values[:1] for key, values in dataset.observations.items()})
        if dataset.action_dim != self.history.action_dim:
            expected = f"{self.history.action_dim} as the world model has"
            raise InputError(f"the dataset, field 'action': found {dataset.action_dim} values, expected {expected}")
        return self

    # -- imagination ---------------------------------------------------------------------------------------------------

    def imagine(
        self, state: FilmState, action: Float[Tensor, "B A"], generator: torch.Generator | None = None
    ) -> FilmState:
        """Sample the next frame; past frames go through the network once, and their keys and values are kept."""
        config = self.config
        context = self.encoder.encode(state.frames)
        noise = torch.randn(context[:, :1].shape, generator=generator, device=action.device)
        told = self._told(torch.cat([state.action[:, :-1], action.unsqueeze(1)], dim=1))
        known = [told] if config.guidance == 1 else [told, torch.zeros_like(told)]
        pasts = [self._past(context, each, state.valid) for each in known]
        valid = torch.cat([state.valid, torch.ones_like(state.valid[:, :1])], dim=1)
        x, levels = noise, torch.linspace(1, 0, config.steps + 1).tolist()
        for now, following in itertools.pairwise(levels):
            level = x.new_full((len(x), 1), now)
            found = [
                self.network(x, level, each[:, -1:], valid, past)[0] for each, past in zip(known, pasts, strict=True)
            ]
            # v_null + w (v_action - v_null)
            v = found[0] if len(found) == 1 else torch.lerp(found[1], found[0], config.guidance)
            x = self._moved(x, v, now, following)
        return self.history.followed(state, action, self.encoder.decode(x)[:, 0])

    def _past(self, context: Tensor, told: Tensor, valid: Tensor) -> list[Any]:
        """What the network keeps of the past frames; the action before the oldest one is not known."""
        level = context.new_full(valid.shape, self.config.stabilisation)
        scaled = self.shares(level)[0][..., None, None] * context
        return self.network(scaled, level, torch.cat([torch.zeros_like(told[:, :1]), told[:, :-1]], 1), valid)[1]

    def _told(self, actions: Float[Tensor, "B T A"]) -> Float[Tensor, "B T A1"]:
        """Actions with the flag that says that they are told."""
        return torch.cat([actions, torch.ones_like(actions[..., :1])], dim=-1)

    def _moved(self, x: Tensor, v: Tensor, now: float, following: float) -> Tensor:
        """From one noise level to the next: DDIM without new noise, or an Euler step."""
        if self.config.objective == "flow":
            return x + (following - now) * v
        (a, s), (b, r) = (self.shares(torch.tensor(level)) for level in (now, following))
        clean, noise = a * x - s * v, s * x + a * v
        return b * clean + r * noise

    def shares(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """What remains of the signal, and what there is of noise, at a level from 0 (clean) to 1 (noise)."""
        if self.config.objective == "flow":
            return 1 - level, level
        # A sigmoid schedule from -3 to 3 (arXiv 2212.11972), of the signal's share of the variance.
        low, high = 1 / (1 + math.exp(3)), 1 / (1 + math.exp(-3))
        signal = ((high - torch.sigmoid(6 * level - 3)) / (high - low)).clamp(1e-9, 1)
        return signal.sqrt(), (1 - signal).sqrt()

    # -- learning ------------------------------------------------------------------------------------------------------

    def loss(self, batch: WindowBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of the velocity over all real frames of a window, each with a noise level of its own."""
        config = self.config
        clean = self.encoder.encode(self.history.pictures_of.pictures(batch.observation))
        count, length = clean.shape[:2]
        level = self._levels((count, length), clean.device)
        noise = torch.randn_like(clean)
        signal, share = (each[..., None, None] for each in self.shares(level))
        target = noise - clean if config.objective == "flow" else signal * noise - share * clean
        told = self._told(batch.action[:, :-1])
        told = torch.cat([torch.zeros_like(told[:, :1]), told], dim=1)
        kept = torch.rand(count, length, 1, device=clean.device) >= config.action_dropout
        predicted, _ = self.network(signal * clean + share * noise, level, told * kept, batch.valid)
        squares = (predicted - target).square().mean((2, 3)) * batch.valid
        loss = squares.sum() / batch.valid.sum().clamp(min=1)
        return loss, {"last_frame": squares[:, -1].detach().mean()}

    def _levels(self, shape: tuple[int, int], device: torch.device) -> Tensor:
        if self.config.objective == "flow":
            return torch.randn(shape, device=device).sigmoid()
        return torch.rand(shape, device=device)
