"""PPO (arXiv 1707.06347) with an anchor to the pretrained policy; one algorithm for Gaussian and diffusion policies."""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.config import within
from burnish.lanes import together
from burnish.policies import Policy
from burnish.rl.advantages import generalised_advantages, temporal_differences
from burnish.rl.learner import Experience
from burnish.rl.rollout import Rollout
from burnish.rl.steps import begin, descend, learned
from burnish.training.processes import ALONE, Processes


@dataclass(frozen=True)
class PPOConfig:
    """PPO's settings."""

    rollout_steps: int = within(16, 1)
    """Decisions of each environment that one iteration learns from."""
    critic_warmup: int = within(10, 0)
    """Iterations at the beginning in which only the critic learns; a critic that knows nothing yet would lead the
    policy away from what it can do."""
    gamma: float = within(0.99, 0, 1)
    lam: float = within(0.95, 0, 1)
    clip: float = within(0.2, 0, open_low=True)
    epochs: int = within(4, 1)
    minibatch_size: int = within(2048, 1)
    """Decisions of one gradient step, all processes together."""
    policy_learning_rate: float = within(3e-4, 0, open_low=True)
    value_learning_rate: float = within(1e-3, 0, open_low=True)
    gradient_clip: float = within(0.5, 0, open_low=True)
    entropy_weight: float = within(0.0, 0)
    anchor_weight: float = within(0.015, 0)
    """Weight of the anchor: -log-probability, under the present policy, of what the pretrained one would have done."""
    target_kl: float | None = within(0.01, 0, open_low=True)
    """Stop the epochs of an iteration once the mean KL to the acting policy passes this."""
    critic_hidden: tuple[int, ...] = within((256, 256), 1)
    augment: bool = False
    """Learn from the policy's own augmentation of each minibatch. The acting policy's log-probabilities stay those of
    what it saw, so where the augmentation still changes decisions the ratios do not begin at one."""


_CACHED_ROWS = 1024
_PARTS = ("policy", "base", "critic", "policy_optimizer", "value_optimizer")


