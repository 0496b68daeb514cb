"""How true a world model's imagined pictures are on held-out episodes: by who acted, by horizon, beside hold-last."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from burnish.data import IMAGES, Dataset
from burnish.evaluation.feature_networks import FeatureNetwork, FeatureNetworks, Missing
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
    frechet_distance,
    moving_pixels,
    moving_psnr,
    psnr,
    ssim,
)
from burnish.world_models import WorldModel

MODEL, HOLD, RECORDED = "model", "hold_last", "recorded"
_NETWORK_BATCH = 32

# Metric or network, then who predicts: a tensor.
Table = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class SourceFidelity:
    """The episodes of one source: N windows of `horizon` predicted pictures each."""

    episodes: int
    errors: Table
    """`psnr`, `psnr_moving` (dB; NaN where nothing moves), `ssim`, `lpips` of `model` and `hold_last`: (N, horizon)."""
    distances: dict[str, dict[str, Any]]
    """`fid`, `frechet_own` (over all horizons, and for each one) and `fvd`: Fréchet distances from the recorded."""

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
        return told | self.distances


@dataclass(frozen=True)
class Fidelity:
    """What `picture_fidelity` found, by source."""

    camera: str
    horizon: int
    frames_per_step: int
    moving_threshold: int
    sources: dict[str, SourceFidelity]
    networks: dict[str, str]
    """Metric to the name of its network."""
    missing: dict[str, str]
    """What could not be told, and why."""

    def summary(self) -> dict[str, Any]:
        """Plain numbers for `report.json`."""
        return {
            "camera": self.camera,
            "horizon": list(range(1, self.horizon + 1)),
            "frames_per_step": self.frames_per_step,
            "psnr_cap": PSNR_CAP,
            "moving_threshold": self.moving_threshold,
            "sources": {source: fidelity.summary() for source, fidelity in self.sources.items()},
            "networks": self.networks,
            "missing": self.missing,
        }


@torch.no_grad()
def picture_fidelity(
    world_model: WorldModel,
    held_out: Dataset,
    horizon: int,
    seed: int,
    networks: FeatureNetworks | None = None,
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
        networks: what LPIPS, FID, FVD and `frechet_own` are measured with; without any, these are reported as missing.
        camera: its name; the first one of the dataset where None.
        limit: windows of each source.
        batch: windows at a time.
        threshold: see `moving_pixels`.

    Raises:
        InputError: no such camera, a world model that predicts no pictures of its size, or no episode is long enough.
    """
    key = picture_key(held_out, camera)
    networks = networks or FeatureNetworks()
    usable, missing = _usable(networks, horizon + 1)
    generator = torch.Generator(device=held_out.device).manual_seed(seed)
    chunk, sources = world_model.action_steps, {}
    longest = int(held_out.lengths.max())
    for source in dict.fromkeys(held_out.sources):
        part = held_out.with_sources([source])
        if int(part.lengths.max()) <= horizon * chunk < longest:
            missing[source] = f"{source}: no episode has more than {horizon * chunk} frames"
            continue
        comparison = _Comparison(networks, usable, threshold)
        for present in draw_windows(part, horizon * chunk, limit, generator).split(batch):
            frames = present[:, None] + chunk * torch.arange(horizon + 1, device=part.device)
            actions = actions_after(part, present, horizon, chunk)
            imagined = imagine_pictures(world_model, states_at(world_model, part, present), actions, key, generator)
            comparison.add(part.observations[key][frames], imagined)
        sources[source] = comparison.result(part.num_episodes)
    names = {name: network.name for name, network in usable.items()}
    if not isinstance(networks.lpips, Missing):
        names["lpips"] = networks.lpips.name
    return Fidelity(key.removeprefix(IMAGES), horizon, chunk, threshold, sources, names, missing)


