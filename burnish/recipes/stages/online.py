"""Alternating with a simulator: the policy plays for real, the world model learns on, the policy learns in it again.

MBPO's loop (arXiv 1906.08253, Algorithm 2) as PolyGRAD (2312.08533) and RWM (2501.10100, MBPO-PPO) have it, in rounds
of whole episodes. A round is stages like any others: a data set that grew, models, a refined policy. So an interrupted
one goes on to the same bits, though a simulator cannot be saved; refinement itself takes no real step, and those of the
rounds are counted with what was recorded before (`simulator_steps`, collection).
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from burnish.config import to_dict, within
from burnish.data import Dataset, DatasetInfo, Episode, Recording, read_dataset
from burnish.errors import InputError
from burnish.pipeline import Reading, Stage, StageContext, naming, stage
from burnish.recipes.base import Models, RunSpec
from burnish.recipes.stages.data import SCALING_FILE, Recorded, Split, own_data, recorded_scaling, whole
from burnish.recipes.stages.finish import Parts
from burnish.recipes.stages.recording import Real, noted
from burnish.rewards import RewardConfig
from burnish.rl import RefineConfig
from burnish.storage import write_json

_NEWEST = -1e9  # a margin by which every later iterate is taken for better
_SEEDS_APART = 1000  # between rounds: each learns with random numbers of its own


@dataclass(frozen=True)
class OnlineConfig:
    """Rounds with the simulator that judges the run (`--task SUITE:TASK`); none by default: all is learned offline."""

    rounds: int = within(0, 0)
    """How often the newest policy plays, the world model learns on and the policy is refined in it again, after the
    first refinement."""
    episodes: int = within(10, 1)
    """Real episodes of one round; the policy explores as it does in imagination."""
    random_episodes: int = within(20, 2)
    """Of random motion, where no data set was brought along: what everything begins with."""
    world_model_steps: int = within(1000, 1)
    """Gradient steps of the world model after each round's episodes, on everything that was recorded."""


class Learned(Protocol):
    """A recipe's models; in later rounds the world model goes on from the `earlier` one."""

    def __call__(self, c: Any, data: Reading, seed: int, earlier: Stage | None = None) -> Models:
        """Its stages."""
        ...


Cloned = Callable[[Recorded, Models], Stage]
"""The policy that everything begins with."""
Refined = Callable[[Recorded, Models, Stage, RefineConfig, int], Stage]
"""The policy, from which refinement begins, after it learned in the models; the last one is a seed."""


@dataclass(frozen=True)
class Grown(Recorded):
    """Data that grew by so many episodes in each round; what a model has learned from is never held out later."""

    added: tuple[int, ...] = ()

    def split(self, share: float) -> Reading:
        """(training, held out), by episode."""
        return self._read(grown_split, share=share, added=self.added) if self.added else super().split(share)


def grown_split(folder: Path, share: float, added: Sequence[int], **seen: Any) -> Split:
    """The first episodes as they have always been split, and those of each round by themselves.

    A round of a single episode holds none out.
    """
    dataset = whole(folder, **seen)
    sizes = [dataset.num_episodes - sum(added), *added]
    training, held_out, begun = list[int](), list[int](), 0
    for size in sizes:
        block = list(range(begun, begun + size))
        kept = dataset.subset(block).split_episodes(share, seed=0) if size > 1 else ([0], [])
        training += [begun + index for index in kept[0]]
        held_out += [begun + index for index in kept[1]]
        begun += size
    return dataset.subset(training), dataset.subset(held_out)


def check_online(online: OnlineConfig, run: RunSpec) -> None:
    """Raise InputError, which says what to do instead, where nothing can be played or nothing is recorded."""
    if online.rounds and run.simulator is None:
        raise InputError(
            f"online.rounds: found {online.rounds} rounds of real episodes and no simulator to play them in; expected "
            "one that judges the run, too (--task gym:HalfCheetah-v5, say, beside --dataset), or online.rounds 0"
        )
    if run.own is None and not online.rounds:
        raise InputError(
            f"{run.recipe} learns from data that are there: found no --dataset, expected one with next.reward; or "
            "rounds with the simulator (--config.online.rounds), which begin with random motion"
        )


