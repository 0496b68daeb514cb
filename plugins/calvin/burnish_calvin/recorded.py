"""CALVIN's own recorded data: a folder with one `.npz` file per frame, checked and turned into episodes."""

from __future__ import annotations

import itertools
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from burnish.data.checks import bad_input
from burnish.data.episodes import STATE, Episode, image_key
from burnish.data.info import DatasetInfo
from burnish.data.lerobot_writer import write_dataset
from burnish.errors import InputError
from burnish_calvin.recorded_pictures import check_cameras, picture_field, read_picture
from burnish_calvin.segments import Segment, read_segments
from burnish_calvin.skills import LED, LIGHTBULB, achieved, skill_of
from burnish_calvin.state import ROBOT_DIM, SCENE_DIM, STATE_NAMES, state_vector

EPISODES_FILE = "ep_start_end_ids.npy"
_FIELDS = {"robot_obs": ROBOT_DIM, "scene_obs": SCENE_DIM, "rel_actions": 7}
_FPS = 30
_JUMP = 0.15  # metres in one frame: 4.5 m/s, which no arm does
_SLACK = 1e-3
_UNREADABLE = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Recording:
    """One unbroken recording, F frames.

    Attributes:
        first: the first frame's number.
        robot: robot_obs, float64 (F, 15).
        scene: scene_obs, float64 (F, 24).
        actions: rel_actions, float32 (F, 7) in [-1, 1].
        pictures: uint8 (F, size, size, 3) of each camera.
    """

    first: int
    robot: np.ndarray
    scene: np.ndarray
    actions: np.ndarray
    pictures: dict[str, np.ndarray]


