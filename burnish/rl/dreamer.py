"""Dreamer's actor-critic (DreamerV3, arXiv 2301.04104): λ-returns, a two-hot critic, normalised returns, entropy."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.config import within
from burnish.errors import InputError
from burnish.networks import SymlogTwoHot
from burnish.policies import Policy
from burnish.rl.advantages import returns_and_advantages
from burnish.rl.learner import Experience
from burnish.rl.rollout import Rollout
from burnish.rl.steps import begin, descend, learned
from burnish.rl.transitions import follow
from burnish.training.processes import ALONE, Processes


@dataclass(frozen=True)
class DreamerConfig:
    """The paper's settings, but for discount, learning rates, critic steps and warm-up: a clone has few updates."""

    rollout_steps: int = within(15, 1)
    """H, imagined decisions of one update. Imagination's own horizon says where its episodes begin anew."""
    critic_steps: int = within(4, 1)
    """Of the critic on one rollout, each toward fresh λ-returns (the paper: 1). Values travel back by one rollout's
    length for each few times that the slow copy has followed, and there are hundreds of updates here, not 10⁵."""
    critic_warmup: int = within(20, 0)
    """Updates at the beginning in which only the critic learns (the paper, which begins with a random policy: none)."""
    gamma: float = within(0.99, 0, 1)
    """The paper: 0.997."""
    lam: float = within(0.95, 0, 1)
    entropy_weight: float = within(3e-4, 0)
    anchor_weight: float = within(0.0, 0)
    """Of -log-probability, under the present policy, of what the pretrained one would have done (the paper, which has
    no pretrained policy: none)."""
    percentiles: tuple[float, float] = within((0.05, 0.95), 0, 1)
    """The range of returns between which an advantage of 1 lies (Eq. 7)."""
    range_decay: float = within(0.99, 0, 1, open_high=True)
    """Of its moving average."""
    least_range: float = within(1.0, 0, open_low=True)
    """Returns of a smaller range are not magnified: mostly it is noise that they differ by."""
    slow_rate: float = within(0.02, 0, 1, open_low=True)
    """Share of the critic that its slow copy takes over after an update."""
    slow_weight: float = within(1.0, 0)
    """Of the critic's cross-entropy to what its slow copy says, beside that to the λ-returns."""
    bins: int = within(127, 3)
    limit: float = within(10.0, 0, 20, open_low=True)
    """The critic's bins lie between ± symexp(limit): 22,025. (The paper: 255 bins to 20, as dense.)"""
    policy_learning_rate: float = within(3e-4, 0, open_low=True)
    value_learning_rate: float = within(1e-3, 0, open_low=True)
    gradient_clip: float = within(10.0, 0, open_low=True)
    critic_hidden: tuple[int, ...] = within((256, 256), 1)

    def __post_init__(self) -> None:
        if self.bins % 2 == 0:
            raise InputError(f"dreamer.bins is {self.bins}, expected an odd number (one of the bins is 0)")
        if not self.percentiles[0] < self.percentiles[1]:
            raise InputError(f"dreamer.percentiles are {self.percentiles}, expected the lower one first")


_PARTS = ("policy", "base", "critic", "slow", "policy_optimizer", "value_optimizer")


