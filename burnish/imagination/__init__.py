"""Imagination: a world model, a reward and start states from the data, as an environment, a loop and an evaluation."""

from burnish.imagination.disturbances import DisturbanceConfig
from burnish.imagination.env import ImaginationConfig, ImaginedEnv
from burnish.imagination.evaluate import ImaginedEvaluation, imagined_evaluation, imagined_play
from burnish.imagination.guidance import GuidanceConfig, GuidedConfig, Trajectories, guided
from burnish.imagination.labelled import imagined_frames, imagined_transitions, recorded_transitions
from burnish.imagination.local_model import LocalModel
from burnish.imagination.pessimism import Pessimism, PessimismConfig, Uncertainty, with_own
from burnish.imagination.rollout import Imagined, Models, given, recorded, rollout, transitions
from burnish.imagination.start_states import StartConfig, StartStates
from burnish.imagination.swapped import SwappedEnv

__all__ = [
    "DisturbanceConfig",
    "GuidanceConfig",
    "GuidedConfig",
    "ImaginationConfig",
    "Imagined",
    "ImaginedEnv",
    "ImaginedEvaluation",
    "LocalModel",
    "Models",
    "Pessimism",
    "PessimismConfig",
    "StartConfig",
    "StartStates",
    "SwappedEnv",
    "Trajectories",
    "Uncertainty",
    "given",
    "guided",
    "imagined_evaluation",
    "imagined_frames",
    "imagined_play",
    "imagined_transitions",
    "recorded",
    "recorded_transitions",
    "rollout",
    "transitions",
    "with_own",
]
