"""A known world of pictures as a dataset: a bright dot that the action moves over a dark ground."""

import dataclasses

import numpy as np
import torch

from burnish.data import STATE, Dataset, DatasetInfo, Episode, image_key

CAMERA = "top"
KEY = image_key(CAMERA)
SIZE = 8


def picture(position: torch.Tensor, size: int = SIZE) -> torch.Tensor:
    """A Gaussian dot at `position` (…, 2) in [-1, 1]²: uint8 (…, size, size, 3)."""
    grid = torch.linspace(-1, 1, size)
    row = torch.exp(-((grid - position[..., :1]) ** 2) / 0.06)
    column = torch.exp(-((grid - position[..., 1:]) ** 2) / 0.06)
    dot = row.unsqueeze(-1) * column.unsqueeze(-2)
    colour = torch.tensor([1.0, 0.6, 0.2])
    return (dot.unsqueeze(-1) * colour * 255).round().to(torch.uint8)


def moving_dot(episodes: int, length: int = 12, seed: int = 0, cameras: tuple[str, ...] = (CAMERA,)) -> Dataset:
    """x' = clamp(x + 0.35 a), from a random place; actions are uniform in [-1, 1]². All cameras see the same."""
    generator = torch.Generator().manual_seed(seed)
    action = torch.rand(episodes, length, 2, generator=generator) * 2 - 1
    position = torch.empty(episodes, length, 2)
    position[:, 0] = torch.rand(episodes, 2, generator=generator) * 1.6 - 0.8
    for t in range(length - 1):
        position[:, t + 1] = (position[:, t] + 0.35 * action[:, t]).clamp(-0.8, 0.8)
    recorded = [
        Episode({STATE: position[i].numpy()}, action[i].numpy(), np.zeros(length, bool), "expert", i, "dot")
        for i in range(episodes)
    ]
    dataset = Dataset.from_episodes(recorded, DatasetInfo(fps=10))
    pictures = {image_key(camera): picture(position.flatten(0, 1)) for camera in cameras}
    return dataclasses.replace(dataset, observations={**dataset.observations, **pictures})
