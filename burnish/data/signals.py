"""What is odd about the numbers of a data set: dimensions that are dead, jump, flip or saturate; clocks and lags."""

from __future__ import annotations

import numpy as np
import torch

from burnish.data.dataset import Dataset
from burnish.data.episodes import STATE
from burnish.data.prospects import Finding
from burnish.data.scaling import Kind, usual_range
from burnish.data.targets import absolute_targets

_ENOUGH = 1_000_000
"""Frames that are looked at."""
_SATURATED = 0.1
"""Share of frames at the very end of a range."""
_JUMP = 12.0
"""Times the step that only one in a hundred exceeds."""
_FROZEN = 0.3
_LAGS = 20
_ALIKE = 0.7
"""Correlation from which an action is taken to be a target of the state."""


def signals(dataset: Dataset, timestamps: np.ndarray | None = None) -> list[Finding]:
    """Everything odd, in words; `timestamps` are the recorder's (F,), in seconds, where there are any.

    Of very many frames only the first episodes are looked at.
    """
    if dataset.num_frames > _ENOUGH:
        count = max(1, int((dataset.lengths.cumsum(0) <= _ENOUGH).sum()))
        dataset = dataset.subset(range(count))
        timestamps = None if timestamps is None else timestamps[: dataset.num_frames]
    found = clock(dataset, timestamps) if timestamps is not None else []
    for what, values, names in _vectors(dataset):
        found += dimensions(what, values, names)
    found += _dynamics(dataset) if STATE in dataset.observations else []
    return found


def names_of(dataset: Dataset) -> list[str]:
    """Names of the state's dimensions: those that are known, else numbers; none where there is no state."""
    if STATE not in dataset.observations:
        return []
    return list(dataset.info.state_names or map(str, range(dataset.observation_dim)))


def action_names_of(dataset: Dataset) -> list[str]:
    """Names of the action's dimensions: those that are known, else numbers."""
    return list(dataset.info.action_names or map(str, range(dataset.action_dim)))


def kind_of(values: np.ndarray) -> Kind:
    """Of one dimension (F,): constant, binary, discrete or continuous."""
    return usual_range(torch.from_numpy(np.ascontiguousarray(values)))[2]


def dimensions(what: str, values: np.ndarray, names: list[str]) -> list[Finding]:
    """Dead, binary and discrete dimensions, units, and actions at the ends of their range."""
    kinds, found = [kind_of(column) for column in values.T], []
    for kind, text in (
        ("constant", "never change"),
        ("binary", "have two values only"),
        ("discrete", "have at most ten values"),
    ):
        which = [name for name, each in zip(names, kinds, strict=True) if each == kind]
        if which:
            found.append(Finding("note", f"{kind}-{what}", f"{what} dimensions {_few(which)} {text}"))
    if what != "action":
        return found
    largest = np.abs(values).max(0)
    if largest.max() > 1.001:
        name, reach = names[int(largest.argmax())], largest.max()
        found.append(Finding("note", "action-units", f"actions in the data's own units: {name} reaches ±{reach:.4g}"))
    ends = np.maximum((values >= values.max(0)).mean(0), (values <= values.min(0)).mean(0))
    stuck = [f"{name} ({share:.0%} of the frames)" for name, share, kind in zip(names, ends, kinds, strict=True)
             if share > _SATURATED and kind == "continuous"]  # fmt: skip
    if stuck:
        found.append(Finding("warning", "saturated", f"actions at the end of their range: {_few(stuck)}"))
    return found


def clock(dataset: Dataset, timestamps: np.ndarray) -> list[Finding]:
    """Frames that are missing between two, and clocks that run slower or faster than the frame rate says."""
    inside = _inside(dataset)
    steps, found = np.diff(timestamps.astype(np.float64)), []
    due = 1 / dataset.info.fps
    gaps = np.flatnonzero(inside & (steps > 1.5 * due))
    if len(gaps):
        episode, frame = _place(dataset, int(gaps[0]) + 1)
        text = f"{len(gaps)} gaps in the timestamps, as of dropped frames (the first: episode {episode}, frame {frame})"
        found.append(Finding("warning", "dropped-frames", text))
    back = np.flatnonzero(inside & (steps <= 0))
    if len(back):
        episode, frame = _place(dataset, int(back[0]) + 1)
        text = f"{len(back)} timestamps that do not go forward (the first: episode {episode}, frame {frame})"
        found.append(Finding("warning", "clock-back", text))
    starts, lengths = dataset.starts.numpy(), dataset.lengths.numpy()
    took, expected = timestamps[starts + lengths - 1] - timestamps[starts], (lengths - 1) * due
    drift = took / expected - 1
    wrong = np.flatnonzero(np.abs(drift) > 0.01)
    if len(wrong) and not len(gaps):
        worst = int(np.abs(drift).argmax())
        text = f"the clock of {len(wrong)} episodes is not that of {dataset.info.fps:g} frames a second (episode "
        found.append(Finding("warning", "drift", f"{text}{worst}: {drift[worst]:+.1%})"))
    return found


def _dynamics(dataset: Dataset) -> list[Finding]:
    states, inside = dataset.observations[STATE].numpy(), _inside(dataset)
    names = names_of(dataset)
    found = _flips(states, inside, names)
    found += _jumps(dataset, states, inside, names)
    same = (np.diff(states, axis=0) == 0).all(1)[inside]
    moved = (np.diff(dataset.actions.numpy(), axis=0) != 0).any(1)[inside]
    frozen = (same & moved).mean() if len(same) else 0.0
    if frozen > _FROZEN:
        text = f"the state stands still in {frozen:.0%} of the frames in which the action moves: it is recorded more "
        found.append(Finding("warning", "frozen-state", text + "often than it is measured (--stride)"))
    return found + lag(dataset) + _targets(dataset)