class PPO:
    """Clipped PPO on a policy and a value network; the pretrained policy is kept, frozen, as the anchor.

    Of several processes each learns from a rollout of its own, of the same size; they begin with the same weights, and
    as gradients, advantages' moments and the KL stop are those of all rollouts together, they keep the same weights.
    """

    def __init__(self, policy: Policy, feature_dim: int, config: PPOConfig, processes: Processes = ALONE) -> None:
        begin("PPO", policy, feature_dim)
        self.config, self.processes = config, processes
        self.minibatch_size = processes.share(config.minibatch_size, "ppo.minibatch_size")
        self.policy, self.updates = policy, 0
        self.base = copy.deepcopy(policy).requires_grad_(False).eval()
        self.critic = policy.trunk(config.critic_hidden, 1)
        self.critic.to(next(policy.parameters()).device)
        self.policy_optimizer = torch.optim.AdamW(
            learned(policy), lr=config.policy_learning_rate, weight_decay=0.0, fused=True
        )
        self.value_optimizer = torch.optim.AdamW(
            self.critic.parameters(), lr=config.value_learning_rate, weight_decay=0.0, fused=True
        )

    def value(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, " *batch"]:
        """V(x)."""
        return self.critic(features).squeeze(-1)

    def update(self, experience: Experience, generator: torch.Generator) -> dict[str, float]:
        """One iteration on a fresh rollout; the first `critic_warmup` ones leave the policy as it is."""
        rollout = experience.rollout(self.policy, self.config.rollout_steps, generator)
        self.updates += 1
        if rollout.start is not None:
            experience.learned(rollout, self._errors(rollout))
        return self.learn(rollout, generator, policy_too=self.updates > self.config.critic_warmup)

    def learn(self, rollout: Rollout, generator: torch.Generator, policy_too: bool = True) -> dict[str, float]:
        """All epochs on a rollout; with `policy_too` false only the critic learns."""
        config, processes = self.config, self.processes
        flat = self._flat(rollout, generator)
        returns = flat["return"]
        totals: dict[str, Tensor] = {}
        count = 0
        for _ in range(config.epochs):
            order = torch.randperm(len(returns), generator=generator, device=returns.device)
            batches = [{name: rows[index] for name, rows in flat.items()} for index in order.split(self.minibatch_size)]
            if config.augment:
                for batch in batches:
                    batch["features"] = self.policy.augment(batch["features"], generator)
            steps = (self._value_step, self._policy_step) if policy_too else (self._value_step,)
            # Policy and critic have no weights in common.
            found = together(*(functools.partial(_epoch, step, batches) for step in steps))
            for name, each in (item for metrics in found for item in metrics.items()):
                totals[name] = totals.get(name, 0) + each
            count += len(batches)
            # The one host synchronisation of an epoch.
            kl = found[-1]["kl"] / len(batches) if policy_too else None
            if config.target_kl is not None and kl is not None and float(processes.mean(kl)) > config.target_kl:
                break
        result = processes.mean_of({name: float(total) / count for name, total in totals.items()})
        returns, value = processes.gather(returns), processes.gather(flat["value"])
        result["explained_variance"] = float(1 - (returns - value).var() / (returns.var() + 1e-8))
        return result

    def loss(self, rollout: Rollout, generator: torch.Generator) -> Tensor:
        """The policy's and the critic's loss on the first minibatch of a rollout."""
        batch = {name: rows[: self.minibatch_size] for name, rows in self._flat(rollout, generator).items()}
        return policy_loss(self.policy, batch, self.config)[0] + self._value_loss(batch)

    @torch.no_grad()
    def _flat(self, rollout: Rollout, generator: torch.Generator) -> dict[str, Tensor]:
        """What both losses are made of, a row for each decision."""
        config = self.config
        value, next_value, anchor = together(
            lambda: self._values(rollout.features),
            lambda: self._values(rollout.next_features),
            lambda: self.base.act(rollout.features.flatten(0, 1), False, generator).trace,
        )
        advantages = generalised_advantages(
            rollout.reward, value, next_value, rollout.terminated, rollout.truncated, config.gamma, config.lam
        )
        everywhere = self.processes.gather(advantages)
        return {
            "features": rollout.features.flatten(0, 1),
            "trace": rollout.trace.flatten(0, 1),
            "log_prob": rollout.log_prob.flatten(0, 1),
            "advantage": ((advantages - everywhere.mean()) / (everywhere.std() + 1e-8)).flatten(),
            "return": (advantages + value).flatten(),
            "value": value.flatten(),
            "anchor": anchor,
        }

    @torch.no_grad()
    def _errors(self, rollout: Rollout) -> Tensor:
        """The critic's |TD errors| (T, N)."""
        value, next_value = self.value(rollout.features), self.value(rollout.next_features)
        gamma = self.config.gamma
        return temporal_differences(rollout.reward, value, next_value, rollout.terminated, gamma).abs()

    def _values(self, features: Float[Tensor, "T N F"]) -> Float[Tensor, "T N"]:
        """V of a rollout's features; on a CPU of so few rows at once that its cache holds what is between layers."""
        rows = features.flatten(0, 1)
        blocks = rows.split(_CACHED_ROWS if rows.device.type == "cpu" else len(rows))
        return torch.cat([self.value(block) for block in blocks]).view(features.shape[:2])

    def _value_loss(self, batch: dict[str, Tensor]) -> Tensor:
        return 0.5 * (self.value(batch["features"]) - batch["return"]).square().mean()

    def _value_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        loss = self._value_loss(batch)
        descend(loss, self.critic.parameters(), self.value_optimizer, self.config.gradient_clip, self.processes)
        return {"loss/value": loss.detach()}

    def _policy_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        loss, metrics = policy_loss(self.policy, batch, self.config)
        descend(loss, self.policy.parameters(), self.policy_optimizer, self.config.gradient_clip, self.processes)
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed refinement needs from here."""
        return {"updates": self.updates} | {name: getattr(self, name).state_dict() for name in _PARTS}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.updates = int(state["updates"])
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])


def _epoch(
    step: Callable[[dict[str, Tensor]], dict[str, Tensor]], batches: list[dict[str, Tensor]]
) -> dict[str, Tensor]:
    """A step on each minibatch; the sums of its metrics."""
    totals: dict[str, Tensor] = {}
    for batch in batches:
        for name, metric in step(batch).items():
            totals[name] = totals.get(name, 0) + metric
    return totals


def policy_loss(policy: Policy, batch: dict[str, Tensor], config: PPOConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """Clipped surrogate (PPO, Eq. 7; World4RL, Eq. 8), entropy bonus and anchor.

    Log-probabilities are (B, K); each of the K scored steps has its own ratio, the advantage times
    `policy.step_weights` and the clip range times `policy.clip_scale` (DPPO; all ones for a Gaussian).
    """
    log_prob, of_anchor = policy.log_probs(batch["features"], (batch["trace"], batch["anchor"]))
    log_ratio = log_prob - batch["log_prob"]
    ratio = log_ratio.exp()
    advantage = batch["advantage"].unsqueeze(-1) * policy.step_weights
    clip = config.clip * policy.clip_scale
    clipped = torch.minimum(torch.maximum(ratio, 1 - clip), 1 + clip)
    surrogate = -torch.minimum(ratio * advantage, clipped * advantage).mean()
    anchor = -of_anchor.mean()
    loss = surrogate + config.anchor_weight * anchor
    if config.entropy_weight:
        loss = loss - config.entropy_weight * policy.entropy(batch["features"]).mean()
    with torch.no_grad():
        metrics = {
            "loss/policy": surrogate.detach(),
            "loss/anchor": anchor.detach(),
            "kl": ((ratio - 1) - log_ratio).mean(),
            "clipped": ((ratio - 1).abs() > clip).float().mean(),
        }
    return loss, metrics
