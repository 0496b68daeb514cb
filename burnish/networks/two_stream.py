"""Two streams over a picture and its masks, fused by attention (TPM, arXiv 2306.05716, section III)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.networks.mlp import MLP
from burnish.networks.pictures import picture_stages

_SLICE = 512  # rows at once where no gradient is kept
_REDUCTION = 4
SIZE_UNIT = 8.0
"""Of a mask's share of its picture, which is small."""


class BlockAttention(nn.Module):
    """CBAM (arXiv 1807.06521): weights for channels, from their mean and maximum, then weights for places."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = max(1, width // _REDUCTION)
        self.channels = nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, width))
        self.places = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The same with weights in (0, 1)."""
        weight = (self.channels(x.mean((2, 3))) + self.channels(x.amax((2, 3)))).sigmoid()
        x = x * weight[:, :, None, None]
        return x * self.places(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)).sigmoid()


class SpatialSoftmax(nn.Module):
    """Where each map is large (arXiv 1504.00702): the mean place under its softmax, in [-1, 1], and the map's mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.full((width, 1), 3.0))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B three_C"]:
        """x, then y, then means."""
        weight = (x.flatten(2) * self.sharpness).softmax(-1).unflatten(2, x.shape[2:])
        return torch.cat([*_places(weight), x.mean((2, 3))], dim=1)


def moments(masks: Float[Tensor, "B C H W"]) -> Float[Tensor, "B four_C"]:
    """Of masks in [-1, 1], -1 for nothing: their middles x and y in [-1, 1] (0 of an empty one), sizes and values."""
    weight = (masks + 1) / 2
    size = weight.mean((2, 3))
    share = weight / weight.sum((2, 3), keepdim=True).clamp(min=1e-3)
    return torch.cat([*_places(share), SIZE_UNIT * size, weight.amax((2, 3))], dim=1)


def _places(share: Float[Tensor, "B C H W"]) -> tuple[Tensor, Tensor]:
    rows, columns = (torch.linspace(-1, 1, size, device=share.device) for size in share.shape[2:])
    return (share.sum(2) * columns).sum(-1), (share.sum(3) * rows).sum(-1)


class TwoStreamNetwork(nn.Module):
    """One stream sees the colours, the other colours and masks; their last maps are stacked and weighted (CBAM).

    (…, frames · channels · S²) to (…, output_dim), as `PictureNetwork`; a frame's last `masks` channels are masks. What
    is read from the maps is where they are large, and from the masks where they are: the paper's attention over tokens
    with codes of their positions, and the mean of it, in a form that learns from few pictures.
    """

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        masks: int,
        widths: Sequence[int],
        embedding: int,
        head: tuple[Sequence[int], int],
    ) -> None:
        """Make it.

        Args:
            shape: (frames, channels, S, S).
            masks: channels of each frame that are masks, at its end.
            widths: of the stages of either stream.
            embedding: the size of what both become.
            head: hidden sizes and output size of the MLP behind.
        """
        super().__init__()
        frames, channels, _, _ = shape
        self.shape, self.masks, (hidden, self.output_dim) = shape, masks, head
        self.colours = nn.Sequential(*picture_stages(frames * (channels - masks), widths))
        self.both = nn.Sequential(*picture_stages(frames * channels, widths))
        fused = 2 * widths[-1]
        self.fusion = nn.Sequential(BlockAttention(fused), SpatialSoftmax(fused))
        read = 3 * fused + 4 * frames * masks
        self.embedding = nn.Sequential(nn.Linear(read, embedding), nn.LayerNorm(embedding), nn.SiLU())
        self.head = MLP(embedding, hidden, self.output_dim, output_scale=0.1)

    def forward(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch output"]:
        """Map (…, F) to (…, output_dim)."""
        rows = features.reshape(-1, *self.shape)
        parts = [rows] if torch.is_grad_enabled() else rows.split(_SLICE)
        output = torch.cat([self._output(part) for part in parts])
        return output.reshape(*features.shape[:-1], self.output_dim)

    def _output(self, rows: Float[Tensor, "B T C S S"]) -> Float[Tensor, "B output"]:
        colours, masks = rows[:, :, : -self.masks].flatten(1, 2), rows[:, :, -self.masks :].flatten(1, 2)
        maps = torch.cat([self.colours(colours), self.both(rows.flatten(1, 2))], dim=1)
        return self.head(self.embedding(torch.cat([self.fusion(maps), moments(masks)], dim=1)))
