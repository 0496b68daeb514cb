"""Every setting of World4RL on frames, the published form, and its presets."""

from dataclasses import dataclass, field, replace

from burnish.config import within
from burnish.errors import InputError
from burnish.evaluation.settings import EvaluationConfig, SimulatorConfig
from burnish.imagination import ImaginationConfig, StartConfig
from burnish.policies import PicturePolicyConfig
from burnish.recipes.world4rl_config import CollectConfig
from burnish.rewards import FrameClassifierConfig
from burnish.rl import PPOConfig, RefineConfig
from burnish.training import TrainingConfig
from burnish.world_models import PixelDiffusionConfig, PixelHistoryConfig, SpeedConfig

CAMERAS = ("corner3",)


@dataclass(frozen=True)
class World4RLFramesConfig:
    """The recipe's configuration; one group for each part of the method."""

    simulator: SimulatorConfig = field(default_factory=lambda: SimulatorConfig(cameras=CAMERAS))
    collect: CollectConfig = field(default_factory=lambda: CollectConfig(demonstrations=10))
    held_out: float = within(0.1, 0, 1, open_low=True, open_high=True)
    """Share of the episodes that no model learns from: calibration and validation."""
    history: PixelHistoryConfig = field(default_factory=lambda: PixelHistoryConfig(cameras=CAMERAS))
    """What is looked at.  The simulator must record it; policy and classifier take their pictures' sizes from here."""
    policy: PicturePolicyConfig = field(default_factory=PicturePolicyConfig)
    pretraining: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(steps=1500, batch_size=128, ema_decay=None, weight_decay=1e-3)
    )
    world_model: PixelDiffusionConfig = field(default_factory=lambda: PixelDiffusionConfig(preset="diamond"))
    world_model_training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            steps=20_000,
            batch_size=32,
            learning_rate=2e-4,
            weight_decay=1e-2,
            ema_decay=0.999,
            checkpoint_seconds=60.0,
        )
    )
    """AdamW with DIAMOND's weight decay and batch size."""
    world_model_from: str | None = None
    """Folder of a world model that was trained elsewhere, for several tasks at once, say: it is taken over, after a
    check that it sees what `history` says, instead of training one; `world_model` then only decides its speed."""
    classifier: FrameClassifierConfig = field(
        default_factory=lambda: FrameClassifierConfig(imagined_share=0.0, hard_share=0.5)
    )
    """Without imagined frames, as published: they cost 20,000 imagined pictures."""
    classifier_training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(steps=1500, batch_size=128, ema_decay=None, weight_decay=1e-3)
    )
    starts: StartConfig = field(default_factory=StartConfig)
    imagination: ImaginationConfig = field(default_factory=lambda: ImaginationConfig(num_envs=64, halting=False))
    ppo: PPOConfig = field(default_factory=lambda: PPOConfig(minibatch_size=256))
    refine: RefineConfig = field(
        default_factory=lambda: RefineConfig(margin=0.02, average=0.9, patience=4, checkpoint_seconds=60.0)
    )
    evaluation: EvaluationConfig = field(default_factory=lambda: EvaluationConfig(imagined_episodes=64))
    fidelity_windows: int = within(100, 1)
    """Held-out windows of each kind of episode whose imagined pictures are compared with the recorded ones, and
    held-out episodes that are imagined to their ends."""

    def __post_init__(self) -> None:
        if self.imagination.member_share:
            raise InputError("imagination.member_share: World4RL on frames has no ensemble, expected 0")

    @property
    def pictures(self) -> dict[str, int]:
        """What policies and classifiers must know of the features: `history`'s sizes, under their names for them."""
        h = self.history
        return {"frames": h.feature_frames, "channels": 3 * len(h.cameras), "image_size": h.image_size}


def _tiny(config: World4RLFramesConfig) -> World4RLFramesConfig:
    """Every stage for real, in about a minute on one CPU core: for tests, not for good policies."""
    return replace(
        config,
        simulator=replace(config.simulator, image_size=32, max_steps=60),
        collect=replace(
            config.collect, demonstrations=3, policy_episodes=6, policy_noise=(0.0, 0.4), random_episodes=3
        ),
        held_out=0.25,
        history=replace(config.history, image_size=32),
        policy=replace(config.policy, widths=(8, 16, 16, 32), embedding=64, hidden=(64,), shift=2),
        pretraining=replace(config.pretraining, steps=150, batch_size=32),
        world_model=replace(config.world_model, preset="xs", sampler=replace(config.world_model.sampler, steps=2)),
        world_model_training=replace(config.world_model_training, steps=80, batch_size=8, learning_rate=1e-3),
        classifier=replace(config.classifier, shift=2),
        classifier_training=replace(config.classifier_training, steps=40, batch_size=32),
        imagination=replace(config.imagination, num_envs=16, horizon=20),
        ppo=replace(config.ppo, minibatch_size=64, epochs=2),
        refine=replace(config.refine, iterations=4, rollout_steps=8, critic_warmup=1, evaluate_every=2),
        evaluation=replace(
            config.evaluation, episodes=4, imagined_episodes=8, curve_points=1, curve_episodes=2, videos=1
        ),
        fidelity_windows=6,
    )


def _paper(config: World4RLFramesConfig) -> World4RLFramesConfig:
    """World4RL's own data and sizes: 50 clean expert, 150 policy and 30 random episodes of 50 decisions (action repeat
    3), a U-Net of 330 M weights and a ResNet-18; for a GPU."""
    return replace(
        config,
        simulator=replace(config.simulator, action_repeat=3, max_steps=50),
        collect=replace(config.collect, demonstrations=50, demonstration_noise=0.0, policy_noise=(0.0,)),
        pretraining=replace(config.pretraining, steps=5000),
        world_model=replace(
            config.world_model, preset="published", speed=SpeedConfig(precision="bfloat16", compile=True)
        ),
        world_model_training=replace(
            config.world_model_training, steps=100_000, batch_size=64, learning_rate=1e-4, checkpoint_seconds=300.0
        ),
        classifier=replace(config.classifier, network="resnet18", hard_share=0.0),
        classifier_training=replace(config.classifier_training, learning_rate=3e-4),
    )


PRESETS = {"default": lambda config: config, "tiny": _tiny, "paper": _paper}
CONFIG = World4RLFramesConfig
OBSERVATIONS = {"frames": lambda config: config}
"""What `--observation` makes of a preset."""
