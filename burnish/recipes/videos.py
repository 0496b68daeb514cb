"""The report's videos: the same start before and after refinement, and what the world model imagined of it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from burnish.data import STATE, DatasetInfo, Episode, is_shown_key
from burnish.evaluation.filming import film
from burnish.evaluation.prediction import imagine_along
from burnish.report.section import Video
from burnish.report.trajectories import draw_trajectories, positions
from burnish.report.video import save_video, side_by_side
from burnish.simulators.settings import SimulatorConfig

_WORDS = {True: "success", False: "failure"}


def before_and_after(
    folder: Path, number: int, before: Episode, after: Episode, simulator: SimulatorConfig, size: int, fps: float
) -> Video:
    """Both policies from one start in the real simulator, side by side; says what the report should."""
    clips = [film(episode, simulator, size) for episode in (before, after)]
    outcomes = (bool(before.success.any()), bool(after.success.any()))
    frames = side_by_side(clips[0], clips[1], ("pretrained", "refined"), outcomes)
    caption = (
        f"The same start state (seed {before.seed}), which no training saw, at half speed. Pretrained policy: "
        f"{_WORDS[outcomes[0]]}. Refined policy: {_WORDS[outcomes[1]]}."
    )
    return save_video(folder, f"before_after_{number}", frames, fps, f"Start {number}, real: before and after", caption)


def real_and_imagined(
    folder: Path, number: int, real: Episode, world_model: Any, info: DatasetInfo, seed: int, size: int, fps: float
) -> list[Video]:
    """What happened under the refined policy beside what the world model imagines of the same actions.

    Where the world model predicts no pictures, the paths of the hand and the objects are drawn; empty where the
    state's names are unknown, too.
    """
    observation = {key: torch.from_numpy(values) for key, values in real.observation.items()}
    device = next(world_model.parameters()).device
    shown_to_it = {key: values.to(device) for key, values in observation.items()}
    imagined = imagine_along(world_model, shown_to_it, torch.from_numpy(real.action).to(device), seed)
    imagined = {key: values.cpu() for key, values in imagined.items()}
    cameras = [key for key in imagined if is_shown_key(key)]
    if cameras:
        clips = [_enlarged([frames[key] for key in cameras], size) for frames in (observation, imagined)]
        shown = "the cameras' pictures as the policy saw them"
    else:
        paths = [positions(frames[STATE].numpy(), info.state_names) for frames in (observation, imagined)]
        if not paths[0]:
            return []
        clips = [draw_trajectories(paths[0], paths[1], size), draw_trajectories(paths[1], paths[0], size)]
        shown = "paths in the simulator"
    frames, title = side_by_side(clips[0], clips[1], ("real", "imagined")), f"Start {number}: real and imagined"
    caption = (
        f"Left: {shown} under the refined policy. Right: what the world model imagines from the first frame alone, "
        "with the same actions and no correction."
    )
    return [save_video(folder, f"real_imagined_{number}", frames, fps, title, caption)]


def _enlarged(cameras: list[Tensor], size: int) -> np.ndarray:
    """Small pictures (T, S, S, 3) of several cameras beside each other, each pixel a square of about `size` / S."""
    clip = torch.cat(cameras, dim=2).numpy()
    factor = max(1, size // clip.shape[1])
    return clip.repeat(factor, axis=1).repeat(factor, axis=2)
