"""Short-horizon actor-critic: first-order gradients of a few decisions, a critic for what follows (SHAC, SAPO).

SHAC (arXiv 2204.07137) differentiates the return of a short rollout; SAPO (arXiv 2412.12089) adds entropy, whose weight
is learned, and a second critic.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.config import within
from burnish.errors import RunError
from burnish.imagination import ImaginedEnv
from burnish.policies import Policy
from burnish.rl.advantages import generalised_advantages
from burnish.rl.differentiable import DifferentiableExperience
from burnish.rl.learner import Experience
from burnish.rl.rollout import Rollout
from burnish.rl.steps import backward, begin, descend, learned
from burnish.rl.transitions import follow
from burnish.training.processes import ALONE, Processes


@dataclass(frozen=True)
class ShortHorizonConfig:
    """Settings; numbers in brackets are DMO's, whose policies begin at random and are not clones."""

    rollout_steps: int = within(16, 1)
    """H, decisions through which gradients flow (16)."""
    gamma: float = within(0.99, 0, 1)
    lam: float = within(0.95, 0, 1)
    """Of the critics' targets."""
    critic_warmup: int = within(10, 0)
    """Updates at the beginning in which only the critics learn (none)."""
    critic_iterations: int = within(8, 1)
    """Passes of the critics after each rollout (16)."""
    critic_batches: int = within(4, 1)
    """Gradient steps of one pass, each on as large a share of a rollout (4)."""
    critic_rollouts: int = within(4, 1)
    """The newest ones, from which the critics' minibatches are drawn (1). A policy follows the slope of its critic, and
    a critic that has seen one rollout slopes anyhow where that did not go."""
    critics: int = within(2, 1)
    """Their mean gives gradients, their least value targets (SAPO: 2; SHAC: 1)."""
    slow_rate: float = within(0.8, 0, 1, open_low=True)
    """Share of the critics that the target critics take over after an update (0.8, "alpha 0.2")."""
    entropy: float = within(1e-4, 0)
    """α at the beginning: what one nat of entropy above the target is worth in a decision; 0: nothing, throughout."""
    target_entropy: float = within(-0.5)
    """For each number of a decision; α is learned such that the policy has it (SAPO). As only what differs from it
    counts, a policy that has it gains nothing by ending an episode early, or late."""
    entropy_learning_rate: float = within(0.05, 0)
    """Of ln α. There are hundreds of updates here, not 10⁵: at the policy's own rate α would hardly move, and where
    rewards are rare a nat of entropy is soon worth more than they are."""
    policy_learning_rate: float = within(1e-4, 0, open_low=True)
    """(2e-3) Adam's steps have this size however small the gradient is; a clone is soon walked away from."""
    policy_rate_falls: int = within(0, 0)
    """Updates of the policy over which its learning rate falls on a line to a twentieth (all of them); 0: it stays."""
    value_learning_rate: float = within(1e-3, 0, open_low=True)
    betas: tuple[float, float] = within((0.7, 0.95), 0, 1)
    """Of Adam."""
    gradient_clip: float = within(1.0, 0, open_low=True)
    largest_gradient: float = within(1e6, 0, open_low=True)
    """A policy's gradient whose norm is above this has exploded: its step is left out, and counted."""
    patience: int = within(10, 1)
    """Steps left out in a row after which it is no use to go on."""
    critic_hidden: tuple[int, ...] = within((256, 256), 1)


_LEAST_RATE = 0.05
_PARTS = ("policy", "critics", "slow", "policy_optimizer", "value_optimizer", "entropy_optimizer")


