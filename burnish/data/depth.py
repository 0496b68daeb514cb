"""Depth beside pictures, and where the cameras stand that took them: what a scene in three dimensions is made of.

Depth travels as a picture of its own, of a camera `NAME_depth`: 16 bits of millimetres, the high byte in the first
channel, the low one in the second, nothing in the third; 0 is a hole. So it is recorded, stored (without loss), read
and observed like any other picture.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from burnish.config import from_dict
from burnish.data.checks import bad_input
from burnish.data.episodes import is_image_key
from burnish.errors import InputError
from burnish.storage import read_json

_SUFFIX = "_depth"
_PER_METRE = 1000
_NEAR, _FAR = 0.05, 30.0


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that stands still.

    A point p of the world, in metres, is at q = Rᵀ (p - position) to the camera (x right, y down, z forward) and at
    (focal_x q_x / q_z + centre_x, focal_y q_y / q_z + centre_y) in the picture, in widths and heights of it from the
    upper left corner. So nothing here changes with the picture's size.
    """

    focal: tuple[float, float]
    """In widths and heights; negative where the picture is mirrored."""
    centre: tuple[float, float]
    rotation: tuple[float, float, float, float, float, float, float, float, float]
    """R, from the camera's axes to the world's, row by row."""
    position: tuple[float, float, float]

    @classmethod
    def of(cls, focal: tuple[float, float], rotation: np.ndarray, position: np.ndarray) -> "Camera":
        """One that looks through the picture's middle, of a matrix (3, 3) and a vector (3,)."""
        nine, three = rotation.ravel().tolist(), position.tolist()
        return cls(focal, (0.5, 0.5), tuple(nine), tuple(three))  # pyright: ignore[reportArgumentType]

    def __post_init__(self) -> None:
        numbers = (*self.focal, *self.centre, *self.rotation, *self.position)
        if not all(map(math.isfinite, numbers)) or 0 in self.focal:
            raise InputError(f"a camera: found focal lengths {self.focal}, expected finite numbers that are not 0")
        rotation = np.array(self.rotation).reshape(3, 3)
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3:
            raise InputError(f"a camera: found the rotation {self.rotation}, expected an orthonormal matrix by rows")


def depth_camera(camera: str) -> str:
    """The name under which the depth of a camera's pictures is kept."""
    return camera + _SUFFIX


def coloured_camera(camera: str) -> str | None:
    """The camera whose depth this is; None where it is none."""
    return camera.removesuffix(_SUFFIX) if camera.endswith(_SUFFIX) else None


def is_shown_key(key: str) -> bool:
    """Whether an observation's key names pictures to look at: a camera's, and no depth, which is bytes of numbers."""
    return is_image_key(key) and coloured_camera(key) is None


def pack_depth(metres: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape 3"]:
    """Depth along the camera's axis as a picture; what is no positive number or beyond 65 m becomes a hole."""
    known = np.isfinite(metres) & (metres > 0) & (metres * _PER_METRE < 2**16 - 0.5)
    millimetres = np.where(known, metres * _PER_METRE + 0.5, 0).astype(np.uint16)
    return np.stack([millimetres >> 8, millimetres & 255, np.zeros_like(millimetres)], -1).astype(np.uint8)


def unpack_depth(picture: UInt8[Tensor, "*shape 3"]) -> Float[Tensor, "*shape"]:
    """Metres, 0 where there is a hole."""
    return (picture[..., 0].float() * 256 + picture[..., 1].float()) / _PER_METRE


def check_depth(picture: UInt8[Tensor, "F S S 3"], where: str, most_holes: float) -> float:
    """The share of holes in depth pictures.

    Raises:
        InputError: they are of another kind or in other units, or have more holes than `most_holes`.
    """
    if picture[..., 2].any():
        found = "a third channel that is not 0, as of a grey or a compressed picture"
        raise bad_input(where, found, "16 bits of millimetres: high byte, low byte, 0 (burnish.data.pack_depth)")
    metres = unpack_depth(picture)
    seen = metres[metres > 0]
    holes = 1 - len(seen) / max(1, metres.numel())
    if holes > most_holes:
        expected = f"at most {most_holes:.0%} (--config.autoencoder.most-holes)"
        raise bad_input(where, f"holes (0) in {holes:.0%} of the pixels", expected)
    middle = float(seen.median()) if len(seen) else 1.0
    if not _NEAR < middle < _FAR:
        found = f"a median of {middle:g} m when read as millimetres"
        raise bad_input(where, found, f"millimetres, between {_NEAR} and {_FAR:g} m (burnish.data.pack_depth)")
    return holes


def read_cameras(path: Path, names: Sequence[str]) -> tuple[Camera, ...]:
    """The cameras of these names from a JSON file, {name: {focal, centre, rotation, position}}.

    Raises:
        InputError: one is missing, or is no camera.
    """
    content: Any = read_json(path)
    if not isinstance(content, dict):
        raise bad_input(path, f"a {type(content).__name__}", "an object {camera: {focal, centre, rotation, position}}")
    found = []
    for name in names:
        if not isinstance(content.get(name), dict):
            raise bad_input(path, f"cameras {', '.join(content) or 'none'}", f"one of the name '{name}'", field=name)
        found.append(from_dict(Camera, content[name], f"{path}: field '{name}'"))
    return tuple(found)


def view_tensors(camera: Camera) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rotation (3, 3), position (3,), focal lengths (2,) and centre (2,)."""
    rotation = torch.tensor(camera.rotation).view(3, 3)
    return rotation, torch.tensor(camera.position), torch.tensor(camera.focal), torch.tensor(camera.centre)