def _targets(dataset: Dataset) -> list[Finding]:
    """What actions are taken for, as the report of a run says it."""
    targets, names = absolute_targets(dataset), action_names_of(dataset)
    if not targets:
        text = "actions are taken for changes, or other commands: none is a target of the state's dimension of its name"
        return [Finding("note", "action-targets", f"{text} (or place, without names); they are learned as recorded")]
    kinds = [kind_of(column) for column in dataset.actions.numpy().T]
    others = [names[index] for index, kind in enumerate(kinds) if index not in targets and kind != "constant"]
    text = f"actions taken for absolute targets of the state, and learned as such: {_few([names[i] for i in targets])}"
    text += f"; for changes, or other commands: {_few(others)}" if others else ""
    return [Finding("note", "action-targets", f"{text} (--action-targets relative learns the way there)")]


def _flips(states: np.ndarray, inside: np.ndarray, names: list[str]) -> list[Finding]:
    """Four successive dimensions of norm 1 are a quaternion: q and −q are one orientation, and two inputs."""
    found, column = [], 0
    while column + 4 <= states.shape[1]:
        four = states[:, column : column + 4]
        unit = np.abs(np.linalg.norm(four, axis=1) - 1) < 1e-3
        if not unit.all() or (four == four[0]).all():
            column += 1
            continue
        flips = int((((four[1:] * four[:-1]).sum(1) < -0.5) & inside).sum())
        if flips:
            text = f"the quaternion {_few(names[column : column + 4])} flips its sign {flips} times"
            text += ": a jump that no model can predict; keep the sign of the frame before"
            found.append(Finding("warning", "quaternion-flips", text))
        column += 4
    return found


def _jumps(dataset: Dataset, states: np.ndarray, inside: np.ndarray, names: list[str]) -> list[Finding]:
    steps = np.abs(np.diff(states, axis=0)) * inside[:, None]
    if not inside.any():
        return []
    usual = np.quantile(steps[inside], 0.99, axis=0)
    span = states.max(0) - states.min(0)
    kinds = [kind_of(column) for column in states.T]
    jumps = (steps > _JUMP * usual) & (steps > 0.2 * span) & (usual > 0) & (np.array(kinds) == "continuous")
    where = np.argwhere(jumps)
    if not len(where):
        return []
    episode, frame = _place(dataset, int(where[0][0]) + 1)
    which = [names[index] for index in np.unique(where[:, 1])]
    turns = [size for size in (2 * np.pi, 360.0) if (np.abs(steps[jumps] - size) < 0.1 * size).mean() > 0.5]
    why = ", as of angles that wrap around" if turns else ""
    text = (
        f"{len(where)} jumps in the state dimensions {_few(which)}{why} (the first: episode {episode}, frame {frame})"
    )
    return [Finding("warning", "jumps", text)]


def lag(dataset: Dataset) -> list[Finding]:
    """Whether actions are targets of the state, and how many frames later it is there."""
    states, actions = dataset.observations[STATE].numpy(), dataset.actions.numpy()
    if states.shape[1] != actions.shape[1]:
        return []
    smooth = [index for index, column in enumerate(actions.T) if kind_of(column) == "continuous"]
    states, actions = states[:, smooth], actions[:, smooth]
    found = [value for k in range(_LAGS + 1) if (value := _alike(dataset, states, actions, k)) is not None]
    if not found or max(found) < _ALIKE:
        return []
    best = int(np.argmax(found))
    seconds = best / dataset.info.fps
    text = f"actions look like targets of the state, which is there {best} frames ({seconds:.2f} s) later"
    return [Finding("warning" if best > 10 else "note", "lag", text)]


def _alike(dataset: Dataset, states: np.ndarray, actions: np.ndarray, k: int) -> float | None:
    """The mean correlation of the actions with the states of k frames later, over the dimensions that move."""
    starts, lengths = dataset.starts.numpy(), dataset.lengths.numpy()
    frames = np.concatenate([np.arange(s, s + n - k) for s, n in zip(starts, lengths, strict=True) if n > k] or [[]])
    if len(frames) < 30:
        return None
    frames = frames.astype(np.int64)
    a, s = actions[frames].astype(np.float64), states[frames + k].astype(np.float64)
    a, s = a - a.mean(0), s - s.mean(0)
    scale = np.sqrt((a**2).mean(0) * (s**2).mean(0))
    moving = scale > 1e-12
    return float(((a * s).mean(0)[moving] / scale[moving]).mean()) if moving.any() else None


def _vectors(dataset: Dataset) -> list[tuple[str, np.ndarray, list[str]]]:
    found = [("action", dataset.actions.numpy(), action_names_of(dataset))]
    if STATE in dataset.observations:
        found.append(("state", dataset.observations[STATE].numpy(), names_of(dataset)))
    return found


def _inside(dataset: Dataset) -> np.ndarray:
    """bool (F - 1,): do two successive frames belong to one episode."""
    episode = dataset.episode_of_frame.numpy()
    return episode[1:] == episode[:-1]


def _place(dataset: Dataset, frame: int) -> tuple[int, int]:
    episode = int(dataset.episode_of_frame[frame])
    return episode, frame - int(dataset.starts[episode])


def _few(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
