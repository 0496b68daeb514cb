"""Every setting of the DiWA recipe, and its presets."""

from dataclasses import dataclass, field, replace
from typing import Literal

from burnish.config import within
from burnish.evaluation.gate import GateConfig
from burnish.evaluation.off_policy import FQEConfig
from burnish.evaluation.settings import EvaluationConfig, SimulatorConfig
from burnish.imagination import ImaginationConfig, StartConfig
from burnish.policies import DiffusionPolicyConfig, GaussianPolicyConfig
from burnish.recipes.views import ObservationName, with_cameras
from burnish.rewards import ContrastiveConfig
from burnish.rl import PPOConfig, RefineConfig
from burnish.training import TrainingConfig
from burnish.world_models import RSSM_PRESETS, AutoencoderConfig, LatentEnsembleConfig, RSSMConfig


@dataclass(frozen=True)
class PlayConfig:
    """What is recorded in the simulator, once and before any learning."""

    demonstrations: int = within(5, 1)
    """Successful episodes of the scripted expert that the policy is cloned from (DiWA: 50 a skill)."""
    demonstration_noise: float = within(0.3, 0)
    """Standard deviation of the temporally correlated noise on the expert's actions."""
    play_episodes: int = within(300, 0)
    """Episodes of ever noisier experts, most of which fail: they stand for a person's play data (DiWA: 6 h)."""
    play_noise: tuple[float, ...] = within((0.2, 0.4, 0.6, 0.8), 0)
    random_episodes: int = within(30, 0)
    frames_after_success: int = within(8, 0)
    """Decisions recorded after the first success, so that the classifier sees what success looks like."""


@dataclass(frozen=True)
class DiWAConfig:
    """The recipe's configuration; one group for each part of the method."""

    observation: ObservationName = "state"
    """What the world model looks at: the state vector, or a compact latent of camera pictures."""
    simulator: SimulatorConfig = field(default_factory=SimulatorConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    """Of pictures; not used with states."""
    autoencoder_training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(steps=7000, batch_size=16, learning_rate=2e-3)
    )
    """A batch is that many windows of three frames."""
    collect: PlayConfig = field(default_factory=PlayConfig)
    held_out: float = within(0.1, 0, 1, open_low=True, open_high=True)
    """Share of the episodes that no model learns from: calibration and validation."""
    world_model: RSSMConfig = field(default_factory=lambda: RSSM_PRESETS["small"])
    sequence_length: int = within(20, 2)
    """Frames of one training sequence; the state is carried from one to the next (DiWA: 50)."""
    world_model_training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            steps=3000, batch_size=48, learning_rate=2e-3, ema_decay=None, gradient_clip=100.0
        )
    )
    policy: Literal["diffusion", "gaussian"] = "diffusion"
    """The family of the policy; the other one's settings are not used."""
    diffusion: DiffusionPolicyConfig = field(
        default_factory=lambda: DiffusionPolicyConfig(denoising_steps=10, fine_tuned_steps=5, width=192)
    )
    """Half of DiWA's steps (20, the last 10 fine-tuned; preset `paper` has them): PPO's time goes here."""
    gaussian: GaussianPolicyConfig = field(default_factory=lambda: GaussianPolicyConfig(chunk=4))
    pretraining: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(steps=3000, batch_size=256, weight_decay=1e-4)
    )
    cloning_noise: float = within(0.05, 0)
    """Noise on the features while cloning: imagined features are never exact."""
    posterior_samples: int = within(4, 0)
    """Samples of the posterior that the policy is cloned from, beside its most likely classes."""
    ensemble: LatentEnsembleConfig = field(default_factory=LatentEnsembleConfig)
    ensemble_training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(steps=1500, batch_size=256, ema_decay=None)
    )
    classifier: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    classifier_training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(steps=1000, batch_size=256, ema_decay=None, weight_decay=1e-3)
    )
    starts: StartConfig = field(default_factory=StartConfig)
    imagination: ImaginationConfig = field(default_factory=lambda: ImaginationConfig(num_envs=256, horizon=100))
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(
            clip=0.05,
            epochs=5,
            minibatch_size=1024,
            policy_learning_rate=3e-4,
            anchor_weight=0.05,
            target_kl=None,
            gamma=0.99,
        )
    )
    """For the diffusion policy.  The discount is per decision; the anchor's weight is DiWA's α_BC.  Clip range and
    learning rate are wider than DiWA's (0.01, 1e-5: preset `paper`), which has seven times as many imagined steps."""
    gaussian_ppo: PPOConfig = field(default_factory=PPOConfig)
    """For the Gaussian policy."""
    refine: RefineConfig = field(
        default_factory=lambda: RefineConfig(
            iterations=80, rollout_steps=12, critic_warmup=5, margin=0.02, average=0.8, patience=4
        )
    )
    gate: GateConfig = field(default_factory=lambda: GateConfig(training_share=0.25))
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


