"""Pictures of CALVIN's own recordings, made as small as models want them while they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from burnish.data.checks import bad_input
from burnish.errors import InputError
from burnish_calvin.rendering import CAMERAS


def check_cameras(cameras: tuple[str, ...], image_size: int) -> None:
    """Raises InputError for an unknown camera, one that is named twice, or a size below 1."""
    unknown = [name for name in cameras if name not in CAMERAS]
    if unknown or len(set(cameras)) < len(cameras):
        raise InputError(f"cameras: found {', '.join(cameras)}, expected different ones of: {', '.join(CAMERAS)}")
    if image_size < 1:
        raise InputError(f"image_size: found {image_size}, expected at least 1 pixel")


def read_picture(path: Path, value: Any, camera: str, size: int) -> np.ndarray:
    """The picture of a frame's field, rgb_CAMERA, as uint8 (size, size, 3): each pixel the mean of its area.

    Raises:
        InputError: it is no square picture of 8-bit colours.
    """
    field = picture_field(camera)
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3:
        found = f"shape {np.shape(value)} of type {getattr(value, 'dtype', type(value).__name__)}"
        raise bad_input(path, found, "uint8 (size, size, 3)", field=field)
    if value.shape[0] != value.shape[1] or value.shape[0] < size:
        raise bad_input(path, f"{value.shape[0]}×{value.shape[1]} pixels", f"a square of at least {size}", field=field)
    if len(value) == size:
        return value
    colours = torch.from_numpy(value).permute(2, 0, 1)[None].float()
    small = torch.nn.functional.interpolate(colours, size=(size, size), mode="area")
    return small[0].permute(1, 2, 0).round().byte().numpy()


def picture_field(camera: str) -> str:
    """CALVIN's name of a camera's pictures."""
    return f"rgb_{camera}"
