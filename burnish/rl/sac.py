"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905) on imagined transitions, and on recorded ones."""

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.config import within
from burnish.errors import InputError
from burnish.policies import Policy, SquashedPolicy
from burnish.rl.learner import Experience
from burnish.rl.replay_buffer import ReplayBuffer, columns, joined
from burnish.rl.rollout import Rollout
from burnish.rl.steps import begin, descend, learned
from burnish.rl.transitions import TransitionBatch, Transitions, TwinCritic, follow
from burnish.training.processes import ALONE, Processes


@dataclass(frozen=True)
class SACConfig:
    """SAC's settings, and how MBPO (arXiv 1906.08253) feeds it: short rollouts, many gradient steps on each."""

    rollout_steps: int = within(5, 1)
    """Decisions of each environment that one update adds to the replay buffer."""
    gradient_steps: int = within(20, 1)
    """Of the critics and of the policy, in one update."""
    batch_size: int = within(256, 2)
    """Transitions of one gradient step, all processes together."""
    capacity: int = within(100_000, 1)
    """Imagined transitions that are kept, the newest ones: what old policies did in an old world model goes."""
    real_share: float = within(0.5, 0, 1, open_high=True)
    """Share of a batch that are recorded transitions, where there are any."""
    critic_warmup: int = within(10, 0)
    """Updates at the beginning in which only the critics learn; critics that know nothing yet would lead a cloned
    policy away from what it can do. (SAC, which begins with a random policy: none.)"""
    gamma: float = within(0.99, 0, 1)
    """Discount of one action."""
    polyak: float = within(0.005, 0, 1, open_low=True)
    """Share of the critics that their targets take over in one gradient step."""
    entropy: float = within(0.1, 0, open_low=True)
    """α at the beginning, the reward of one nat of entropy."""
    target_entropy: float = within(-1.0)
    """For each dimension of an action; α is learned such that the policy has it (SAC, section 5)."""
    policy_learning_rate: float = within(3e-4, 0, open_low=True)
    value_learning_rate: float = within(3e-4, 0, open_low=True)
    gradient_clip: float = within(10.0, 0, open_low=True)
    critic_hidden: tuple[int, ...] = within((256, 256), 1)


_PARTS = ("policy", "critic", "target", "policy_optimizer", "value_optimizer", "entropy_optimizer", "buffer")


