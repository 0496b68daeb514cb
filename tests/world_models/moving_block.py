"""A known world with depth as a dataset: a red block that the action moves over a grey wall, seen by one camera."""

import dataclasses

import numpy as np
import torch

from burnish.data import STATE, Camera, Dataset, DatasetInfo, Episode, depth_camera, image_key, pack_depth

VIEW, SIZE = "front", 16
COLOURS, DEPTH = image_key(VIEW), image_key(depth_camera(VIEW))
CAMERA = Camera((1.0, 1.0), (0.5, 0.5), (1, 0, 0, 0, 1, 0, 0, 0, 1), (0.0, 0.0, 0.0))
"""At the origin, looking along z: 16 pixels see 2 m of the wall, which is 2 m away."""
WALL, BLOCK = 2.0, 1.5
SIDE = 0.375
"""Metres of the block's side: 4 pixels."""


def pictures(position: np.ndarray) -> dict[str, torch.Tensor]:
    """Of a block whose middle is at `position` (F, 2), metres from the camera's axis: uint8 (F, 16, 16, 3) each."""
    pixel = ((np.arange(SIZE) + 0.5) / SIZE - 0.5) * BLOCK
    across = np.abs(pixel - position[:, :1]) <= SIDE / 2
    down = np.abs(pixel - position[:, 1:]) <= SIDE / 2
    block = (down[:, :, None] & across[:, None, :])[..., None]
    colours = np.where(block, np.array([220, 30, 30]), np.array([90, 90, 90])).astype(np.uint8)
    depth = pack_depth(np.where(block[..., 0], BLOCK, WALL))
    return {COLOURS: torch.from_numpy(colours), DEPTH: torch.from_numpy(depth)}


def moving_block(episodes: int, length: int = 10, seed: int = 0) -> Dataset:
    """x' = clamp(x + 0.2 a) in metres, from a random place; actions are uniform in [-1, 1]² and keep a tendency."""
    generator = np.random.default_rng(seed)
    recorded, places = [], []
    for number in range(episodes):
        action = np.clip(generator.uniform(-1, 1, 2) + 0.3 * generator.normal(size=(length, 2)), -1, 1)
        place = np.empty((length, 2))
        place[0] = generator.uniform(-0.4, 0.4, 2)
        for t in range(length - 1):
            place[t + 1] = np.clip(place[t] + 0.2 * action[t], -0.5, 0.5)
        observation = {STATE: place.astype(np.float32)}
        success = np.zeros(length, bool)
        recorded.append(Episode(observation, action.astype(np.float32), success, "expert", number, "block"))
        places.append(place)
    dataset = Dataset.from_episodes(recorded, DatasetInfo(fps=10))
    return dataclasses.replace(dataset, observations=pictures(np.concatenate(places)))