def _tiny(config: DiWAConfig) -> DiWAConfig:
    """Every stage for real, in about a minute: for tests and continuous integration, not for good policies."""
    return replace(
        config,
        collect=replace(config.collect, play_episodes=24, random_episodes=6),
        autoencoder=AutoencoderConfig(cameras=("corner3",), image_size=32, latent_dim=16, width=8, hidden=64),
        autoencoder_training=replace(config.autoencoder_training, steps=150),
        world_model=RSSM_PRESETS["tiny"],
        world_model_training=replace(config.world_model_training, steps=150, batch_size=24),
        diffusion=replace(config.diffusion, width=64, denoising_steps=8, fine_tuned_steps=4),
        pretraining=replace(config.pretraining, steps=300),
        posterior_samples=1,
        ensemble_training=replace(config.ensemble_training, steps=200),
        classifier=replace(config.classifier, hidden=128, embedding=64),
        classifier_training=replace(config.classifier_training, steps=200),
        imagination=replace(config.imagination, num_envs=64),
        refine=replace(config.refine, iterations=10, critic_warmup=2),
        gate=replace(config.gate, worlds=2, training_share=0.5, episodes=16, second_opinion=FQEConfig(steps=50)),
        evaluation=replace(
            config.evaluation, episodes=20, imagined_episodes=64, curve_points=2, curve_episodes=10, videos=1
        ),
    )


def _calvin(config: DiWAConfig) -> DiWAConfig:
    """For CALVIN's skills (`--task calvin:open_drawer`): DiWA's time limit, play of all eight skills."""
    return replace(
        config,
        simulator=SimulatorConfig(action_repeat=1, max_steps=72),
        autoencoder=replace(config.autoencoder, cameras=("static", "gripper")),
        collect=replace(config.collect, demonstrations=10, demonstration_noise=0.2, play_noise=(0.0, 0.1, 0.2, 0.3)),
        # No skill needs the blocks, which lie elsewhere in every episode, and the arm's joints say little that the
        # hand's pose does not.
        world_model=replace(config.world_model, ignored=("block", "joint")),
        imagination=replace(config.imagination, horizon=72),
    )


def _paper(config: DiWAConfig) -> DiWAConfig:
    """DiWA's own sizes and settings (CALVIN): for a GPU.  50 demonstrations, 5.76 million imagined steps."""
    return replace(
        config,
        simulator=SimulatorConfig(action_repeat=1, max_steps=72),
        collect=replace(config.collect, demonstrations=50, play_episodes=5000),
        world_model=RSSM_PRESETS["published"],
        sequence_length=50,
        world_model_training=replace(config.world_model_training, steps=100_000, batch_size=50, learning_rate=3e-4),
        diffusion=DiffusionPolicyConfig(denoising_steps=20, fine_tuned_steps=10, width=512, depth=3),
        pretraining=replace(config.pretraining, steps=40_000, learning_rate=1e-4, weight_decay=1e-6),
        imagination=replace(config.imagination, num_envs=50, horizon=72),
        ppo=replace(
            config.ppo, clip=0.01, gamma=0.999, epochs=10, minibatch_size=750, policy_learning_rate=1e-5, target_kl=1.0
        ),
        refine=replace(config.refine, iterations=800, rollout_steps=36, critic_warmup=2, evaluate_every=25),
    )


def _pixels(config: DiWAConfig) -> DiWAConfig:
    """Pictures instead of states: nothing that learns sees a state vector."""
    return replace(
        config,
        observation="pixels",
        simulator=with_cameras(config.simulator, config.autoencoder),
        # Latents hold noise besides what matters; told as exactly as states, it would fill the recurrent state.  And
        # they have no names by which some could be ignored.
        world_model=replace(config.world_model, state_weight=config.world_model.state_weight / 6, ignored=()),
    )


PRESETS = {"default": lambda config: config, "calvin": _calvin, "tiny": _tiny, "paper": _paper}
CONFIG = DiWAConfig
OBSERVATIONS = {"state": lambda config: config, "pixels": _pixels}
"""What `--observation` makes of a preset."""
