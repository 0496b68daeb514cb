"""Generalised advantage estimation (arXiv 1506.02438) that is right at truncations."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.rl.rollout import Rollout


def generalised_advantages(
    reward: Float[Tensor, "T N"],
    value: Float[Tensor, "T N"],
    next_value: Float[Tensor, "T N"],
    terminated: Bool[Tensor, "T N"],
    truncated: Bool[Tensor, "T N"],
    gamma: float,
    lam: float,
) -> Float[Tensor, "T N"]:
    """A_t = δ_t + γ λ A_{t+1}, with δ_t = r_t + γ V(s'_t) - V(s_t).

    `next_value` is V of the state that the step led to, *before* any reset. A terminated step bootstraps nothing; a
    truncated one bootstraps from its own next state; neither lets A_{t+1}, which belongs to another episode, leak in.
    """
    delta = temporal_differences(reward, value, next_value, terminated, gamma)
    carry = gamma * lam * (~(terminated | truncated)).to(value.dtype)
    advantages = torch.empty_like(value)
    following = torch.zeros_like(value[0])
    for t in range(len(value) - 1, -1, -1):
        following = delta[t] + carry[t] * following
        advantages[t] = following
    return advantages


@torch.no_grad()
def returns_and_advantages(
    rollout: Rollout, value_of: Callable[[Tensor], Tensor], gamma: float, lam: float
) -> tuple[Float[Tensor, "T N"], Float[Tensor, "T N"]]:
    """λ-returns R_t, and the generalised advantages R_t - V(s_t) that they are away from the values of `value_of`."""
    value, ends = value_of(rollout.features), (rollout.terminated, rollout.truncated)
    advantages = generalised_advantages(rollout.reward, value, value_of(rollout.next_features), *ends, gamma, lam)
    return advantages + value, advantages


def temporal_differences(
    reward: Float[Tensor, "T N"],
    value: Float[Tensor, "T N"],
    next_value: Float[Tensor, "T N"],
    terminated: Bool[Tensor, "T N"],
    gamma: float,
) -> Float[Tensor, "T N"]:
    """δ_t = r_t + γ V(s'_t) - V(s_t), where a terminated step bootstraps nothing."""
    return reward + gamma * next_value * (~terminated) - value
