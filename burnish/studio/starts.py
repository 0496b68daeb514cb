"""How start states look, small: for the page where one is chosen."""

from typing import Any

import numpy as np

from burnish.data import STATE, is_image_key
from burnish.errors import InputError
from burnish.studio.opened import OpenedRun
from burnish.studio.protocol import packed


def starts_of(run: OpenedRun, frames: list[int]) -> bytes:
    """What recorded frames show: their states, or their pictures of the first camera.

    Raises:
        InputError: no such frame.
    """
    wrong = [frame for frame in frames if not 0 <= frame < run.data.num_frames]
    if wrong:
        raise InputError(f"frame {wrong[0]}: the data set has {run.data.num_frames}")
    shown: list[dict[str, Any]] = []
    pictures: list[np.ndarray] = []
    recorded = run.pictures
    for frame in frames:
        if recorded is not None:
            key = next(name for name in recorded.observations if is_image_key(name))
            shown.append({"frame": frame, "pictures": [len(pictures)]})
            pictures.append(recorded.observations[key][frame].numpy())
        else:
            state = run.data.observations[STATE][frame]
            shown.append({"frame": frame, "pictures": [], "state": [round(float(value), 5) for value in state]})
    return packed({"starts": shown}, pictures)
