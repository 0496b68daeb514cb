"""A Gaussian policy on pictures: World4RL's image policy, learned with DrQ's random shifts."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.config import within
from burnish.networks import PictureNetwork, picture_shape, random_shift
from burnish.networks.pictures import LEAST_SIZE
from burnish.policies.gaussian import GaussianPolicy, GaussianPolicyConfig


@dataclass(frozen=True)
class PicturePolicyConfig(GaussianPolicyConfig):
    """What the features show, the encoder's size, and the augmentation; the head is `GaussianPolicyConfig`'s."""

    frames: int = within(1, 1)
    """Pictures in a row of features, oldest first."""
    channels: int = within(3, 1)
    """Numbers a pixel: 3, or 3 for each of several cameras."""
    image_size: int = within(64, 8)
    """Height and width in pixels; at least 32."""
    widths: tuple[int, ...] = within((16, 32, 32, 64), 1)
    """Channels of the encoder's stages; each halves the picture."""
    embedding: int = within(256, 1)
    hidden: tuple[int, ...] = within((256,), 1)
    shift: int = within(4, 0)
    """Random shifts of ± so many pixels while cloning (DrQ: 4 of 84); 0 for none."""


class PicturePolicy(GaussianPolicy):
    """`GaussianPolicy` whose features are (frames, channels, S, S) in [-1, 1], flattened.

    Only the trunk differs, for the critic too; the cap on σ, cloning and scoring are the Gaussian policy's own.
    """

    config: PicturePolicyConfig

    def trunk(self, hidden: Sequence[int], output_dim: int) -> nn.Module:
        """An encoder of its own and an MLP; InputError where the features are no such pictures."""
        c = self.config
        return PictureNetwork(self._shape(), c.widths, c.embedding, hidden, output_dim, output_scale=0.1)

    def augment(self, features: Float[Tensor, "B F"], generator: torch.Generator | None = None) -> Float[Tensor, "B F"]:
        """Random shifts; all frames of a row move together."""
        return random_shift(features.unflatten(1, self._shape()), self.config.shift, generator).flatten(1)

    def _shape(self) -> tuple[int, int, int]:
        c = self.config
        return picture_shape("picture policy", self.feature_dim, c.frames, c.channels, c.image_size, LEAST_SIZE)
