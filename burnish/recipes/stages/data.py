"""Data: recorded in a simulator or brought along, and the ways in which stages read them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from burnish.config import from_dict, to_dict
from burnish.data import UNLABELLED, ActionScaling, Dataset, Recording, Windows, folds, is_image_key, read_dataset
from burnish.data.formats import ReadingRule
from burnish.data.mapped import MappedRows
from burnish.data.row_store import RowStore
from burnish.data.stored_pictures import FOLDER
from burnish.errors import InputError
from burnish.pipeline import Absent, Reading, Stage, StageContext, progress, stage
from burnish.recipes.own_data import Folder, OwnData, Role
from burnish.recipes.stages.recording import noted
from burnish.recipes.stages.training import train
from burnish.report.data_page import findings_section
from burnish.report.sections_run import actions_section
from burnish.rewards import RewardConfig
from burnish.simulators.settings import SimulatorConfig
from burnish.storage import read_json, write_json
from burnish.training import TrainingConfig
from burnish.world_models import (
    INSTRUCTION,
    Autoencoder,
    AutoencoderConfig,
    HistoryConfig,
    PixelHistoryConfig,
    as_states,
    pooled_states,
    with_instructions,
    with_latents,
)

SCALING_FILE = "scaling.json"
"""Beside a data set whose actions are in units of their own; there is none beside what was recorded in [-1, 1]."""

CACHE_FOLDER = ".cache/burnish"
"""Beside a recorded data set: its pictures, once they were decoded."""

Split = tuple[Dataset, Dataset]
"""Episodes that a model learns from, and others that calibrate it."""

# ---------------------------------------------------------------------------------------------------------------------
# Reading.


@dataclass(frozen=True)
class Recorded:
    """A data set as the stages of a run read it: whole, split for training and validation, or a fold of the gate.

    Attributes:
        stage: the one that left it.
        cameras: whose pictures are read.
        states: whether the state vector is.
        reward: what the run is after, which decides about rewards and success in the data.
    """

    stage: Stage
    cameras: tuple[str, ...] = ()
    states: bool = True
    reward: RewardConfig = RewardConfig()

    @property
    def whole(self) -> Reading:
        """All episodes."""
        return self._read(whole)

    def split(self, share: float) -> Reading:
        """(training, held out), by episode."""
        return self._read(split, share=share)

    def fold(self, number: int, count: int, seed: int) -> Reading:
        """(training, held out) of one of `count` folds."""
        return self._read(fold, number=number, count=count, seed=seed)

    def _read(self, function: Callable[..., Any], **settings: Any) -> Reading:
        how = {"cameras": self.cameras, "states": self.states, "reward": self.reward}
        return self.stage.read(function, **how, **settings)


@dataclass(frozen=True)
class Instructed(Recorded):
    """The same, with each frame's instruction among the observations."""

    def _read(self, function: Callable[..., Any], **settings: Any) -> Reading:
        read = super()._read(function, **settings)
        return replace(read, settings={**read.settings, "instructed": True})


def coarse(data: Reading, pool: int) -> Reading:
    """The same reading, with pictures of `pool` by `pool` pixels in the place of states."""
    return replace(data, settings={**data.settings, "pool": pool})


def with_states(data: Reading) -> Reading:
    """The same reading, with the state vectors beside the pictures: what is stored again has to have them."""
    return replace(data, settings={**data.settings, "states": True})


def whole(
    folder: Path,
    cameras: Sequence[str],
    states: bool,
    reward: RewardConfig,
    pool: int | None = None,
    instructed: bool = False,
) -> Dataset:
    """The data set, with actions in [-1, 1]; without its state vectors where models see pictures alone."""
    # Written rewards see the actions as they were recorded, to the last digit.
    dataset = read_dataset(folder, cameras=tuple(cameras), cache=folder / CACHE_FOLDER)
    dataset = reward.view(dataset).scaled(recorded_scaling(folder))
    if states:
        return dataset
    names = (INSTRUCTION,) if instructed else ()
    dataset = with_instructions(dataset) if instructed else dataset
    pictures = {key: values for key, values in dataset.observations.items() if is_image_key(key) or key in names}
    seen = replace(dataset, observations=pictures)
    return seen if pool is None else pooled_states(seen, pool)


