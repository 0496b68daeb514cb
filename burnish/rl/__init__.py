"""Reinforcement learning: rollout storage, advantages, PPO."""

from burnish.rl.advantages import generalised_advantages
from burnish.rl.ppo import PPO, PPOConfig
from burnish.rl.refine import RefineConfig, refine
from burnish.rl.rollout import Rollout, collect_rollout

__all__ = [
    "PPO",
    "PPOConfig",
    "RefineConfig",
    "Rollout",
    "collect_rollout",
    "generalised_advantages",
    "refine",
]
