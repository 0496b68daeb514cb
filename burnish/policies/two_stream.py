"""A Gaussian policy on pictures and masks in two streams, as TPM's (arXiv 2306.05716)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.config import within
from burnish.errors import InputError
from burnish.networks import TwoStreamNetwork
from burnish.policies.pictures import PicturePolicy, PicturePolicyConfig


@dataclass(frozen=True)
class TwoStreamPolicyConfig(PicturePolicyConfig):
    """A picture policy's, and what of a frame are masks."""

    channels: int = within(6, 2)
    """Numbers a pixel: colours, then masks."""
    widths: tuple[int, ...] = within((16, 32), 1)
    """Channels of either stream's stages; each halves the picture, and places are read from what is left."""
    masks: int = within(3, 1)
    """How many of them, at the end, are masks."""
    mask_dropout: float = within(0.1, 0, 1, open_high=True)
    """Probability, for each of a row's mask channels, of being empty while cloning: trackers lose things."""


class TwoStreamPolicy(PicturePolicy):
    """`PicturePolicy` whose features are (frames, colours then masks, S, S) in [-1, 1], flattened.

    Raises:
        InputError: no channel is left for colours.
    """

    config: TwoStreamPolicyConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def trunk(self, hidden: Sequence[int], output_dim: int) -> nn.Module:
        """Two streams of its own and an MLP."""
        c = self.config
        if c.masks >= c.channels:
            raise InputError(f"two-stream policy: found {c.masks} masks among {c.channels} channels, expected fewer")
        self._shape()
        shape = (c.frames, c.channels, c.image_size, c.image_size)
        return TwoStreamNetwork(shape, c.masks, c.widths, c.embedding, (hidden, output_dim))

    def augment(self, features: Float[Tensor, "B F"], generator: torch.Generator | None = None) -> Float[Tensor, "B F"]:
        """Random shifts of colours and masks together; some masks are empty, in all frames of a row."""
        c = self.config
        moved = super().augment(features, generator)
        if c.mask_dropout == 0:
            return moved
        rows = moved.view(-1, c.frames, c.channels, c.image_size**2)
        drawn = torch.rand(len(rows), 1, c.masks, 1, generator=generator, device=rows.device)
        masks = rows[:, :, -c.masks :].masked_fill(drawn < c.mask_dropout, -1.0)
        return torch.cat([rows[:, :, : -c.masks], masks], dim=2).flatten(1)
