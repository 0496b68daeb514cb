"""What encoders of pictures have in common: which pictures they take, and a whole data set of them."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.data import Dataset, image_key
from burnish.errors import InputError
from burnish.networks import picture_channels

ENCODE_BATCH = 256


def shapes_of(cameras: Sequence[str], size: int) -> dict[str, tuple[int, ...]]:
    """The shape of each camera's picture, by LeRobot's keys."""
    return {image_key(name): (size, size, 3) for name in cameras}


def checked_pictures(observation: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> Float[Tensor, "B C S S"]:
    """The pictures of these keys, stacked on channels, in [-1, 1].

    Raises:
        InputError: a camera is missing, or its pictures have another size or dtype.
    """
    for key, shape in shapes.items():
        if key not in observation:
            raise InputError(f"found no '{key}' among {sorted(observation)}, expected this camera's pictures")
        found = observation[key]
        if found.dtype != torch.uint8 or tuple(found.shape[-3:]) != shape:
            raise InputError(
                f"field '{key}': found pictures of {found.dtype} and shape {tuple(found.shape[-3:])}, expected "
                f"torch.uint8 and {shape}: height, width, RGB"
            )
    return picture_channels([observation[key] for key in shapes])


@torch.no_grad()
def encoded_in_parts(encoder: Any, dataset: Dataset, rows: int = ENCODE_BATCH) -> Float[Tensor, "F Z"]:
    """What `encoder.encode` says of every frame, some rows at a time."""
    pictures = {key: dataset.observations[key] for key in encoder.observation_shapes if key in dataset.observations}
    chunks = torch.arange(dataset.num_frames, device=dataset.device).split(rows)
    return torch.cat([encoder.encode({key: each[index] for key, each in pictures.items()}) for index in chunks])
