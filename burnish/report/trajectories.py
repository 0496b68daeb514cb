"""Moving pictures of states: where the hand and the objects are, from above and from the side."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

BODIES = {"hand": (0, 114, 178), "object1": (213, 94, 0), "object2": (166, 91, 138), "goal": (0, 158, 115)}
"""Bodies that are drawn, by the prefix of their names among the state's, with their colours."""
_PAPER, _FRAME, _LABEL = (255, 255, 255), (223, 227, 232), (105, 114, 125)
_VIEWS = (("from above", 0, 1), ("from the side", 1, 2))  # title, horizontal and vertical coordinate
_SCALE = 2  # drawn larger and shrunk, so that lines are smooth

Positions = Mapping[str, np.ndarray]


def positions(states: np.ndarray, names: Sequence[str] | None) -> dict[str, np.ndarray]:
    """The coordinates (T, 3) of the known bodies in states (T, D); empty where the names tell of none.

    A body that stays at the origin is one that the task does not have.
    """
    found = {}
    for body in BODIES:
        axes = [f"{body}_{axis}" for axis in "xyz"]
        if names is not None and all(axis in names for axis in axes):
            path = states[:, [names.index(axis) for axis in axes]]
            if np.abs(path).max() > 1e-6:
                found[body] = path
    return found


def draw_trajectories(paths: Positions, others: Positions, size: int) -> np.ndarray:
    """Frames (T, H, W, 3) uint8 of moving bodies and their traces, two views above each other.

    Args:
        paths: (T, 3) for each body.
        others: the paths of the picture that this one is to be compared with; both get the same scale.
        size: the width in pixels.
    """
    every = np.concatenate([path for group in (paths, others) for path in group.values()])
    low, high = every.min(0), every.max(0)
    centre, reach = (low + high) / 2, 0.6 * max(float((high - low).max()), 1e-3)
    length = len(next(iter(paths.values())))
    large = _SCALE * size
    height = large * 3 // 4

    def place(point: np.ndarray, horizontal: int, vertical: int, top: int) -> tuple[float, float]:
        scaled = (point - centre) / reach
        return large / 2 * (1 + scaled[horizontal]), top + height / 2 - large / 2 * scaled[vertical] * 0.75

    frames = []
    for frame in range(length):
        image = Image.new("RGB", (large, 2 * height), _PAPER)
        draw = ImageDraw.Draw(image)
        for row, (title, horizontal, vertical) in enumerate(_VIEWS):
            top = row * height
            draw.rectangle((0, top, large - 1, top + height - 1), outline=_FRAME, width=_SCALE)
            draw.text((6 * _SCALE, top + 4 * _SCALE), title, fill=_LABEL, font_size=11 * _SCALE)
            for body, path in paths.items():
                trace = [place(point, horizontal, vertical, top) for point in path[: frame + 1]]
                if len(trace) > 1:
                    draw.line(trace, fill=BODIES[body], width=_SCALE)
                x, y = trace[-1]
                radius = (3 if body == "goal" else 5) * _SCALE
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=BODIES[body])
        for row, body in enumerate(paths):
            place_text = ((70 + 55 * row) * _SCALE if size >= 200 else 0, height - 18 * _SCALE)
            draw.text(place_text, body, fill=BODIES[body], font_size=11 * _SCALE)
        frames.append(np.asarray(image.resize((size, 2 * height // _SCALE), Image.Resampling.BOX)))
    return np.stack(frames)
