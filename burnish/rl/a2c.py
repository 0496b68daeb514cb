"""A2C as PolyGRAD has it (arXiv 2312.08533): GAE, one small step of a target size on each batch of trajectories."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.config import within
from burnish.policies import Policy
from burnish.rl.advantages import returns_and_advantages
from burnish.rl.learner import Experience
from burnish.rl.rollout import Rollout
from burnish.rl.steps import backward, begin, descend, learned
from burnish.rl.transitions import follow
from burnish.training.processes import ALONE, Processes


@dataclass(frozen=True)
class A2CConfig:
    """Settings; numbers in brackets are PolyGRAD's, whose runs have 10⁵ updates where ours have hundreds."""

    rollout_steps: int = within(10, 1)
    """Decisions of each trajectory (10)."""
    critic_steps: int = within(4, 1)
    """Of the critic on one rollout (1)."""
    critic_warmup: int = within(10, 0)
    """Updates at the beginning in which only the critic learns (0: it begins with a random policy)."""
    gamma: float = within(0.99, 0, 1)
    lam: float = within(0.9, 0, 1)
    entropy_weight: float = within(1e-5, 0)
    target_change: float = within(0.01, 0, open_low=True)
    """Mean |Δ log π| of the rollout's actions that one update is to have (0.01)."""
    tolerance: float = within(0.2, 0, 1, open_low=True, open_high=True)
    """Share of the target within which the line search is content (0.2)."""
    shrink: float = within(0.8, 0, 1, open_low=True, open_high=True)
    """By which the line search shortens a step, or lengthens it (0.8)."""
    search_steps: int = within(50, 0)
    """At most so many of them; 0: steps are as long as the learning rate makes them."""
    policy_learning_rate: float = within(3e-4, 0, open_low=True)
    """The first one, and the largest (3e-5)."""
    rate_adaptation: float = within(0.1, 0)
    """Share of the way, in logarithms, that the learning rate goes after each update towards the one which would have
    had the target's size; 0: it stays (Adam with 3e-4 on its logarithm)."""
    value_learning_rate: float = within(1e-3, 0, open_low=True)
    """(3e-4)"""
    gradient_clip: float = within(0.1, 0, open_low=True)
    slow_rate: float = within(0.02, 0, 1, open_low=True)
    """Share of the critic that its slow copy, from which advantages come, takes over after a step (0.005)."""
    critic_hidden: tuple[int, ...] = within((256, 256), 1)


_PARTS = ("policy", "critic", "slow", "policy_optimizer", "value_optimizer")


