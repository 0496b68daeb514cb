"""The report's videos: the same start before and after refinement, and what the world model imagined of it."""

from pathlib import Path
from typing import Any

import torch

from burnish.data import STATE, DatasetInfo, Episode
from burnish.evaluation.filming import film
from burnish.evaluation.prediction import imagine_along
from burnish.evaluation.settings import SimulatorConfig
from burnish.report.trajectories import draw_trajectories, positions
from burnish.report.video import save_mp4, side_by_side

_WORDS = {True: "success", False: "failure"}


def before_and_after(
    folder: Path, number: int, before: Episode, after: Episode, simulator: SimulatorConfig, size: int, fps: float
) -> dict[str, str]:
    """Both policies from one start in the real simulator, side by side; says what the report should."""
    clips = [film(episode, simulator.action_repeat, size) for episode in (before, after)]
    outcomes = (bool(before.success.any()), bool(after.success.any()))
    name = f"before_after_{number}.mp4"
    save_mp4(folder / name, side_by_side(clips[0], clips[1], ("pretrained", "refined"), outcomes), fps)
    return {
        "file": name,
        "title": f"Start {number}, real: before and after",
        "caption": f"The same start state (seed {before.seed}), which no training saw, at half speed. Pretrained "
        f"policy: {_WORDS[outcomes[0]]}. Refined policy: {_WORDS[outcomes[1]]}.",
    }


def real_and_imagined(
    folder: Path, number: int, real: Episode, world_model: Any, info: DatasetInfo, seed: int, size: int, fps: float
) -> list[dict[str, str]]:
    """What happened under the refined policy beside what the world model imagines of the same actions.

    States have no picture, so the paths of the hand and the objects are drawn; empty where the state's names are
    unknown.
    """
    states = torch.from_numpy(real.observation[STATE])
    imagined = imagine_along(world_model, states, torch.from_numpy(real.action), seed)
    paths = [positions(array, info.state_names) for array in (states.numpy(), imagined.numpy())]
    if not paths[0]:
        return []
    clips = [draw_trajectories(paths[0], paths[1], size), draw_trajectories(paths[1], paths[0], size)]
    name = f"real_imagined_{number}.mp4"
    save_mp4(folder / name, side_by_side(clips[0], clips[1], ("real", "imagined")), fps)
    return [
        {
            "file": name,
            "title": f"Start {number}: real and imagined, same actions",
            "caption": "Left: paths in the simulator under the refined policy. Right: what the world model imagines "
            "from the first frame alone, with the same actions and no correction.",
        }
    ]
