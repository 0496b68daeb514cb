"""DWS (arXiv 2502.07825): a model of video, which knows no actions, becomes a world model of a robot.

A diffusion model learns from video what happens next. Then every block of its network gets a module of two linear
layers, by which actions scale and shift what the block says: zero at birth, so that nothing of the video is lost, and
trained on steps with known actions, where what moves counts more than what stands still. In the world that results, PPO
refines a policy from start states that are drawn the more often the more the critic errs from there.

Everything else is World4RL's method on frames (`world4rl`, preset frames): data, cloning, the classifier of frames in
the place of the paper's reward head, pessimism and gate. Ours, since the paper's code and most of its numbers are not
known: the network of video learns along (accounts disagree), modules come after each block instead of inside its
feed-forward part (so that they fit a U-Net as well), a start's error is the mean over decisions from it and fades.
Where no model of video is brought along, one learns from the run's own pictures.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from burnish.config import within
from burnish.errors import InputError
from burnish.pipeline import External, Stage, stage
from burnish.recipes import world4rl
from burnish.recipes.base import Plan, RunSpec
from burnish.recipes.presets.world4rl import FRAMES
from burnish.recipes.stages.video import follow_labelled, take_over_video_model, train_video_model
from burnish.recipes.world4rl import World4RL
from burnish.training import TrainingConfig
from burnish.world_models import PixelDiffusionConfig, PixelHistoryConfig


@dataclass(frozen=True)
class DWS(World4RL):
    """World4RL's settings on frames, and those of the video."""

    video_from: str | None = None
    """Folder of a model of video that was trained elsewhere (the stage `video` of a run)."""
    video_training: TrainingConfig = FRAMES.world_model_training
    """Of the model of video, where none is brought along."""
    labelled_steps: int | None = within(None, 1)
    """Steps whose actions the world model learns to follow, the expert's first; None: all that were recorded."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.history, PixelHistoryConfig):
            raise InputError("config.history: DWS begins with video, expected one of pictures (cameras, image_size, …)")
        if self.worlds > 1 or self.world_model_from is not None:
            raise InputError(
                "config.worlds and config.world_model_from: DWS makes its own world model, expected 1, none"
            )


def recipe(c: DWS, run: RunSpec) -> Plan:
    """World4RL's order, with another world model."""
    return world4rl.recipe(c, run, video_that_follows)


def video_that_follows(c: DWS, space: dict[str, Any], seed: int) -> Stage:
    """First what happens, then what actions change about it."""
    assert isinstance(c.world_model, PixelDiffusionConfig)
    if c.video_from is not None:
        source = External("video_from", Path(c.video_from).absolute())
        video = stage(take_over_video_model, "video", source=source)
    else:
        of_video = replace(c.world_model, modules=None, motion_weight=0.0)
        settings = {"history": c.history, "model": of_video, "training": c.video_training, "seed": seed}
        video = stage(train_video_model, "video", data=space["data"], **settings)
    settings = {"model": c.world_model, "training": c.world_model_training, "steps": c.labelled_steps, "seed": seed}
    return stage(follow_labelled, "world_model", **space, video=video, **settings)
