"""The trust gate's stages: held-out worlds, and the decision which policy a run hands out."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from burnish.data import Dataset, folds
from burnish.evaluation.frozen import FrozenModels, load_frozen
from burnish.evaluation.gate import GateConfig
from burnish.evaluation.imagined_play import ImaginedPlay, imagined_play
from burnish.evaluation.agent import Agent
from burnish.pipeline import StageContext
from burnish.recipes.parts import Split
from burnish.training import TrainingConfig

_SEED_STRIDE = 7919
TrainWorld = Callable[[Any, int, Split, StageContext], None]


def train_held_out_worlds(
    config: Any, gate: GateConfig, seed: int, dataset: Dataset, train: TrainWorld, stage: StageContext
) -> None:
    """Worlds that refinement never sees: each with its own episodes, its own seed and its own success classifier.

    `train(config, seed, split, stage)` leaves world_model/, ensemble/ and classifier/ in the stage's folder.
    """
    shorter = _shortened(config, gate.training_share)
    for number, split in enumerate(folds(dataset, gate.worlds, seed)):
        train(shorter, seed + _SEED_STRIDE * (number + 1), split, stage.part(f"world_{number}"))


def _shortened(config: Any, share: float) -> Any:
    """A recipe's configuration with a share of its training steps."""

    def fewer(training: TrainingConfig) -> TrainingConfig:
        return replace(training, steps=max(1, round(share * training.steps)))

    names = ("world_model_training", "ensemble_training", "classifier_training")
    return replace(config, **{name: fewer(getattr(config, name)) for name in names})


def held_out_worlds(folder: Path) -> list[FrozenModels]:
    """What `train_held_out_worlds` left."""
    worlds = sorted(folder.glob("world_*"), key=lambda path: int(path.name.removeprefix("world_")))
    return [load_frozen(path / "world_model", path / "classifier", path / "ensemble") for path in worlds]


def plays(
    agent: Agent, worlds: list[FrozenModels], dataset: Dataset, episodes: int, seed: int
) -> list[ImaginedPlay]:
    """One play from each of the same `episodes` recorded episode starts in every world."""
    frames = gate_starts(dataset, episodes, seed)
    observation = {key: values[frames] for key, values in dataset.observations.items()}
    limit = dataset.info.max_steps or int(dataset.lengths.max())
    return [
        imagined_play(agent, world, world.world_model.recorded(dataset).rows(frames), observation, limit, seed + number)
        for number, world in enumerate(worlds)
    ]


def gate_starts(dataset: Dataset, episodes: int, seed: int) -> torch.Tensor:
    """First frames of recorded episodes that do not begin in success, drawn without replacement (as far as they go)."""
    first = dataset.starts[~dataset.success[dataset.starts]]
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(first), generator=generator)[:episodes]
    return first[order.to(first.device)]
