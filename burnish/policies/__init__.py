"""Policies: what acts on features, and can say how likely its decision was."""

from burnish.policies.agent import Agent, check_same_features, load_agent
from burnish.policies.base import Decision, Policy
from burnish.policies.diffusion import DiffusionPolicy, DiffusionPolicyConfig
from burnish.policies.gaussian import GaussianPolicy, GaussianPolicyConfig
from burnish.policies.given import GivenConfig
from burnish.policies.imagining import ImaginingPolicy, ImaginingPolicyConfig, spread
from burnish.policies.pictures import PicturePolicy, PicturePolicyConfig
from burnish.policies.robot import RobotPolicy, observation_shapes
from burnish.policies.squashed import SquashedPolicy, SquashedPolicyConfig
from burnish.policies.tanh import TanhPolicy, TanhPolicyConfig
from burnish.policies.tokens import TokenPolicy, TokenPolicyConfig
from burnish.policies.two_stream import TwoStreamPolicy, TwoStreamPolicyConfig

__all__ = [
    "Agent",
    "Decision",
    "DiffusionPolicy",
    "DiffusionPolicyConfig",
    "GaussianPolicy",
    "GaussianPolicyConfig",
    "GivenConfig",
    "ImaginingPolicy",
    "ImaginingPolicyConfig",
    "PicturePolicy",
    "PicturePolicyConfig",
    "Policy",
    "RobotPolicy",
    "SquashedPolicy",
    "SquashedPolicyConfig",
    "TanhPolicy",
    "TanhPolicyConfig",
    "TokenPolicy",
    "TokenPolicyConfig",
    "TwoStreamPolicy",
    "TwoStreamPolicyConfig",
    "check_same_features",
    "load_agent",
    "observation_shapes",
    "spread",
]
