"""Mask pictures as a few numbers that need no learning: where each mask is, how large, and its value.

World models of vectors work behind it (`Encoded`), and what they learn holds for things of any colour, since no colour
is in it, and of about any shape.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.components import Component
from burnish.config import within
from burnish.data import Dataset, image_key
from burnish.errors import InputError
from burnish.networks.two_stream import SIZE_UNIT, moments
from burnish.world_models.pixel_history import signed

_ENCODE_BATCH = 1024
_ROLES = 3


@dataclass(frozen=True)
class MaskMomentsConfig:
    """Which pictures are masks."""

    camera: str = "table_mask"
    image_size: int = within(32, 8)


class MaskMoments(Component):
    """Mask pictures (B, S, S, 3) uint8 to (B, 12) and back: x, y, size and value (`networks.moments`) of each role.

    What comes back are discs.
    """

    latent_dim = 4 * _ROLES

    def __init__(self, config: MaskMomentsConfig) -> None:
        super().__init__()
        self.config, self.key = config, image_key(config.camera)

    @property
    def observation_shapes(self) -> dict[str, tuple[int, ...]]:
        """What one observation holds, by LeRobot's keys."""
        return {self.key: (self.config.image_size, self.config.image_size, 3)}

    def encode(self, observation: dict[str, Tensor]) -> Float[Tensor, "B Z"]:
        """The moments of mask pictures.

        Raises:
            InputError: they are missing, or of another size, dtype or order of channels.
        """
        shape = self.observation_shapes[self.key]
        if self.key not in observation:
            raise InputError(f"found no '{self.key}' among {sorted(observation)}, expected this camera's pictures")
        found = observation[self.key]
        if found.dtype != torch.uint8 or tuple(found.shape[-3:]) != shape:
            raise InputError(f"{self.key}: found {found.dtype} {tuple(found.shape)}, expected torch.uint8 (…, {shape})")
        return moments(signed(found.movedim(-1, -3)))

    @torch.no_grad()
    def encode_dataset(self, dataset: Dataset) -> Float[Tensor, "F Z"]:
        """The moments of every frame."""
        if self.key not in dataset.observations:
            self.encode(dataset.observations)
        chunks = torch.arange(dataset.num_frames, device=dataset.device).split(_ENCODE_BATCH)
        return torch.cat([self.encode({self.key: dataset.observations[self.key][rows]}) for rows in chunks])

    def decode(self, latents: Float[Tensor, "B Z"]) -> dict[str, Tensor]:
        """Discs of these sizes at these places."""
        x, y, size, value = latents.unflatten(-1, (4, _ROLES)).unbind(-2)
        axis = torch.linspace(-1, 1, self.config.image_size, device=latents.device)
        # A disc that covers the share s / v of the picture's area of 4 at the value v.
        area = 4 * size / SIZE_UNIT / value.clamp(min=0.05)
        distance = (axis - x[..., None]).square()[..., None, :] + (axis - y[..., None]).square()[..., :, None]
        inside = distance <= (area / math.pi).clamp(min=0)[..., None, None]
        drawn = inside * value.clamp(0, 1)[..., None, None] * 255
        return {self.key: drawn.round().to(torch.uint8).movedim(-3, -1)}