class A2C:
    """One step of the policy and a few of the critic on each fresh rollout; works with every policy that PPO does.

    The policy's loss is -A ln π less entropy, with advantages of mean 0 and standard deviation 1. AdamW's step is
    taken as a direction: the line search scales it until the mean absolute change of the log-probabilities is within
    `tolerance` of `target_change`, though never beyond the step of the first learning rate. What the step as it was
    proposed would have changed tells how the learning rate is adapted. Of several processes each learns from a
    rollout of its own, of the same size; with averaged gradients and changes they keep the same weights.
    """

    def __init__(self, policy: Policy, feature_dim: int, config: A2CConfig, processes: Processes = ALONE) -> None:
        begin("A2C", policy, feature_dim)
        self.config, self.processes, self.policy, self.updates = config, processes, policy, 0
        self.critic = policy.trunk(config.critic_hidden, 1).to(next(policy.parameters()).device)
        self.slow = copy.deepcopy(self.critic).requires_grad_(False)
        self.learning_rate = config.policy_learning_rate
        self.policy_optimizer = torch.optim.AdamW(learned(policy), lr=config.policy_learning_rate, weight_decay=0.0)
        self.value_optimizer = torch.optim.AdamW(
            self.critic.parameters(), lr=config.value_learning_rate, weight_decay=0.0, fused=True
        )

    def value(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, " *batch"]:
        """V(x), by the slow critic."""
        return self.slow(features).squeeze(-1)

    def update(self, experience: Experience, generator: torch.Generator) -> dict[str, float]:
        """One update on a fresh rollout; the first `critic_warmup` ones leave the policy as it is."""
        rollout = experience.rollout(self.policy, self.config.rollout_steps, generator)
        self.updates += 1
        return self.learn(rollout, policy_too=self.updates > self.config.critic_warmup)

    def learn(self, rollout: Rollout, policy_too: bool = True) -> dict[str, float]:
        """A step on the whole rollout; with `policy_too` false only the critic learns."""
        returns, advantages = self._returns(rollout)
        metrics = {"return": float(returns.mean()), "value": float((returns - advantages).mean())}
        if (deviation := _deviation(self.policy, rollout)) is not None:
            metrics["standardised_deviation"] = deviation
        if policy_too:
            metrics |= self._policy_step(rollout, advantages)
        for step in range(self.config.critic_steps):
            if step:
                returns, _ = self._returns(rollout)
            metrics["loss/value"] = self._value_step(rollout, returns)
        return self.processes.mean_of(metrics)

    def loss(self, rollout: Rollout, generator: torch.Generator) -> Tensor:
        """The policy's and the critic's loss on a rollout."""
        returns, advantages = self._returns(rollout)
        return self._policy_loss(rollout, advantages)[0] + self._value_loss(rollout, returns)

    @torch.no_grad()
    def _returns(self, rollout: Rollout) -> tuple[Float[Tensor, "T N"], Float[Tensor, "T N"]]:
        """λ-returns, and the generalised advantages that they are away from the slow critic's values."""
        return returns_and_advantages(rollout, self.value, self.config.gamma, self.config.lam)

    def _policy_loss(self, rollout: Rollout, advantages: Tensor) -> tuple[Tensor, Tensor]:
        """-A ln π - η H over all decisions, and the log-probabilities (T·N, K)."""
        everywhere = self.processes.gather(advantages)
        scaled = ((advantages - everywhere.mean()) / (everywhere.std() + 1e-8)).flatten()
        features = rollout.features.flatten(0, 1)
        log_prob = self.policy.log_prob(features, rollout.trace.flatten(0, 1))
        loss = -(scaled * (log_prob * self.policy.step_weights).sum(-1)).mean()
        if self.config.entropy_weight:
            loss = loss - self.config.entropy_weight * self.policy.entropy(features).mean()
        return loss, log_prob.detach()

    def _policy_step(self, rollout: Rollout, advantages: Tensor) -> dict[str, float]:
        """One step of the target's size, and the learning rate that would have made it."""
        loss, before = self._policy_loss(rollout, advantages)
        weights = learned(self.policy)
        backward(loss, weights, self.policy_optimizer, self.config.gradient_clip, self.processes)
        start = [parameter.detach().clone() for parameter in weights]
        self.policy_optimizer.param_groups[0]["lr"] = self.learning_rate
        self.policy_optimizer.step()
        direction = [new.detach() - old for new, old in zip(weights, start, strict=True)]

        def change(length: float) -> float:
            """Mean |Δ log π| of a step so many times as long, which is taken."""
            with torch.no_grad():
                for parameter, old, by in zip(weights, start, direction, strict=True):
                    parameter.copy_(old + length * by)
                flat = rollout.features.flatten(0, 1), rollout.trace.flatten(0, 1)
                return float(self.processes.mean((self.policy.log_prob(*flat) - before).abs().mean()))

        proposed = change(1.0)
        length, found, steps = self._search(change, proposed)
        rate = self.learning_rate
        self._adapt(proposed)
        return {
            "loss/policy": float(loss.detach()),
            "change_proposed": proposed,
            "change": found,
            "search_steps": float(steps),
            "learning_rate": rate * length,
        }

    def _search(self, change: Any, found: float) -> tuple[float, float, int]:
        """Length, change and number of trials of the step that is taken."""
        c, length, longest = self.config, 1.0, self.config.policy_learning_rate / self.learning_rate
        for trial in range(c.search_steps):
            if abs(found - c.target_change) <= c.tolerance * c.target_change:
                return length, found, trial
            following = length * c.shrink if not found < c.target_change else length / c.shrink
            if following > longest * (1 + 1e-9):
                return length, found, trial
            length = following
            found = change(length)
        return length, found, c.search_steps

    def _adapt(self, proposed: float) -> None:
        """The change is about proportional to the learning rate, so their ratio says what it should have been."""
        c = self.config
        if proposed > 0:
            self.learning_rate *= (c.target_change / proposed) ** c.rate_adaptation
        self.learning_rate = min(self.learning_rate, c.policy_learning_rate)

    def _value_loss(self, rollout: Rollout, returns: Tensor) -> Tensor:
        value = self.critic(rollout.features.flatten(0, 1)).squeeze(-1)
        return 0.5 * (value - returns.flatten()).square().mean()

    def _value_step(self, rollout: Rollout, returns: Tensor) -> float:
        loss = self._value_loss(rollout, returns)
        descend(loss, self.critic.parameters(), self.value_optimizer, self.config.gradient_clip, self.processes)
        follow(self.slow, self.critic, self.config.slow_rate)
        return float(loss.detach())

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed refinement needs from here."""
        parts = {name: getattr(self, name).state_dict() for name in _PARTS}
        return {"updates": self.updates, "learning_rate": self.learning_rate, **parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.updates, self.learning_rate = int(state["updates"]), float(state["learning_rate"])
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])


@torch.no_grad()
def _deviation(policy: Policy, rollout: Rollout) -> float | None:
    """Of the rollout's actions, standardised by the policy: 1 where they are its own; None where it is no Gaussian."""
    distribution = getattr(policy, "distribution", None)
    if distribution is None:
        return None
    mean, std = distribution(rollout.features.flatten(0, 1))
    return float(((rollout.trace.flatten(0, 1) - mean) / std).std())
