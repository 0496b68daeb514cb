"""The data of systems that learn from play: demonstrations beside ever noisier experts, recorded at once."""

from dataclasses import dataclass
from typing import Any

from burnish.config import within
from burnish.data import Recording
from burnish.pipeline import Stage, StageContext, stage
from burnish.recipes.base import RunSpec
from burnish.recipes.stages.data import check_cameras, own_data
from burnish.recipes.stages.recording import Real, noted


@dataclass(frozen=True)
class PlayConfig:
    """What is recorded in the simulator, once and before any learning."""

    demonstrations: int = within(5, 0)
    """Successful episodes of the scripted expert that the policy is cloned from (DiWA: 50 a skill)."""
    demonstration_noise: float = within(0.3, 0)
    """Standard deviation of the temporally correlated noise on the expert's actions."""
    play_episodes: int = within(300, 0)
    """Episodes of ever noisier experts, most of which fail: they stand for a person's play data (DiWA: 6 h)."""
    play_noise: tuple[float, ...] = within((0.2, 0.4, 0.6, 0.8), 0)
    random_episodes: int = within(30, 0)
    frames_after_success: int = within(8, 0)
    """Decisions recorded after the first success, so that the classifier sees what success looks like."""


def record_play(context: StageContext, real: Real, collect: PlayConfig) -> Recording:
    """Successful demonstrations, play (ever noisier experts) and random motion: the whole offline data."""
    c, recorder = collect, real.recorder
    others = [*recorder.noisy_experts(c.play_episodes, c.play_noise), *recorder.random_motion(c.random_episodes)]
    episodes = recorder.record_demonstrations(
        c.demonstrations, c.demonstration_noise, others, c.frames_after_success, context
    )
    return noted(context, Recording(episodes, recorder.info))


def play_or_own(c: Any, run: RunSpec, image_size: int | None = None) -> Stage:
    """The stage that leaves the data: play of `c.collect`, or what was brought along.

    Args:
        c: the recipe's configuration.
        run: where the data come from.
        image_size: of the pictures of `c.cameras` that models look at; None: they look at none.

    Raises:
        InputError: nobody can demonstrate the task, or the simulator does not record what models look at.
    """
    cameras = () if image_size is None else c.cameras
    if image_size is not None and run.simulator is not None:
        check_cameras(cameras, image_size, c.simulator)
    if run.own is not None:
        return own_data(run.own, run.task, cameras, c.reward, image_size)
    real = run.real(c)
    real.check_expert()
    return stage(record_play, "dataset", alone=True, real=real, collect=c.collect)
