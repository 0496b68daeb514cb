"""Two streams over a picture and its masks, fused by attention (TPM, arXiv 2306.05716, section III)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.networks.mlp import MLP
from burnish.networks.pictures import group_norm, picture_stages, stages_side

_SLICE = 512  # rows at once where no gradient is kept
_REDUCTION = 4


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


class TwoStreamNetwork(nn.Module):
    """One stream sees the colours, the other colours and masks; their last maps are stacked, weighted and flattened.

    (…, frames · channels · S²) to (…, output_dim), as `PictureNetwork`; a frame's last `masks` channels are masks. The
    paper reads its tokens by attention and their mean; flattened ones keep places, which small maps can afford.
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
        frames, channels, size, _ = shape
        self.shape, self.masks, (hidden, self.output_dim) = shape, masks, head
        self.colours = nn.Sequential(*picture_stages(frames * (channels - masks), widths))
        self.both = nn.Sequential(*picture_stages(frames * channels, widths))
        fused = 2 * widths[-1]
        self.fusion = nn.Sequential(group_norm(fused), nn.SiLU(), BlockAttention(fused), nn.Flatten())
        places = stages_side(size, len(widths)) ** 2
        self.embedding = nn.Sequential(nn.Linear(fused * places, embedding), nn.LayerNorm(embedding), nn.SiLU())
        self.head = MLP(embedding, hidden, self.output_dim, output_scale=0.1)

    def forward(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch output"]:
        """Map (…, F) to (…, output_dim)."""
        rows = features.reshape(-1, *self.shape)
        parts = [rows] if torch.is_grad_enabled() else rows.split(_SLICE)
        output = torch.cat([self._output(part) for part in parts])
        return output.reshape(*features.shape[:-1], self.output_dim)

    def _output(self, rows: Float[Tensor, "B T C S S"]) -> Float[Tensor, "B output"]:
        colours = rows[:, :, : -self.masks].flatten(1, 2)
        maps = torch.cat([self.colours(colours), self.both(rows.flatten(1, 2))], dim=1)
        return self.head(self.embedding(self.fusion(maps)))
