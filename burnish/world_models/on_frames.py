"""Where a world model of frames is not to be trusted, told from coarse pictures.

An ensemble and a distance to the data are cheap on vectors, and what a robot does shows in a picture of eight by eight
pixels: so frames are pooled, and the models of vectors do the rest.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from burnish.components import Component
from burnish.data import STATE, Dataset, is_image_key
from burnish.errors import InputError
from burnish.world_models.disagreement import DisagreementEnsemble
from burnish.world_models.history import HistoryState
from burnish.world_models.pixel_history import PixelHistoryState, signed
from burnish.world_models.support import DataSupport

_BATCH = 256


class OnFrames(Component):
    """An uncertainty about transitions of vectors, asked about those of frames."""

    def __init__(self, inner: DisagreementEnsemble | DataSupport, size: int) -> None:
        super().__init__()
        self.inner, self.size = inner, size
        self.name = inner.name

    @property
    def threshold(self) -> Tensor:
        """The inner one's."""
        return self.inner.threshold

    def forward(self, state: PixelHistoryState, action: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
        """Uncertainty about what `action` does."""
        frames = self.inner.space.normaliser.normalise(pooled(state.frames, self.size))
        return self.inner(HistoryState(frames, state.action, state.valid), action)


def pooled(frames: UInt8[Tensor, "*batch C S S"], size: int) -> Float[Tensor, "*batch D"]:
    """Means over `size` by `size` fields of each channel, in [-1, 1], flattened."""
    flat = signed(frames.flatten(0, -4))
    return nn.functional.adaptive_avg_pool2d(flat, size).flatten(1).unflatten(0, frames.shape[:-3])


@torch.no_grad()
def pooled_states(dataset: Dataset, size: int) -> Dataset:
    """The data set with its coarse pictures as state vectors, without names.

    Raises:
        InputError: it has no pictures.
    """
    keys = [key for key in dataset.observations if is_image_key(key)]
    if not keys:
        raise InputError(f"found no pictures among {sorted(dataset.observations)}, expected those of a camera")
    parts = []
    for rows in torch.arange(dataset.num_frames, device=dataset.device).split(_BATCH):
        pictures = [dataset.observations[key][rows].movedim(-1, -3) for key in keys]
        parts.append(pooled(torch.cat(pictures, dim=-3), size))
    info = replace(dataset.info, state_names=None)
    return replace(dataset, observations={STATE: torch.cat(parts)}, info=info)
