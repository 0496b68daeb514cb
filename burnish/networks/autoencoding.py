"""A small convolutional encoder and decoder between square pictures of any size and short vectors."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.errors import InputError

_GRID = 4
_GROUPS = 4


class LatentEncoder(nn.Module):
    """Convolutions of stride 2 down to a 4×4 grid, then two linear layers: (B, C, S, S) to (B, output_dim).

    `widths` are the channels of each level; S must be 4 · 2^levels. Normalisation is by groups, so that a picture's
    code depends on no other picture of its batch.
    """

    def __init__(self, channels: int, widths: tuple[int, ...], hidden: int, output_dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = channels
        for index, following in enumerate(widths):
            layers.append(nn.Conv2d(width, following, 4, stride=2, padding=1))
            # The first level keeps its contrast: normalised, the few pixels of a small object would set its scale.
            layers += [nn.GroupNorm(_GROUPS, following)] if index else []
            layers.append(nn.SiLU())
            width = following
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(width * _GRID**2, hidden), nn.LayerNorm(hidden), nn.SiLU(), nn.Linear(hidden, output_dim)
        )

    def forward(self, pictures: Float[Tensor, "B C S S"]) -> Float[Tensor, "B output"]:
        """Encode pictures."""
        return self.head(self.body(pictures).flatten(1))


class LatentDecoder(nn.Module):
    """The mirror image of `LatentEncoder`: (B, input_dim) to (B, C, S, S)."""

    def __init__(self, input_dim: int, hidden: int, widths: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.width = widths[-1]
        self.stem = nn.Sequential(
            nn.Linear(input_dim, hidden), nn.LayerNorm(hidden), nn.SiLU(), nn.Linear(hidden, self.width * _GRID**2)
        )
        layers: list[nn.Module] = []
        for width, following in zip(widths[:0:-1], widths[-2::-1], strict=True):
            layers += [nn.ConvTranspose2d(width, following, 4, stride=2, padding=1), nn.GroupNorm(_GROUPS, following)]
            layers.append(nn.SiLU())
        self.body = nn.Sequential(*layers, nn.ConvTranspose2d(widths[0], channels, 4, stride=2, padding=1))

    def forward(self, codes: Float[Tensor, "B input"]) -> Float[Tensor, "B C S S"]:
        """Draw pictures."""
        return self.body(self.stem(codes).view(-1, self.width, _GRID, _GRID))


def level_widths(size: int, base: int) -> tuple[int, ...]:
    """Channels of each level for pictures of `size`: `base` doubling every second level, multiples of four.

    Raises:
        InputError: the size is not 4 · 2^n for n ≥ 2 (16, 32, 64, 128, …).
    """
    levels = round(math.log2(size / _GRID)) if size >= _GRID else 0
    if levels < 2 or _GRID * 2**levels != size:
        raise InputError(f"autoencoder: found pictures of {size} pixels, expected 16, 32, 64, 128 or 2^n beyond")
    return tuple(_GROUPS * round(base * 2 ** (level / 2) / _GROUPS) for level in range(levels))


def picture_channels(pictures: list[Tensor]) -> Float[Tensor, "B C S S"]:
    """Cameras (B, S, S, 3) uint8, stacked on channels and scaled to [-1, 1]."""
    stacked = torch.cat([picture.movedim(-1, -3) for picture in pictures], dim=-3)
    return stacked.to(torch.float32) / 127.5 - 1
