"""Rewards: what a transition is worth, and whether the task is done."""

from burnish.rewards.base import CalibratedClassifier
from burnish.rewards.calibration import Calibration, calibrate, calibrate_ends
from burnish.rewards.chosen import RewardAndSuccess, RewardConfig, WorldReward, WrittenReward, as_reward, relabelled
from burnish.rewards.contrastive import ContrastiveClassifier, ContrastiveConfig
from burnish.rewards.endpoint import EndpointConfig, EndpointJudge, TruthConfig, TruthJudge, VotesConfig, VotesJudge
from burnish.rewards.frame_classifier import FrameClassifier, FrameClassifierConfig
from burnish.rewards.judge import (
    Judge,
    JudgeAgreement,
    JudgedReward,
    JudgeUse,
    ScriptedConfig,
    ScriptedJudge,
    Verdicts,
    own_function,
)
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
from burnish.rewards.video_judge import Films, VideoJudge, VideoJudgeConfig

__all__ = [
    "BalancedFrames",
    "CalibratedClassifier",
    "Calibration",
    "ClassifierConfig",
    "ContrastiveClassifier",
    "ContrastiveConfig",
    "EndpointConfig",
    "EndpointJudge",
    "EndsWithWorld",
    "Films",
    "FrameClassifier",
    "FrameClassifierConfig",
    "FunctionReward",
    "ImaginedReward",
    "Judge",
    "JudgeAgreement",
    "JudgeUse",
    "JudgedReward",
    "LearnedReward",
    "Outcome",
    "Reward",
    "RewardAndSuccess",
    "RewardConfig",
    "RewardHead",
    "RewardHeadConfig",
    "RewardTerms",
    "RewardTransitions",
    "ScriptedConfig",
    "ScriptedJudge",
    "SuccessClassifier",
    "SuccessReward",
    "TermConfig",
    "TransitionSampler",
    "TruthConfig",
    "TruthJudge",
    "Verdicts",
    "VideoJudge",
    "VideoJudgeConfig",
    "VotesConfig",
    "VotesJudge",
    "WorldReward",
    "WrittenReward",
    "as_reward",
    "calibrate",
    "calibrate_ends",
    "expected",
    "own_function",
    "relabelled",
    "reward_function",
]
