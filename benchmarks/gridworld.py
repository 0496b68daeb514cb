"""A gridworld in several styles, drawn with NumPy: rooms with walls, one that walks, and five moves.

What a move does is the same in every style and looks different: colours, textures, shapes. So it tells whether latent
actions are about what was done. `record` makes episodes of legal moves only (against a wall nothing happens, and no
picture could say which move that was); `Room` is the world itself, for planning.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from burnish.data import Episode, image_key

CAMERA = "view"
CELLS, PIXELS = 5, 3
SIZE = CELLS * PIXELS + 1
"""One row and one column more, of wall."""
MOVES = np.array([[-1, 0], [1, 0], [0, -1], [0, 1], [0, 0]])
"""Up, down, left, right, stay: (row, column)."""


@dataclass(frozen=True)
class Style:
    """How a room looks."""

    floor: tuple[int, int, int]
    wall: tuple[int, int, int]
    walker: tuple[int, int, int]
    shape: str
    texture: str = "plain"


STYLES = {
    "plain": Style((20, 20, 20), (110, 110, 110), (230, 60, 50), "square"),
    "meadow": Style((60, 120, 50), (90, 60, 30), (240, 230, 80), "plus", "speckles"),
    "ice": Style((190, 215, 235), (60, 90, 160), (30, 30, 60), "cross", "stripes"),
    "lava": Style((60, 20, 20), (200, 90, 20), (90, 230, 240), "ring", "checks"),
}


class Room:
    """Random walls, one walker; the border is closed."""

    def __init__(self, style: Style, seed: int, walls: int = 4) -> None:
        self.style, self._random = style, np.random.default_rng(seed)
        self.walls = np.zeros((CELLS, CELLS), bool)
        for place in self._random.integers(0, CELLS, (walls, 2)):
            self.walls[tuple(place)] = True
        free = np.argwhere(~self.walls)
        self.place = free[self._random.integers(len(free))]
        self._ground = self._draw_ground()

    def legal(self) -> np.ndarray:
        """The moves that are possible here."""
        there = self.place + MOVES
        inside = ((there >= 0) & (there < CELLS)).all(1)
        return np.array([k for k in np.flatnonzero(inside) if not self.walls[tuple(there[k])]])

    def move(self, move: int) -> None:
        """Where a wall or the border is, nothing happens."""
        if move in self.legal():
            self.place = self.place + MOVES[move]

    def picture(self) -> np.ndarray:
        """uint8 (SIZE, SIZE, 3)."""
        drawn = self._ground.copy()
        row, column = self.place * PIXELS
        cell = drawn[row : row + PIXELS, column : column + PIXELS]
        cell[_SHAPES[self.style.shape]] = self.style.walker
        return drawn

    def _draw_ground(self) -> np.ndarray:
        ground = np.empty((SIZE, SIZE, 3), np.int16)
        ground[:] = self.style.floor
        row, column = np.indices((SIZE, SIZE))
        light = {
            "plain": np.zeros((SIZE, SIZE), int),
            "speckles": self._random.integers(-25, 26, (SIZE, SIZE)),
            "stripes": np.where((row + column) % 4 < 2, 12, -12),
            "checks": np.where((row // PIXELS + column // PIXELS) % 2, 14, -14),
        }[self.style.texture]
        ground += light[..., None].astype(np.int16)
        blocks = np.ones((SIZE, SIZE), bool)
        blocks[:-1, :-1] = np.kron(self.walls, np.ones((PIXELS, PIXELS), bool))
        ground[blocks] = self.style.wall
        return ground.clip(0, 255).astype(np.uint8)


_GRID = np.indices((PIXELS, PIXELS)) - (PIXELS - 1) / 2
_SHAPES = {
    "square": np.ones((PIXELS, PIXELS), bool),
    "plus": (_GRID == 0).any(0),
    "cross": np.abs(_GRID[0]) == np.abs(_GRID[1]),
    "ring": (_GRID != 0).any(0),
}


def one_hot(move: int) -> np.ndarray:
    """A move as the action of a data set, float32 (5,)."""
    return np.eye(len(MOVES), dtype=np.float32)[move]


def record(styles: Sequence[str], episodes: int, length: int, seed: int) -> list[Episode]:
    """Random walks, `episodes` in each style; a direction is kept for some time, as somebody walks who wants to go."""
    found = []
    for number, name in enumerate(styles):
        for index in range(episodes):
            one = seed + 100_000 * number + index
            room, random = Room(STYLES[name], one), np.random.default_rng([one, 1])
            pictures, actions, move = [], [], int(random.integers(len(MOVES)))
            for _ in range(length):
                legal = room.legal()
                if move not in legal or random.random() < 0.4:
                    move = int(random.choice(legal))
                pictures.append(room.picture())
                actions.append(one_hot(move))
                room.move(move)
            success = np.zeros(length, bool)
            observation = {image_key(CAMERA): np.stack(pictures)}
            found.append(Episode(observation, np.stack(actions), success, "random", one, name))
    return found
