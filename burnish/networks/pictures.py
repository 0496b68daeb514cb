"""Networks on flattened pictures: a small residual convolutional encoder, and random shifts (DrQ, arXiv 2004.13649)."""

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.errors import InputError
from burnish.networks.mlp import MLP

LEAST_SIZE = 32
_SLICE = 512  # rows at once where no gradient is kept: whole rollouts and data sets come in one call


def picture_shape(
    owner: str, feature_dim: int, frames: int, channels: int, image_size: int, least: int = 1
) -> tuple[int, int, int]:
    """(frames · channels, image_size, image_size), after checking that so many numbers are `feature_dim`.

    Raises:
        InputError: they are not, or the pictures are smaller than `least`; `owner` is named.
    """
    shape = (frames * channels, image_size, image_size)
    if image_size < least:
        raise InputError(f"{owner}: found image_size {image_size}, expected at least {least}")
    if math.prod(shape) != feature_dim:
        raise InputError(
            f"{owner}: found {feature_dim} features, expected frames × channels × image_size² = "
            f"{frames} × {channels} × {image_size}² = {math.prod(shape)}"
        )
    return shape


def random_shift(
    pictures: Float[Tensor, "B C H W"], pixels: int, generator: torch.Generator | None = None
) -> Float[Tensor, "B C H W"]:
    """Move each picture by whole pixels, uniform in [-pixels, pixels] along both axes; edges repeat.

    All channels of a row, so all its frames, move together. It equals DrQ's padding by replication and random crop.
    """
    if pixels == 0:
        return pictures
    count, channels, height, width = pictures.shape
    device = pictures.device
    offset = torch.randint(-pixels, pixels + 1, (2, count, 1), generator=generator, device=device)
    rows = (torch.arange(height, device=device) + offset[0]).clamp(0, height - 1)
    columns = (torch.arange(width, device=device) + offset[1]).clamp(0, width - 1)
    moved = pictures.gather(2, rows[:, None, :, None].expand(-1, channels, -1, width))
    return moved.gather(3, columns[:, None, None, :].expand(-1, channels, height, -1))


def group_norm(width: int) -> nn.GroupNorm:
    """GroupNorm with about eight channels a group; it needs no statistics of the batch or of the data."""
    return nn.GroupNorm(math.gcd(width, max(1, width // 8)), width)


class _ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [group_norm(width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def picture_stages(channels: int, widths: Sequence[int]) -> list[nn.Module]:
    """A strided 5×5 convolution, then for each further width a strided 3×3 one and a residual block (as in IMPALA)."""
    layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 5, stride=2, padding=2), nn.SiLU()]
    for before, width in itertools.pairwise(widths):
        layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), _ResidualBlock(width)]
    return layers


class PictureEncoder(nn.Module):
    """`picture_stages`, each of which halves the picture; the rest is flattened, which keeps places, and mapped.

    Pictures are square, of at least 32 pixels, in [-1, 1].
    """

    def __init__(self, channels: int, image_size: int, widths: Sequence[int], embedding: int) -> None:
        super().__init__()
        layers = picture_stages(channels, widths)
        side = -(-image_size // 2 ** len(widths))
        self.body = nn.Sequential(*layers, group_norm(widths[-1]), nn.SiLU(), nn.Flatten())
        self.output = nn.Sequential(nn.Linear(widths[-1] * side**2, embedding), nn.LayerNorm(embedding), nn.SiLU())

    def forward(self, pictures: Float[Tensor, "B C S S"]) -> Float[Tensor, "B E"]:
        """Embed pictures."""
        return self.output(self.body(pictures))


class PictureNetwork(nn.Module):
    """A `PictureEncoder` and an MLP on flattened pictures: (…, C · S²) to (…, output_dim), as `MLP` is on vectors."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        widths: Sequence[int],
        embedding: int,
        hidden: Sequence[int],
        output_dim: int,
        output_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.shape, self.output_dim = shape, output_dim
        self.encoder = PictureEncoder(shape[0], shape[1], widths, embedding)
        self.head = MLP(embedding, hidden, output_dim, output_scale)

    def forward(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch output"]:
        """Map (…, F) to (…, output_dim)."""
        rows = features.reshape(-1, *self.shape)
        slices = [rows] if torch.is_grad_enabled() else rows.split(_SLICE)
        output = torch.cat([self.head(self.encoder(part)) for part in slices])
        return output.reshape(*features.shape[:-1], self.output_dim)
