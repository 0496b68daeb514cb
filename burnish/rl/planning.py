"""Planning in the frozen world model at every decision, instead of refining the policy once (IRASim, TD-MPC2).

The search is the cross-entropy method with MPPI's soft weights, as in TD-MPC2 (arXiv 2310.16828, appendix A.3), warm
started from the pretrained policy. What it looks for is what refinement looks for: success by the classifier, without
going where imagination is not to be trusted.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.config import within
from burnish.errors import InputError
from burnish.imagination import Models, given, rollout
from burnish.policies import Policy
from burnish.rewards import Outcome, expected
from burnish.world_models.base import State


@dataclass(frozen=True)
class PlanningConfig:
    """Size of the search at one decision.

    Small for a planner (TD-MPC2 has 512 samples and 6 iterations), because on a CPU the search is what evaluation
    waits for: a decision imagines `Planner.steps_per_decision` actions where a policy imagines none.
    """

    horizon: int = within(10, 1)
    """Transitions of the world model that a plan looks ahead."""
    iterations: int = within(2, 1)
    samples: int = within(48, 1)
    """Plans that are imagined in one iteration."""
    policy_samples: int = within(8, 0)
    """Of them, plans that the pretrained policy makes, exploring."""
    elites: int = within(8, 1)
    """The best plans, from which the next iteration's are drawn."""
    temperature: float | None = within(0.1, 0, open_low=True)
    """MPPI: elites weigh exp(score / temperature). None: all alike, which is plain CEM."""
    noise: float = within(0.3, 0)
    """Standard deviation of the first iteration's plans around the policy's."""
    min_noise: float = within(0.05, 0)
    gamma: float = within(0.99, 0, 1)
    """Discount of one transition."""
    halt_cost: float = within(1.0, 0)
    """What it costs to go where imagination halts, as against 1 for a success."""
    judged: int = within(4, 1)
    """Imagined repeats by which the plan that was found is compared with the policy's at the end."""

    def __post_init__(self) -> None:
        if not 1 <= self.elites <= self.samples or self.policy_samples + 2 > self.samples:
            raise InputError(
                f"planning: found {self.samples} samples, {self.elites} elites and {self.policy_samples} of the "
                "policy, expected elites from 1 to samples, and policy samples at most samples - 2"
            )
        if min(self.horizon, self.iterations, self.judged) < 1:
            raise InputError("planning: horizon, iterations and judged must be at least 1")


class Planner:
    """Finds plans (B, H, D) from states of the world model; D is the actions of one transition, flattened."""

    def __init__(
        self, models: Models, policy: Policy, config: PlanningConfig, device: torch.device | str = "cpu"
    ) -> None:
        """`policy` reads the world model's features and decides on a multiple of its transition's actions."""
        self.models, self.policy, self.config = models, policy, config
        self.world_model = models.world_model
        self.generator = torch.Generator(device=device)

    @property
    def steps_per_decision(self) -> int:
        """Imagined actions of one `plan`, for each row of its states."""
        c = self.config
        plans = 1 + c.policy_samples + c.iterations * c.samples + 2 * c.judged
        return plans * c.horizon * self.world_model.action_steps

    @torch.no_grad()
    def plan(self, state: State, previous: Float[Tensor, "B H D"] | None = None) -> Float[Tensor, "B H D"]:
        """The best plan found from each state, in [-1, 1]; the policy's own where imagination sees nothing better.

        `previous` is the plan of the decision before, whose first actions have been executed.
        """
        c = self.config
        own = self._policy_plans(state, 1, explore=False)
        kept = [own, self._policy_plans(state, c.policy_samples, explore=True)]
        if previous is not None:
            kept.append(torch.cat([previous[:, 1:].unsqueeze(1), own[:, :, -1:]], dim=2))
        known = torch.cat(kept, dim=1)
        mean, std = own[:, 0], torch.full_like(own[:, 0], c.noise)
        for _ in range(c.iterations):
            shape = (len(mean), c.samples - known.shape[1], *mean.shape[1:])
            noise = torch.randn(shape, generator=self.generator, device=mean.device)
            drawn = (mean.unsqueeze(1) + std.unsqueeze(1) * noise).clamp(-1, 1)
            candidates = torch.cat([known, drawn], dim=1)
            mean, std = refit(candidates, self.score(state, candidates), c)
        pair = torch.stack([own[:, 0], mean], dim=1)
        scores = self.score(state, pair.repeat_interleave(c.judged, dim=1)).unflatten(1, (2, c.judged)).mean(2)
        # Nothing in sight: all plans score alike, and what the search has drifted to is no better than the policy.
        return torch.where((scores[:, 1] > scores[:, 0])[:, None, None], mean, own[:, 0])

    @torch.no_grad()
    def score(self, state: State, plans: Float[Tensor, "B N H D"]) -> Float[Tensor, "B N"]:
        """Expected discounted reward of each plan in one imagined future, less the cost of halting.

        An episode that ends with probability p, in success say, goes on with 1 - p; one that halts ends.
        """
        count, each = plans.shape[:2]
        now = state.rows(torch.arange(count, device=plans.device).repeat_interleave(each))
        alive = torch.ones(count * each, device=plans.device)
        total = torch.zeros_like(alive)
        assert self.models.reward is not None
        unrewarded, act = replace(self.models, reward=None), given(plans.flatten(0, 1))
        for step in rollout(unrewarded, now, act, plans.shape[2], self.generator):
            gained, ends = expected(self.models.reward, step.state, step.action, step.following)
            outcome, halted = self.models.pessimism.apply(Outcome(gained, step.halted), step.uncertainty)
            gained = torch.where(halted, -self.config.halt_cost, outcome.reward)
            total = total + self.config.gamma**step.step * alive * gained
            alive = alive * torch.where(halted, 0.0, 1 - ends)
        return total.unflatten(0, (count, each))

    def _policy_plans(self, state: State, count: int, explore: bool) -> Float[Tensor, "B count H D"]:
        """What the policy does in `count` imagined futures of each state."""
        batch = len(next(iter(state.tensors().values())))
        rows = torch.arange(batch, device=self.generator.device).repeat_interleave(count)
        waiting: list[Tensor] = []

        def act(now: Any, step: int) -> Tensor:
            if not waiting:
                decision = self.policy.act(self.world_model.features(now), not explore, self.generator)
                waiting.extend(decision.action_chunk.split(self.world_model.action_steps, dim=1))
            return waiting.pop(0).flatten(1)

        imagined = rollout(Models(self.world_model), state.rows(rows), act, self.config.horizon, self.generator)
        return torch.stack([step.action for step in imagined], dim=1).unflatten(0, (batch, count))


def refit(
    candidates: Float[Tensor, "B N H D"], scores: Float[Tensor, "B N"], config: PlanningConfig
) -> tuple[Float[Tensor, "B H D"], Float[Tensor, "B H D"]]:
    """Weighted mean and standard deviation of the elites, the latter between min_noise and noise."""
    best, index = scores.topk(config.elites, dim=1)
    chosen = candidates.gather(1, index[:, :, None, None].expand(-1, -1, *candidates.shape[2:]))
    weight = torch.softmax(best / config.temperature, dim=1) if config.temperature else torch.ones_like(best)
    weight = (weight / weight.sum(1, keepdim=True))[:, :, None, None]
    mean = (weight * chosen).sum(1)
    std = (weight * (chosen - mean.unsqueeze(1)).square()).sum(1).sqrt()
    return mean, std.clamp(config.min_noise, config.noise)