def import_calvin(
    folder: Path,
    task: str,
    out: Path,
    *,
    segments: Path | None = None,
    frames: int = 73,
    cameras: tuple[str, ...] = (),
    image_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Turn CALVIN's data into a LeRobotDataset v3.0 for one task, whole or not at all.

    One recording at a time is in memory.

    Args:
        folder: see `read_calvin`.
        task: see `read_calvin`.
        out: the data set's folder; it must not exist.
        segments: see `read_calvin`.
        frames: see `read_calvin`.
        cameras: see `read_calvin`.
        image_size: see `read_calvin`.
        progress: see `read_calvin`.

    Returns:
        The number of episodes.

    Raises:
        InputError: as `read_calvin`, or `out` exists.
    """
    if out.exists():
        raise bad_input(out, "something that exists", "a new folder")
    episodes = read_calvin(
        folder, task, segments=segments, frames=frames, cameras=cameras, image_size=image_size, progress=progress
    )
    info = DatasetInfo(
        fps=_FPS, robot_type="panda", simulator="calvin", action_repeat=1, max_steps=frames - 1, state_names=STATE_NAMES
    )
    counted = itertools.count()
    write_dataset(out, (episode for episode, _ in zip(episodes, counted, strict=False)), info)
    return next(counted)


def read_calvin(
    folder: Path,
    task: str,
    *,
    segments: Path | None = None,
    frames: int = 73,
    cameras: tuple[str, ...] = (),
    image_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Episode]:
    """Read CALVIN's data (scene D) as episodes of one task, one recording after another.

    Every recording is cut into pieces of `frames` frames, episodes of the source `play`. With `segments`, those of the
    task's skill come as well, as episodes of the source `expert`. Success is the task oracle's rule, compared with the
    first frame of the episode. The state is that of `CalvinEnv`.

    Args:
        folder: has `ep_start_end_ids.npy` and `episode_0000000.npz`, …, with robot_obs, scene_obs and rel_actions.
        task: `calvin:` and one of `SKILLS`; calvin_env need not be installed.
        segments: a JSON or CSV file (`read_segments`). CALVIN's own `auto_lang_ann.npy` is a pickle, which could run
            anybody's code, so it is never opened; docs/calvin.md says how to export it.
        frames: of a piece; 73 for the 72 decisions of DiWA's time limit.
        cameras: `static`, `gripper`: whose pictures are read (rgb_static, 200 pixels; rgb_gripper, 84).
        image_size: to which they are made smaller.
        progress: called with (frames read, frames in all).

    Raises:
        InputError: anything missing or wrong; names the file, the field, what was found and what was expected.
    """
    skill = skill_of(task)
    if frames < 2:
        raise InputError(f"pieces of {frames} frames, expected at least 2")
    check_cameras(cameras, image_size)
    ranges = _read_ranges(folder)
    marked = [] if segments is None else [s for s in read_segments(segments) if s.task.removeprefix("calvin:") == skill]
    owners = [_owner(segment, ranges, segments) for segment in marked]
    _check_files(folder, ranges)
    total, done = sum(end - start + 1 for start, end in ranges), 0
    for index, (start, end) in enumerate(ranges):
        recording = _read_recording(folder, start, end, cameras, image_size)
        done += end - start + 1
        cuts = [(first, first + frames, "play") for first in range(0, end - start + 1, frames)]
        mine = [s for s, owner in zip(marked, owners, strict=True) if owner == index]
        cuts += [(s.start - start, s.end - start + 1, "expert") for s in mine]
        if progress is not None:
            progress(done, total)
        for cut in cuts:
            episode = _episode(recording, *cut, skill, task)
            if episode is not None:
                yield episode


def _episode(recording: Recording, first: int, stop: int, source: str, skill: str, task: str) -> Episode | None:
    scene = recording.scene[first:stop]
    if len(scene) < 2:
        return None  # the last frame of a recording alone: no transition
    state = state_vector(recording.robot[first:stop], scene)
    success = achieved(skill, scene[0], scene)
    pictures = {image_key(camera): whole[first:stop].copy() for camera, whole in recording.pictures.items()}
    return Episode({STATE: state, **pictures}, recording.actions[first:stop].copy(), success, source, -1, task)


def _read_ranges(folder: Path) -> list[tuple[int, int]]:
    """First and last frame of every recording."""
    path = folder / EPISODES_FILE
    values = _load(path)
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.shape[1] != 2 or len(values) == 0:
        found = f"shape {values.shape}" if isinstance(values, np.ndarray) else "an archive"
        raise bad_input(path, found, "shape (recordings, 2)")
    if not np.issubdtype(values.dtype, np.integer):
        raise bad_input(path, f"numbers of type {values.dtype}", "whole numbers of frames")
    ranges = sorted((int(start), int(end)) for start, end in values)
    for start, end in ranges:
        if start < 0 or end <= start:
            raise bad_input(path, f"a recording from frame {start} to {end}", "at least two frames, from 0 up")
    for (_, end), (start, _) in itertools.pairwise(ranges):
        if start <= end:
            raise bad_input(path, f"a recording that starts at frame {start}", f"one after frame {end}, the last one's")
    return ranges


def _check_files(folder: Path, ranges: list[tuple[int, int]]) -> None:
    for start, end in ranges:
        missing = [frame for frame in range(start, end + 1) if not _path(folder, frame).is_file()]
        if missing:
            found = f"no file '{_path(folder, missing[0]).name}'"
            if len(missing) > 1:
                found += f" and {len(missing) - 1} more missing"
            raise bad_input(folder, found, f"a file for every frame of the recording from {start} to {end}")


def _read_recording(folder: Path, start: int, end: int, cameras: tuple[str, ...], size: int) -> Recording:
    columns: dict[str, list[np.ndarray]] = {field: [] for field in (*_FIELDS, *cameras)}
    for frame in range(start, end + 1):
        path = _path(folder, frame)
        for field, value in _read_frame(path, cameras, size).items():
            columns[field].append(value)
        if frame > start:
            jump = float(np.abs(columns["robot_obs"][-1][:3] - columns["robot_obs"][-2][:3]).max())
            if jump > _JUMP:
                expected = f"at most {_JUMP} m: a recording without gaps"
                raise bad_input(
                    path, f"a hand that moved {jump:.2f} m since frame {frame - 1}", expected, field="robot_obs"
                )
    robot, scene, actions = (np.stack(columns[field]) for field in _FIELDS)
    pictures = {camera: np.stack(columns[camera]) for camera in cameras}
    return Recording(start, robot, scene, np.clip(actions, -1.0, 1.0).astype(np.float32), pictures)


def _read_frame(path: Path, cameras: tuple[str, ...], size: int) -> dict[str, np.ndarray]:
    archive = _load(path)
    if isinstance(archive, np.ndarray):
        raise bad_input(path, "a single array", "an archive of arrays")
    with archive:
        values = {field: _read_numbers(path, archive, field, dim) for field, dim in _FIELDS.items()}
        for camera in cameras:
            values[camera] = read_picture(path, _read_field(path, archive, picture_field(camera)), camera, size)
    _check_actions(path, values["rel_actions"])
    lights = values["scene_obs"][[LIGHTBULB, LED]]
    if not np.isin(lights, (0.0, 1.0)).all():
        raise bad_input(path, f"lights of {lights.tolist()}", "0 or 1", field="scene_obs")
    return values


def _read_field(path: Path, archive: Any, field: str) -> Any:
    if field not in archive.files:
        hint = "; 'actions' are absolute poses, and relative ones are needed" if field == "rel_actions" else ""
        raise bad_input(path, f"the fields {sorted(archive.files)}", f"this one among them{hint}", field=field)
    try:
        return archive[field]
    except _UNREADABLE as error:
        raise bad_input(path, f"nothing that can be read ({error})", "an array of numbers", field=field) from error


def _read_numbers(path: Path, archive: Any, field: str, dim: int) -> np.ndarray:
    value = _read_field(path, archive, field)
    if not isinstance(value, np.ndarray) or value.shape != (dim,):
        raise bad_input(path, f"shape {np.shape(value)}", f"({dim},)", field=field)
    if not (np.issubdtype(value.dtype, np.floating) or np.issubdtype(value.dtype, np.integer)):
        raise bad_input(path, f"values of type {value.dtype}", "real numbers", field=field)
    if not np.isfinite(value).all():
        raise bad_input(
            path, f"a value that is not finite at {int(np.argmin(np.isfinite(value)))}", "numbers", field=field
        )
    return value.astype(np.float64)


def _check_actions(path: Path, action: np.ndarray) -> None:
    largest = int(np.abs(action).argmax())
    if abs(action[largest]) > 1.0 + _SLACK:
        expected = "values in [-1, 1]: relative actions, not absolute poses or metres and radians"
        raise bad_input(path, f"{action[largest]:.4g} at {largest}", expected, field="rel_actions")
    if abs(abs(action[6]) - 1.0) > _SLACK:
        raise bad_input(path, f"{action[6]:.4g} for the gripper", "-1 (close) or 1 (open)", field="rel_actions")


def _owner(segment: Segment, ranges: list[tuple[int, int]], source: Path | None) -> int:
    for index, (start, end) in enumerate(ranges):
        if start <= segment.start and segment.end <= end:
            return index
    found = f"'{segment.task}' from frame {segment.start} to {segment.end}"
    raise bad_input(source, found, "frames of one and the same recording")


def _path(folder: Path, frame: int) -> Path:
    return folder / f"episode_{frame:07d}.npz"


def _load(path: Path) -> Any:
    if not path.is_file():
        raise bad_input(path, "no such file", "CALVIN's data")
    try:
        return np.load(path, allow_pickle=False)
    except _UNREADABLE as error:
        raise bad_input(path, f"nothing that can be read ({error})", "arrays of numbers in NumPy's format") from error
