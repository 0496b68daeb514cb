"""Frames as a grid of short vectors and back: the encoder before a world model of frame latents.

Each patch of a picture, less the mean picture there, is told in its principal components, which are the same for all
patches. It is the best linear code of a patch, needs no training beyond one decomposition, and keeps places, which a
transformer over tokens wants. A learned encoder (Stable Diffusion's, say) is any `Component` with the same methods.
"""

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from burnish.components import Component
from burnish.config import within
from burnish.errors import InputError
from burnish.world_models.pixel_history import signed, to_levels

_SAMPLE = 2000
"""Frames from which components are found."""


class FrameEncoder(Protocol):
    """What a world model of frame latents asks of an encoder."""

    side: int
    """The grid has side² places."""
    latent_dim: int

    def encode(self, frames: UInt8[Tensor, "*batch C S S"]) -> Float[Tensor, "*batch N D"]:
        """Latents of about unit variance."""
        ...

    def decode(self, latents: Float[Tensor, "*batch N D"]) -> UInt8[Tensor, "*batch C S S"]:
        """Pictures of latents."""
        ...


@dataclass(frozen=True)
class PatchLatentsConfig:
    """Size of the grid and of its vectors."""

    patch: int = within(8, 1)
    """Height and width of a patch; the pictures' size is a multiple of it."""
    latent_dim: int = within(48, 1)
    """Components that are kept of each patch."""


class PatchLatents(Component):
    """Principal components of patches, all scaled by one number, so that noise is as loud in each as in the data."""

    mean: Tensor
    components: Tensor
    scale: Tensor

    def __init__(self, channels: int, image_size: int, config: PatchLatentsConfig) -> None:
        super().__init__()
        whole = channels * config.patch**2
        if image_size % config.patch or config.latent_dim > whole:
            raise InputError(
                f"patch latents: found patches of {config.patch} and {config.latent_dim} components for pictures of "
                f"{image_size} pixels, expected a divisor and at most {whole}"
            )
        self.config, self.side, self.latent_dim = config, image_size // config.patch, config.latent_dim
        self.channels, self.image_size = channels, image_size
        self.register_buffer("mean", torch.zeros(channels, image_size, image_size))
        self.register_buffer("components", torch.eye(whole)[: config.latent_dim])
        self.register_buffer("scale", torch.ones(()))

    @torch.no_grad()
    def fit(self, frames: UInt8[Tensor, "F C S S"]) -> Self:
        """Mean picture, components and scale from at most 2,000 of the frames, evenly spread.

        Raises:
            InputError: they have fewer patches than components are wanted.
        """
        seen = signed(frames[:: -(-len(frames) // _SAMPLE)])
        self.mean.copy_(seen.mean(0))
        patches = self._patches(seen - self.mean).flatten(0, 1)
        # A randomised decomposition finds the first few without the rest: whole pictures have thousands of numbers.
        wanted = min(self.latent_dim + 8, *patches.shape)
        if wanted < self.latent_dim:
            raise InputError(f"patch latents: found {len(patches)} patches, expected {self.latent_dim} or more")
        _, _, vectors = torch.svd_lowrank(patches, wanted, niter=4)
        self.components.copy_(vectors.T[: self.latent_dim])
        self.scale.copy_((patches @ self.components.T).std().clamp(min=1e-6))
        return self

    def encode(self, frames: UInt8[Tensor, "*batch C S S"]) -> Float[Tensor, "*batch N D"]:
        """Latents of about unit variance, row by row of the grid."""
        flat = signed(frames.flatten(0, -4)) - self.mean
        latents = self._patches(flat) @ self.components.T / self.scale
        return latents.view(*frames.shape[:-3], *latents.shape[1:])

    def decode(self, latents: Float[Tensor, "*batch N D"]) -> UInt8[Tensor, "*batch C S S"]:
        """Pictures of latents, clamped to what bytes can say."""
        flat = (latents.flatten(0, -3) * self.scale) @ self.components
        patch, side = self.config.patch, self.side
        tiles = flat.view(-1, side, side, self.channels, patch, patch).permute(0, 3, 1, 4, 2, 5)
        pictures = tiles.reshape(-1, *self.mean.shape) + self.mean
        return to_levels(pictures).view(*latents.shape[:-2], *self.mean.shape)

    def _patches(self, frames: Float[Tensor, "B C S S"]) -> Float[Tensor, "B N P"]:
        patch = self.config.patch
        tiles = frames.unfold(2, patch, patch).unfold(3, patch, patch)
        return tiles.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
