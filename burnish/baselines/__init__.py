"""What refinement in imagination is compared with: other ways to a better policy from the same offline data."""

from burnish.baselines.filtered_bc import successful_episodes
from burnish.baselines.iql import IQL, IQLConfig
from burnish.baselines.planning import Planner, PlanningConfig
from burnish.baselines.td3_bc import TD3BC, TD3BCConfig
from burnish.baselines.transitions import TransitionBatch, Transitions

__all__ = [
    "IQL",
    "TD3BC",
    "IQLConfig",
    "Planner",
    "PlanningConfig",
    "TD3BCConfig",
    "TransitionBatch",
    "Transitions",
    "successful_episodes",
]
