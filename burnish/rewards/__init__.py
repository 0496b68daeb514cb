"""Rewards: what tells imagination that the task is done."""

from burnish.rewards.base import CalibratedClassifier
from burnish.rewards.calibration import Calibration, calibrate
from burnish.rewards.contrastive import ContrastiveClassifier, ContrastiveConfig
from burnish.rewards.frame_classifier import FrameClassifier, FrameClassifierConfig
from burnish.rewards.success_classifier import (
    BalancedFrames,
    ClassifierConfig,
    SuccessClassifier,
)

__all__ = [
    "BalancedFrames",
    "CalibratedClassifier",
    "Calibration",
    "ClassifierConfig",
    "ContrastiveClassifier",
    "ContrastiveConfig",
    "FrameClassifier",
    "FrameClassifierConfig",
    "SuccessClassifier",
    "calibrate",
]
