"""From pictures as cameras make them to pictures as models read them: a part of them, in another size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from burnish.data.depth import coloured_camera
from burnish.data.lerobot_format import ColumnError
from burnish.errors import InputError

Region = tuple[int, int, int, int]
"""Top, left, height and width, in pixels of the camera."""
Crop = Region | Literal["centre"] | None


@dataclass(frozen=True)
class View:
    """What becomes of the pictures of one camera.

    Attributes:
        size: (height, width) that they are brought to; None for that of the region.
        crop: the region that is kept; "centre" for the largest square in the middle, None for all.
        chosen: whether pixels are chosen: the mean of two depths, byte by byte, is none.
    """

    size: tuple[int, int] | None = None
    crop: Crop = None
    chosen: bool = False

    def region(self, height: int, width: int) -> Region:
        """What is kept of a picture of this size; ColumnError where it has no such region."""
        if self.crop == "centre":
            side = min(height, width)
            return (height - side) // 2, (width - side) // 2, side, side
        if self.crop is None:
            return 0, 0, height, width
        top, left, high, wide = self.crop
        if top + high > height or left + wide > width:
            raise ColumnError(
                f"pictures of {height} x {width}", f"the region {top},{left},{high},{wide} in them (--crop)"
            )
        return top, left, high, wide

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of what becomes of a picture of this size."""
        return self.size or self.region(height, width)[2:]

    def keeps(self, height: int, width: int) -> bool:
        """Whether a picture of this size stays as it is."""
        return self.region(height, width) == (0, 0, height, width) and self.shape(height, width) == (height, width)

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """A picture, uint8 (H, W, 3), as it is read: every pixel is the mean of the area that it covers."""
        height, width = picture.shape[:2]
        if self.keeps(height, width):
            return picture
        top, left, high, wide = self.region(height, width)
        part = Image.fromarray(np.ascontiguousarray(picture[top : top + high, left : left + wide]))
        rows, columns = self.shape(height, width)
        how = Image.Resampling.NEAREST if self.chosen else Image.Resampling.BOX
        return np.asarray(part.resize((columns, rows), how))


@dataclass(frozen=True)
class Framing:
    """What becomes of the pictures of all cameras.

    Attributes:
        size: (height, width) that they are brought to; None for that of the region.
        crops: the region of each camera by name; of the others, that of "".
    """

    size: tuple[int, int] | None = None
    crops: tuple[tuple[str, Crop], ...] = ()

    def of(self, camera: str) -> View:
        """What becomes of one camera's."""
        crops = dict(self.crops)
        return View(self.size, crops.get(camera, crops.get("")), coloured_camera(camera) is not None)

    @classmethod
    def told(cls, size: int | None, crops: tuple[str, ...]) -> Framing:
        """From the words of a command: `centre` or `TOP,LEFT,HEIGHT,WIDTH`, alone or after `CAMERA=`.

        Raises:
            InputError: something else, or two regions for one camera.
        """
        found: dict[str, Crop] = {}
        for words in crops:
            camera, _, region = words.rpartition("=")
            if camera in found:
                raise InputError(f"--crop: found two regions of {camera or 'every camera'}, expected one")
            found[camera] = "centre" if region == "centre" else _region(region, words)
        return cls(None if size is None else (size, size), tuple(found.items()))


def _region(text: str, words: str) -> Region:
    parts = text.split(",")
    if len(parts) == 4 and all(part.isascii() and part.isdigit() for part in parts):
        top, left, height, width = map(int, parts)
        if height and width and max(top, left, height, width) < 2**16:
            return top, left, height, width
    raise InputError(
        f"--crop is {words!r}, expected centre, or TOP,LEFT,HEIGHT,WIDTH in pixels (CAMERA=… for one camera)"
    )