class ShortHorizon:
    """One step of the policy along the gradient of a fresh rollout's return, then many of the critics on its values.

    The experience must be a `DifferentiableExperience` (`experience` makes one), the policy's samples must carry
    gradients to its weights. Rewards are counted in a unit that is taken from the first of them, so that values have a
    size that critics learn at once and entropy is weighed against. Of several processes each learns from a rollout of
    its own, of the same size; gradients are those of all together.
    """

    def __init__(
        self, policy: Policy, feature_dim: int, config: ShortHorizonConfig, processes: Processes = ALONE
    ) -> None:
        begin("short horizon", policy, feature_dim)
        self.config, self.processes, self.policy, self.updates = config, processes, policy, 0
        self.left_out, self.left_out_in_a_row = 0, 0
        self.unit: float | None = None
        self.remembered: list[dict[str, Tensor]] = []
        device = next(policy.parameters()).device
        self.critics = nn.ModuleList(policy.trunk(config.critic_hidden, 1) for _ in range(config.critics)).to(device)
        self.slow = copy.deepcopy(self.critics).requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(max(config.entropy, 1e-12)), device=device))
        self.target_entropy = config.target_entropy * policy.config.chunk * policy.action_dim
        self.policy_optimizer, self.value_optimizer, self.entropy_optimizer = (
            torch.optim.Adam(parameters, lr=rate, betas=config.betas, fused=True)
            for parameters, rate in (
                (learned(policy), config.policy_learning_rate),
                (self.critics.parameters(), config.value_learning_rate),
                ([self.log_alpha], config.entropy_learning_rate),
            )
        )

    def experience(self, env: ImaginedEnv, seed: int) -> Experience:
        """What it learns from: rollouts with the gradients of the environment's own models."""
        return DifferentiableExperience(env, seed)

    @property
    def alpha(self) -> Tensor:
        """The weight of entropy."""
        return self.log_alpha.detach().exp() if self.config.entropy else torch.zeros_like(self.log_alpha)

    def update(self, experience: Experience, generator: torch.Generator) -> dict[str, float]:
        """One update on a fresh rollout; the first `critic_warmup` ones leave the policy as it is."""
        return self.learn(experience.rollout(self.policy, self.config.rollout_steps, generator), generator)

    def learn(self, rollout: Rollout, generator: torch.Generator) -> dict[str, float]:
        """One update; RunError where the policy's gradient has exploded too often in a row."""
        self.updates += 1
        self._take_unit(rollout)
        returns = self._returns(self._columns(rollout))
        metrics = {"return": returns.mean() * (self.unit or 1.0), "entropy": -rollout.log_prob.detach().sum(-1).mean()}
        if self.updates > self.config.critic_warmup:
            metrics |= self._policy_step(rollout)
        metrics["loss/value"] = self._value_steps(rollout, generator)
        # The one host synchronisation of an update, but for that of a step that may be left out.
        numbers = torch.stack([value.detach().float() for value in metrics.values()]).tolist()
        found = dict(zip(metrics, numbers, strict=True)) | {"gradient/left_out": float(self.left_out)}
        return self.processes.mean_of(found)

    def loss(self, rollout: Rollout, generator: torch.Generator) -> Tensor:
        """The policy's and the critics' loss on a rollout."""
        returns = self._returns(self._columns(rollout))
        values = self._value_loss(rollout.features.detach().flatten(0, 1), returns.flatten())
        return self._policy_loss(rollout) + values

    def value(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, " *batch"]:
        """The target critics' mean, through which gradients flow to the features."""
        return self._each(features).mean(0)

    def _each(self, features: Tensor) -> Float[Tensor, "C *batch"]:
        return torch.stack([critic(features).squeeze(-1) for critic in self.slow])

    def _policy_loss(self, rollout: Rollout) -> Tensor:
        """- 1/(H·N) Σ over environments of [Σ γ^t (r_t - α (ln π_t + target)) + γ^H V(x_H)].

        Where an episode ends within the rollout the discount begins anew. One that terminated is worth nothing more;
        one that was cut, by its time limit or by the rollout's end, is worth V of what its last step led to. Where the
        experience tells how the chance of an end depends on decisions (`goes_on`), what follows counts times that.
        """
        gamma, steps = self.config.gamma, len(rollout.reward)
        earned, further = self._earned(rollout), self.value(rollout.next_features)
        goes_on = (~rollout.terminated).to(earned.dtype) if rollout.goes_on is None else rollout.goes_on
        discount, total = torch.ones_like(earned[0]), torch.zeros_like(earned[0])
        for t in range(steps):
            ended = rollout.terminated[t] | rollout.truncated[t]
            later = gamma * discount * goes_on[t]
            stops = ended if t < steps - 1 else torch.ones_like(ended)
            total = total + discount * earned[t] + torch.where(stops, later * further[t], 0.0)
            discount = torch.where(ended, 1.0, later)
        return -total.mean() / steps

    def _take_unit(self, rollout: Rollout) -> None:
        """Once: what the first rollout that earns anything earns in a decision, times the decisions that count."""
        if self.unit is not None:
            return
        mean = float(self.processes.mean(rollout.reward.detach().abs().mean()))
        if mean > 0:
            self.unit = mean / max(1 - self.config.gamma, 1 / self.config.rollout_steps)

    def _earned(self, rollout: Rollout) -> Float[Tensor, "T N"]:
        """Reward in its unit, and α for each nat of entropy above its target."""
        return rollout.reward / (self.unit or 1.0) - self.alpha * (rollout.log_prob.sum(-1) + self.target_entropy)

    @property
    def policy_rate(self) -> float:
        """The policy's learning rate in this update."""
        config = self.config
        done = self.updates - 1 - config.critic_warmup
        left = 1 - done / config.policy_rate_falls if config.policy_rate_falls else 1.0
        return config.policy_learning_rate * max(left, _LEAST_RATE)

    def _policy_step(self, rollout: Rollout) -> dict[str, Tensor]:
        config, loss = self.config, self._policy_loss(rollout)
        for group in self.policy_optimizer.param_groups:
            group["lr"] = self.policy_rate
        norm = backward(loss, learned(self.policy), self.policy_optimizer, config.gradient_clip, self.processes)
        if bool(norm <= config.largest_gradient):
            self.policy_optimizer.step()
            self.left_out_in_a_row = 0
        else:
            self._leave_out(rollout, float(norm))
        if config.entropy:
            surplus = -rollout.log_prob.detach().sum(-1).mean() - self.target_entropy
            self.entropy_optimizer.zero_grad(set_to_none=True)
            (self.log_alpha * self.processes.mean(surplus)).backward()
            self.entropy_optimizer.step()
        metrics = {"loss/policy": loss, "gradient/norm": norm, "alpha": self.alpha}
        if rollout.gradients is not None:
            sizes = rollout.gradients.squares.sqrt()
            metrics |= {"gradient/first": sizes[0], "gradient/last": sizes[-1]}
            metrics["gradient/not_finite"] = rollout.gradients.lost.sum()
        return metrics

    def _leave_out(self, rollout: Rollout, norm: float) -> None:
        self.left_out += 1
        self.left_out_in_a_row += 1
        if self.left_out_in_a_row < self.config.patience:
            return
        where = "" if rollout.gradients is None else f"; {rollout.gradients.where()}"
        raise RunError(
            f"the policy's gradient has exploded in {self.left_out_in_a_row} updates in a row: its norm is {norm:.3g}, "
            f"expected at most {self.config.largest_gradient:g}{where}; fewer rollout_steps of the learner are "
            "fewer Jacobians to multiply, and a model that is trained longer has smaller ones"
        )

    @torch.no_grad()
    def _columns(self, rollout: Rollout) -> dict[str, Tensor]:
        """What the critics learn from, without gradients: (T, N, …)."""
        kept = {name: getattr(rollout, name).detach() for name in ("features", "next_features")}
        ends = {name: getattr(rollout, name) for name in ("terminated", "truncated")}
        return {**kept, **ends, "earned": self._earned(rollout)}

    @torch.no_grad()
    def _returns(self, columns: dict[str, Tensor]) -> Float[Tensor, "T N"]:
        """λ-returns with entropy, by the target critics' least value."""
        c = self.config
        value, later = (self._each(columns[name]).amin(0) for name in ("features", "next_features"))
        ends = columns["terminated"], columns["truncated"]
        return generalised_advantages(columns["earned"], value, later, *ends, c.gamma, c.lam) + value

    def _value_loss(self, features: Tensor, returns: Tensor) -> Tensor:
        errors = [(critic(features).squeeze(-1) - returns).square().mean() for critic in self.critics]
        return torch.stack(errors).mean()

    def _value_steps(self, rollout: Rollout, generator: torch.Generator) -> Tensor:
        """All passes over what is remembered; the mean loss of the last one."""
        new = {name: self.processes.gather(rows.transpose(0, 1)) for name, rows in self._columns(rollout).items()}
        self.remembered = [*self.remembered, new][-self.config.critic_rollouts :]
        columns = {name: torch.cat([each[name] for each in self.remembered]).transpose(0, 1) for name in new}
        features, returns = columns["features"].flatten(0, 1), self._returns(columns).flatten()
        weights, clip = list(self.critics.parameters()), self.config.gradient_clip
        size = max(1, rollout.reward.numel() // self.config.critic_batches)
        total = torch.zeros_like(returns[0])
        for _ in range(self.config.critic_iterations):
            total = torch.zeros_like(total)
            for _ in range(self.config.critic_batches):
                index = torch.randint(len(returns), (size,), generator=generator, device=returns.device)
                loss = self._value_loss(features[index], returns[index])
                descend(loss, weights, self.value_optimizer, clip, self.processes)
                total = total + loss.detach() / self.config.critic_batches
        follow(self.slow, self.critics, self.config.slow_rate)
        return total

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed refinement needs from here."""
        counts = {name: getattr(self, name) for name in ("updates", "left_out", "left_out_in_a_row")}
        parts = {name: getattr(self, name).state_dict() for name in _PARTS}
        own = {"log_alpha": self.log_alpha.detach().clone(), "remembered": self.remembered, "unit": self.unit}
        return {**counts, **own, **parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        for name in ("updates", "left_out", "left_out_in_a_row"):
            setattr(self, name, int(state[name]))
        self.unit = None if state["unit"] is None else float(state["unit"])
        with torch.no_grad():
            self.log_alpha.copy_(state["log_alpha"])
        device = self.log_alpha.device
        self.remembered = [{name: rows.to(device) for name, rows in each.items()} for each in state["remembered"]]
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])
