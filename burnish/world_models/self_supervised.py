"""An encoder of pictures that learned without labels and without drawing: VICReg (arXiv 2105.04906)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.components import Component
from burnish.config import within
from burnish.data import Dataset, WindowBatch
from burnish.errors import InputError
from burnish.networks import LatentEncoder, level_widths, random_shift
from burnish.world_models.picture_encoding import checked_pictures, encoded_in_parts, shapes_of

_LEAST_STD = 1e-4


@dataclass(frozen=True)
class SelfSupervisedConfig:
    """Sizes, what views of a picture differ by, and the weights of the loss."""

    cameras: tuple[str, ...] = ("corner3", "topview")
    image_size: int = within(32, 8)
    latent_dim: int = within(32, 1)
    width: int = within(16, 1)
    """Channels of the first convolution."""
    hidden: int = within(128, 1)
    expanded: int = within(256, 1)
    """Dimensions in which views are compared; the expander is left behind after training."""
    shift: int = within(1, 0)
    """Views are moved by up to so many pixels."""
    contrast: float = within(0.3, 0, 1, open_high=True)
    """Contrast and brightness of a view differ from the picture's by up to this share."""
    pixel_noise: float = within(0.05, 0)
    """Standard deviation of noise on the pixels of a view, of 2 for black to white."""
    invariance_weight: float = within(25.0, 0)
    variance_weight: float = within(25.0, 0)
    covariance_weight: float = within(1.0, 0)


class SelfSupervised(Component):
    """Pictures to vectors (B, Z): two views of a picture are to be alike, pictures are to differ in every dimension.

    It has no decoder: what it keeps of a picture is what tells it from others.
    """

    loss_compares_rows = True
    tokens = 1

    def __init__(self, config: SelfSupervisedConfig) -> None:
        super().__init__()
        if not config.cameras:
            raise InputError("self-supervised encoder: found no camera, expected at least one")
        self.config, self.latent_dim = config, config.latent_dim
        widths = level_widths(config.image_size, config.width)
        self.encoder = LatentEncoder(3 * len(config.cameras), widths, config.hidden, config.latent_dim)
        layers = [nn.Linear(config.latent_dim, config.expanded), nn.LayerNorm(config.expanded), nn.SiLU()]
        self.expander = nn.Sequential(*layers, nn.Linear(config.expanded, config.expanded))

    @property
    def observation_shapes(self) -> dict[str, tuple[int, ...]]:
        """What one observation holds, by LeRobot's keys."""
        return shapes_of(self.config.cameras, self.config.image_size)

    def encode(self, observation: dict[str, Tensor]) -> Float[Tensor, "B Z"]:
        """The features of pictures (B, S, S, 3) uint8.

        Raises:
            InputError: a camera is missing, or its pictures have another size or dtype.
        """
        return self.encoder(checked_pictures(observation, self.observation_shapes))

    def encode_dataset(self, dataset: Dataset) -> Float[Tensor, "F Z"]:
        """The features of every frame."""
        return encoded_in_parts(self, dataset)

    def loss(self, batch: WindowBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Invariance, variance and covariance (Eqs. 1-6) of two views of the windows' present pictures."""
        pictures = checked_pictures(
            {key: each[:, 0] for key, each in batch.observation.items()}, self.observation_shapes
        )
        one, two = (self.expander(self.encoder(self._view(pictures))) for _ in range(2))
        return vicreg(one, two, self.config)

    def _view(self, pictures: Float[Tensor, "B C S S"]) -> Float[Tensor, "B C S S"]:
        c, shape = self.config, (len(pictures), 1, 1, 1)
        moved = random_shift(pictures, c.shift)
        gain, offset = (c.contrast * (2 * torch.rand(shape, device=pictures.device) - 1) for _ in range(2))
        return moved * (1 + gain) + offset + c.pixel_noise * torch.randn_like(moved)


def vicreg(
    one: Float[Tensor, "B E"], two: Float[Tensor, "B E"], config: SelfSupervisedConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of two views of the same B pictures, and its three parts before they are weighted."""
    invariance = (one - two).square().mean()
    variance, covariance = one.new_zeros(()), one.new_zeros(())
    for view in (one, two):
        centred = view - view.mean(0)
        std = (centred.square().sum(0) / (len(view) - 1) + _LEAST_STD).sqrt()
        variance = variance + nn.functional.relu(1 - std).mean() / 2
        matrix = centred.T @ centred / (len(view) - 1)
        covariance = covariance + (matrix.square().sum() - matrix.diagonal().square().sum()) / view.shape[1]
    parts = {"invariance": invariance, "variance": variance, "covariance": covariance}
    loss = sum(getattr(config, f"{name}_weight") * value for name, value in parts.items())
    return torch.as_tensor(loss), {name: value.detach() for name, value in parts.items()}