def recorded_scaling(folder: Path) -> ActionScaling | None:
    """How the actions of a stage's data set are brought into [-1, 1]; None where they lie there so."""
    path = folder / SCALING_FILE
    return from_dict(ActionScaling, read_json(path), str(path)) if path.exists() else None


def split(folder: Path, share: float, **seen: Any) -> Split:
    """Training and held-out episodes; the same ones for every model."""
    return whole(folder, **seen).split(share, seed=0)


def fold(folder: Path, number: int, count: int, seed: int, **seen: Any) -> Split:
    """One of the gate's folds; Absent where the data are too little for them."""
    dataset = whole(folder, **seen)
    reason = lacking(dataset, count, seed)
    if reason is not None:
        raise Absent(reason)
    return folds(dataset, count, seed)[number]


def lacking(dataset: Dataset, worlds: int, seed: int) -> str | None:
    """Why the data is too little for so many held-out worlds; None where it is enough."""
    if dataset.num_judged < worlds:
        return f"the data has {dataset.num_judged} episodes, too few for {worlds} held-out worlds"
    known = dataset.judged
    if int((~known.success[known.starts]).sum()) < 2:
        return "fewer than 2 episodes of the data do not begin in success, too few to play from"
    every = [part for both in folds(dataset, worlds, seed) for part in both]
    if not all(part.num_judged for part in every):
        return f"the data has {dataset.num_judged} episodes whose outcome is known, too few for {worlds} worlds"
    parts = [part.judged for part in every]
    if dataset.has_reward and not dataset.has_success:
        varies = all(len(part.episode_return.unique()) > 1 for part in parts)
        return None if varies else f"the returns of the data hardly vary, too little for {worlds} held-out worlds"
    if bool(known.episode_success.all()):
        # The back-test compares successes with failures: of one kind alone nothing can be tested.
        return "cannot be tested: every recorded episode succeeds, and nothing shows what failure looks like"
    if not all(part.has_success for part in parts):
        successes = int(dataset.episode_success.sum())
        return f"the data has {successes} successful episodes, too few for {worlds} held-out worlds"
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Pictures as a compact latent.


def train_autoencoder(
    context: StageContext, data: Split, model: AutoencoderConfig, training: TrainingConfig, seed: int
) -> Autoencoder:
    """Pictures to a few numbers and back, from short windows; frozen afterwards."""
    episodes, held_out = data
    torch.manual_seed(seed)
    autoencoder = Autoencoder(episodes.action_dim, model).to(context.device).fit(episodes)
    autoencoder = autoencoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train(context, autoencoder, Windows(episodes, history=1, horizon=2), training, seed)
    context.record("held_out_psnr", autoencoder.eval().psnr(held_out))
    return autoencoder


def encoder_of(c: Any, data: Stage, seed: int) -> Stage | None:
    """The stage that learns to make a few numbers of every picture; None where models do not read such."""
    if c.autoencoder is None:
        return None
    pictures = Recorded(data, c.cameras).split(c.held_out)
    return stage(
        train_autoencoder, "autoencoder", data=pictures, model=c.autoencoder, training=c.autoencoder_training, seed=seed
    )


def seen_by(c: Any, encoder: Stage | None, data: Stage, name: str = "latents") -> Recorded:
    """The data as models see them: states, an encoder's latents in their place, or (cameras alone) frames."""
    if encoder is None:
        return Recorded(data, c.cameras, states=not c.cameras, reward=c.reward)
    latents = stage(encode, name, alone=True, data=Recorded(data, c.cameras).whole, encoder=encoder)
    return Recorded(latents, reward=c.reward)


def encode(context: StageContext, data: Dataset, encoder: Any) -> Dataset:
    """Every picture once: the latents as state vectors, which is how models of vectors learn from them."""
    return as_states(with_latents(data, encoder.encode_dataset(data)))


