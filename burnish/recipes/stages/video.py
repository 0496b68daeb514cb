"""Bodies of world models that learn from video first, and from few labelled steps what the robot's actions do."""

from pathlib import Path

import torch

from burnish.components import load
from burnish.data import labelled_steps, unlabelled_video
from burnish.errors import InputError
from burnish.pipeline import StageContext
from burnish.policies import Agent
from burnish.recipes.stages.data import Split
from burnish.recipes.stages.training import train, validation
from burnish.recipes.stages.transitions import windows_for
from burnish.training import TrainingConfig
from burnish.world_models import PixelDiffusion, PixelDiffusionConfig, PixelHistory, PixelHistoryConfig


def train_video_model(
    context: StageContext,
    data: Split,
    history: PixelHistoryConfig,
    model: PixelDiffusionConfig,
    training: TrainingConfig,
    seed: int,
) -> PixelDiffusion:
    """Diffusion over the next frame given the last H, of episodes as a video tells them: no action enters.

    Raises:
        InputError: there are no pictures, or nothing moves in them.
    """
    episodes = unlabelled_video(data[0], "the data set")
    torch.manual_seed(seed)
    video = PixelDiffusion(PixelHistory(0, history), model).fit(episodes).to(context.device)
    windows = windows_for(episodes, history.frames, model.rollout_steps, context.device)
    return train(context, video, windows, training, seed)


def take_over_video_model(context: StageContext, source: Path) -> PixelDiffusion:
    """A model of video that was trained elsewhere; `follow_labelled` checks what it sees."""
    return load(source, PixelDiffusion)


def follow_labelled(
    context: StageContext,
    data: Split,
    policy: Agent,
    video: PixelDiffusion,
    history: PixelHistoryConfig,
    model: PixelDiffusionConfig,
    training: TrainingConfig,
    steps: int | None,
    seed: int,
) -> PixelDiffusion:
    """The model of video, with modules that learn from `steps` labelled steps (None: all) what actions change.

    Raises:
        InputError: the model of video knows actions or sees other pictures, or there are not that many steps.
    """
    episodes, held_out = data
    if model.modules is None:
        raise InputError("config.world_model.modules: found none, expected the size of the modules that follow actions")
    labelled = episodes if steps is None else labelled_steps(episodes, steps, seed)
    torch.manual_seed(seed)
    world = PixelDiffusion.following_actions(video, PixelHistory(episodes.action_dim, history), model)
    world = world.fit(labelled).to(context.device)
    windows = windows_for(labelled, history.frames, model.rollout_steps, context.device)
    context.record("labelled_steps", int((labelled.lengths - 1).sum()))
    return train(context, world, windows, training, seed, validation(world, labelled, held_out, training, seed))
