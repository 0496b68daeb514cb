"""How well a world model predicts held-out episodes open-loop, by horizon, against holding the last frame."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from burnish.data import Dataset, Windows
from burnish.imagination import Models, given, recorded, rollout
from burnish.world_models import STATE_KEY, WorldModel, learned_dimensions


@dataclass(frozen=True)
class OpenLoop:
    """Errors and disagreement of open-loop predictions: N windows, each with `horizon` predicted frames."""

    model_error: Tensor
    """(N, horizon): root mean square over the learned dimensions, in standard deviations of the data."""
    hold_error: Tensor
    """(N, horizon): the same for a prediction that repeats the present frame."""
    disagreement: Tensor | None
    """(N, horizon): the ensemble's disagreement before each step."""
    episode: Tensor | None = None
    """int64 (N,): the held-out episode that each window lies in; windows of one episode depend on each other."""

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
    """Predict `horizon` frames from recorded frames of `held_out` with their recorded actions.

    A world model of action chunks is asked at every chunk's end; the horizon then counts chunks.
    """
    chunk, device = world_model.action_steps, held_out.device
    presents = Windows(held_out, history=1, horizon=horizon * chunk).present_frames
    generator = torch.Generator(device=device).manual_seed(seed)
    present = presents[torch.randperm(len(presents), generator=generator, device=device)[:limit]]
    moving = list(learned_dimensions(held_out))

    def normalised(frames: Tensor) -> Tensor:
        return world_model.normaliser.normalise(frames)[:, moving]

    truth = held_out.observations[STATE_KEY]
    first = normalised(truth[present])
    state, act = world_model.recorded(held_out).rows(present), recorded(held_out, present, chunk)
    model, hold, doubt = [], [], []
    for now in rollout(Models(world_model), state, act, horizon, generator):
        if disagreement is not None:
            doubt.append(disagreement(now.state, now.action))
        target = normalised(truth[present + (now.step + 1) * chunk])
        model.append(_rms(normalised(world_model.decode(now.following)[STATE_KEY]) - target))
        hold.append(_rms(first - target))
    episode = held_out.episode_of_frame[present]
    return OpenLoop(torch.stack(model, 1), torch.stack(hold, 1), torch.stack(doubt, 1) if doubt else None, episode)


def _rms(error: Tensor) -> Tensor:
    return error.square().mean(-1).sqrt()


@torch.no_grad()
def imagine_along(
    world_model: WorldModel, observation: dict[str, Tensor], actions: Tensor, seed: int
) -> dict[str, Tensor]:
    """The observations (T, …) that the model imagines from the first of `observation` (T, …) under the recorded
    `actions` (T, A), by their keys.

    All are in the data's units; the action of the last frame is not executed.
    """
    generator = torch.Generator(device=actions.device).manual_seed(seed)
    first = {key: values[:1] for key, values in observation.items()}
    state = world_model.observe(world_model.initial(1), None, first)
    frames = [world_model.decode(state)]
    chunk = world_model.action_steps
    steps = (len(actions) - 1) // chunk
    act = given(actions[: steps * chunk].view(1, steps, -1))
    for now in rollout(Models(world_model), state, act, steps, generator):
        # A model of action chunks has nothing to say about the frames between: they are held.
        frames += [frames[-1]] * (chunk - 1) + [world_model.decode(now.following)]
    frames += [frames[-1]] * (len(actions) - len(frames))
    return {key: torch.cat([frame[key] for frame in frames]) for key in frames[0]}
