"""Implicit Q-learning (Kostrikov et al. 2021, arXiv 2110.06169): values from the data's own actions only."""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.config import within
from burnish.networks import MLP
from burnish.policies import GaussianPolicy
from burnish.rl.transitions import TransitionBatch, TwinCritic, follow


@dataclass(frozen=True)
class IQLConfig:
    """The paper's settings."""

    expectile: float = within(0.9, 0, 1, open_low=True, open_high=True)
    """τ: 0.9 for sparse rewards (AntMaze), where good pieces of episodes must be joined; 0.7 elsewhere."""
    beta: float = within(3.0, 0)
    """β, the inverse temperature of the extraction."""
    advantage_unit: float | None = within(None, 0, open_low=True)
    """The advantage that counts as one there; None: 1 - γ, one step earlier at a success that is worth 1 (see
    `IQL.weight`). Data with rewards of its own has other units; the paper scales those to returns of 1000 and takes
    1."""
    advantage_clip: float = within(100.0, 0, open_low=True)
    """The most that one transition may weigh."""
    gamma: float = within(0.99, 0, 1)
    """Discount of one action."""
    polyak: float = within(0.005, 0, 1, open_low=True)
    critic_hidden: tuple[int, ...] = within((256, 256), 1)


class IQL(nn.Module):
    """Three losses in one `loss`, each with gradients for its own network only; targets follow at the next call.

    The paper's three optimisers are one, as in `TD3BC`.
    """

    def __init__(self, policy: GaussianPolicy, config: IQLConfig) -> None:
        super().__init__()
        self.config, self.policy = config, policy
        size = policy.feature_dim, policy.config.chunk * policy.action_dim
        self.critic = TwinCritic(*size, config.critic_hidden)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.value = MLP(policy.feature_dim, config.critic_hidden, 1, output_scale=0.1)
        self.discount = config.gamma**policy.config.chunk
        self.updates = 0

    def loss(self, batch: TransitionBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """L_V (Eq. 5), L_Q (Eq. 6) and L_π (Eq. 7), added up."""
        if self.updates:
            follow(self.target_critic, self.critic, self.config.polyak)
        self.updates += 1
        value = self.value(batch.features).squeeze(-1)
        with torch.no_grad():
            best = self.target_critic(batch.features, batch.action).amin(0)
            following = self.value(batch.next_features).squeeze(-1)
            target = batch.reward + self.discount * (~batch.terminal) * following
        value_loss = expectile_loss(best - value, self.config.expectile)
        critic_loss = (self.critic(batch.features, batch.action) - target).square().mean(1).sum()
        weight = self.weight(best - value.detach())
        log_prob = self.policy.log_prob(batch.features, batch.action).squeeze(-1)
        policy_loss = -(weight * log_prob).mean()
        metrics = {
            "value": value.detach().mean(),
            "weight": weight.mean(),
            "loss/value": value_loss.detach(),
            "loss/critic": critic_loss.detach(),
            "loss/policy": policy_loss.detach(),
        }
        return value_loss + critic_loss + policy_loss, metrics

    def weight(self, advantage: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """exp(β A / unit), clipped; the unit is 1 - γ for success as the reward.

        The paper's AntMaze reward is -1 a step until success. Ours is 1 at success, so every value is 1 - γ times the
        paper's, up to a constant: the division gives its advantages, while values stay within [0, 1].
        """
        c = self.config
        unit = 1 - self.discount if c.advantage_unit is None else c.advantage_unit
        return (c.beta * advantage / unit).exp().clamp(max=c.advantage_clip)

    def get_extra_state(self) -> Tensor:
        """The number of updates, for resuming."""
        return torch.tensor(self.updates)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore `get_extra_state`."""
        self.updates = int(state)


def expectile_loss(difference: Float[Tensor, " B"], expectile: float) -> Tensor:
    """Mean of |τ - 1(u < 0)| u²: its minimiser over a constant shift is the τ-expectile (Eq. 4)."""
    weight = torch.where(difference < 0, 1 - expectile, expectile)
    return (weight * difference.square()).mean()
