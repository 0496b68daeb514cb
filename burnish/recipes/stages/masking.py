"""Masks for data that bring none: each episode's sentence names the things, its pictures show them."""

from dataclasses import replace

import numpy as np
import torch

from burnish.data import Dataset, image_key
from burnish.errors import InputError
from burnish.masks import MaskConfig, Masking, View, mask_camera
from burnish.pipeline import StageContext
from burnish.recipes.stages.recording import noted_masks
from burnish.report.section import save_sections


def add_masks(context: StageContext, data: Dataset, masks: MaskConfig, camera: str) -> Dataset:
    """The data set with a mask picture beside each picture of `camera`; what was lost is counted for the report.

    Raises:
        InputError: an episode's task is no sentence that is understood, or names something that is not to be seen.
    """
    pictures, masking = data.observations[image_key(camera)], masks.make()
    drawn, lost = torch.zeros(pictures.shape, dtype=torch.uint8), 0
    with context.progress(data.num_episodes, "episodes") as bar:
        for number, (start, length) in enumerate(zip(data.starts.tolist(), data.lengths.tolist(), strict=True)):
            frames = pictures[start : start + length].cpu().numpy()
            followed, missed = _followed(masking, frames, data.tasks[number], number)
            drawn[start : start + length] = torch.from_numpy(followed)
            lost += missed
            bar.set(number + 1)
    save_sections(context.folder, [noted_masks(context, data.num_frames - data.num_episodes, lost)])
    return replace(data, observations={**data.observations, image_key(mask_camera(camera)): drawn.to(data.device)})


def _followed(masking: Masking, frames: np.ndarray, sentence: str, number: int) -> tuple[np.ndarray, int]:
    """The mask pictures of one episode, and how many things were lost in them."""
    try:
        drawn = [masking.begin(View(frames[0]), sentence)]
    except InputError as error:
        raise InputError(f"the data set, episode {number}: {error}") from None
    lost = 0
    for frame in frames[1:]:
        drawn.append(masking.follow(View(frame)))
        lost += masking.lost
    return np.stack(drawn), lost
