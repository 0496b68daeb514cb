"""Every setting of the World4RL recipe, and its presets."""

from dataclasses import dataclass, field, replace

from burnish.config import within
from burnish.evaluation.gate import GateConfig
from burnish.evaluation.off_policy import FQEConfig
from burnish.evaluation.settings import EvaluationConfig, SimulatorConfig
from burnish.imagination import ImaginationConfig, StartConfig
from burnish.policies import GaussianPolicyConfig
from burnish.recipes.views import ObservationName, with_cameras
from burnish.rewards import ClassifierConfig
from burnish.rl import PPOConfig, RefineConfig
from burnish.training import TrainingConfig
from burnish.world_models import AutoencoderConfig, DiffusionConfig, EnsembleConfig, HistoryConfig, SupportConfig


@dataclass(frozen=True)
class CollectConfig:
    """What is recorded in the simulator before any learning, and with the pretrained policy."""

    demonstrations: int = within(5, 1)
    """Successful episodes of the scripted expert that the policy is cloned from."""
    demonstration_noise: float = within(0.3, 0)
    """Standard deviation of the temporally correlated noise on the expert's actions; 0 for perfect demonstrations."""
    policy_episodes: int = within(150, 0)
    """Rollouts of the pretrained policy (World4RL: 150)."""
    policy_noise: tuple[float, ...] = within((0.0, 0.1, 0.2, 0.4), 0)
    """Graded noise: rollouts are shared evenly between these standard deviations."""
    random_episodes: int = within(30, 0)
    """Uniformly random motion (World4RL: 30)."""
    noisy_expert_episodes: int = within(0, 0)
    """Further expert episodes with graded noise, for the world model and the classifier only."""
    noisy_expert_noise: tuple[float, ...] = within((0.2, 0.4, 0.8), 0)
    frames_after_success: int = within(8, 0)
    """Decisions recorded after the first success, so that the classifier sees what success looks like."""


@dataclass(frozen=True)
class World4RLConfig:
    """The recipe's configuration; one group for each part of the method."""

    observation: ObservationName = "state"
    """What policy, world model and classifier look at: the state vector, or a compact latent of camera pictures."""
    simulator: SimulatorConfig = field(default_factory=SimulatorConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    """Of pictures; not used with states."""
    autoencoder_training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(steps=7000, batch_size=16, learning_rate=2e-3)
    )
    """A batch is that many windows of three frames."""
    collect: CollectConfig = field(default_factory=CollectConfig)
    held_out: float = within(0.1, 0, 1, open_low=True, open_high=True)
    """Share of the episodes that no model learns from: calibration and validation."""
    history: HistoryConfig = field(default_factory=HistoryConfig)
    policy: GaussianPolicyConfig = field(default_factory=GaussianPolicyConfig)
    pretraining: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(steps=600, batch_size=256, ema_decay=None, weight_decay=1e-3)
    )
    cloning_noise: float = within(0.1, 0)
    """Noise on the normalised features while cloning.  Imagined features are never exact, so a policy must not hang on
    the last digit of a dimension that hardly moved in the few demonstrations: it would not work in imagination."""
    world_model: DiffusionConfig = field(default_factory=DiffusionConfig)
    world_model_training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(steps=3000, batch_size=256, learning_rate=2e-3)
    )
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    ensemble_training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(steps=2500, batch_size=256, ema_decay=None)
    )
    support: SupportConfig = field(default_factory=SupportConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    classifier_training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(steps=2500, batch_size=256, ema_decay=None, weight_decay=1e-3)
    )
    starts: StartConfig = field(default_factory=StartConfig)
    imagination: ImaginationConfig = field(default_factory=lambda: ImaginationConfig(member_share=0.5))
    ppo: PPOConfig = field(default_factory=PPOConfig)
    refine: RefineConfig = field(default_factory=lambda: RefineConfig(margin=0.02, average=0.9, patience=4))
    gate: GateConfig = field(default_factory=GateConfig)
    held_out_inertia: bool = False
    """`history.inertia` of the gate's held-out worlds.  Without it they are of another kind than the world in which the
    policy was refined, so that what fools one need not fool the other; they agree with reality as well or a little
    better (benchmarks/results)."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


def _tiny(config: World4RLConfig) -> World4RLConfig:
    """Every stage for real, in about a minute: for tests and continuous integration, not for good policies."""
    return replace(
        config,
        collect=replace(config.collect, policy_episodes=24, random_episodes=6, noisy_expert_episodes=0),
        autoencoder=AutoencoderConfig(cameras=("corner3",), image_size=32, latent_dim=16, width=8, hidden=64),
        autoencoder_training=replace(config.autoencoder_training, steps=150),
        pretraining=replace(config.pretraining, steps=300),
        world_model_training=replace(config.world_model_training, steps=300, batch_size=256),
        ensemble_training=replace(config.ensemble_training, steps=200),
        classifier_training=replace(config.classifier_training, steps=200),
        imagination=replace(config.imagination, num_envs=128),
        refine=replace(config.refine, iterations=10, critic_warmup=2),
        gate=replace(config.gate, worlds=2, training_share=0.5, episodes=16, second_opinion=FQEConfig(steps=50)),
        evaluation=replace(
            config.evaluation, episodes=20, imagined_episodes=128, curve_points=2, curve_episodes=10, videos=1
        ),
    )


def _paper(config: World4RLConfig) -> World4RLConfig:
    """World4RL's own data: 50 clean expert, 150 policy and 30 random episodes of 50 decisions (action repeat 3)."""
    return replace(
        config,
        simulator=SimulatorConfig(action_repeat=3, max_steps=50),
        collect=replace(
            config.collect, demonstrations=50, demonstration_noise=0.0, policy_noise=(0.0,), noisy_expert_episodes=0
        ),
        pretraining=replace(config.pretraining, steps=3000),
    )


def _contacts(config: World4RLConfig) -> World4RLConfig:
    """For tasks that hang on contacts: more data where the world model errs, stricter halting, a longer refinement."""
    return replace(
        config,
        collect=replace(
            config.collect,
            demonstrations=10,
            policy_episodes=300,
        ),
        ensemble=replace(config.ensemble, halt_quantile=0.985),
        support=replace(config.support, halt_quantile=0.96),
        refine=replace(config.refine, iterations=200),
    )


def _pixels(config: World4RLConfig) -> World4RLConfig:
    """Pictures instead of states: nothing that learns sees a state vector."""
    # The autoencoder learns before there is a policy: failed attempts show it what rollouts will look like.
    attempts = max(config.collect.noisy_expert_episodes, 2 * config.collect.policy_episodes // 5)
    return replace(
        config,
        observation="pixels",
        simulator=with_cameras(config.simulator, config.autoencoder),
        collect=replace(config.collect, noisy_expert_episodes=attempts),
        # Latents have no inertia: with its regression imagination drifts away within forty steps.
        history=replace(config.history, feature_frames=2, inertia=False),
        # Latents are less exact than states, and refinement in them is slower.
        refine=replace(config.refine, iterations=2 * config.refine.iterations),
    )


PRESETS = {"default": lambda config: config, "contacts": _contacts, "tiny": _tiny, "paper": _paper}
CONFIG = World4RLConfig
OBSERVATIONS = {"state": lambda config: config, "pixels": _pixels}
"""What `--observation` makes of a preset."""
