"""How success is read from a dataset's columns."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from burnish.data.checks import Faults, bad_input
from burnish.data.frames import Frames, Source
from burnish.errors import InputError

AUTOMATIC_COLUMNS = ("next.success", "success")
REWARD, DONE = "next.reward", "next.done"
"""LeRobot's columns of what an action earned, and of whether it ended the episode."""
_NOT_WHEN = (
    "tells which episodes succeed, and not when: say with --success-last-frames N how many frames at their end show it"
)
_OUTCOMES = {"0": False, "1": True, "false": False, "true": True}


@dataclass(frozen=True)
class SuccessRule:
    """Where success comes from: one of a column, a threshold, terminations, labels, or the numbers of what failed.

    Attributes:
        column: the column of zeros and ones (or, with `above`, of any numbers) that tells success. Columns named
            `next.*` tell it of the frame that follows, all others of their own frame; a column with one value an
            episode tells it of the episode. None: `next.success` or `success`, whichever the dataset has.
        last_frames: when given, success is the last so many frames of every successful episode, where an episode is
            successful when `column` says so anywhere; a dataset that has no such column (and none was named) is taken
            for demonstrations only, every one successful. When None, success is the column, frame by frame.
        above: from this value of `column` on it is success.
        termination: an episode is successful where it ended by itself (`next.done`).
        failed: numbers of the episodes that failed; all others succeeded.
        labels: a CSV file of `episode,success`, with 0 or 1 for every episode; or of `episode,success,frame`, where
            the frame is the first one that shows success (which then lasts to the episode's end).
        untold: success may be unknown, and is not looked for.
    """

    column: str | None = None
    last_frames: int | None = None
    above: float | None = None
    termination: bool = False
    failed: tuple[int, ...] = ()
    labels: Path | None = None
    untold: bool = False

    def __post_init__(self) -> None:
        if self.last_frames is not None and self.last_frames < 1:
            raise InputError(f"the success rule's last_frames is {self.last_frames}, expected at least 1")
        told = {
            "--success-above" if self.above is not None else "--success-column": self.column is not None,
            "--success-on-termination": self.termination,
            "--failed-episodes": bool(self.failed),
            "--labels": self.labels is not None,
        }
        said = [flag for flag, given in told.items() if given]
        if len(said) > 1:
            raise InputError(f"found {' and '.join(said)}, expected one way in which success is told")
        if self.last_frames is None and self.failed:
            raise InputError(f"--failed-episodes {_NOT_WHEN}")

    def resolve(self, source: Source) -> str | None:
        """The column to read from those that the dataset has.

        None means that no column is needed: every episode is successful where `last_frames` is given, or the rule
        tells which; else success is not known, which is fine in a dataset that has rewards.

        Raises:
            InputError: the named column is missing, or there is nothing to tell success by, and no reward either.
        """
        if self.termination:
            if not source.tells(DONE):
                raise bad_input(source.where, "no such column", "what ended each episode", field=DONE)
            return DONE
        if self.failed or self.labels or self.untold:
            return None
        if self.column is not None:
            if self.column not in source.columns and self.column in source.episode_columns:
                return self._of_episodes(source, self.column)
            return source.column(self.column)
        found = next(filter(source.tells, AUTOMATIC_COLUMNS), None)
        if found is None and self.last_frames is not None:
            return next((name for name in AUTOMATIC_COLUMNS if name in source.episode_columns), None)
        if found is None and not source.tells(REWARD):
            told = ", ".join(sorted(filter(source.tells, source.columns)))
            raise InputError(
                f"{source.where}: found no column 'next.success' or 'success' (nor '{REWARD}') among "
                f"{told}, expected to be told what success is: name a column of zeros and "
                "ones (--success-column NAME) or a threshold (--success-above NAME=VALUE); or, for demonstrations that "
                "all end in success, how many frames at the end show it (--success-last-frames N, with "
                "--failed-episodes or --labels FILE where some failed)"
            )
        return found

    def is_told_by(self, source: Source) -> bool:
        """Whether a data set has what the rule reads success from, and not only that all its episodes succeed."""
        if self.termination:
            return source.tells(DONE)
        if self.failed or self.labels or self.untold:
            return not self.untold
        names = AUTOMATIC_COLUMNS if self.column is None else (source.aliases.get(self.column, self.column),)
        return any(source.tells(name) or name in source.episode_columns for name in names)

    def _of_episodes(self, source: Source, name: str) -> str:
        if self.last_frames is None:
            found = "one value for each episode, which tells not when it succeeds"
            raise bad_input(source.where, found, "--success-last-frames N beside it", field=name)
        return name

    def frames(self, name: str | None, source: Source, frames: Frames, faults: Faults) -> np.ndarray:
        """Success of every frame, bool (F,); `name` is the resolved column, which `frames` has where it is per frame.

        Raises:
            InputError: the column is graded, or an episode's outcome is missing.
        """
        starts, lengths = frames.starts, frames.lengths
        told = None
        if name is not None and name in frames.columns:
            told = self._told(name, frames, faults)
            if self.last_frames is None:
                if not name.startswith("next."):
                    return told
                return on_arrival(told, starts, starts + lengths - 1, frames.first_success)
            marked = np.maximum.reduceat(told, starts)
        elif self.labels is not None:
            return self._labelled(self.labels, frames)
        elif self.last_frames is None:
            return np.zeros(frames.total, bool)
        else:
            marked = self._outcomes(name, source, frames)
        from_end = np.repeat(starts + lengths - 1, lengths) - np.arange(frames.total)
        return np.repeat(marked, lengths) & (from_end < self.last_frames)

    def _told(self, name: str, frames: Frames, faults: Faults) -> np.ndarray:
        """What a column says of each row, bool (F,); only zeros and ones say something without a threshold."""
        values = frames.columns[name]
        if values.size != frames.total:
            raise bad_input(frames.places[0], f"shape {values.shape[1:]}", "one value per frame", field=name)
        told = values.reshape(-1).astype(np.float64)
        # A success bit that was not recorded does not become a failure.
        wrong = ~np.isfinite(told) if self.above is not None else (told != 0) & (told != 1)
        for frame in _first_of_episodes(wrong, frames):
            expected = "finite values"
            if self.above is None:
                expected = f"0 or 1 in every frame; a graded column needs a threshold, --success-above {name}=VALUE"
            fault = frames.fault(frame, f"{told[frame]:.6g}", expected, name)
            if self.above is None and np.isfinite(told[frame]):
                raise InputError(str(fault))
            faults.add(fault)
        return told > 0 if self.above is None else _reaches(values.reshape(-1), self.above)

    def _outcomes(self, name: str | None, source: Source, frames: Frames) -> np.ndarray:
        """Whether each episode succeeded, bool (E,)."""
        numbers = frames.numbers.tolist()
        if name is not None:
            return self._judged(name, source.episode_columns[name][frames.numbers], source.where, numbers)
        wrong = [number for number in self.failed if number < 0 or number >= source.num_episodes]
        if wrong:
            expected = f"numbers from 0 to {source.num_episodes - 1}"
            raise bad_input(source.where, f"episode {wrong[0]}", expected, field="--failed-episodes")
        return np.array([number not in self.failed for number in numbers], bool)

    def _labelled(self, path: Path, frames: Frames) -> np.ndarray:
        """Success of every frame, as the labels have it: from their frame on, or at the end of successful episodes."""
        labels, found = read_labels(path), np.zeros(frames.total, bool)
        for number, start, length in zip(frames.numbers.tolist(), frames.starts, frames.lengths, strict=True):
            label = labels.get(number)
            if label is None:
                raise bad_input(path, "no such row", "0 or 1 for every episode", field="episode", episode=number)
            if not label.success:
                continue
            if label.frame is None and self.last_frames is None:
                raise InputError(f"{path}: --labels {_NOT_WHEN}, or name the first one in a column 'frame'")
            if label.frame is not None and label.frame >= length:
                raise bad_input(path, f"frame {label.frame}", f"less than {length}", field="frame", episode=number)
            first = label.frame if label.frame is not None else max(0, length - (self.last_frames or 0))
            found[start + first : start + length] = True
        return found

    def _judged(self, name: str, stored: np.ndarray, where: object, numbers: list[int]) -> np.ndarray:
        values = stored.astype(np.float64)
        wrong = ~np.isfinite(values) if self.above is not None else (values != 0) & (values != 1)
        if wrong.any():
            episode = int(np.argmax(wrong))
            expected = f"0 or 1; a graded column needs a threshold, --success-above {name}=VALUE"
            found = f"{values[episode]:.6g} for episode {numbers[episode]}"
            raise bad_input(where, found, expected, field=name)
        return values > 0 if self.above is None else _reaches(stored, self.above)


