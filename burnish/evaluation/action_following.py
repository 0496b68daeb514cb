"""Does imagination follow the actions: the same start under its own and under another window's actions."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from burnish.data import Dataset
from burnish.errors import InputError
from burnish.evaluation.imagined_pictures import (
    actions_after,
    check_same_size,
    draw_windows,
    imagine_pictures,
    picture_key,
    states_at,
)
from burnish.evaluation.intervals import wilson_interval
from burnish.evaluation.picture_metrics import MOVING_THRESHOLD, moving_error, moving_pixels
from burnish.world_models import WorldModel

ALIKE = 0.25
"""Two windows begin alike where their presents differ by at most this share of what their futures differ by."""
_THUMBNAIL = 16


@dataclass(frozen=True)
class ActionFollowing:
    """Scores of windows: 1 where the right future follows, 0 where the other one does, ½ for a tie."""

    horizon: int
    own_future: Float[Tensor, " N"]
    """Own actions bring imagination nearer to the recorded future than swapped ones; NaN where nothing moves."""
    other_future: Float[Tensor, " N"]
    """Swapped actions bring it nearer to their own recorded future than to this window's; NaN where the two windows do
    not begin alike, so that neither future is due."""

    def summary(self) -> dict[str, Any]:
        """Plain numbers for `report.json`. Windows count as independent: of one episode, they are less than that."""
        return {
            "horizon": self.horizon,
            "own_future": _counted(self.own_future),
            "other_future": _counted(self.other_future),
        }


@torch.no_grad()
def action_following(
    world_model: WorldModel,
    held_out: Dataset,
    horizon: int,
    seed: int,
    camera: str | None = None,
    limit: int = 200,
    batch: int = 32,
    threshold: int = MOVING_THRESHOLD,
) -> ActionFollowing:
    """Imagine `horizon` transitions from the same recorded frames twice, and look at where the last pictures land.

    The swapped actions are those of the drawn window, of another episode where there is one, that begins most alike
    and ends most differently. Both imaginations use the same noise, so a world model that ignores actions ties.
    Distances are mean square errors over pixels that tell: for `own_future` those that move between the present and
    the recorded future; for `other_future` those in which the two recorded futures differ.

    Raises InputError as `picture_fidelity`, and where only one window can be drawn.
    """
    key, chunk = picture_key(held_out, camera), world_model.action_steps
    generator = torch.Generator(device=held_out.device).manual_seed(seed)
    present = draw_windows(held_out, horizon * chunk, limit, generator)
    if len(present) < 2:
        raise InputError(f"action following: found one window of {horizon * chunk + 1} frames, expected at least two")
    pictures = held_out.observations[key]
    partner, alike = partners(pictures, present, present + horizon * chunk, held_out.episode_of_frame[present])
    own_scores, other_scores = [], []
    for number, rows in enumerate(torch.arange(len(present), device=present.device).split(batch)):
        start, other = present[rows], present[partner[rows]]
        state = states_at(world_model, held_out, start)
        imagined = []
        for acting in (start, other):
            generator.manual_seed(seed + 1 + number)
            actions = actions_after(held_out, acting, horizon, chunk)
            imagined.append(imagine_pictures(world_model, state, actions, key, generator, every=False)[:, 0])
        own, swapped = imagined
        now, future, other_future = (
            pictures[frame] for frame in (start, start + horizon * chunk, other + horizon * chunk)
        )
        check_same_size(own, future)
        moving = moving_pixels(now, future, threshold)
        own_scores.append(nearer(moving_error(own, future, moving), moving_error(swapped, future, moving)))
        telling = moving_pixels(future, other_future, threshold)
        score = nearer(moving_error(swapped, other_future, telling), moving_error(swapped, future, telling))
        other_scores.append(score.masked_fill(~alike[rows], torch.nan))
    return ActionFollowing(horizon, torch.cat(own_scores), torch.cat(other_scores))


def partners(
    pictures: UInt8[Tensor, "F H W 3"],
    present: Int64[Tensor, " N"],
    future: Int64[Tensor, " N"],
    episode: Int64[Tensor, " N"],
) -> tuple[Int64[Tensor, " N"], Bool[Tensor, " N"]]:
    """For each window the one with the smallest ratio of the presents' to the futures' difference; begin they alike?

    Differences are mean square errors of thumbnails. Windows of the same episode are taken only where there is no
    other episode.
    """
    start, end = (thumbnails(pictures[frames]) for frames in (present, future))
    differ = torch.cdist(end, end, compute_mode="donot_use_mm_for_euclid_dist").square()
    ratio = torch.cdist(start, start, compute_mode="donot_use_mm_for_euclid_dist").square() / differ
    # 0 / 0: two windows that begin and end alike tell nothing.
    ratio = ratio.nan_to_num(nan=torch.inf, posinf=torch.inf)
    same = episode[:, None] == episode
    identity = torch.eye(len(present), dtype=torch.bool, device=present.device)
    forbidden = torch.where(same.all(), identity, same)
    # Allowed ones stay below forbidden ones, however bad they are.
    ratio = ratio.clamp(max=torch.finfo(ratio.dtype).max).masked_fill(forbidden, torch.inf)
    best = ratio.min(1)
    return best.indices, best.values <= ALIKE


def thumbnails(pictures: UInt8[Tensor, "N H W 3"]) -> Float[Tensor, "N P"]:
    """Pictures of at most 16×16 averages, flattened."""
    size = (min(_THUMBNAIL, pictures.shape[1]), min(_THUMBNAIL, pictures.shape[2]))
    return functional.adaptive_avg_pool2d(pictures.movedim(-1, -3).float(), size).flatten(1)


def nearer(first: Float[Tensor, " N"], second: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """1 where the first error is smaller, 0 where the second is, ½ for a tie, NaN where one is NaN."""
    score = (first < second).float() + 0.5 * (first == second).float()
    return score.masked_fill(first.isnan() | second.isnan(), torch.nan)


def _counted(scores: Tensor) -> dict[str, Any]:
    known = scores[~scores.isnan()]
    told: dict[str, Any] = {"windows": len(known), "untold": len(scores) - len(known)}
    if not len(known):
        return told | {"rate": None, "ci95": None, "ties": 0}
    total = float(known.sum())
    interval = wilson_interval(total, len(known))
    return told | {"rate": total / len(known), "ci95": list(interval), "ties": int((known == 0.5).sum())}
