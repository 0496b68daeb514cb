"""Back-test: held-out worlds replay recorded episodes of which the outcome is known.

Worlds can agree with each other and be wrong together (that a puck follows the hand which passes it, say).  What they
say of recorded episodes that they did not learn from shows it, without a simulator: a world that knows the task
succeeds where the robot did and fails where it failed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.data import Dataset
from burnish.evaluation.agent import Agent
from burnish.evaluation.frozen import FrozenModels

RANDOM = "random"


@dataclass(frozen=True)
class BackTest:
    """Recorded episodes by their outcome on the robot (or simulator) and in a held-out world."""

    both: int
    """Succeeded in both."""
    only_real: int
    only_imagined: int
    neither: int

    @property
    def episodes(self) -> int:
        """All of them."""
        return self.both + self.only_real + self.only_imagined + self.neither

    @property
    def skill(self) -> float:
        """Matthews' correlation (φ) of the two outcomes: 1 where they always agree, 0 where imagination knows nothing.

        0, too, where one of the outcomes never varies: then nothing was shown.
        """
        a, b, c, d = self.both, self.only_real, self.only_imagined, self.neither
        margins = (a + b) * (c + d) * (a + c) * (b + d)
        return (a * d - b * c) / math.sqrt(margins) if margins else 0.0

    @property
    def transfer(self) -> tuple[float, float]:
        """How much real success one imagined success is worth, and its standard error.

        P(real | imagined success) − P(real | imagined failure): the slope of the regression of one outcome on the
        other.
        """
        (after_success, first), (after_failure, second) = self._rates()
        variance = after_success * (1 - after_success) / first + after_failure * (1 - after_failure) / second
        return after_success - after_failure, math.sqrt(variance)

    def expected(self, imagined: float) -> float:
        """The real success rate to expect of a policy with this imagined one."""
        (after_success, _), (after_failure, _) = self._rates()
        return imagined * after_success + (1 - imagined) * after_failure

    def _rates(self) -> tuple[tuple[float, int], tuple[float, int]]:
        """Real success after an imagined success and after an imagined failure, each with its number of episodes.

        One success and one failure are added (Agresti and Caffo 2000), so that few episodes count as few.
        """
        counts = (self.both, self.both + self.only_imagined), (self.only_real, self.only_real + self.neither)
        first, second = (((hits + 1) / (total + 2), total + 2) for hits, total in counts)
        return first, second


def back_test(
    agent: Agent, worlds: Sequence[FrozenModels], held_out: Sequence[Dataset], steps: int, seed: int
) -> BackTest:
    """Replay in every world those episodes that it did not learn from; random motion is left out, where it is known.

    Actions are the agent's, plus the recorded deviation from what it would have done (`deviations`): where the world
    is right, exactly the recorded ones; where it drifts, the agent corrects for it as it would on the robot.
    """
    imagined, real = [], []
    for number, (world, episodes) in enumerate(zip(worlds, held_out, strict=True)):
        others = sorted(set(episodes.sources) - {RANDOM})
        chosen = episodes.with_sources(others) if others else episodes
        imagined.append(_replay(agent, world, chosen, steps, seed + number))
        real.append(chosen.episode_success)
    found, true = torch.cat(imagined), torch.cat(real)
    return BackTest(
        int((found & true).sum()), int((~found & true).sum()), int((found & ~true).sum()), int((~found & ~true).sum())
    )


@torch.no_grad()
def deviations(agent: Agent, dataset: Dataset) -> Float[Tensor, "F A"]:
    """Recorded actions minus what the agent decides on the recorded observations, at every frame."""
    found = torch.zeros_like(dataset.actions)
    agent.begin(dataset.num_episodes)
    for step in range(int(dataset.lengths.max())):
        # Episodes that are over repeat their last frame, which nobody reads.
        now = dataset.starts + torch.minimum(torch.full_like(dataset.lengths, step), dataset.lengths - 1)
        action = agent.act({key: values[now] for key, values in dataset.observations.items()})
        agent.executed(dataset.actions[now])
        inside = step < dataset.lengths
        found[now[inside]] = (dataset.actions[now] - action)[inside]
    return found


@torch.no_grad()
def on_policy(agent: Agent, dataset: Dataset, tolerance: float = 1e-3) -> Bool[Tensor, " E"]:
    """Episodes in which the robot did just what the agent would have done: its recorded real success."""
    # The last frame's action was never executed, and may be anything.
    far = deviations(agent, dataset).abs().amax(1) > tolerance
    far[dataset.starts + dataset.lengths - 1] = False
    counts = torch.zeros_like(dataset.lengths).index_add_(0, dataset.episode_of_frame, far.long())
    return counts == 0


@torch.no_grad()
def _replay(agent: Agent, models: FrozenModels, dataset: Dataset, steps: int, seed: int) -> Bool[Tensor, " E"]:
    """Whether each episode of `dataset` succeeds in this world."""
    world, deviation = models.world_model, deviations(agent, dataset)
    state = world.recorded(dataset).rows(dataset.starts)
    observation = {key: values[dataset.starts] for key, values in dataset.observations.items()}
    generator = torch.Generator(device=dataset.device).manual_seed(seed)
    success = torch.zeros(dataset.num_episodes, dtype=torch.bool, device=dataset.device)
    agent.begin(dataset.num_episodes)
    for start in range(0, steps, world.action_steps):
        actions = []
        for step in range(start, start + world.action_steps):
            action = agent.act(observation)
            # After the recording's end the agent goes on alone.
            inside = (step < dataset.lengths - 1)[:, None]
            now = dataset.starts + torch.minimum(torch.full_like(dataset.lengths, step), dataset.lengths - 1)
            actions.append((action + torch.where(inside, deviation[now], 0.0)).clamp(-1, 1))
            agent.executed(actions[-1])
        state = world.imagine(state, torch.cat(actions, dim=-1), generator)
        observation = world.decode(state)
        success = success | models.classifier.succeeded(world.features(state))
    return success
