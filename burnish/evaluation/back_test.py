"""Back-test: held-out worlds replay recorded episodes of which the outcome is known.

Worlds can agree with each other and be wrong together (that a puck follows the hand which passes it, say). What they
say of recorded episodes that they did not learn from shows it, without a simulator: a world that knows the task
succeeds where the robot did and fails where it failed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from burnish.data import UNLABELLED, Dataset
from burnish.evaluation.agreement import Agreement, BackTest, ReturnTest
from burnish.imagination import Models, imagined_play, recorded
from burnish.policies import Agent

RANDOM, ROLLOUT = "random", "policy"
LEAST = 10

_AGAIN = 104729


@dataclass(frozen=True)
class Replays:
    """Recorded episodes and their replays: what each was worth, as success (0 or 1) or as return.

    Attributes:
        imagined: by a replay; pessimistic, so that a halted one has no success.
        again: by a second replay with other random numbers.
        real: as recorded.
        by_success: whether these are successes.
    """

    imagined: Float[Tensor, " E"]
    again: Float[Tensor, " E"]
    real: Float[Tensor, " E"]
    by_success: bool

    @property
    def agreement(self) -> Agreement:
        """How they agree: of successes, the 2×2 table."""
        columns = self.imagined, self.real, self.again
        return BackTest.of(*(values > 0.5 for values in columns)) if self.by_success else ReturnTest.of(*columns)


def back_test(agent: Agent, worlds: Sequence[Models], held_out: Sequence[Dataset], steps: int, seed: int) -> Agreement:
    """How outcomes of recorded episodes agree with those of their replays (`replays`)."""
    return replays(agent, worlds, held_out, steps, seed).agreement


def replays(agent: Agent, worlds: Sequence[Models], held_out: Sequence[Dataset], steps: int, seed: int) -> Replays:
    """Replay recorded episodes twice, each in the world that did not learn from it, within `steps` actions.

    Actions are the agent's, plus the recorded deviation from what it would have done (`deviations`): where the world
    is right, exactly the recorded ones; where it drifts, the agent corrects for it as it would on the robot. Returns
    are compared over the recorded time; an episode that ended by itself goes on until the world says that it is over,
    since a world in which nobody falls has to be found out. See `telling_sources` for which episodes.
    """
    sources = telling_sources(held_out)
    imagined, again, real, by_success = [], [], [], True
    for number, (models, episodes) in enumerate(zip(worlds, held_out, strict=True)):
        if not sources.intersection(episodes.sources):
            continue
        chosen = episodes.with_sources(sorted(sources))
        observation = {key: values[chosen.starts] for key, values in chosen.observations.items()}
        starts = models.world_model.recorded(chosen).rows(chosen.starts)
        extra = _by_episode(deviations(agent, chosen), chosen)
        course = recorded(chosen, chosen.starts, models.world_model.action_steps)
        by_success = models.tell_success(starts, _first_actions(chosen, models.world_model.action_steps))
        limit = steps if by_success else _time(chosen, steps)
        for found, begin in ((imagined, seed), (again, seed + _AGAIN)):
            played = imagined_play(agent, models, starts, observation, limit, begin + number, extra, course)
            found.append(played.outcome)
        real.append(chosen.episode_success.float() if by_success else chosen.episode_return)
    return Replays(torch.cat(imagined), torch.cat(again), torch.cat(real), by_success)


def telling_sources(held_out: Sequence[Dataset], least: int = LEAST) -> set[str]:
    """Whose episodes are worth replaying: the policy's rollouts where there are enough of both outcomes.

    A demonstration is replayed well even by a world that knows little: its deviations lead to success by themselves.
    Where rollouts have fewer than `least` successes or failures, everybody's episodes are taken but random motion.
    Where nothing succeeds and rewards tell, outcomes are returns, of which random motion has some, too.
    """
    present = {source for episodes in held_out for source in episodes.sources} - {UNLABELLED}
    outcomes = [
        success
        for episodes in held_out
        for source, success in zip(episodes.sources, episodes.episode_success.tolist(), strict=True)
        if source == ROLLOUT
    ]
    if all(episodes.has_reward and not episodes.has_success for episodes in held_out):
        return {ROLLOUT} if len(outcomes) >= 2 * least else present
    if min(outcomes.count(True), outcomes.count(False)) >= least:
        return {ROLLOUT}
    return present - {RANDOM} or present


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


def _time(dataset: Dataset, steps: int) -> Int[Tensor, " E"]:
    """Actions after which each replay is over, where returns are compared."""
    recorded = dataset.lengths - 1
    if dataset.terminated is None:
        return recorded
    return torch.where(dataset.terminated[dataset.starts + recorded], recorded.clamp(min=steps), recorded)


def _first_actions(dataset: Dataset, count: int) -> Float[Tensor, "E A"]:
    """The first actions of each episode, flattened; a short episode's last one is repeated."""
    step = torch.minimum(torch.arange(count, device=dataset.device), dataset.lengths[:, None] - 1)
    return dataset.actions[dataset.starts[:, None] + step].flatten(1)


def _by_episode(values: Float[Tensor, "F A"], dataset: Dataset) -> Float[Tensor, "E T A"]:
    """Values of frames, zero from each episode's last frame on: its action was never executed."""
    longest = int(dataset.lengths.max())
    step = torch.arange(longest, device=dataset.device)
    inside = step < dataset.lengths[:, None] - 1
    frames = dataset.starts[:, None] + torch.minimum(step, dataset.lengths[:, None] - 1)
    return torch.where(inside[..., None], values[frames], 0.0)
