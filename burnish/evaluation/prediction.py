"""How well a world model predicts held-out episodes open-loop, by horizon, against holding the last frame."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from burnish.data import Dataset, Windows
from burnish.world_models import STATE_KEY, WorldModel


@dataclass(frozen=True)
class OpenLoop:
    """Errors and disagreement of open-loop predictions: N windows, each with `horizon` predicted frames."""

    model_error: Tensor
    """(N, horizon): root mean square over the learned dimensions, in standard deviations of the data."""
    hold_error: Tensor
    """(N, horizon): the same for a prediction that repeats the present frame."""
    disagreement: Tensor | None
    """(N, horizon): the ensemble's disagreement before each step."""

    def summary(self) -> dict[str, Any]:
        """Median and 10–90 % band by horizon, as the report wants them."""

        def band(error: Tensor) -> dict[str, list[float]]:
            levels = torch.quantile(error, torch.tensor([0.5, 0.1, 0.9], device=error.device), dim=0)
            return {name: level.tolist() for name, level in zip(("median", "p10", "p90"), levels, strict=True)}

        return {
            "horizon": list(range(1, self.model_error.shape[1] + 1)),
            "model": band(self.model_error),
            "hold_last": band(self.hold_error),
            "unit": "standard deviations of the data",
        }


@torch.no_grad()
def open_loop(
    world_model: WorldModel, held_out: Dataset, horizon: int, seed: int, disagreement: Any = None, limit: int = 2000
) -> OpenLoop:
    """Predict `horizon` frames from real windows of `held_out` with their recorded actions."""
    space: Any = world_model.space  # type: ignore[attr-defined]
    frames = space.config.frames
    windows = Windows(held_out, history=frames, horizon=horizon)
    generator = torch.Generator(device=held_out.device).manual_seed(seed)
    count = len(windows.present_frames)
    chosen = windows.present_frames[torch.randperm(count, generator=generator, device=held_out.device)[:limit]]
    batch = windows.gather(chosen)
    truth = space.normaliser.normalise(batch.observation[STATE_KEY])[..., space.learned]
    state = space.window_state(batch)
    model, hold, doubt = [], [], []
    for step in range(horizon):
        action = batch.action[:, frames - 1 + step]
        if disagreement is not None:
            doubt.append(disagreement(state, action))
        state = world_model.imagine(state, action, generator)
        target = truth[:, frames + step]
        model.append(_rms(state.observation[:, -1, space.learned] - target))  # type: ignore[attr-defined]
        hold.append(_rms(truth[:, frames - 1] - target))
    return OpenLoop(torch.stack(model, 1), torch.stack(hold, 1), torch.stack(doubt, 1) if doubt else None)


def spearman(x: Tensor, y: Tensor) -> float:
    """Rank correlation of two vectors (ties keep their order)."""
    ranks = [v.flatten().argsort(stable=True).argsort().double() for v in (x, y)]
    centred = [r - r.mean() for r in ranks]
    return float((centred[0] * centred[1]).sum() / (centred[0].norm() * centred[1].norm()).clamp(min=1e-12))


def _rms(error: Tensor) -> Tensor:
    return error.square().mean(-1).sqrt()


@torch.no_grad()
def imagine_along(world_model: WorldModel, observation: Tensor, actions: Tensor, seed: int) -> Tensor:
    """The states (T, D) that the model imagines from the first of `observation` (T, D) under recorded `actions` (T, A).

    Both are in the data's units; the action of the last frame is not executed.
    """
    generator = torch.Generator(device=observation.device).manual_seed(seed)
    state = world_model.observe(world_model.initial(1), None, {STATE_KEY: observation[:1]})
    frames = [world_model.decode(state)[STATE_KEY]]
    for action in actions[:-1]:
        state = world_model.imagine(state, action[None], generator)
        frames.append(world_model.decode(state)[STATE_KEY])
    return torch.cat(frames)
