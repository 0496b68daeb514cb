"""World models: a family a file, all with the contract of `base.WorldModel`."""

from burnish.world_models.autoencoder import Autoencoder, AutoencoderConfig
from burnish.world_models.base import Observer, State, WorldModel
from burnish.world_models.bodies import position_differences, relations
from burnish.world_models.denoised_features import DenoisedFeatures
from burnish.world_models.diffusion import DiffusionConfig, DiffusionWorldModel
from burnish.world_models.diffusion_forcing import DiffusionForcing, DiffusionForcingConfig
from burnish.world_models.disagreement import DisagreementEnsemble, EnsembleConfig
from burnish.world_models.encoded import LATENT, Encoded, as_states, with_latents
from burnish.world_models.feature_streams import FeatureStreams
from burnish.world_models.film_history import (
    INSTRUCTION,
    FilmConfig,
    FilmHistory,
    FilmState,
    instructions_of,
    with_instructions,
)
from burnish.world_models.forecasts import Forecasts, GRUEnsembleConfig
from burnish.world_models.frame_latents import FrameEncoder, PatchLatents, PatchLatentsConfig
from burnish.world_models.gru_ensemble import GRUEnsemble, GRUState
from burnish.world_models.guided_diffusion import GuidedDiffusion, GuidedDiffusionConfig, WeightedWindows
from burnish.world_models.history import (
    STATE_KEY,
    HistoryConfig,
    HistoryState,
    ObservationHistory,
    TransitionSpace,
    learned_dimensions,
)
from burnish.world_models.inverse_dynamics import InverseDynamics, InverseDynamicsConfig, RecordedActions
from burnish.world_models.latent_actions import LatentActionConfig, LatentActions, with_latent_actions
from burnish.world_models.latent_diffusion import LatentDiffusion, LatentDiffusionConfig
from burnish.world_models.latent_ensemble import BootstrapTransitions, LatentEnsemble, LatentEnsembleConfig
from burnish.world_models.local_dynamics import LocalDynamics, LocalDynamicsConfig, LocalState
from burnish.world_models.mask_moments import MaskMoments, MaskMomentsConfig
from burnish.world_models.on_frames import OnFrames, pooled_states
from burnish.world_models.pixel_diffusion import NoiseLevels, PixelDiffusion, PixelDiffusionConfig
from burnish.world_models.pixel_history import PixelHistory, PixelHistoryConfig, PixelHistoryState
from burnish.world_models.pixel_speed import SpeedConfig
from burnish.world_models.return_diffusion import ReturnDiffusion, ReturnDiffusionConfig, Trajectory
from burnish.world_models.return_windows import ReturnWindows, window_return
from burnish.world_models.rssm import RSSM, RSSM_PRESETS, RSSMConfig, RSSMState
from burnish.world_models.sampler import SamplerConfig
from burnish.world_models.scene_autoencoder import SceneAutoencoder, SceneAutoencoderConfig
from burnish.world_models.scenes import SceneConfig, Scenes
from burnish.world_models.self_supervised import SelfSupervised, SelfSupervisedConfig
from burnish.world_models.several import SeveralWorlds
from burnish.world_models.support import DataSupport, SupportConfig
from burnish.world_models.token_diffusion import TokenDiffusion, TokenDiffusionConfig
from burnish.world_models.trajectories import TrajectoryConfig, TrajectoryDenoiser, TrajectoryState, TrajectoryWindows
from burnish.world_models.transformers_features import TransformersFeatures, TransformersFeaturesConfig

__all__ = [
    "INSTRUCTION",
    "LATENT",
    "RSSM",
    "RSSM_PRESETS",
    "STATE_KEY",
    "Autoencoder",
    "AutoencoderConfig",
    "BootstrapTransitions",
    "DataSupport",
    "DenoisedFeatures",
    "DiffusionConfig",
    "DiffusionForcing",
    "DiffusionForcingConfig",
    "DiffusionWorldModel",
    "DisagreementEnsemble",
    "Encoded",
    "EnsembleConfig",
    "FeatureStreams",
    "FilmConfig",
    "FilmHistory",
    "FilmState",
    "Forecasts",
    "FrameEncoder",
    "GRUEnsemble",
    "GRUEnsembleConfig",
    "GRUState",
    "GuidedDiffusion",
    "GuidedDiffusionConfig",
    "HistoryConfig",
    "HistoryState",
    "InverseDynamics",
    "InverseDynamicsConfig",
    "LatentActionConfig",
    "LatentActions",
    "LatentDiffusion",
    "LatentDiffusionConfig",
    "LatentEnsemble",
    "LatentEnsembleConfig",
    "LocalDynamics",
    "LocalDynamicsConfig",
    "LocalState",
    "MaskMoments",
    "MaskMomentsConfig",
    "NoiseLevels",
    "ObservationHistory",
    "Observer",
    "OnFrames",
    "PatchLatents",
    "PatchLatentsConfig",
    "PixelDiffusion",
    "PixelDiffusionConfig",
    "PixelHistory",
    "PixelHistoryConfig",
    "PixelHistoryState",
    "RSSMConfig",
    "RSSMState",
    "RecordedActions",
    "ReturnDiffusion",
    "ReturnDiffusionConfig",
    "ReturnWindows",
    "SamplerConfig",
    "SceneAutoencoder",
    "SceneAutoencoderConfig",
    "SceneConfig",
    "Scenes",
    "SelfSupervised",
    "SelfSupervisedConfig",
    "SeveralWorlds",
    "SpeedConfig",
    "State",
    "SupportConfig",
    "TokenDiffusion",
    "TokenDiffusionConfig",
    "Trajectory",
    "TrajectoryConfig",
    "TrajectoryDenoiser",
    "TrajectoryState",
    "TrajectoryWindows",
    "TransformersFeatures",
    "TransformersFeaturesConfig",
    "TransitionSpace",
    "WeightedWindows",
    "WorldModel",
    "as_states",
    "instructions_of",
    "learned_dimensions",
    "pooled_states",
    "position_differences",
    "relations",
    "window_return",
    "with_instructions",
    "with_latent_actions",
    "with_latents",
]
