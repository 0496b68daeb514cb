"""Convolutional encoder and decoder of 64×64 images, in DreamerV2's sizes (DiWA: depth 48)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

IMAGE_SIZE = 64
_ENCODER_KERNELS = (4, 4, 4, 4)
_DECODER_KERNELS = (5, 5, 6, 6)


class ImageEncoder(nn.Module):
    """Four convolutions of stride 2 with ELU: (…, 3, 64, 64) in [-1, 1] to (…, 32 · depth)."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        channels = (3, depth, 2 * depth, 4 * depth, 8 * depth)
        layers: list[nn.Module] = []
        for i, kernel in enumerate(_ENCODER_KERNELS):
            layers += [nn.Conv2d(channels[i], channels[i + 1], kernel, stride=2), nn.ELU()]
        self.body = nn.Sequential(*layers)
        self.output_dim = 8 * depth * 2 * 2

    def forward(self, images: Float[Tensor, "*batch 3 64 64"]) -> Float[Tensor, "*batch E"]:
        """Embed images."""
        leading = images.shape[:-3]
        return self.body(images.reshape(-1, *images.shape[-3:])).reshape(*leading, self.output_dim)


class ImageDecoder(nn.Module):
    """A linear layer and four transposed convolutions of stride 2: (…, F) to (…, 3, 64, 64)."""

    def __init__(self, input_dim: int, depth: int) -> None:
        super().__init__()
        self.input_channels = 32 * depth
        self.input = nn.Linear(input_dim, self.input_channels)
        channels = (self.input_channels, 4 * depth, 2 * depth, depth, 3)
        layers: list[nn.Module] = []
        for i, kernel in enumerate(_DECODER_KERNELS):
            layers.append(nn.ConvTranspose2d(channels[i], channels[i + 1], kernel, stride=2))
            if i < len(_DECODER_KERNELS) - 1:
                layers.append(nn.ELU())
        self.body = nn.Sequential(*layers)

    def forward(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch 3 64 64"]:
        """Draw images."""
        leading = features.shape[:-1]
        x = self.input(features.reshape(-1, features.shape[-1])).reshape(-1, self.input_channels, 1, 1)
        return self.body(x).reshape(*leading, 3, IMAGE_SIZE, IMAGE_SIZE)


def to_signed(images: Tensor) -> Float[Tensor, "*batch 3 64 64"]:
    """Images as data sets hold them, uint8 (…, 64, 64, 3), as networks want them: float in [-1, 1], channels first."""
    return images.movedim(-1, -3).to(torch.float32) / 127.5 - 1


def to_bytes(images: Float[Tensor, "*batch 3 64 64"]) -> Tensor:
    """The inverse of `to_signed`."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(-3, -1)