UNTOLD = SuccessRule(untold=True)
"""For those who look at data, or convert them, whatever success is."""


@dataclass(frozen=True)
class Label:
    """What somebody said of an episode: whether it succeeded, and (None: not said) which frame first shows it."""

    success: bool
    frame: int | None = None


def read_labels(path: Path) -> dict[int, Label]:
    """A CSV file of `episode,success` or `episode,success,frame`; a first line of words is a heading.

    Raises:
        InputError: it is missing, or a line is no number of an episode, 0 or 1, and perhaps a frame of a success.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise bad_input(path, f"a file that cannot be read ({error})", "lines of episode,success") from error
    labels: dict[int, Label] = {}
    for line, row in enumerate(rows, 1):
        words = [word.strip().lower() for word in row]
        if line == 1 and len(words) in (2, 3) and not words[0].isdigit():
            continue
        label = _label(words)
        if label is None:
            expected = "a number of an episode, a comma, and 0 or 1 (after 1 perhaps the first frame of success)"
            raise bad_input(path, f"{','.join(row)!r} in line {line}", expected)
        number = int(words[0])
        if number in labels:
            raise bad_input(path, f"a second line of episode {number}", "one line for each episode")
        labels[number] = label
    if not labels:
        raise bad_input(path, "no line", "lines of episode,success")
    return labels


def _label(words: list[str]) -> Label | None:
    """One line's label; None where it is none."""
    number, outcome, frame, *more = [*words, "", ""][: max(3, len(words))]
    if more or not number.isdecimal() or outcome not in _OUTCOMES:
        return None
    success = _OUTCOMES[outcome]
    if frame == "":
        return Label(success)
    return Label(success, int(frame)) if success and frame.isdecimal() else None


def _reaches(values: np.ndarray, threshold: float) -> np.ndarray:
    """Values of at least a threshold, which is rounded as they are: 0.95 in float32 is a little less than 0.95."""
    if values.dtype.kind == "f":
        threshold = values.dtype.type(threshold)
    return np.asarray(values >= threshold, bool)


def _first_of_episodes(wrong: np.ndarray, frames: Frames) -> list[int]:
    """The first wrong frame of each episode that has any."""
    found = np.flatnonzero(wrong)
    episodes = np.searchsorted(frames.starts, found, side="right")
    return found[np.unique(episodes, return_index=True)[1]].tolist()


def on_arrival(told: np.ndarray, starts: np.ndarray, last: np.ndarray, first: np.ndarray | None = None) -> np.ndarray:
    """What a `next.*` column (F,) tells of each frame: what the row before says; `first` (E,) where episodes begin.

    The frame after the last action was not recorded: its value is added to that of the last frame that was. Episodes
    that stop at their first success, or earn all in their last step, would otherwise lose it.
    """
    arrived = np.concatenate([np.zeros_like(told[:1]), told[:-1]])
    arrived[starts] = 0 if first is None else first
    arrived[last] += told[last]
    return arrived
