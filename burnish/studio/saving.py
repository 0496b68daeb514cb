"""A drive as a LeRobot data set, marked as imagined wherever a reader may look; what the simulator did lies beside."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from burnish.data import IMAGINED, STATE, DatasetInfo, Episode, imagined_task, is_image_key, write_dataset
from burnish.errors import InputError
from burnish.storage import read_json, write_json

if TYPE_CHECKING:
    from burnish.studio.lane import Lane, Moment
    from burnish.studio.opened import OpenedRun

DRIVE_FILE = "drive.json"
REAL = "real"
IMAGINED_FOLDER = "imagined"


def save_drive(out: Path, name: str, run: "OpenedRun", lane: "Lane") -> dict[str, Any]:
    """Save what was driven up to the step that is shown: OUT/drives/NAME/imagined, and .../real with a simulator.

    Returns:
        Where, and how many frames.

    Raises:
        InputError: the name is taken, or there is nothing to save.
        RunError: the disk.
    """
    folder = out / "drives" / name
    if os.path.lexists(folder):
        raise InputError(f"{name}: there is a drive of this name already")
    moments = lane.moments()
    if len(moments) < 2 or run.world.action_steps > 1:
        many = "this world model takes several actions at once: what lies between was never imagined"
        raise InputError("nothing was driven yet" if len(moments) < 2 else many)
    folder.mkdir(parents=True)
    imagined = _imagined(run, moments)
    write_dataset(folder / IMAGINED_FOLDER, [imagined], _info(run, imagined, "imagined"))
    saved = {"name": name, "path": str(folder), "frames": len(imagined), "real": False}
    if lane.reality is not None:
        real = _real(run, lane, moments)
        write_dataset(folder / REAL, [real], _info(run, real, None))
        saved["real"] = True
    start = lane.beginning
    write_json(
        folder / DRIVE_FILE,
        {
            "run": str(run.folder),
            "frame": start.frame,
            "seed": start.seed,
            "noise": lane.noise,
            "beside": lane.reality is not None,
            "actions": lane.actions[: lane.cursor].tolist(),
            "drivers": lane.drivers[: lane.cursor],
        },
    )
    return saved


def read_drive(folder: Path) -> dict[str, Any]:
    """What `save_drive` noted of how it was driven.

    Raises:
        InputError: it is damaged.
    """
    found = read_json(folder / DRIVE_FILE)
    kinds = {"frame": (int, type(None)), "seed": int, "noise": int, "beside": bool, "actions": list, "drivers": list}
    if not isinstance(found, dict) or not all(isinstance(found.get(name, ""), kind) for name, kind in kinds.items()):
        raise InputError(f"{folder / DRIVE_FILE}: damaged")
    actions = np.asarray(found["actions"], dtype=object)
    if actions.ndim != 2 or not all(type(value) in (int, float) for row in actions for value in row):
        raise InputError(f"{folder / DRIVE_FILE}: field 'actions': expected rows of numbers")
    if len(found["drivers"]) != len(actions) or not all(isinstance(who, str) for who in found["drivers"]):
        raise InputError(f"{folder / DRIVE_FILE}: field 'drivers': expected a name for each action")
    return found


def _imagined(run: "OpenedRun", moments: Sequence["Moment"]) -> Episode:
    with torch.no_grad():
        seen = [run.seen(moment.state) for moment in moments]
    observation = {key: torch.stack([each[key] for each in seen]).numpy() for key in seen[0]}
    success = np.array([bool(moment.values.get("success")) for moment in moments])
    return Episode(observation, _actions(run, moments), success, IMAGINED, -1, imagined_task(run.task))


def _real(run: "OpenedRun", lane: "Lane", moments: Sequence["Moment"]) -> Episode:
    frames = [moment.real for moment in moments if moment.real is not None]
    observation = {key: np.stack([each[key] for each in frames]) for key in frames[0]}
    success = np.array([bool(moment.values.get("real_success")) for moment in moments])
    # From the middle of an episode on, no seed repeats it.
    seed = lane.beginning.seed if lane.beginning.frame is None and not lane.earliest else -1
    return Episode(observation, _actions(run, moments), success, "studio", seed, run.task)


def _actions(run: "OpenedRun", moments: Sequence["Moment"]) -> np.ndarray:
    """The action chosen at each frame, in the data's units; at the last one none was, the one before stands there."""
    chosen = [moment.action[0] for moment in moments[1:]]
    actions, scaling = torch.stack([*chosen, chosen[-1]]), run.data.info.scaling
    return (actions if scaling is None else scaling.to_data(actions)).numpy()


def _info(run: "OpenedRun", episode: Episode, mark: str | None) -> DatasetInfo:
    info = run.data.info
    names = info.state_names if STATE in episode.observation else None
    robot = info.robot_type if mark is None else f"{mark} {info.robot_type or 'robot'}"
    assert all(key == STATE or is_image_key(key) for key in episode.observation)
    simulator = info.simulator if mark is None else None
    more = {"state_names": names, "action_names": run.action_names, "scaling": None, "notes": ()}
    return replace(info, robot_type=robot, simulator=simulator, **more)
