"""The frozen models that imagine, read from the folders of a run's stages."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from burnish.components import frozen, load
from burnish.imagination import Models, Pessimism, with_own
from burnish.rewards import as_reward


def load_frozen(world: Path, reward: Path, uncertainties: Sequence[Path] = ()) -> Models:
    """What the stages of these folders left; InputError where one is damaged."""
    world_model: Any = frozen(load(world))
    learned: Any = frozen(load(reward))
    unsure: Any = tuple(frozen(load(folder)) for folder in uncertainties)
    return Models(world_model, as_reward(world_model, learned), Pessimism(with_own(world_model, unsure)))
