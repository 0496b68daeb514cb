"""Collects on-policy experience from a vector environment, imagined or real."""

from dataclasses import dataclass

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from burnish.policies import Policy


@dataclass(frozen=True)
class Rollout:
    """T decisions in N environments; all tensors are (T, N, …) on the policy's device."""

    features: Tensor
    trace: Tensor
    log_prob: Tensor
    """(T, N, K): of each scored step, under the policy that acted."""
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    next_features: Tensor
    """Where the step led, before any reset."""
    success: Tensor
    halted: Tensor


@torch.no_grad()
def collect_rollout(
    env: VectorEnv, policy: Policy, features: Tensor, steps: int, generator: torch.Generator
) -> tuple[Rollout, Tensor]:
    """Act for `steps` steps from `features` (N, F); returns the rollout and the features to go on from.

    The environment must restart ended episodes in the same step and report `final_obs`.
    """
    columns: dict[str, list[Tensor]] = {name: [] for name in Rollout.__dataclass_fields__}
    for _ in range(steps):
        decision = policy.act(features, False, generator)
        following, reward, terminated, truncated, info = env.step(decision.action_chunk)
        row = {
            "features": features,
            "trace": decision.trace,
            "log_prob": policy.log_prob(features, decision.trace),
            "reward": reward,
            "terminated": terminated,
            "truncated": truncated,
            "next_features": torch.where(info["_final_obs"].unsqueeze(-1), info["final_obs"], following),
            "success": info["success"],
            "halted": info["halted"],
        }
        for name, value in row.items():
            columns[name].append(value)
        features = following
    return Rollout(**{name: torch.stack(values) for name, values in columns.items()}), features
