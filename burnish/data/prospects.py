"""What a data set can and cannot support, known when it is read: before hours of training, not after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from burnish.data.dataset import Dataset
from burnish.data.episodes import STATE
from burnish.data.info import IMAGINED
from burnish.errors import InputError

FEW = 5
"""Fewer failures, or successes, than this tell little."""
LONG = 200
"""Frames of an episode beyond which a stride is worth a thought: imagination plays 50 to 100 decisions."""

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """Something to know about a data set.

    Attributes:
        level: an `error` makes a run impossible, a `warning` is likely to spoil it, a `note` is good to know.
        code: a word for programs.
        text: for people.
    """

    level: Level
    code: str
    text: str


def prospects(dataset: Dataset, last_frames: int | None = None) -> list[Finding]:
    """What can be learned and tested with these episodes; `last_frames` is what success was told by, where it was."""
    found = [Finding("warning", "read", note) for note in dataset.info.notes]
    if IMAGINED in dataset.sources:
        count = dataset.sources.count(IMAGINED)
        text = f"{count} of {dataset.num_episodes} episodes were imagined by a world model: nothing may learn from them"
        found.append(Finding("error", "imagined", text))
    if dataset.num_episodes < 2:
        text = "1 episode: models are judged on episodes that they did not learn from, which takes at least 2"
        found.append(Finding("error", "one-episode", text))
    elif dataset.num_episodes < 2 * FEW:
        text = f"{dataset.num_episodes} episodes are few: what is held out of them hardly tells how good the models are"
        found.append(Finding("warning", "few-episodes", text))
    if STATE not in dataset.observations:
        text = "no state: models of pictures learn from these data (--preset pixels), or --state-key names a column"
        found.append(Finding("note", "no-state", text))
    found += _still(dataset)
    found += _outcomes(dataset)
    found += _begins_in_success(dataset, last_frames)
    longest = int(dataset.lengths.float().quantile(0.5))
    if longest > LONG:
        text = (
            f"episodes of {longest} frames (the median, {longest / dataset.info.fps:.0f} s): imagination plays 50 to "
            f"100 decisions; --stride {max(2, round(longest / 80))} makes them as long"
        )
        found.append(Finding("note", "long-episodes", text))
    return found


def require_prospects(dataset: Dataset, where: object, last_frames: int | None = None) -> None:
    """Raise InputError, which names what to pass, where no run can come of a data set."""
    errors = [each for each in prospects(dataset, last_frames) if each.level == "error"]
    if errors:
        raise InputError(f"{where}: {errors[0].text}")


def _still(dataset: Dataset) -> list[Finding]:
    actions = dataset.thinned().actions
    if bool((actions != actions[:1]).any()):
        return []
    text = "the action is the same in every frame: nothing to learn from; name the right column (--action-key NAME)"
    return [Finding("error", "constant-actions", text)]


def _outcomes(dataset: Dataset) -> list[Finding]:
    if not dataset.has_success:
        if _rewards_teach(dataset):
            return [Finding("note", "rewards-only", "no success is told: policies are compared by their return")]
        text = (
            f"{dataset.num_episodes} episodes without a single success, and no reward that varies: say what success is "
            "(--success-column NAME, --success-above NAME=VALUE, --success-last-frames N, --labels FILE)"
        )
        return [Finding("error", "no-success", text)]
    successes = int(dataset.episode_success.sum())
    failures = dataset.num_episodes - successes
    if not failures:
        text = (
            f"all {dataset.num_episodes} episodes succeed: nothing shows what failure looks like. The back-test of the "
            "trust gate is 0 by definition (φ compares what varies): it cannot be tested, and rejects whatever comes "
            "out; the success classifier has no failed episode to learn from. Record rollouts of a policy, with what "
            "came of each, and add them (--rollouts FOLDER); refinement works without, but nothing vouches for it"
        )
        return [Finding("warning", "no-failures", text)]
    if min(successes, failures) < FEW:
        what = f"{failures} failures" if failures < successes else f"{successes} successes"
        text = f"{what} among {dataset.num_episodes} episodes: too few for a trust gate that can tell them apart well"
        return [Finding("warning", "few-outcomes", text)]
    return []


def _rewards_teach(dataset: Dataset) -> bool:
    """Whether some rewards differ, or episodes that end by themselves cut a constant one short."""
    if dataset.reward is None:
        return False
    later = torch.ones_like(dataset.success)
    later[dataset.starts] = False  # nothing led there, so nothing was earned
    earned = dataset.reward[later]
    ends = dataset.terminated is not None and bool(dataset.terminated.any()) and bool(earned.any())
    return ends or bool((earned != earned[:1]).any())


def _begins_in_success(dataset: Dataset, last_frames: int | None) -> list[Finding]:
    if not dataset.has_success:
        return []
    begins = dataset.success[dataset.starts]
    if bool(begins.all()):
        longest = int(dataset.lengths.max())
        if last_frames is not None and last_frames >= longest:
            text = (
                f"--success-last-frames is {last_frames}, expected less than {longest}, the frames of the longest "
                "episode: every episode would begin in success"
            )
        else:
            text = "every episode begins in success, so that there is nothing to do and no start state to play from"
        return [Finding("error", "begins-in-success", text)]
    count = int(torch.count_nonzero(begins))
    if not count:
        return []
    why = f" (--success-last-frames {last_frames} is longer than they are)" if last_frames is not None else ""
    text = f"{count} of {dataset.num_episodes} episodes begin in success{why}: they are no start states"
    return [Finding("warning", "some-begin-in-success", text)]
