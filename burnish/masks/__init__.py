"""Masks: where the things are that a sentence names, as an observation of its own."""

from burnish.masks.base import Masking, MaskProvider, View, mask_camera
from burnish.masks.colours import ColourMasks
from burnish.masks.environment import MaskedObservation
from burnish.masks.grounded import GroundedConfig, GroundedMasks
from burnish.masks.instruction import ROLES, Instruction, read_instruction, skill_value
from burnish.masks.settings import MaskConfig
from burnish.masks.tracking import TrackedMasks, TrackerConfig
from burnish.masks.truth import TruthMasks

__all__ = [
    "ROLES",
    "ColourMasks",
    "GroundedConfig",
    "GroundedMasks",
    "Instruction",
    "MaskConfig",
    "MaskProvider",
    "MaskedObservation",
    "Masking",
    "TrackedMasks",
    "TrackerConfig",
    "TruthMasks",
    "View",
    "mask_camera",
    "read_instruction",
    "skill_value",
]
