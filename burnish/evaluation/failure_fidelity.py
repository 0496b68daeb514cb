"""Does an imagined failure stay a failure: recorded episodes imagined along their actions, judged by the classifier."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.data import Dataset
from burnish.evaluation.intervals import wilson_interval
from burnish.imagination import Models, recorded, rollout
from burnish.world_models import WorldModel


class Judges(Protocol):
    """A success classifier on features."""

    def succeeded(self, features: Float[Tensor, "B F"]) -> Bool[Tensor, " B"]:
        """Whether the features show success."""
        ...


@dataclass(frozen=True)
class FailureFidelity:
    """E episodes: what was recorded, and whether the classifier fired in imagination and on the recorded frames."""

    sources: tuple[str, ...]
    succeeded: Bool[Tensor, " E"]
    fired_imagined: Bool[Tensor, " E"]
    fired_recorded: Bool[Tensor, " E"]
    """The classifier's own share of the error: it reads the same frames of the real episode."""

    def summary(self) -> dict[str, Any]:
        """Plain numbers for `report.json`: shares of failures that stay failures, and of successes that stay such."""
        told = self._told(torch.ones_like(self.succeeded))
        by_source = {
            name: self._told(torch.tensor([source == name for source in self.sources], device=self.succeeded.device))
            for name in dict.fromkeys(self.sources)
        }
        return told | {"sources": by_source}

    def _told(self, rows: Tensor) -> dict[str, Any]:
        return {
            name: {
                "imagined": _share((self.fired_imagined == outcome)[rows & (self.succeeded == outcome)]),
                "recorded": _share((self.fired_recorded == outcome)[rows & (self.succeeded == outcome)]),
            }
            for name, outcome in (("failures_kept", False), ("successes_kept", True))
        }


@torch.no_grad()
def failure_fidelity(
    world_model: WorldModel,
    classifier: Judges,
    held_out: Dataset,
    seed: int,
    limit: int = 200,
    batch: int = 16,
) -> FailureFidelity:
    """Imagine at most `limit` episodes from their first frames under their recorded actions, to their ends.

    Each counts as a success where the classifier fires on any imagined state; the first, recorded one is not asked.
    An episode is a failure where no frame is marked a success. Needs no pictures: the classifier reads features.
    """
    generator = torch.Generator(device=held_out.device).manual_seed(seed)
    drawn = torch.randperm(held_out.num_episodes, generator=generator, device=held_out.device)[:limit]
    chosen = drawn.sort().values
    imagined, real = [], []
    for episodes in chosen.split(batch):
        part = held_out.subset(episodes.tolist())
        states = world_model.recorded(part)
        steps = (part.lengths - 1) // world_model.action_steps
        fired = torch.zeros(part.num_episodes, dtype=torch.bool, device=part.device)
        fired_recorded, act = fired.clone(), recorded(part, part.starts, world_model.action_steps)
        for now in rollout(Models(world_model), states.rows(part.starts), act, steps, generator):
            fired |= now.alive & classifier.succeeded(world_model.features(now.following))
            frames = part.starts + (now.step + 1) * world_model.action_steps
            frames = torch.minimum(frames, part.starts + part.lengths - 1)
            fired_recorded |= now.alive & classifier.succeeded(world_model.features(states.rows(frames)))
        imagined.append(fired)
        real.append(fired_recorded)
    names = tuple(held_out.sources[index] for index in chosen.tolist())
    return FailureFidelity(names, held_out.episode_success[chosen], torch.cat(imagined), torch.cat(real))


def _share(kept: Tensor) -> dict[str, Any]:
    count, total = len(kept), int(kept.sum())
    if not count:
        return {"kept": 0, "episodes": 0, "rate": None, "ci95": None}
    return {"kept": total, "episodes": count, "rate": total / count, "ci95": list(wilson_interval(total, count))}