def check_cameras(cameras: Sequence[str], image_size: int, simulator: SimulatorConfig) -> None:
    """Raise InputError where the simulator does not record what the models look at."""
    missing = [name for name in cameras if name not in simulator.cameras]
    if missing or simulator.image_size != image_size:
        raise InputError(
            f"the models look at {', '.join(cameras)} in {image_size} pixels, the simulator records "
            f"{', '.join(simulator.cameras) or 'no camera'} in {simulator.image_size}; set config.simulator.cameras "
            "and config.simulator.image_size to the same"
        )


def sized(config: Any, history: HistoryConfig | PixelHistoryConfig) -> Any:
    """A policy's or classifier's configuration with the sizes of the pictures that it reads."""
    if not isinstance(history, PixelHistoryConfig):
        return config
    pictures = {
        "frames": history.feature_frames,
        "channels": 3 * len(history.cameras),
        "image_size": history.image_size,
    }
    return replace(config, **pictures)


# ---------------------------------------------------------------------------------------------------------------------
# Data that were brought along.


def own_data(
    own: OwnData,
    task: str,
    cameras: tuple[str, ...] = (),
    reward: RewardConfig | None = None,
    picture_size: int | None = None,
    every_task: bool = False,
) -> Stage:
    """The stage that copies what a run reads of them into the run folder, pictures as large as the models see them.

    With `every_task` the outcomes of other tasks' episodes are kept: there is one policy for all.

    Raises:
        InputError: pictures are asked for in another size.
    """
    if cameras and own.rule.picture_size not in (None, picture_size):
        raise InputError(
            f"--picture-size is {own.rule.picture_size}, expected {picture_size}, what the models read (leave it out, "
            "or set the models' image_size, too)"
        )
    rule = replace(own.rule, picture_size=picture_size if cameras else None)
    settings = {
        "paths": own.places,
        "roles": tuple(folder.role for folder in own.folders),
        "rule": rule,
        "task": task,
        "cameras": cameras,
        "reward": reward or RewardConfig(),
        **({"every_task": True} if every_task else {}),
    }
    return stage(take_own_data, "dataset", alone=True, parts=own.parts(cameras), **settings)


def take_own_data(
    context: StageContext,
    paths: tuple[Path, ...],
    roles: tuple[Role | None, ...],
    parts: dict[str, Path],
    rule: ReadingRule,
    task: str,
    cameras: tuple[str, ...],
    reward: RewardConfig,
    every_task: bool = False,
) -> Recording:
    """Keep this task's observations, actions, rewards and success, as they are, and how actions are scaled.

    The scaling is that of the whole data set, one for everything that learns from parts of it.
    """
    context.record("role", "collection")
    own = OwnData(tuple(map(Folder, paths, roles)), rule)
    dataset = own.read(cameras, RowStore(context.folder / FOLDER))
    own.require_observed(dataset, cameras)
    scaling = own.scaling(dataset, cameras)
    chosen = own.read_task(task, reward, dataset)
    others = chosen.sources.count(UNLABELLED) - dataset.sources.count(UNLABELLED)
    if every_task:
        chosen = dataset
    elif others:
        progress.say(f"{context.name}: the {others} episodes of other tasks teach the world model alone")
    sections = [findings_section(own.findings(chosen, reward), "data")]
    if scaling is not None:
        write_json(context.folder / SCALING_FILE, to_dict(scaling))
        sections.append(actions_section(scaling, dataset))
        for sentence in (*sections[-1].words, *sections[-1].warnings):
            progress.say(f"{context.name}: {sentence}")
    pictures = {
        key: each for key, each in chosen.observations.items() if is_image_key(key) and isinstance(each, MappedRows)
    }
    numbers = {key: each for key, each in chosen.observations.items() if key not in pictures}
    recording = Recording(replace(chosen, observations=numbers).episodes(), chosen.info, pictures)
    return noted(context, recording, reward, sections, chosen)
