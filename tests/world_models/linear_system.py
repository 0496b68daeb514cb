"""A known system as a dataset: a point that actions push, beside dimensions that nothing moves."""

import numpy as np
import torch

from burnish.data import STATE, Dataset, DatasetInfo, Episode
from burnish.world_models import HistoryConfig, TransitionSpace, learned_dimensions

INFO = DatasetInfo(fps=10)


def episode(observation, action=None, success=None, source="expert", seed=0) -> Episode:
    """An episode of hand-written rows; actions default to zero, success to never."""
    observation = np.asarray(observation, np.float32)
    action = np.zeros((len(observation), 1)) if action is None else action
    success = np.zeros(len(observation)) if success is None else success
    return Episode(
        observation={STATE: observation},
        action=np.asarray(action, np.float32),
        success=np.asarray(success, bool),
        source=source,
        seed=seed,
        task="toy",
    )


def linear_system(
    episodes: int, length: int = 25, seed: int = 0, reach: float = 1.0, noise: float = 0.002, bend: float = 0.0
) -> Dataset:
    """x' = x + 0.1 a + bend sin(8 a) + noise in two dimensions; dimension 2 is a goal, fixed within an episode,
    dimension 3 is 0.7. Linear unless `bend` is given: then a network has something to learn.

    An episode has a constant tendency in [-reach, reach]² with some jitter, so positions move far from their start.
    """
    generator = np.random.default_rng(seed)
    recorded = []
    for index in range(episodes):
        tendency = generator.uniform(-reach, reach, 2)
        action = np.clip(tendency + 0.3 * reach * generator.normal(size=(length, 2)), -reach, reach)
        x = np.empty((length, 4))
        x[0] = [*generator.uniform(-0.3, 0.3, 2), generator.uniform(-1, 1), 0.7]
        for t in range(length - 1):
            x[t + 1] = x[t]
            x[t + 1, :2] += 0.1 * action[t] + noise * generator.normal(size=2) + bend * np.sin(8 * action[t])
        recorded.append(episode(x, action, seed=index))
    return Dataset.from_episodes(recorded, INFO)


def fitted_space(dataset: Dataset, frames: int = 3, **history) -> TransitionSpace:
    """The transition space of a dataset, with its normaliser."""
    config = HistoryConfig(frames=frames, **history)
    space = TransitionSpace(dataset.observation_dim, dataset.action_dim, learned_dimensions(dataset), config)
    space.normaliser.fit(dataset.observations[STATE])
    return space.fit(dataset)


def positions(state, space) -> torch.Tensor:
    """The newest frame of a state in the data's units."""
    return space.decode(state)[STATE]
