"""Reinforcement learning: experience, learners, the choice of the best iterate."""

from burnish.rl.a2c import A2C, A2CConfig
from burnish.rl.adapting import Adapting, AdaptingConfig, Known
from burnish.rl.advantages import generalised_advantages
from burnish.rl.differentiable import DifferentiableExperience
from burnish.rl.dreamer import Dreamer, DreamerConfig
from burnish.rl.generated import GeneratedExperience
from burnish.rl.grpo import GRPO, GroupedExperience, GRPOConfig, group_advantages
from burnish.rl.importance import WeightingConfig, importance_weights, log_ratios
from burnish.rl.iql import IQL, IQLConfig
from burnish.rl.learner import Experience, Judgement, Learner, Score
from burnish.rl.mixed import MixedTransitions
from burnish.rl.planning import Planner, PlanningConfig
from burnish.rl.planning_agent import PlanningAgent
from burnish.rl.ppo import PPO, PPOConfig
from burnish.rl.refine import RefineConfig, Refinement, refine
from burnish.rl.refreshing import Refreshing, RefreshingConfig
from burnish.rl.replay_buffer import ReplayBuffer
from burnish.rl.rollout import EnvExperience, GradientsAlong, Rollout
from burnish.rl.sac import SAC, SACConfig
from burnish.rl.sequence_replay import SequenceReplay
from burnish.rl.short_horizon import ShortHorizon, ShortHorizonConfig
from burnish.rl.td3_bc import TD3BC, TD3BCConfig
from burnish.rl.transitions import TransitionBatch, Transitions

__all__ = [
    "A2C",
    "GRPO",
    "IQL",
    "PPO",
    "SAC",
    "TD3BC",
    "A2CConfig",
    "Adapting",
    "AdaptingConfig",
    "DifferentiableExperience",
    "Dreamer",
    "DreamerConfig",
    "EnvExperience",
    "Experience",
    "GRPOConfig",
    "GeneratedExperience",
    "GradientsAlong",
    "GroupedExperience",
    "IQLConfig",
    "Judgement",
    "Known",
    "Learner",
    "MixedTransitions",
    "PPOConfig",
    "Planner",
    "PlanningAgent",
    "PlanningConfig",
    "RefineConfig",
    "Refinement",
    "Refreshing",
    "RefreshingConfig",
    "ReplayBuffer",
    "Rollout",
    "SACConfig",
    "Score",
    "SequenceReplay",
    "ShortHorizon",
    "ShortHorizonConfig",
    "TD3BCConfig",
    "TransitionBatch",
    "Transitions",
    "WeightingConfig",
    "generalised_advantages",
    "group_advantages",
    "importance_weights",
    "log_ratios",
    "refine",
]