class Dreamer:
    """A step of the policy and a few of the critic on each fresh rollout; works with every policy that PPO does.

    The policy's gradient is REINFORCE's, -A ln π, with A = (R^λ - V) / max(1, S), S the moving average of the range
    between percentiles of the λ-returns. Of several processes each learns from a rollout of its own, of the same size;
    as gradients and percentiles are those of all rollouts together, they keep the same weights.
    """

    def __init__(self, policy: Policy, feature_dim: int, config: DreamerConfig, processes: Processes = ALONE) -> None:
        begin("Dreamer", policy, feature_dim)
        self.config, self.processes, self.policy, self.updates = config, processes, policy, 0
        self.base = copy.deepcopy(policy).requires_grad_(False).eval()
        device = next(policy.parameters()).device
        self.values = SymlogTwoHot(config.bins, config.limit).to(device)
        self.critic = policy.trunk(config.critic_hidden, config.bins).to(device)
        # The last layer begins at zero: among bins that reach so far, a little noise would be a large value.
        last = [module for module in self.critic.modules() if isinstance(module, nn.Linear)][-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.slow = copy.deepcopy(self.critic).requires_grad_(False)
        self.range = torch.zeros((), device=device)
        self.policy_optimizer = torch.optim.AdamW(
            learned(policy), lr=config.policy_learning_rate, weight_decay=0.0, fused=True
        )
        self.value_optimizer = torch.optim.AdamW(
            self.critic.parameters(), lr=config.value_learning_rate, weight_decay=0.0, fused=True
        )

    def value(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, " *batch"]:
        """V(x)."""
        return self.values.decode(self.critic(features))

    def update(self, experience: Experience, generator: torch.Generator) -> dict[str, float]:
        """One update on a fresh rollout; the first `critic_warmup` ones leave the policy as it is."""
        rollout = experience.rollout(self.policy, self.config.rollout_steps, generator)
        self.updates += 1
        return self.learn(rollout, generator, policy_too=self.updates > self.config.critic_warmup)

    def learn(self, rollout: Rollout, generator: torch.Generator, policy_too: bool = True) -> dict[str, float]:
        """A step on the whole rollout; with `policy_too` false only the critic learns."""
        clip = self.config.gradient_clip
        returns, advantages = self._returns(rollout)
        self._measure_range(returns)
        metrics = {"return": returns.mean(), "return_range": self.range, "value": (returns - advantages).mean()}
        if policy_too:
            loss, found = self._policy_loss(rollout, advantages, generator)
            descend(loss, self.policy.parameters(), self.policy_optimizer, clip, self.processes)
            metrics |= found
        for step in range(self.config.critic_steps):
            if step:
                returns, _ = self._returns(rollout)
            loss = self._value_loss(rollout, returns)
            descend(loss, self.critic.parameters(), self.value_optimizer, clip, self.processes)
            follow(self.slow, self.critic, self.config.slow_rate)
            metrics["loss/value"] = loss.detach()
        # The one host synchronisation of an update.
        numbers = torch.stack([value.detach().float() for value in metrics.values()]).tolist()
        return self.processes.mean_of(dict(zip(metrics, numbers, strict=True)))

    def loss(self, rollout: Rollout, generator: torch.Generator) -> Tensor:
        """The policy's and the critic's loss on a rollout."""
        returns, advantages = self._returns(rollout)
        return self._policy_loss(rollout, advantages, generator)[0] + self._value_loss(rollout, returns)

    @torch.no_grad()
    def _returns(self, rollout: Rollout) -> tuple[Float[Tensor, "T N"], Float[Tensor, "T N"]]:
        """λ-returns, R_t = r_t + γ c_t ((1 - λ) V_{t+1} + λ R_{t+1}) (Eq. 5), and R_t - V_t.

        The difference is the generalised advantage; at the end of a rollout or of an episode that was cut, R is V.
        """
        return returns_and_advantages(rollout, self.value, self.config.gamma, self.config.lam)

    def _measure_range(self, returns: Tensor) -> None:
        everywhere = self.processes.gather(returns.flatten())
        low, high = torch.quantile(everywhere[: 2**24], everywhere.new_tensor(self.config.percentiles)).unbind()
        keep = self.config.range_decay if self.updates > 1 else 0.0
        self.range = keep * self.range + (1 - keep) * (high - low)

    def _policy_loss(
        self, rollout: Rollout, advantages: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """-A ln π - η H (Eq. 6) and the anchor, over all decisions."""
        features, weight = rollout.features.flatten(0, 1), self.config.anchor_weight
        traces = [rollout.trace.flatten(0, 1)]
        if weight:
            with torch.no_grad():
                traces.append(self.base.act(features, False, generator).trace)
        log_prob, *of_anchor = self.policy.log_probs(features, traces)
        scaled = advantages.flatten() / self.range.clamp(min=self.config.least_range)
        entropy = self.policy.entropy(features).mean()
        loss = -(scaled * (log_prob * self.policy.step_weights).sum(-1)).mean() - self.config.entropy_weight * entropy
        metrics = {"loss/policy": loss.detach(), "entropy": entropy.detach()}
        for each in of_anchor:
            anchor = -each.mean()
            loss, metrics["loss/anchor"] = loss + weight * anchor, anchor.detach()
        return loss, metrics

    def _value_loss(self, rollout: Rollout, returns: Tensor) -> Tensor:
        """Cross-entropy to the λ-returns, and to what the slow critic says."""
        features = rollout.features.flatten(0, 1)
        logits = self.critic(features)
        with torch.no_grad():
            slow = self.values.decode(self.slow(features))
        loss = self.values.loss(logits, returns.flatten()).mean()
        return loss + self.config.slow_weight * self.values.loss(logits, slow).mean()

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed refinement needs from here."""
        parts = {name: getattr(self, name).state_dict() for name in _PARTS}
        return {"updates": self.updates, "range": self.range, **parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.updates, self.range = int(state["updates"]), state["range"].to(self.range.device)
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])
