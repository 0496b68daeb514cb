"""How true a world model's imagined pictures are on held-out episodes: by who acted, by horizon, beside hold-last."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from burnish.data import IMAGES, Dataset
from burnish.evaluation.imagined_pictures import (
    actions_after,
    check_same_size,
    draw_windows,
    imagine_pictures,
    picture_key,
    states_at,
)
from burnish.evaluation.picture_metrics import (
    MOVING_THRESHOLD,
    PSNR_CAP,
    moving_pixels,
    moving_psnr,
    psnr,
    ssim,
)
from burnish.world_models import WorldModel

MODEL, HOLD = "model", "hold_last"

# Metric, then who predicts: a tensor.
Table = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class SourceFidelity:
    """The episodes of one source: N windows of `horizon` predicted pictures each."""

    episodes: int
    errors: Table
    """`psnr`, `psnr_moving` (dB; NaN where nothing moves) and `ssim` of `model` and `hold_last`: (N, horizon)."""

    @property
    def windows(self) -> int:
        """N."""
        return len(self.errors["psnr"][MODEL])

    def summary(self) -> dict[str, Any]:
        """Means over windows by horizon; None where no window has a value."""
        told: dict[str, Any] = {"episodes": self.episodes, "windows": self.windows}
        for metric, by_predictor in self.errors.items():
            told[metric] = {name: _means(values) for name, values in by_predictor.items()}
        moving = self.errors["psnr_moving"][MODEL]
        told["psnr_moving"]["windows"] = (~moving.isnan()).sum(0).tolist()
        return told


@dataclass(frozen=True)
class Fidelity:
    """What `picture_fidelity` found, by source."""

    camera: str
    horizon: int
    frames_per_step: int
    moving_threshold: int
    sources: dict[str, SourceFidelity]
    missing: dict[str, str]
    """Sources that could not be measured, and why."""

    def summary(self) -> dict[str, Any]:
        """Plain numbers for `report.json`."""
        return {
            "camera": self.camera,
            "horizon": list(range(1, self.horizon + 1)),
            "frames_per_step": self.frames_per_step,
            "psnr_cap": PSNR_CAP,
            "moving_threshold": self.moving_threshold,
            "sources": {source: fidelity.summary() for source, fidelity in self.sources.items()},
            "missing": self.missing,
        }


@torch.no_grad()
def picture_fidelity(
    world_model: WorldModel,
    held_out: Dataset,
    horizon: int,
    seed: int,
    camera: str | None = None,
    limit: int = 200,
    batch: int = 32,
    threshold: int = MOVING_THRESHOLD,
) -> Fidelity:
    """Imagine `horizon` pictures from recorded frames under the recorded actions, and compare with the recorded ones.

    Args:
        world_model: decodes `observation.images.<camera>`.
        held_out: episodes that the world model did not learn from.
        horizon: transitions; a world model of action chunks is asked at every chunk's end.
        seed: of the windows, and of the world model's noise.
        camera: its name; the first one of the dataset where None.
        limit: windows of each source.
        batch: windows at a time.
        threshold: see `moving_pixels`.

    Raises:
        InputError: no such camera, a world model that predicts no pictures of its size, or no episode is long enough.
    """
    key = picture_key(held_out, camera)
    generator = torch.Generator(device=held_out.device).manual_seed(seed)
    chunk = world_model.action_steps
    sources: dict[str, SourceFidelity] = {}
    missing: dict[str, str] = {}
    longest = int(held_out.lengths.max())
    for source in dict.fromkeys(held_out.sources):
        part = held_out.with_sources([source])
        if int(part.lengths.max()) <= horizon * chunk < longest:
            missing[source] = f"{source}: no episode has more than {horizon * chunk} frames"
            continue
        comparison = _Comparison(threshold)
        for present in draw_windows(part, horizon * chunk, limit, generator).split(batch):
            frames = present[:, None] + chunk * torch.arange(horizon + 1, device=part.device)
            actions = actions_after(part, present, horizon, chunk)
            imagined = imagine_pictures(world_model, states_at(world_model, part, present), actions, key, generator)
            comparison.add(part.observations[key][frames], imagined)
        sources[source] = comparison.result(part.num_episodes)
    return Fidelity(key.removeprefix(IMAGES), horizon, chunk, threshold, sources, missing)


class _Comparison:
    """Collects the errors of one source's windows, batch by batch: the pictures themselves are not kept."""

    def __init__(self, threshold: int) -> None:
        self.threshold = threshold
        self.errors: dict[str, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))

    def add(self, recorded: UInt8[Tensor, "B steps H W 3"], imagined: UInt8[Tensor, "B horizon H W 3"]) -> None:
        """Windows with their present frame first, and what was imagined from it."""
        check_same_size(imagined, recorded)
        present, target = recorded[:, :1], recorded[:, 1:]
        moving = moving_pixels(present, target, self.threshold)
        for name, pictures in {MODEL: imagined, HOLD: present.expand_as(target)}.items():
            self.errors["psnr"][name].append(psnr(pictures, target))
            self.errors["psnr_moving"][name].append(moving_psnr(pictures, target, moving))
            self.errors["ssim"][name].append(ssim(pictures, target))

    def result(self, episodes: int) -> SourceFidelity:
        """Everything that was added."""
        errors = {
            name: {who: torch.cat(values) for who, values in found.items()} for name, found in self.errors.items()
        }
        return SourceFidelity(episodes, errors)


def _means(values: Tensor) -> list[float | None]:
    """The mean of each column over the rows that are not NaN; None where there is none."""
    return [None if mean != mean else mean for mean in values.double().nanmean(0).tolist()]
