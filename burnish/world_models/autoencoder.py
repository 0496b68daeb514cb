"""A compact latent of pictures: a few numbers that world models, policies and classifiers read instead of pixels.

A variational autoencoder with a weak prior, trained on short windows. Two things make its latents fit for imagination:
pixels that change over the data count more than the background, and a small network predicts the next latent from the
last two and the actions, from which the next picture must be drawn. (Demanding that the next latent itself be
predicted makes the encoder say nothing: that is predicted most easily.)
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.components import Component
from burnish.config import within
from burnish.data import Dataset, WindowBatch, image_key
from burnish.errors import InputError
from burnish.networks import MLP, LatentDecoder, LatentEncoder, level_widths
from burnish.world_models.picture_encoding import ENCODE_BATCH, checked_pictures, encoded_in_parts, shapes_of

CONTRAST = 2.0
"""Pictures minus the mean picture are scaled by this, to about unit size where something moves."""
_SAMPLE = 2000
"""Frames from which the mean picture and the weights of pixels are taken."""


@dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes and loss weights of the compact latent."""

    cameras: tuple[str, ...] = ("corner3", "topview", "gripperPOV")
    """Cameras that are seen, stacked on channels. Two fixed ones tell where the hand is; the one at the gripper shows
    how it meets an object, which decides success."""
    image_size: int = within(64, 8)
    latent_dim: int = within(48, 1)
    width: int = within(24, 1)
    """Channels of the first convolution."""
    hidden: int = within(256, 1)
    kl_weight: float = within(2e-5, 0)
    """Weight of the divergence from a unit Gaussian, per latent; reconstruction is a mean over pixels."""
    prediction_weight: float = within(0.5, 0)
    """Weight of the reconstruction of the next picture from the latent that is predicted for it."""
    motion_weight: float = within(4.0, 0)
    """How much more a pixel counts whose variance over the data is the mean one."""


class Autoencoder(Component):
    """Pictures to latents (B, Z) and back."""

    mean: Tensor
    weight: Tensor

    def __init__(self, action_dim: int, config: AutoencoderConfig) -> None:
        super().__init__()
        if not config.cameras:
            raise InputError("autoencoder: found no camera, expected at least one")
        self.config, self.action_dim, self.latent_dim = config, action_dim, config.latent_dim
        widths = level_widths(config.image_size, config.width)
        channels, size = 3 * len(config.cameras), config.image_size
        self.encoder = LatentEncoder(channels, widths, config.hidden, 2 * config.latent_dim)
        self.decoder = LatentDecoder(config.latent_dim, config.hidden, widths, channels)
        self.predictor = MLP(2 * (config.latent_dim + action_dim), (config.hidden, config.hidden), config.latent_dim)
        self.register_buffer("mean", torch.zeros(channels, size, size))
        self.register_buffer("weight", torch.ones(channels, size, size))

    # -- pictures and latents ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fit(self, dataset: Dataset) -> Self:
        """The mean picture, and how much each pixel counts; once, before training."""
        step = -(-dataset.num_frames // _SAMPLE)
        shapes, pictures = self.observation_shapes, dataset.observations
        frames = checked_pictures({key: pictures[key][::step] for key in shapes if key in pictures}, shapes)
        self.mean.copy_(frames.mean(0))
        variance = (frames - self.mean).square().mean(0)
        # Camera by camera: what a wrist camera sees changes throughout, and would drown a fixed camera's small changes.
        for varies, weight in zip(variance.split(3), self.weight.split(3), strict=True):
            relative = varies / varies.mean().clamp(min=1e-8)
            weight.copy_(1 + self.config.motion_weight * relative.clamp(max=10))
            weight /= (weight * varies).mean().clamp(min=1e-8) * CONTRAST**2
        return self

    @property
    def observation_shapes(self) -> dict[str, tuple[int, ...]]:
        """What one observation holds, by LeRobot's keys."""
        return shapes_of(self.config.cameras, self.config.image_size)

    def encode(self, observation: dict[str, Tensor]) -> Float[Tensor, "B Z"]:
        """The latents of pictures (B, S, S, 3) uint8; the posterior's mean.

        Raises:
            InputError: a camera is missing, or its pictures have another size, dtype or order of channels.
        """
        return self._posterior(self._centred(observation))[0]

    def decode(self, latents: Float[Tensor, "B Z"]) -> dict[str, Tensor]:
        """Pictures uint8 (B, S, S, 3) by LeRobot's keys; for people's eyes and for picture metrics only."""
        pictures = self.decoder(latents) / CONTRAST + self.mean
        pixels = ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(-3, -1)
        return {image_key(name): pixels[..., 3 * i : 3 * i + 3] for i, name in enumerate(self.config.cameras)}

    @torch.no_grad()
    def encode_dataset(self, dataset: Dataset) -> Float[Tensor, "F Z"]:
        """The latent of every frame."""
        return encoded_in_parts(self, dataset)

    @torch.no_grad()
    def psnr(self, dataset: Dataset) -> float:
        """Peak signal-to-noise ratio of the reconstruction of every frame, in dB (of the mean squared error)."""
        keys = list(self.observation_shapes)
        squares, count = 0.0, 0
        for rows in torch.arange(dataset.num_frames, device=dataset.device).split(ENCODE_BATCH):
            real = {key: dataset.observations[key][rows] for key in keys}
            drawn = self.decode(self.encode(real))
            squares += sum(float((drawn[key].float() - real[key].float()).square().sum()) for key in keys)
            count += sum(real[key].numel() for key in keys)
        return 10 * math.log10(255**2 / max(squares / count, 1e-9))

    # -- learning ------------------------------------------------------------------------------------------------------

    def loss(self, batch: WindowBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruction of two successive frames, a weak prior, and the picture that is predicted to follow them."""
        config, (count, length) = self.config, batch.action.shape[:2]
        if length != 3:
            raise ValueError(f"windows have {length} frames, the autoencoder learns from 3")
        target = self._centred({key: frames.flatten(0, 1) for key, frames in batch.observation.items()})
        target = target.unflatten(0, (count, length))
        seen = target[:, :2].flatten(0, 1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(target.device.type, torch.bfloat16, enabled=fast_bfloat16(target.device)):
            mean, log_variance = self._posterior(seen)
            sample = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
            latents = sample.unflatten(0, (count, 2))
            past = torch.cat([latents.flatten(1), batch.action[:, :2].flatten(1)], dim=-1)
            following = latents[:, 1] + self.predictor(past)
            drawn = self.decoder(torch.cat([sample, following]).to(sample.dtype)).float()
        squares = (drawn - torch.cat([seen, target[:, 2]])).square() * self.weight
        reconstruction, prediction = squares[: 2 * count].mean(), squares[2 * count :].mean()
        kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean()
        loss = reconstruction + config.prediction_weight * prediction + config.kl_weight * kl
        metrics = {"reconstruction": reconstruction, "prediction": prediction, "kl": kl}
        return loss, {name: value.detach() for name, value in metrics.items()}

    def _posterior(self, centred: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(centred).float().chunk(2, dim=-1)
        return mean, log_variance.clamp(-8, 2)

    def _centred(self, observation: dict[str, Tensor]) -> Tensor:
        return CONTRAST * (checked_pictures(observation, self.observation_shapes) - self.mean)


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device computes bfloat16 faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported()
