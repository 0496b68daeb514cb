"""Rewards: what a transition is worth, and whether the task is done."""

from burnish.rewards.base import CalibratedClassifier
from burnish.rewards.calibration import Calibration, calibrate
from burnish.rewards.chosen import RewardAndSuccess, RewardConfig, WorldReward, WrittenReward, as_reward, relabelled
from burnish.rewards.contrastive import ContrastiveClassifier, ContrastiveConfig
from burnish.rewards.frame_classifier import FrameClassifier, FrameClassifierConfig
from burnish.rewards.outcome import (
    EndsWithWorld,
    ImaginedReward,
    LearnedReward,
    Outcome,
    Reward,
    SuccessReward,
    expected,
)
from burnish.rewards.reward_head import RewardHead, RewardHeadConfig, RewardTransitions, TransitionSampler
from burnish.rewards.success_classifier import (
    BalancedFrames,
    ClassifierConfig,
    SuccessClassifier,
)
from burnish.rewards.terms import FunctionReward, RewardTerms, TermConfig, reward_function

__all__ = [
    "BalancedFrames",
    "CalibratedClassifier",
    "Calibration",
    "ClassifierConfig",
    "ContrastiveClassifier",
    "ContrastiveConfig",
    "EndsWithWorld",
    "FrameClassifier",
    "FrameClassifierConfig",
    "FunctionReward",
    "ImaginedReward",
    "LearnedReward",
    "Outcome",
    "Reward",
    "RewardAndSuccess",
    "RewardConfig",
    "RewardHead",
    "RewardHeadConfig",
    "RewardTerms",
    "RewardTransitions",
    "SuccessClassifier",
    "SuccessReward",
    "TermConfig",
    "TransitionSampler",
    "WorldReward",
    "WrittenReward",
    "as_reward",
    "calibrate",
    "expected",
    "relabelled",
    "reward_function",
]
