"""Masks by the colour that a phrase names."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

from burnish.errors import InputError
from burnish.masks.base import View

# Degrees of hue, and the least and largest saturation and value. What is neither is of no colour.
_GREY, _FULL = 0.15, 0.35
_RULES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "black": ((0, 360), (0, 1), (0, 0.22)),
    "white": ((0, 360), (0, 0.12), (0.8, 1.01)),
    "red": ((345, 375), (0.5, 1.01), (0.3, 1.01)),
    "orange": ((15, 42), (_FULL, 1.01), (0.65, 1.01)),
    "brown": ((10, 42), (_FULL, 1.01), (0.22, 0.65)),
    "yellow": ((42, 70), (_FULL, 1.01), (0.4, 1.01)),
    "green": ((70, 165), (_FULL, 1.01), (0.22, 1.01)),
    "cyan": ((165, 200), (_FULL, 1.01), (0.4, 1.01)),
    "blue": ((200, 255), (_FULL, 1.01), (0.22, 1.01)),
    "purple": ((255, 300), (_FULL, 1.01), (0.22, 1.01)),
    "magenta": ((300, 345), (0.5, 1.01), (0.3, 1.01)),
    "pink": ((300, 375), (_GREY, 0.5), (0.7, 1.01)),
}
COLOUR_WORDS = tuple(_RULES)
_NEIGHBOURS = 3


class ColourMasks:
    """Every pixel of the named colour that has company; each picture by itself, so nothing is ever lost for good.

    Two things of one colour are one mask.
    """

    def begin(self, view: View, phrases: Sequence[str]) -> Bool[np.ndarray, "K H W"]:
        """See `MaskProvider`.

        Raises:
            InputError: a phrase has no word for a colour.
        """
        self._colours = [_colour_of(phrase) for phrase in phrases]
        return self.follow(view)

    def follow(self, view: View) -> Bool[np.ndarray, "K H W"]:
        """See `MaskProvider`."""
        hsv = hue_saturation_value(view.picture)
        return np.stack([with_company(of_colour(hsv, colour), _NEIGHBOURS) for colour in self._colours])


def _colour_of(phrase: str) -> str:
    found = [word for word in phrase.split() if word in _RULES]
    if not found:
        raise InputError(f"'{phrase}' names no colour, expected one of: {', '.join(COLOUR_WORDS)}")
    return found[0]


def of_colour(hsv: Float[np.ndarray, "H W 3"], word: str) -> Bool[np.ndarray, "H W"]:
    """Where pixels have a colour."""
    (first, last), *others = _RULES[word]
    hue = hsv[..., 0]
    inside = ((hue >= first) & (hue < last)) | ((hue + 360 >= first) & (hue + 360 < last))
    for channel, (least, most) in enumerate(others, start=1):
        inside &= (hsv[..., channel] >= least) & (hsv[..., channel] < most)
    return inside


def hue_saturation_value(picture: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W 3"]:
    """Hue in degrees, saturation and value in [0, 1]."""
    rgb = picture.astype(np.float32) / 255
    most, least = rgb.max(-1), rgb.min(-1)
    span = np.maximum(most - least, 1e-6)
    red, green, blue = np.moveaxis(rgb, -1, 0)
    hue = np.where(
        most == red,
        (green - blue) / span % 6,
        np.where(most == green, (blue - red) / span + 2, (red - green) / span + 4),
    )
    return np.stack([60 * hue, (most - least) / np.maximum(most, 1e-6), most], axis=-1)


def with_company(mask: Bool[np.ndarray, "H W"], least: int) -> Bool[np.ndarray, "H W"]:
    """The pixels of a mask in whose 3 × 3 neighbourhood, themselves included, at least so many belong to it."""
    padded = np.pad(mask, 1).astype(np.uint8)
    height, width = mask.shape
    count = sum(padded[row : row + height, column : column + width] for row, column in np.ndindex(3, 3))
    return mask & (count >= least)
