"""What rewards learn from: recorded and imagined frames and transitions, labelled by what really happened."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from burnish.data import Dataset, Windows
from burnish.errors import InputError
from burnish.imagination.rollout import Models, recorded, rollout
from burnish.rewards import RewardTransitions
from burnish.world_models.base import WorldModel


@torch.no_grad()
def imagined_frames(
    world_model: WorldModel, dataset: Dataset, seed: int, steps: int = 8, limit: int = 20_000
) -> tuple[Float[Tensor, "N F"], Bool[Tensor, " N"]]:
    """Features after 1 … `steps` imagined steps under the recorded actions, and whether they really were a success.

    Windows that end in success are drawn more often, because they are rare.
    """
    chunk = world_model.action_steps
    steps = max(1, steps // chunk)
    present = Windows(dataset, history=1, horizon=steps * chunk).present_frames
    generator = torch.Generator(device=dataset.device).manual_seed(seed)
    succeeds = dataset.success[present + steps * chunk]
    weights = torch.where(succeeds, 0.3 / succeeds.sum().clamp(min=1), 0.7 / (~succeeds).sum().clamp(min=1))
    drawn = present[torch.multinomial(weights, max(1, limit // steps), replacement=True, generator=generator)]
    rows, labels = [], []
    state, act = world_model.recorded(dataset).rows(drawn), recorded(dataset, drawn, chunk)
    for now in rollout(Models(world_model), state, act, steps, generator):
        rows.append(world_model.features(now.following))
        labels.append(dataset.success[drawn + (now.step + 1) * chunk])
    return torch.cat(rows), torch.cat(labels)


@torch.no_grad()
def recorded_transitions(world_model: WorldModel, dataset: Dataset) -> RewardTransitions:
    """Every recorded transition of the world model's `action_steps`, with what it earned.

    Raises:
        InputError: the data has no rewards, or no episode is long enough.
    """
    chunk = world_model.action_steps
    present = Windows(dataset, history=1, horizon=chunk).present_frames
    features = world_model.features(world_model.recorded(dataset))
    reward, terminated = _earned(dataset, present, chunk)
    action = recorded(dataset, present, chunk)(None, 0)
    return RewardTransitions(features[present], action, features[present + chunk], reward, terminated)


@torch.no_grad()
def imagined_transitions(
    world_model: WorldModel, dataset: Dataset, seed: int, steps: int = 8, limit: int = 20_000
) -> RewardTransitions:
    """The same of 1 … `steps` imagined transitions under the recorded actions: what they look like, what was earned.

    Raises:
        InputError: the data has no rewards, or no episode is long enough.
    """
    chunk = world_model.action_steps
    steps = max(1, min(steps, int(dataset.lengths.max()) - 1) // chunk)
    present = Windows(dataset, history=1, horizon=steps * chunk).present_frames
    generator = torch.Generator(device=dataset.device).manual_seed(seed)
    index = torch.randint(len(present), (max(1, limit // steps),), generator=generator, device=dataset.device)
    drawn = present[index]
    state, act = world_model.recorded(dataset).rows(drawn), recorded(dataset, drawn, chunk)
    rows = []
    for now in rollout(Models(world_model), state, act, steps, generator):
        before, after = world_model.features(now.state), world_model.features(now.following)
        rows.append(RewardTransitions(before, now.action, after, *_earned(dataset, drawn + now.step * chunk, chunk)))
    return RewardTransitions(**{name: torch.cat([getattr(each, name) for each in rows]) for name in vars(rows[0])})


def _earned(dataset: Dataset, present: Int[Tensor, " N"], chunk: int) -> tuple[Float[Tensor, " N"], Bool[Tensor, " N"]]:
    """The sum of the rewards of the next `chunk` frames, and whether the episode ended in one of them."""
    if dataset.reward is None:
        raise InputError("the dataset: found no rewards, expected a column 'next.reward' to learn a reward from")
    frames = present[:, None] + 1 + torch.arange(chunk, device=present.device)
    ended = torch.zeros_like(dataset.success) if dataset.terminated is None else dataset.terminated
    return dataset.reward[frames].sum(1), ended[frames].any(1)
