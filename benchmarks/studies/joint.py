"""One world model for several tasks (World4RL, section III-A): trained on the data sets of several runs on frames."""

from collections.abc import Sequence
from pathlib import Path

from burnish.data import Dataset
from burnish.errors import InputError
from burnish.pipeline import External, Run, SharedRun, StageContext, execute, stage
from burnish.pipeline.finished import finished_manifest
from burnish.recipes.how import chosen_device
from burnish.recipes.runs import reopen
from burnish.recipes.stages.data import whole
from burnish.recipes.stages.transitions import train_world_model
from burnish.recipes.world4rl import World4RL
from burnish.rewards import RewardConfig
from burnish.training import ALONE, TrainingConfig
from burnish.world_models import PixelDiffusion, PixelDiffusionConfig, PixelHistoryConfig

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

    Each run's held-out episodes stay held out. `folder` becomes a run folder of one stage: the same call again goes on
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
    settings = {"history": opened[0].history, "model": config, "training": training, "seed": seed}
    shares = [each.held_out for each in opened]
    found = [_dataset(Path(run)) for run in run_folders]
    data = [External(f"data_{index}", path, counted=False) for index, (path, _) in enumerate(found)]
    contents = [content for _, content in found]
    wanted = stage(train_on_all, STAGE, data=data, contents=contents, shares=shares, **settings)
    with Run.create(folder, RECIPE, None, seed, {**settings, "shares": shares}, device) as run:
        execute([wanted], SharedRun(run, run.folder, ALONE), chosen_device(device))
        return run.folder / STAGE


def train_on_all(
    context: StageContext,
    data: Sequence[Path],
    contents: Sequence[str],
    shares: Sequence[float],
    history: PixelHistoryConfig,
    model: PixelDiffusionConfig,
    training: TrainingConfig,
    seed: int,
) -> PixelDiffusion:
    """The stage: all training episodes of all data sets as one; `contents` says which data these are."""
    seen = [whole(folder, history.cameras, False, RewardConfig()) for folder in data]
    parts = [each.split(share, seed=0)[0] for each, share in zip(seen, shares, strict=True)]
    joined = joined_datasets(parts)
    context.record("episodes", joined.num_episodes)
    context.record("frames", joined.num_frames)
    world = train_world_model(context, (joined, joined), None, history, model, training, seed)
    assert isinstance(world, PixelDiffusion)
    return world


def _opened(run: Path) -> World4RL:
    config = reopen(run).config
    if not isinstance(config, World4RL) or not isinstance(config.history, PixelHistoryConfig):
        raise InputError(f"{run}: found a run of another recipe, expected world4rl on frames")
    return config


def _dataset(run: Path) -> tuple[Path, str]:
    """The run's finished data set, and the hash of its content (its decoded pictures may come and go)."""
    manifest = finished_manifest(run / "dataset")
    if manifest is None:
        raise InputError(f"{run}: the data set is not done yet; record it first (burnish collect {run})")
    return run / "dataset", manifest["content"]


def joined_datasets(datasets: Sequence[Dataset]) -> Dataset:
    """The episodes of several datasets, one dataset's after another's.

    Raises:
        InputError: they differ in what is observed, in an action, or in the time of one frame.
    """
    times = {(each.info.fps, each.info.action_repeat) for each in datasets}
    if len(times) != 1:
        raise InputError(f"datasets to be joined: found (fps, action repeat) {sorted(times)}, expected one for all")
    return Dataset.from_episodes([episode for each in datasets for episode in each.to_episodes()], datasets[0].info)
