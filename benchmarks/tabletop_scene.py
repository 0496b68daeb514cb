"""What may lie on the table of `benchmarks.tabletop_env`: shapes, colours, names, and how they look from above."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

HALF = 0.2
"""Of the table's side, in metres."""
HAND = "magenta hand"
HAND_RADIUS, PAD_RADIUS = 0.021, 0.045
SUPERSAMPLING = 3
"""Odd: the middle sample of a pixel says what it belongs to."""

COLOURS = {
    "red": (205, 50, 45),
    "green": (50, 160, 70),
    "blue": (45, 85, 200),
    "yellow": (235, 205, 60),
    "purple": (130, 60, 165),
    "orange": (240, 135, 40),
    "white": (240, 240, 235),
    "brown": (115, 75, 45),
    "pink": (240, 150, 190),
    "cyan": (80, 205, 215),
}
_HAND_COLOUR, _TABLE_COLOUR = (190, 20, 150), (150, 150, 148)

SEEN, UNSEEN = ("red cube", "green cylinder", "blue triangle"), ("yellow cross", "purple hexagon", "orange bar")
SEEN_PADS, UNSEEN_PADS = ("white pad", "brown pad"), ("pink pad", "cyan pad")


def _regular(corners: int, radius: float, turn: float = 0.0) -> np.ndarray:
    angles = turn + 2 * np.pi * np.arange(corners) / corners
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _rectangle(x: float, y: float) -> np.ndarray:
    return np.array([[x, y], [-x, y], [-x, -y], [x, -y]])


SHAPES: dict[str, tuple[np.ndarray, ...]] = {
    "cube": (_rectangle(0.027, 0.027),),
    "cylinder": (_regular(12, 0.031),),
    "triangle": (_regular(3, 0.04, np.pi / 2),),
    "cross": (_rectangle(0.037, 0.013), _rectangle(0.013, 0.037)),
    "hexagon": (_regular(6, 0.033),),
    "bar": (_rectangle(0.04, 0.017),),
    "pad": (_regular(12, PAD_RADIUS),),
}
"""Convex parts, corners counterclockwise, in metres about the centre."""


@dataclass(frozen=True)
class Placed:
    """A thing where it lies.

    Attributes:
        name: colour and shape, or `HAND`.
        place: (2,) metres from the table's centre.
        turn: radians.
    """

    name: str
    place: np.ndarray
    turn: float = 0.0

    @property
    def parts(self) -> list[np.ndarray]:
        """Its convex parts where they lie, each (corners, 2)."""
        if self.name == HAND:
            return [_regular(12, HAND_RADIUS) + self.place]
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        return [part @ np.array([[cos, sin], [-sin, cos]]) + self.place for part in SHAPES[self.name.split()[1]]]

    @property
    def colour(self) -> tuple[int, int, int]:
        """RGB."""
        return _HAND_COLOUR if self.name == HAND else COLOURS[self.name.split()[0]]


def draw(things: Sequence[Placed], size: int, light: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """The table from above; later things lie on earlier ones.

    Returns:
        The picture, uint8 (size, size, 3), and which thing each pixel shows, uint8 (size, size): its place among
        `things` plus 1, 0 for the table.
    """
    fine = size * SUPERSAMPLING
    axis = ((np.arange(fine) + 0.5) / fine * 2 - 1) * HALF
    owner = np.zeros((fine, fine), np.uint8)
    for number, thing in enumerate(things, start=1):
        for corners in thing.parts:
            # Rows go down the picture, so y is turned over.
            low, high = corners.min(0), corners.max(0)
            columns = slice(*np.searchsorted(axis, [low[0], high[0]]))
            rows = slice(fine - np.searchsorted(axis, high[1]), fine - np.searchsorted(axis, low[1]))
            x, y = axis[columns][None, :], -axis[rows][:, None]
            edges = np.roll(corners, -1, axis=0) - corners
            inside = np.ones((rows.stop - rows.start, columns.stop - columns.start), bool)
            for corner, edge in zip(corners, edges, strict=True):
                inside &= edge[0] * (y - corner[1]) - edge[1] * (x - corner[0]) >= 0
            owner[rows, columns][inside] = number
    table = tuple(round(value * light) for value in _TABLE_COLOUR)
    palette = np.array([table, *(thing.colour for thing in things)], np.uint16)
    total = np.zeros((size, size, 3), np.uint16)
    for row, column in np.ndindex(SUPERSAMPLING, SUPERSAMPLING):
        total += palette[owner[row::SUPERSAMPLING, column::SUPERSAMPLING]]
    samples, middle = SUPERSAMPLING**2, SUPERSAMPLING // 2
    picture = ((total + samples // 2) // samples).astype(np.uint8)
    return picture, owner[middle::SUPERSAMPLING, middle::SUPERSAMPLING].copy()
