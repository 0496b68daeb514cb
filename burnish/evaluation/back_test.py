"""Back-test: held-out worlds replay recorded episodes of which the outcome is known.

Worlds can agree with each other and be wrong together (that a puck follows the hand which passes it, say). What they
say of recorded episodes that they did not learn from shows it, without a simulator: a world that knows the task
succeeds where the robot did and fails where it failed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from burnish.data import UNLABELLED, Dataset
from burnish.evaluation.correlation import pearson
from burnish.imagination import Models, imagined_play, recorded
from burnish.policies import Agent

RANDOM, ROLLOUT = "random", "policy"
LEAST = 10
LEAST_REPEATABILITY = 0.25
"""A worth is raised at most fourfold for the luck of single replays."""

_AGAIN = 104729


Measure = Literal["success", "return"]


class Agreement(Protocol):
    """How imagined outcomes of recorded episodes agree with the real ones: successes (`BackTest`) or returns."""

    measure: ClassVar[Measure]

    @property
    def episodes(self) -> int:
        """All that were replayed."""
        ...

    @property
    def unit(self) -> float:
        """The size of a difference that matters, of which the gate's margins are shares."""
        ...

    @property
    def skill(self) -> float:
        """Correlation of imagined and real outcomes; 0 where nothing was shown."""
        ...

    @property
    def transfer(self) -> tuple[float, float]:
        """What an imagined difference is worth in reality, and its standard error."""
        ...

    @property
    def reach(self) -> float | None:
        """The highest real outcome that it can speak of; None where outcomes have an end of their own."""
        ...

    def expected(self, imagined: float) -> float:
        """The real outcome to expect of a policy with this imagined one."""
        ...


@dataclass(frozen=True)
class BackTest:
    """Recorded episodes by their success on the robot (or simulator) and in a held-out world."""

    measure: ClassVar[Measure] = "success"

    both: int
    """Succeeded in both."""
    only_real: int
    only_imagined: int
    neither: int
    repeatability: float = 1.0
    """φ of two replays of the same episodes: 1 where imagination says the same again, 0 where it throws dice."""

    @classmethod
    def of(
        cls, found: Bool[Tensor, " E"], true: Bool[Tensor, " E"], again: Bool[Tensor, " E"] | None = None
    ) -> "BackTest":
        """From imagined and real success of the same episodes, and imagined success of a second replay."""
        both, neither = int((found & true).sum()), int((~found & ~true).sum())
        counts = both, int((~found & true).sum()), int((found & ~true).sum()), neither
        if again is None or torch.equal(found, again):
            return cls(*counts)
        return cls(*counts, repeatability=cls.of(found, again).skill)

    @property
    def reach(self) -> None:
        """Rates end at 1."""

    @property
    def unit(self) -> float:
        """Rates have one of their own."""
        return 1.0

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
        """How much real success a certain imagined success is worth, and its standard error.

        P(real | imagined success) − P(real | imagined failure), the slope of the regression of one outcome on the
        other, divided by `repeatability`: a single replay is a noisy measurement of how probable an episode's imagined
        success is, which flattens the slope (attenuation: C. Spearman, 1904; R. J. Carroll et al., "Measurement Error
        in Nonlinear Models", 2006, section 3.2). A policy's imagined success is a mean over many episodes, and has
        not this noise. Not more than 1.
        """
        (after_success, first), (after_failure, second) = self._rates()
        slope = after_success - after_failure
        variance = after_success * (1 - after_success) / first + after_failure * (1 - after_failure) / second
        reliability = max(self.repeatability, slope, LEAST_REPEATABILITY)
        return slope / reliability, math.sqrt(variance) / reliability

    def expected(self, imagined: float) -> float:
        """The real success rate to expect of a policy with this imagined one."""
        (after_success, first), (after_failure, second) = self._rates()
        replayed = first / (first + second)
        real = replayed * after_success + (1 - replayed) * after_failure
        return min(1.0, max(0.0, real + self.transfer[0] * (imagined - replayed)))

    def _rates(self) -> tuple[tuple[float, int], tuple[float, int]]:
        """Real success after an imagined success and after an imagined failure, each with its number of episodes.

        One success and one failure are added (Agresti and Caffo 2000), so that few episodes count as few.
        """
        counts = (self.both, self.both + self.only_imagined), (self.only_real, self.only_real + self.neither)
        first, second = (((hits + 1) / (total + 2), total + 2) for hits, total in counts)
        return first, second


@dataclass(frozen=True)
class ReturnTest:
    """Recorded episodes by their return on the robot (or simulator) and in a held-out world, summed up.

    Attributes:
        episodes: all of them.
        skill: Pearson's correlation of imagined and real returns; 0 where one of them never varies.
        slope: of the regression of real returns on imagined ones, and its standard error.
        imagined, real: mean returns.
        unit: standard deviation of the real returns.
        repeatability: Pearson's correlation of two replays of the same episodes.
        reach: the highest recorded return and once more the range of recorded ones. What is imagined beyond lies too
            far from all that was tested; an exploited world promises such returns. None: not known.
    """

    measure: ClassVar[Measure] = "return"

    episodes: int
    skill: float
    slope: float
    slope_error: float
    imagined: float
    real: float
    unit: float
    repeatability: float = 1.0
    reach: float | None = None

    @classmethod
    def of(
        cls, found: Float[Tensor, " E"], true: Float[Tensor, " E"], again: Float[Tensor, " E"] | None = None
    ) -> "ReturnTest":
        """From imagined and real returns of the same episodes, and imagined returns of a second replay."""
        x, y = found.double(), true.double()
        count, dx, dy = len(x), x - x.mean(), y - y.mean()
        spread, slope, error = float(dx.square().sum()), 0.0, 0.0
        if count > 2 and spread > 0:
            slope = float((dx * dy).sum()) / spread
            error = math.sqrt(float((dy - slope * dx).square().sum()) / (count - 2) / spread)
        repeated = 1.0 if again is None or torch.equal(found, again) else pearson(x, again)
        skill = pearson(x, y) if count > 2 else 0.0
        unit = float(y.std()) if count > 1 else 0.0
        reach = float(2 * y.max() - y.min())
        return cls(count, skill, slope, error, float(x.mean()), float(y.mean()), unit, repeated, reach)

    @property
    def transfer(self) -> tuple[float, float]:
        """As `BackTest.transfer`: the slope divided by `repeatability`, and not more than 1."""
        reliability = max(self.repeatability, self.slope, LEAST_REPEATABILITY)
        return self.slope / reliability, self.slope_error / reliability

    def expected(self, imagined: float) -> float:
        """The real return to expect of a policy with this imagined one."""
        return self.real + self.transfer[0] * (imagined - self.imagined)


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