def alternate(c: Any, run: RunSpec, models: Learned, clone: Cloned, refine: Refined) -> Parts:
    """Data, models, a clone and its refinement; then as many further rounds of each but the clone as `c.online` says.

    Stages of all rounds but the last are in folders `round_0`, `round_1`, …; without rounds there are none such. In
    these the newest iterate is kept, as published, whatever imagination thinks of it: reality is asked next. (Where the
    best was kept, a world model that saw no gain had the same policy play in every round.) The last round chooses.

    Raises:
        InputError: see `check_online`.
    """
    online: OnlineConfig = c.online
    check_online(online, run)
    further = replace(c, world_model_training=replace(c.world_model_training, steps=online.world_model_steps))
    with _round(0, online):
        data = _first(c, run)
        seen: Recorded = Recorded(data, reward=c.reward)
        imagined = models(c, seen.split(c.held_out), run.seed)
    policy = clone(seen, imagined)
    newest = replace(c.refine, margin=_NEWEST)
    with _round(0, online):
        refined = refine(seen, imagined, policy, newest if online.rounds else c.refine, run.seed)
    for number in range(1, online.rounds + 1):
        seed = run.seed + _SEEDS_APART * number
        with _round(number, online):
            data = stage(
                play_on,
                "dataset",
                alone=True,
                real=run.real(c),
                earlier=data.folder,
                policy=refined.folder,
                episodes=online.episodes,
                number=number,
                task=run.task,
                reward=c.reward,
            )
            seen = Grown(data, reward=c.reward, added=(online.episodes,) * number)
            imagined = models(further, seen.split(c.held_out), seed, earlier=imagined.world)
            refined = refine(seen, imagined, refined, newest if number < online.rounds else c.refine, seed)
    return Parts(data, seen, policy, imagined, refined)


def going_on(earlier: Stage | None) -> dict[str, Any]:
    """The earlier model as an argument of the stage in which it learns on; none where there is none."""
    return {} if earlier is None else {"earlier": earlier}


def _round(number: int, online: OnlineConfig) -> contextlib.AbstractContextManager[None]:
    """The last round's stages have the names by which others look for them."""
    return naming(f"round_{number}") if number < online.rounds else contextlib.nullcontext()


def _first(c: Any, run: RunSpec) -> Stage:
    """What was brought along, or random motion."""
    if run.own is not None:
        return own_data(run.own, run.task, (), c.reward)
    settings = {"real": run.real(c), "episodes": c.online.random_episodes, "reward": c.reward}
    return stage(record_random, "dataset", alone=True, **settings)


def record_random(context: StageContext, real: Real, episodes: int, reward: RewardConfig) -> Recording:
    """Random motion: PolyGRAD's loop, too, begins with it."""
    recorder = real.recorder
    played = recorder.record(recorder.random_motion(episodes), 0, context)
    return noted(context, Recording(played, recorder.info), reward)


def play_on(
    context: StageContext,
    real: Real,
    earlier: Path,
    policy: Path,
    episodes: int,
    number: int,
    task: str,
    reward: RewardConfig,
) -> Recording:
    """The earlier episodes, and after them this round's: the policy's, as it explores, in the units of the earlier."""
    recorder, data, scaling = real.recorder, read_dataset(earlier, cameras=()), recorded_scaling(earlier)
    jobs = recorder.exploration(policy, f"online_{number}", episodes, first=(number - 1) * episodes)
    played = recorder.record(jobs, 0, context)
    if scaling is not None:
        write_json(context.folder / SCALING_FILE, to_dict(scaling))
        units = recorder.spec.units
        played = [replace(one, action=units.to_data(torch.from_numpy(one.action)).numpy()) for one in played]
    joined = [*data.episodes(), *(as_recorded(one, data, task) for one in played)]
    return noted(context, Recording(joined, _info(data, recorder.info)), reward)


def as_recorded(episode: Episode, data: Dataset, task: str) -> Episode:
    """An episode with what the data have of it, and no more.

    Raises:
        InputError: the data have an observation that the simulator does not show.
    """
    missing = [key for key in data.observations if key not in episode.observation]
    if missing:
        raise InputError(
            f"online.rounds: the simulator does not show '{missing[0]}', which the data set has; expected observations "
            f"among {', '.join(sorted(episode.observation))}, or online.rounds 0"
        )
    return replace(
        episode,
        observation={key: episode.observation[key] for key in data.observations},
        reward=None if data.reward is None else episode.reward,
        terminated=None if data.terminated is None else episode.terminated,
        task=task,
    )


def _info(data: Dataset, played: DatasetInfo) -> DatasetInfo:
    """What the first data say of themselves; a time limit, where they say none, is the simulator's."""
    return data.info if data.info.max_steps is not None else replace(data.info, max_steps=played.max_steps)