class SAC:
    """Twin critics, a policy whose samples carry gradients, and a weight of entropy that is learned.

    Its policy must have a density of its actions and samples with gradients: a `SquashedPolicy`. Of several processes
    each has all imagined transitions in its buffer and draws batches of its own; as gradients are those of all batches
    together, they keep the same weights.
    """

    def __init__(
        self,
        policy: Policy,
        feature_dim: int,
        config: SACConfig,
        processes: Processes = ALONE,
        recorded: Transitions | None = None,
    ) -> None:
        """Of `recorded` transitions, whose features are the environment's, each batch has `real_share`.

        Raises:
            InputError: the policy has no density of its actions, or reads other features.
        """
        if not isinstance(policy, SquashedPolicy):
            raise InputError(
                f"SAC: found a {type(policy).__name__}, whose samples carry no gradient or which has no density of "
                "its actions; expected a SquashedPolicy"
            )
        begin("SAC", policy, feature_dim)
        self.config, self.processes, self.recorded = config, processes, recorded
        self.policy, self.updates = policy, 0
        device, chunk = next(policy.parameters()).device, policy.config.chunk
        self.discount = config.gamma**chunk
        self.batch_size = processes.share(config.batch_size, "sac.batch_size")
        size = chunk * policy.action_dim
        self.target_entropy = config.target_entropy * size
        self.critic = TwinCritic(feature_dim, size, config.critic_hidden).to(device)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(config.entropy), device=device))
        self.buffer = ReplayBuffer(config.capacity, feature_dim, size, device)
        self.policy_optimizer, self.value_optimizer, self.entropy_optimizer = (
            torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0, fused=True)
            for parameters, rate in (
                (learned(policy), config.policy_learning_rate),
                (self.critic.parameters(), config.value_learning_rate),
                ([self.log_alpha], config.policy_learning_rate),
            )
        )

    @property
    def alpha(self) -> Tensor:
        """The weight of entropy."""
        return self.log_alpha.detach().exp()

    def update(self, experience: Experience, generator: torch.Generator) -> dict[str, float]:
        """Imagine, remember, and learn; the first `critic_warmup` times the policy stays as it is."""
        self.remember(experience.rollout(self.policy, self.config.rollout_steps, generator))
        self.updates += 1
        return self.learn(generator, policy_too=self.updates > self.config.critic_warmup)

    def remember(self, rollout: Rollout) -> None:
        """Keep the transitions of all processes."""
        own = columns(self._transitions(rollout))
        self.buffer.add(TransitionBatch(**{name: self.processes.gather(rows) for name, rows in own.items()}))

    def learn(self, generator: torch.Generator, policy_too: bool = True) -> dict[str, float]:
        """Gradient steps on batches from the buffer and from what was recorded."""
        totals: dict[str, Tensor] = {}
        for _ in range(self.config.gradient_steps):
            batch = self._draw(generator)
            metrics = self._value_step(batch, generator)
            if policy_too:
                metrics |= self._policy_step(batch, generator)
            for name, metric in metrics.items():
                totals[name] = totals.get(name, 0) + metric / self.config.gradient_steps
        # The one host synchronisation of an update.
        numbers = torch.stack([value.detach() for value in totals.values()]).tolist()
        return self.processes.mean_of(dict(zip(totals, numbers, strict=True)))

    def loss(self, rollout: Rollout, generator: torch.Generator) -> Tensor:
        """The policy's and the critics' loss on a rollout's own transitions."""
        batch = self._transitions(rollout)
        return self._policy_loss(batch.features, generator)[0] + self._value_loss(batch, generator)[0]

    def _transitions(self, rollout: Rollout) -> TransitionBatch:
        flat = (rollout.features, rollout.trace, rollout.reward, rollout.terminated, rollout.next_features)
        features, trace, reward, terminated, following = (column.flatten(0, 1) for column in flat)
        return TransitionBatch(features, self.policy.executed(trace), reward, terminated, following)

    def _draw(self, generator: torch.Generator) -> TransitionBatch:
        real = 0 if self.recorded is None else round(self.config.real_share * self.batch_size)
        batch = self.buffer.sample(self.batch_size - real, generator)
        return batch if not real else joined(batch, self.recorded.sample(real, generator))  # type: ignore[union-attr]

    @torch.no_grad()
    def _target(self, batch: TransitionBatch, generator: torch.Generator) -> Float[Tensor, " B"]:
        """r + γ (1 - d) (min Q'(x', a') - α ln π(a'|x')), where a' is sampled (Eqs. 2, 3)."""
        action, log_prob = self.policy.explore(batch.next_features, generator)
        value = self.target(batch.next_features, action).amin(0) - self.alpha * log_prob
        return batch.reward + self.discount * (~batch.terminal) * value

    def _value_loss(self, batch: TransitionBatch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of both critics (Eq. 5)."""
        value = self.critic(batch.features, batch.action)
        loss = (value - self._target(batch, generator)).square().mean(1).sum()
        return loss, {"loss/value": loss.detach(), "value": value.detach().mean()}

    def _policy_loss(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """α ln π(a|x) - min Q(x, a) (Eq. 7), and ln π."""
        action, log_prob = self.policy.explore(features, generator)
        # Gradients go through the critics to the action, but the critics are not to please the policy.
        frozen = {name: tensor.detach() for name, tensor in self.critic.named_parameters()}
        value = torch.func.functional_call(self.critic, frozen, (features, action)).amin(0)
        return (self.alpha * log_prob - value).mean(), log_prob.detach()

    def _value_step(self, batch: TransitionBatch, generator: torch.Generator) -> dict[str, Tensor]:
        loss, metrics = self._value_loss(batch, generator)
        self._step(loss, self.critic.parameters(), self.value_optimizer)
        follow(self.target, self.critic, self.config.polyak)
        return metrics

    def _policy_step(self, batch: TransitionBatch, generator: torch.Generator) -> dict[str, Tensor]:
        loss, log_prob = self._policy_loss(batch.features, generator)
        self._step(loss, learned(self.policy), self.policy_optimizer)
        # α grows where there is less entropy than wanted (Eq. 18).
        wrong = -(self.log_alpha * (log_prob + self.target_entropy)).mean()
        self._step(wrong, [self.log_alpha], self.entropy_optimizer)
        return {"loss/policy": loss.detach(), "entropy": -log_prob.mean(), "alpha": self.alpha}

    def _step(self, loss: Tensor, parameters: Iterable[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        descend(loss, parameters, optimizer, self.config.gradient_clip, self.processes)

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed refinement needs from here."""
        parts = {name: getattr(self, name).state_dict() for name in _PARTS}
        return {"updates": self.updates, "log_alpha": self.log_alpha.detach(), **parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.updates = int(state["updates"])
        with torch.no_grad():
            self.log_alpha.copy_(state["log_alpha"])
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])
