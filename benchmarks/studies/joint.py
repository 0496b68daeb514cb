"""One world model for several tasks (World4RL, section III-A): trained on the data sets of several runs on frames."""

from collections.abc import Sequence
from pathlib import Path

from burnish.recipes.device import chosen_device
from burnish.recipes.memory import memory_explained
from burnish.recipes.world4rl_frames import frames_of, train_world_model
from burnish.recipes.world4rl_frames_config import World4RLFramesConfig

from burnish.data import Dataset
from burnish.errors import InputError
from burnish.pipeline import Run, StageContext
from burnish.pipeline.finished import finished_manifest
from burnish.recipes.runs import reopen
from burnish.training import TrainingConfig
from burnish.world_models import PixelDiffusionConfig

RECIPE = "joint-world-model"
STAGE = "world_model"


def train_joint(
    run_folders: Sequence[Path],
    config: PixelDiffusionConfig,
    training: TrainingConfig,
    folder: Path,
    seed: int,
    device: str = "cpu",
) -> Path:
    """Train one `PixelDiffusion` on the data sets of several runs, and return its folder, for `world_model_from`.

    Each run's held-out episodes stay held out.  `folder` becomes a run folder of one stage: the same call again goes on
    where the last one stopped, or does nothing when it is done and no data set has changed.

    Raises:
        InputError: a run is not on frames or has no data set yet, or they look at different things.
    """
    opened = [_opened(Path(run)) for run in run_folders]
    if not opened:
        raise InputError("a joint world model: found no run to learn from, expected at least one")
    for run, other in zip(run_folders, opened, strict=True):
        if other.history != opened[0].history:
            raise InputError(f"{run}: looks at {other.history}, expected {opened[0].history} as {run_folders[0]} does")
    contents = [_content(Path(run)) for run in run_folders]
    settings = {"history": opened[0].history, "model": config, "training": training, "seed": seed}
    settings |= {"datasets": contents, "held_out": [each.held_out for each in opened]}

    def work(stage: StageContext) -> None:
        if (stage.folder / "config.json").exists():  # what is saved last: training was over when an attempt ended
            return
        parts = []
        for run, each in zip(run_folders, opened, strict=True):
            recorded = frames_of(Path(run) / "dataset", each.history.cameras)
            parts.append(recorded.split(each.held_out, seed=0)[0])
        joined = joined_datasets(parts)
        stage.record("episodes", joined.num_episodes)
        stage.record("frames", joined.num_frames)
        with memory_explained(STAGE):
            train_world_model(opened[0].history, config, training, seed, joined, chosen_device(device), stage)
        # Four times the model's size, and nobody's input.
        (stage.folder / "resume.safetensors").unlink(missing_ok=True)

    with Run.create(folder, RECIPE, None, seed, settings, device) as run:
        return run.stage(STAGE, settings, (), work)


def _opened(run: Path) -> World4RLFramesConfig:
    config = reopen(run).config
    if not isinstance(config, World4RLFramesConfig):
        raise InputError(f"{run}: found a run of another recipe, expected world4rl on frames")
    return config


def _content(run: Path) -> str:
    """What identifies the run's finished data set."""
    manifest = finished_manifest(run / "dataset")
    if manifest is None:
        raise InputError(f"{run}: the data set is not done yet; record it first (burnish collect {run})")
    return manifest["content"]


def joined_datasets(datasets: Sequence[Dataset]) -> Dataset:
    """The episodes of several datasets, one dataset's after another's.

    Raises:
        InputError: they differ in what is observed, in an action, or in the time of one frame.
    """
    times = {(each.info.fps, each.info.action_repeat) for each in datasets}
    if len(times) != 1:
        raise InputError(f"datasets to be joined: found (fps, action repeat) {sorted(times)}, expected one for all")
    return Dataset.from_episodes([episode for each in datasets for episode in each.to_episodes()], datasets[0].info)
