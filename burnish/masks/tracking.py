"""Detect once, track after: a classical tracker that learns how a thing looks from its first mask."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from burnish.config import within
from burnish.masks.base import MaskProvider, View
from burnish.masks.colours import with_company


@dataclass(frozen=True)
class TrackerConfig:
    """Of `TrackedMasks`."""

    bins: int = within(16, 2, 256)
    """Of each of red, green and blue."""
    likely: float = within(0.5, 0, 1, open_low=True, open_high=True)
    """A pixel belongs to the thing where its colour was more often on it than beside it, by this share."""
    lost_below: float = within(0.25, 0, 1, open_low=True)
    """Share of the first mask's size below which a thing is lost."""
    margin: int = within(3, 1)
    """Pixels beside the last box in which a thing is looked for first."""


class TrackedMasks:
    """Another provider's masks of the first picture, followed by mean shift on the back-projection of colours.

    The first mask's colours, each against how often it is seen beside it, tell how likely a pixel belongs to the thing
    (Swain and Ballard, 1991); a window moves to where that is densest (Bradski, 1998). A thing that was lost is looked
    for in the whole picture.
    """

    def __init__(self, detector: MaskProvider, config: TrackerConfig) -> None:
        self.detector, self.config = detector, config

    def begin(self, view: View, phrases: Sequence[str]) -> Bool[np.ndarray, "K H W"]:
        """See `MaskProvider`; what the detector does not find stays empty."""
        masks = self.detector.begin(view, phrases)
        self.things = [_Thing.of(view.picture, mask, self.config) if mask.any() else None for mask in masks]
        return masks

    def follow(self, view: View) -> Bool[np.ndarray, "K H W"]:
        """See `MaskProvider`."""
        colours = _colours(view.picture, self.config.bins)
        empty = np.zeros(colours.shape, bool)
        return np.stack([empty if thing is None else thing.follow(colours) for thing in self.things])


@dataclass
class _Thing:
    """One thing that is followed: how likely each colour is its own, its box's place and size, and its first size."""

    likely: Float[np.ndarray, " colours"]
    centre: np.ndarray
    box: np.ndarray
    pixels: int
    config: TrackerConfig

    @classmethod
    def of(cls, picture: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"], config: TrackerConfig) -> "_Thing":
        colours = _colours(picture, config.bins)
        on, beside = (np.bincount(colours[part], minlength=config.bins**3).astype(np.float64) for part in (mask, ~mask))
        # Shares of the thing's and of the rest's pixels would take a rare colour of a large background for the thing's.
        likely = on / np.maximum(on + beside, 1)
        places = np.argwhere(mask)
        box = places.max(0) - places.min(0) + 1
        return cls(likely, places.mean(0), box, len(places), config)

    def follow(self, colours: np.ndarray) -> Bool[np.ndarray, "H W"]:
        likely = self.likely[colours]
        found = self._shifted(likely, self.centre)
        if found.sum() < self.config.lost_below * self.pixels:
            found = self._shifted(likely, _densest(likely, self.box))
            if found.sum() < self.config.lost_below * self.pixels:
                return np.zeros_like(found)
        self.centre = np.argwhere(found).mean(0)
        return found

    def _shifted(self, likely: Float[np.ndarray, "H W"], centre: np.ndarray) -> Bool[np.ndarray, "H W"]:
        """The mask in the window to which `centre` moves."""
        reach = self.box / 2 + self.config.margin
        rows, columns = (np.arange(size) for size in likely.shape)
        inside = np.zeros(likely.shape, bool)
        for _ in range(10):
            inside = (np.abs(rows - centre[0]) <= reach[0])[:, None] & (np.abs(columns - centre[1]) <= reach[1])[None]
            weight = likely * inside
            total = weight.sum()
            if total <= 0:
                break
            moved = np.array([(weight.sum(1) * rows).sum(), (weight.sum(0) * columns).sum()]) / total
            if np.abs(moved - centre).max() < 0.5:
                break
            centre = moved
        return with_company(inside & (likely > self.config.likely), 3)


def _colours(picture: UInt8[np.ndarray, "H W 3"], bins: int) -> np.ndarray:
    """The number of each pixel's colour, (H, W)."""
    red, green, blue = np.moveaxis(picture.astype(np.int64) * bins // 256, -1, 0)
    return (red * bins + green) * bins + blue


def _densest(likely: Float[np.ndarray, "H W"], box: np.ndarray) -> np.ndarray:
    """The middle of the box in which most is likely."""
    summed = np.pad(likely.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    height, width = np.minimum(box, likely.shape)
    sums = summed[height:, width:] - summed[:-height, width:] - summed[height:, :-width] + summed[:-height, :-width]
    row, column = np.unravel_index(int(sums.argmax()), sums.shape)
    return np.array([row + (height - 1) / 2, column + (width - 1) / 2])