class _Comparison:
    """Collects errors and features of one source's windows, batch by batch: the pictures themselves are not kept."""

    def __init__(self, networks: FeatureNetworks, usable: dict[str, FeatureNetwork], threshold: int) -> None:
        self.lpips, self.usable, self.threshold = networks.lpips, usable, threshold
        self.errors: dict[str, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
        self.features: dict[str, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))

    def add(self, recorded: UInt8[Tensor, "B steps H W 3"], imagined: UInt8[Tensor, "B horizon H W 3"]) -> None:
        """Windows with their present frame first, and what was imagined from it."""
        check_same_size(imagined, recorded)
        present, target = recorded[:, :1], recorded[:, 1:]
        moving = moving_pixels(present, target, self.threshold)
        predictions = {MODEL: imagined, HOLD: present.expand_as(target)}
        for name, pictures in predictions.items():
            self.errors["psnr"][name].append(psnr(pictures, target))
            self.errors["psnr_moving"][name].append(moving_psnr(pictures, target, moving))
            self.errors["ssim"][name].append(ssim(pictures, target))
            if not isinstance(self.lpips, Missing):
                self.errors["lpips"][name].append(self._perceptual(pictures, target))
        for metric, network in self.usable.items():
            for name, pictures in (predictions | {RECORDED: target}).items():
                if metric == "fvd":
                    found = _features(network, torch.cat([present, pictures], dim=1).unsqueeze(1))
                elif name == HOLD:
                    found = _features(network, present).expand(-1, target.shape[1], -1)
                else:
                    found = _features(network, pictures)
                self.features[metric][name].append(found)

    def result(self, episodes: int) -> SourceFidelity:
        """Everything that was added."""
        errors, features = (
            {name: {who: torch.cat(values) for who, values in found.items()} for name, found in table.items()}
            for table in (self.errors, self.features)
        )
        return SourceFidelity(episodes, errors, {name: _distances(found) for name, found in features.items()})

    def _perceptual(self, pictures: Tensor, target: Tensor) -> Tensor:
        assert not isinstance(self.lpips, Missing)
        pairs = zip(*(p.flatten(0, 1).split(_NETWORK_BATCH) for p in (pictures, target)), strict=True)
        return torch.cat([self.lpips.distance(*pair) for pair in pairs]).view(target.shape[:2])


def _usable(networks: FeatureNetworks, frames: int) -> tuple[dict[str, FeatureNetwork], dict[str, str]]:
    """The feature networks that can judge videos of `frames` frames, and why others cannot."""
    missing: dict[str, str] = {}
    usable: dict[str, FeatureNetwork] = {}
    if isinstance(networks.lpips, Missing):
        missing["lpips"] = networks.lpips.reason
    for metric, network in (("fid", networks.fid), ("fvd", networks.fvd), ("frechet_own", networks.own)):
        if isinstance(network, Missing):
            missing[metric] = network.reason
        elif network is None:
            missing[metric] = f"{metric}: no network of the run's own was given"
        elif network.min_frames > frames:
            missing[metric] = f"{metric.upper()}: its network needs {network.min_frames} frames, a window has {frames}"
        else:
            usable[metric] = network
    return usable, missing


def _features(network: FeatureNetwork, pictures: Tensor) -> Tensor:
    """(B, n, D) of pictures (B, n, H, W, 3) or of videos (B, 1, T, H, W, 3)."""
    parts = pictures.flatten(0, 1).split(max(1, _NETWORK_BATCH // network.min_frames))
    return torch.cat([network.features(part) for part in parts]).unflatten(0, pictures.shape[:2])


def _distances(features: dict[str, Tensor]) -> dict[str, Any]:
    """Fréchet distances of the predictions (N, horizon, D) from the recorded, over all horizons and for each."""
    recorded = features[RECORDED]
    count, horizon, width = recorded.shape
    told: dict[str, Any] = {"samples": count * horizon, "feature_dim": width}
    for name in (MODEL, HOLD):
        predicted = features[name]
        if count * horizon > 1:
            told[name] = frechet_distance(predicted.flatten(0, 1), recorded.flatten(0, 1))
        if count > 1 and horizon > 1:
            by_horizon = [frechet_distance(predicted[:, h], recorded[:, h]) for h in range(horizon)]
            told[f"{name}_by_horizon"] = by_horizon
    return told


def _means(values: Tensor) -> list[float | None]:
    """The mean of each column over the rows that are not NaN; None where there is none."""
    return [None if mean != mean else mean for mean in values.double().nanmean(0).tolist()]
