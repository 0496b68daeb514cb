"""Bodies of models of transitions between observations or frames, and of what knows where their data end."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.components import build, load, notes
from burnish.config import to_dict
from burnish.data import Dataset, RowSampler, WindowBatch, Windows
from burnish.errors import InputError
from burnish.pipeline import SCALING, StageContext
from burnish.policies import Agent
from burnish.recipes.stages.data import Split
from burnish.recipes.stages.training import train, validation
from burnish.training import TrainingConfig
from burnish.world_models import (
    DataSupport,
    DiffusionConfig,
    DiffusionWorldModel,
    DisagreementEnsemble,
    EnsembleConfig,
    HistoryConfig,
    ObservationHistory,
    OnFrames,
    PixelDiffusion,
    PixelDiffusionConfig,
    PixelHistory,
    PixelHistoryConfig,
    SeveralWorlds,
    SupportConfig,
    TransitionSpace,
    learned_dimensions,
    position_differences,
)


def train_world_model(
    context: StageContext,
    data: Split,
    policy: Agent | None,
    history: HistoryConfig | PixelHistoryConfig,
    model: DiffusionConfig | PixelDiffusionConfig,
    training: TrainingConfig,
    seed: int,
) -> DiffusionWorldModel | PixelDiffusion:
    """EDM-preconditioned diffusion over the next observation or frame, given H of them and two-hot actions."""
    episodes, held_out = data
    torch.manual_seed(seed)
    if isinstance(model, PixelDiffusionConfig):
        assert isinstance(history, PixelHistoryConfig)
        world = PixelDiffusion(PixelHistory(episodes.action_dim, history), model).fit(episodes)
    else:
        assert isinstance(history, HistoryConfig)
        world = build(model, transition_space(history, episodes, policy))
    windows = windows_for(episodes, history.frames, model.rollout_steps, context.device)
    validate = validation(world, episodes, held_out, training, seed)
    return train(context, world.to(context.device), windows, training, seed, validate)


def together(context: StageContext, worlds: tuple[Any, ...]) -> SeveralWorlds:
    """Several world models as one; each was trained by a stage of its own."""
    return SeveralWorlds(worlds)


def take_over_world_model(
    context: StageContext,
    source: Path,
    data: Split,
    policy: Agent,
    history: PixelHistoryConfig,
    model: PixelDiffusionConfig,
) -> PixelDiffusion:
    """A frozen world model of frames that was trained elsewhere; how fast it is, this run says.

    Raises:
        InputError: it is none, or it was made for other pictures or actions than this run's.
    """
    found = load(source, PixelDiffusion).check(data[0])
    scaling = data[0].info.scaling
    if notes(source).get(SCALING) != (None if scaling is None else to_dict(scaling)):
        raise InputError(f"{source}: this world model knows actions that were scaled otherwise than this run's data")
    if found.history.config != history:
        raise InputError(f"{source}: this world model sees {found.history.config}, expected config.history, {history}")
    faster = replace(found.config, speed=model.speed)
    same = PixelDiffusion(found.history, faster, found.adapter, found.latent_dim)
    same.load_state_dict(found.state_dict())
    return same


def train_ensemble(
    context: StageContext,
    data: Split,
    policy: Agent | None,
    history: HistoryConfig,
    model: EnsembleConfig,
    training: TrainingConfig,
    seed: int,
    pool: int | None = None,
) -> DisagreementEnsemble | OnFrames:
    """Bootstrapped predictors of the mean change; the threshold comes from held-out real windows.

    With `pool` the data are coarse pictures, and the ensemble is for a world model of frames.
    """
    episodes, held_out = data
    torch.manual_seed(seed + 1)
    ensemble = DisagreementEnsemble(transition_space(history, episodes, policy), model).to(context.device)
    train(context, ensemble, ensemble.bootstrap(episodes, seed), training, seed)
    context.record("threshold", ensemble.calibrate(held_out))
    return ensemble if pool is None else OnFrames(ensemble, pool)


def fit_support(
    context: StageContext, data: Split, ensemble: DisagreementEnsemble | OnFrames, model: SupportConfig, seed: int
) -> DataSupport | OnFrames:
    """The distance to the data, in the ensemble's space; the threshold comes from held-out windows."""
    if isinstance(ensemble, OnFrames):
        return OnFrames(DataSupport.fit(ensemble.inner.space, model, *data, seed), ensemble.size)
    return DataSupport.fit(ensemble.space, model, *data, seed)


def transition_space(history: HistoryConfig, training: Dataset, policy: Agent | None) -> TransitionSpace:
    """The space in which transitions are predicted, with the policy's normaliser; without a policy, one of its own.

    Raises:
        InputError: nothing that is observed changes within an episode.
    """
    training = training.thinned()
    learned, differences = learned_dimensions(training), position_differences(training)
    if not learned:
        raise InputError(
            f"the data set: none of {training.observation_dim} observed dimensions changes within an episode, so there "
            "is nothing to predict; burnish data inspect shows what is recorded"
        )
    space = TransitionSpace(training.observation_dim, training.action_dim, learned, history, differences)
    if policy is not None:
        space.normaliser.load_state_dict(policy.observer.normaliser.state_dict())
    else:
        ObservationHistory.fit(space, training)
    return space.to(training.device).fit(training)


# ---------------------------------------------------------------------------------------------------------------------
# Data that are larger than the device.


def windows_for(dataset: Dataset, history: int, horizon: int, device: torch.device) -> "Windows | MovedWindows":
    """Windows on `device`: of a dataset that lies there, else batch by batch."""
    windows = Windows(dataset, history, horizon)
    return windows if dataset.device.type == device.type else MovedWindows(windows, device)


class MovedWindows(RowSampler[Tensor]):
    """Windows of a dataset elsewhere, each batch on `device`."""

    def __init__(self, windows: Windows, device: torch.device) -> None:
        self.windows, self.device = windows, device

    def draw(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """As `Windows.draw`."""
        return self.windows.draw(batch_size, generator)

    def gather(self, drawn: Tensor) -> WindowBatch:
        """As `Windows.gather`, then moved."""
        return self.windows.gather(drawn).to(self.device)
