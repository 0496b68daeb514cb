"""From what a format found to a Dataset: which columns, what success is, which episodes; one way for all formats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from burnish.data.checks import Faults, bad_input
from burnish.data.dataset import Dataset
from burnish.data.episodes import ACTION, STATE, image_key
from burnish.data.frames import Frames, Source
from burnish.data.framing import Framing
from burnish.data.mapped import choose
from burnish.data.pictures import Gallery, read_pictures
from burnish.data.row_store import RowStore
from burnish.data.striding import Stride
from burnish.data.success import DONE, REWARD, SuccessRule, on_arrival
from burnish.errors import InputError

_AT_ONCE = 2**16
"""Rows of a file that are in memory at a time."""


@dataclass(frozen=True)
class Choice:
    """What is read from a data set, and how.

    Attributes:
        state: the column, or columns to be joined, that become `observation.state`; flattened to (F, D). Where nobody
            names one, and the data set has pictures and nothing that is known for a state, there is none.
        action: the column that becomes the action; flattened to (F, A).
        others: further columns of numbers to keep under their own names and shapes.
        success: how success is told.
        skip_bad: whether bad episodes are left out; else the first one is an error.
        stride: every so many frames are one.
        fps: frames per second, where the files do not say or are wrong.
        framing: what becomes of pictures.
    """

    state: tuple[str, ...] = (STATE,)
    action: str = ACTION
    others: tuple[str, ...] = ()
    success: SuccessRule = SuccessRule()
    skip_bad: bool = False
    stride: Stride = Stride()
    fps: float | None = None
    framing: Framing = Framing()


def assemble(
    source: Source, choice: Choice, cameras: Sequence[str] | None = (), store: RowStore | None = None
) -> Dataset:
    """Read an opened data set: numbers into memory, pictures and very large columns into files.

    Args:
        source: the data set.
        choice: what is read.
        cameras: whose pictures to read, by name or by key; None for all there are, () for none.
        store: where the files are kept; by default they have no names and go with the data set.

    Returns:
        The dataset on the CPU, everything in float32, pictures in uint8 (F, H, W, 3). What was left out or repaired is
        in `info.notes`.

    Raises:
        InputError: anything that is not as the format and the choice say; names the file, the episode and the field.
    """
    store = store or RowStore()
    try:
        return _assembled(source, choice, cameras, store)
    except BaseException:
        store.abandon()
        raise


def _assembled(source: Source, choice: Choice, cameras: Sequence[str] | None, store: RowStore) -> Dataset:
    if choice.fps is not None:
        source.info = replace(source.info, fps=int(choice.fps) if choice.fps.is_integer() else choice.fps)
    states, action = _states(source, choice), _action(source, choice)
    others = [source.column(name) for name in choice.others]
    earned = list(filter(source.tells, (REWARD, DONE)))
    success = choice.success.resolve(source)
    told = [success] if success in source.columns else []
    views = list(source.cameras) if cameras is None else [source.camera(name) for name in _several(cameras)]

    faults = Faults(choice.skip_bad)
    frames = source.load(list(dict.fromkeys([*states, action, *others, *earned, *told])), faults, store)
    values = [*states, action, *others, *(name for name in earned if name == REWARD)]
    frames = _whole(source, frames, faults)
    for name in values:
        if name in frames.stored:
            _check_finite(frames, name, faults)
        else:
            frames.columns[name] = _float32(frames, name, faults)
    _check_rewards(frames, earned, faults)
    choice.success.frames(success, source, _whole(source, frames, faults), faults)
    frames = _whole(source, frames, faults)
    gallery = Gallery(choice.framing, choice.stride, store)
    pictures = read_pictures(source, frames, views, gallery, faults)
    frames = _whole(source, frames, faults)
    actions = _joined(frames, [action])
    names = {"state_names": _names(source, states), "action_names": _names(source, [action])}
    info = replace(source.info, **names, notes=_notes(source, frames, faults))
    dataset = Dataset(
        observations=({STATE: _joined(frames, states)} if states else {})
        | {name: _values(frames, name) for name in others},
        actions=actions,
        success=torch.from_numpy(choice.success.frames(success, source, frames, faults)),
        starts=torch.from_numpy(frames.starts),
        lengths=torch.from_numpy(frames.lengths),
        sources=frames.sources,
        seeds=frames.seeds,
        tasks=frames.tasks,
        info=info,
        reward=_on_arrival(frames, REWARD) if REWARD in earned else None,
        terminated=_on_arrival(frames, DONE) if DONE in earned else None,
    )
    dataset = choice.stride.apply(dataset)
    shown = {image_key(name): each for name, each in pictures.items()}
    return replace(dataset, observations=dataset.observations | shown)


def _states(source: Source, choice: Choice) -> list[str]:
    if not choice.state:
        raise bad_input(source.where, "no column chosen for the state", "at least one")
    if choice.state == (STATE,) and STATE not in source.columns and STATE not in source.aliases and source.state:
        return list(source.state)
    elsewhere = {*source.columns, *source.aliases, *source.cameras.values()}
    if choice.state == (STATE,) and source.cameras and STATE not in elsewhere:
        return []  # pictures alone: runs of models that read states refuse it
    return [source.column(name) for name in choice.state]


def _action(source: Source, choice: Choice) -> str:
    if choice.action == ACTION and ACTION not in source.columns and ACTION not in source.aliases and source.action:
        return source.action
    return source.column(choice.action)


def _several(cameras: Sequence[str]) -> list[str]:
    return [cameras] if isinstance(cameras, str) else list(dict.fromkeys(cameras))


def _whole(source: Source, frames: Frames, faults: Faults) -> Frames:
    """The episodes without faults."""
    left = frames.without(faults.found)
    if not len(left.numbers):
        first = next(iter(faults.found.values()), "found no episode, expected at least one")
        raise InputError(f"{source.where}: all {source.num_episodes} episodes are bad; the first one: {first}")
    return left


def _float32(frames: Frames, name: str, faults: Faults) -> np.ndarray:
    """A column as float32, checked after the conversion (which may overflow)."""
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(frames.columns[name], dtype=np.float32)
    _not_finite(frames, name, 0, values, faults)
    return values


def _check_finite(frames: Frames, name: str, faults: Faults) -> None:
    """As `_float32`, of a column in a file: a part at a time."""
    stored = frames.stored[name]
    for start in range(0, len(stored), _AT_ONCE):
        _not_finite(frames, name, start, choose(stored, slice(start, start + _AT_ONCE)).numpy(), faults)


def _not_finite(frames: Frames, name: str, start: int, values: np.ndarray, faults: Faults) -> None:
    """Every episode with values that are not finite, among those from the frame `start` on, is a fault."""
    finite = np.isfinite(values).reshape(len(values), -1).all(1)
    if not finite.all():
        wrong = np.flatnonzero(~finite) + start
        episodes = np.searchsorted(frames.starts, wrong, side="right")
        for frame in wrong[np.unique(episodes, return_index=True)[1]].tolist():
            value = next(v for v in values[frame - start].ravel().tolist() if not math.isfinite(v))
            episode = int(np.searchsorted(frames.starts, frame, side="right")) - 1
            found = f"a value that is not finite at frame {frame - int(frames.starts[episode])} ({value})"
            faults.add(frames.episode_fault(episode, found, "finite float32 values", name))


def _check_rewards(frames: Frames, earned: list[str], faults: Faults) -> None:
    """Rewards and ends are one number a frame; an end is 0 or 1."""
    for name in earned:
        values = frames.columns[name]
        if values.size != frames.total:
            raise bad_input(frames.places[0], f"shape {values.shape[1:]}", "one value per frame", field=name)
        ends = values.reshape(-1)
        wrong = (ends != 0) & (ends != 1) if name == DONE else np.zeros(frames.total, bool)
        if wrong.any():
            frame = int(np.argmax(wrong))
            faults.add(frames.fault(frame, f"{ends[frame]}", "0 or 1 in every frame", name))


def _joined(frames: Frames, names: list[str]) -> Tensor:
    """Columns side by side, every frame's value flattened: (F, D)."""
    parts = [_values(frames, name) for name in names]
    parts = [each if each.ndim == 2 else each.reshape(frames.total, -1) for each in parts]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _values(frames: Frames, name: str) -> Tensor:
    """A column of float32."""
    if name in frames.stored:
        return frames.stored[name]
    values = frames.columns[name]
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def _on_arrival(frames: Frames, name: str) -> Tensor:
    """A column of rewards, or of ends, moved to the frame that the action led to."""
    told = frames.columns[name].reshape(-1)
    last = frames.starts + frames.lengths - 1
    return torch.from_numpy(on_arrival(told if name == REWARD else told > 0, frames.starts, last))


def _names(source: Source, states: list[str]) -> tuple[str, ...] | None:
    parts = [source.names.get(name) for name in states]
    return tuple(name for part in parts if part for name in part) if parts and all(parts) else None


def _notes(source: Source, frames: Frames, faults: Faults) -> tuple[str, ...]:
    skipped = [f"episode {number} was left out: {reason}" for number, reason in sorted(faults.found.items())]
    if skipped:
        head = f"{len(skipped)} of {source.num_episodes} episodes are bad and were left out (--skip-bad)"
        skipped = [head, *skipped[:20], *([f"and {len(skipped) - 20} more"] if len(skipped) > 20 else [])]
    return (*source.notes, *frames.notes, *skipped)
