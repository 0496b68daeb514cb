"""Policies that were made elsewhere: read, and made refinable."""

from burnish.components import allow
from burnish.policies.given.around import AroundPolicy, GivenConfig
from burnish.policies.given.base import Given
from burnish.policies.given.chain import ChainPolicy
from burnish.policies.given.checkpoint import read_checkpoint
from burnish.policies.given.function import FunctionPolicy
from burnish.policies.given.lerobot import LeRobotACT, LeRobotDiffusion, LeRobotPolicy
from burnish.policies.given.own import OwnPolicy
from burnish.policies.given.served import ServedPolicy
from burnish.policies.given.taking import Source, refinable, trust
from burnish.policies.given.views import FeatureView, Reads, ShownView

__all__ = [
    "AroundPolicy",
    "ChainPolicy",
    "FeatureView",
    "FunctionPolicy",
    "Given",
    "GivenConfig",
    "LeRobotACT",
    "LeRobotDiffusion",
    "LeRobotPolicy",
    "OwnPolicy",
    "Reads",
    "ServedPolicy",
    "ShownView",
    "Source",
    "allow",
    "read_checkpoint",
    "refinable",
    "trust",
]
