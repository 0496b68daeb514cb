"""Policies that Burnish refined, as a policy type of LeRobot."""

from lerobot_policy_burnish.configuration_burnish import BurnishConfig
from lerobot_policy_burnish.modeling_burnish import BurnishPolicy
from lerobot_policy_burnish.processor_burnish import make_burnish_pre_post_processors

__all__ = ["BurnishConfig", "BurnishPolicy", "make_burnish_pre_post_processors"]
