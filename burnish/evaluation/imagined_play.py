"""An agent plays in a world model as it would on a robot: it sees observations, and nothing of the world's insides."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.evaluation.frozen import FrozenModels
from burnish.policies import Agent
from burnish.world_models import State

_WORST = 1e6


@dataclass(frozen=True)
class ImaginedPlay:
    """One imagined episode from each of N starts, played to its end whatever the doubts.

    Attributes:
        success: the classifier saw success within the time limit.
        doubt: the largest disagreement on the way, as a multiple of its halting threshold.
        distance: the largest distance to the data on the way, as a multiple of its halting threshold; 0 where the
            recipe has no such distance.
        mean_distance: its mean on the way (of the disagreement where there is no distance).
    """

    success: Bool[Tensor, " N"]
    doubt: Float[Tensor, " N"]
    distance: Float[Tensor, " N"]
    mean_distance: Float[Tensor, " N"]

    @property
    def halted(self) -> Bool[Tensor, " N"]:
        """Where refinement would have halted the episode before its end."""
        return ~((self.doubt <= 1) & (self.distance <= 1))

    @property
    def pessimistic(self) -> Bool[Tensor, " N"]:
        """Success, where a halted episode counts as a failure."""
        return self.success & ~self.halted


@torch.no_grad()
def imagined_play(
    agent: Agent,
    models: FrozenModels,
    starts: State,
    observation: dict[str, Tensor],
    steps: int,
    seed: int,
    deviation: Float[Tensor, "N T A"] | None = None,
    check_every: int = 10,
) -> ImaginedPlay:
    """Play the deterministic agent from each row of `starts` (states of the world model) for at most `steps` actions.

    A world model of several `action_steps` finishes its last transition.  A success is looked for after every
    transition, and whether all episodes are over every `check_every` transitions.
    `observation` (N, …) is what was recorded there; later ones are decoded from imagined states.  The agent keeps its
    own observer, so its features may be those of another world model than the one it plays in.  `deviation` is added
    to the agent's first T actions.
    """
    world, state = models.world_model, starts
    device = next(iter(observation.values())).device
    count = len(next(iter(observation.values())))
    generator = torch.Generator(device=device).manual_seed(seed)
    success = torch.zeros(count, dtype=torch.bool, device=device)
    doubt, distance, total, lived = (torch.zeros(count, device=device) for _ in range(4))
    agent.begin(count)
    for step in range(0, steps, world.action_steps):
        alive = ~success
        chunk = range(step, step + world.action_steps)
        actions = torch.cat([_act(agent, observation, deviation, now) for now in chunk], dim=-1)
        parts = [_relative(judge, state, actions) for judge in (models.disagreement, models.support)]
        doubt, distance = (
            torch.where(alive, torch.maximum(worst, now), worst)
            for worst, now in zip((doubt, distance), parts, strict=True)
        )
        total = total + torch.where(alive, parts[0 if models.support is None else 1], 0.0)
        lived = lived + alive
        state = world.imagine(state, actions, generator)
        observation = world.decode(state)
        success = success | models.classifier.succeeded(world.features(state))
        if step // world.action_steps % check_every == check_every - 1 and bool(success.all()):
            break
    return ImaginedPlay(success, doubt, distance, total / lived)


def _act(agent: Agent, observation: dict[str, Tensor], deviation: Tensor | None, step: int) -> Tensor:
    action = agent.act(observation)
    if deviation is not None and step < deviation.shape[1]:
        action = (action + deviation[:, step]).clamp(-1, 1)
        agent.executed(action)
    return action


def _relative(judge: object, state: State, actions: Tensor) -> Tensor:
    """A doubt as a multiple of its threshold, within a million; what is no number is as bad as it gets."""
    if judge is None:
        return torch.zeros(len(actions), device=actions.device)
    # Data that repeats itself may have a threshold of zero.
    found = judge(state, actions) / judge.threshold.clamp(min=1e-12)  # type: ignore[operator, attr-defined]
    return torch.nan_to_num(found, nan=_WORST).clamp(-_WORST, _WORST)
