"""The sizes of World4RL (`burnish.recipes.world4rl`), by name, and what the list of recipes says of it."""

from dataclasses import replace

from burnish.evaluation.gate import GateConfig
from burnish.evaluation.settings import EvaluationConfig
from burnish.imagination import ImaginationConfig, PessimismConfig
from burnish.policies import PicturePolicyConfig
from burnish.recipes.base import Recipe
from burnish.recipes.stages.recording import CollectConfig
from burnish.recipes.world4rl import World4RL, recipe
from burnish.rewards import FrameClassifierConfig
from burnish.rl import PPOConfig, RefineConfig
from burnish.simulators.settings import SimulatorConfig
from burnish.training import TrainingConfig
from burnish.world_models import (
    AutoencoderConfig,
    PixelDiffusionConfig,
    PixelHistoryConfig,
    SamplerConfig,
    SpeedConfig,
)

DEFAULT = World4RL()
SMALL_LATENT = AutoencoderConfig(cameras=("corner3",), image_size=32, latent_dim=16, width=8, hidden=64)

CONTACTS = replace(
    DEFAULT,
    collect=CollectConfig(demonstrations=10, policy_episodes=300),
    ensemble=replace(DEFAULT.ensemble, halt_quantile=0.985),
    support=replace(DEFAULT.support, halt_quantile=0.96),
    refine=replace(DEFAULT.refine, iterations=200),
)
"""For tasks that hang on contacts: more data where the world model errs, stricter halting, a longer refinement."""

PAPER = replace(
    DEFAULT,
    simulator=SimulatorConfig(action_repeat=3, max_steps=50),
    collect=CollectConfig(demonstrations=50, demonstration_noise=0.0, policy_noise=(0.0,)),
    pretraining=replace(DEFAULT.pretraining, steps=3000),
)
"""World4RL's own data: 50 clean expert, 150 policy and 30 random episodes of 50 decisions (action repeat 3)."""

TINY = replace(
    DEFAULT,
    collect=CollectConfig(policy_episodes=24, random_episodes=6),
    pretraining=replace(DEFAULT.pretraining, steps=300),
    world_model_training=replace(DEFAULT.world_model_training, steps=300),
    ensemble_training=replace(DEFAULT.ensemble_training, steps=200),
    classifier_training=replace(DEFAULT.classifier_training, steps=200),
    imagination=replace(DEFAULT.imagination, num_envs=128),
    ppo=replace(DEFAULT.ppo, critic_warmup=2),
    refine=replace(DEFAULT.refine, iterations=10, imagined_episodes=128),
    gate=GateConfig(worlds=2, training_share=0.5, episodes=16),
    evaluation=EvaluationConfig(episodes=20, curve_points=2, curve_episodes=10, videos=1),
)
"""Every stage for real, in about a minute: for tests and continuous integration, not for good policies."""


def pixels(c: World4RL, latent: AutoencoderConfig, steps: int = 7000) -> World4RL:
    """A compact latent of pictures instead of states: nothing that learns sees a state vector."""
    # The autoencoder learns before there is a policy: failed attempts show it what rollouts will look like.
    attempts = max(c.collect.noisy_expert_episodes, 2 * c.collect.policy_episodes // 5)
    return replace(
        c,
        simulator=replace(c.simulator, cameras=latent.cameras, image_size=latent.image_size),
        autoencoder=latent,
        autoencoder_training=replace(c.autoencoder_training, steps=steps),
        collect=replace(c.collect, noisy_expert_episodes=attempts),
        # Latents have no inertia: with its regression imagination drifts away within forty steps.
        history=replace(c.history, feature_frames=2, inertia=False),
        # Latents are less exact than states, and refinement in them is slower.
        refine=replace(c.refine, iterations=2 * c.refine.iterations),
    )


FRAMES = World4RL(
    simulator=SimulatorConfig(cameras=("corner3",)),
    collect=CollectConfig(demonstrations=10),
    history=PixelHistoryConfig(cameras=("corner3",)),
    policy=PicturePolicyConfig(),
    pretraining=TrainingConfig(steps=1500, batch_size=128, ema_decay=None, weight_decay=1e-3),
    cloning_noise=0.0,
    world_model=PixelDiffusionConfig(preset="diamond"),
    # AdamW with DIAMOND's weight decay and batch size.
    world_model_training=TrainingConfig(
        steps=20_000, batch_size=32, learning_rate=2e-4, weight_decay=1e-2, ema_decay=0.999, checkpoint_seconds=60.0
    ),
    # Without imagined frames, as published: they cost 20,000 imagined pictures.
    classifier=FrameClassifierConfig(imagined_share=0.0, hard_share=0.5),
    classifier_training=TrainingConfig(steps=1500, batch_size=128, ema_decay=None, weight_decay=1e-3),
    imagination=ImaginationConfig(num_envs=64, pessimism=PessimismConfig("none")),
    ppo=PPOConfig(minibatch_size=256),
    refine=RefineConfig(imagined_episodes=64, margin=0.02, average=0.9, patience=4, checkpoint_seconds=60.0),
    gate=GateConfig(worlds=2, training_share=0.5),
)
"""The published form: frames in, frames imagined; uncertainty is measured, and halts only in the gate. For a GPU."""

FRAMES_TINY = replace(
    FRAMES,
    simulator=replace(FRAMES.simulator, image_size=32, max_steps=60),
    collect=CollectConfig(demonstrations=3, policy_episodes=6, policy_noise=(0.0, 0.4), random_episodes=3),
    held_out=0.25,
    history=replace(FRAMES.history, image_size=32),
    policy=PicturePolicyConfig(widths=(8, 16, 16, 32), embedding=64, hidden=(64,), shift=2),
    pretraining=replace(FRAMES.pretraining, steps=150, batch_size=32),
    world_model=PixelDiffusionConfig(preset="xs", sampler=SamplerConfig(steps=2, sigma_min=2e-3)),
    world_model_training=replace(FRAMES.world_model_training, steps=80, batch_size=8, learning_rate=1e-3),
    classifier=replace(FRAMES.classifier, shift=2),
    classifier_training=replace(FRAMES.classifier_training, steps=40, batch_size=32),
    imagination=replace(FRAMES.imagination, num_envs=16, horizon=20),
    ppo=replace(FRAMES.ppo, rollout_steps=8, critic_warmup=1, minibatch_size=64, epochs=2),
    refine=replace(FRAMES.refine, iterations=4, imagined_episodes=8, evaluate_every=2),
    ensemble_training=replace(FRAMES.ensemble_training, steps=40, batch_size=64),
    gate=GateConfig(worlds=2, training_share=0.5, episodes=8),
    evaluation=EvaluationConfig(episodes=4, curve_points=1, curve_episodes=2, videos=1, picture_windows=6),
)

FRAMES_PAPER = replace(
    FRAMES,
    simulator=replace(FRAMES.simulator, action_repeat=3, max_steps=50),
    collect=CollectConfig(demonstrations=50, demonstration_noise=0.0, policy_noise=(0.0,)),
    pretraining=replace(FRAMES.pretraining, steps=5000),
    world_model=PixelDiffusionConfig(preset="published", speed=SpeedConfig(precision="bfloat16", compile=True)),
    world_model_training=replace(
        FRAMES.world_model_training, steps=100_000, batch_size=64, learning_rate=1e-4, checkpoint_seconds=300.0
    ),
    classifier=replace(FRAMES.classifier, network="resnet18", hard_share=0.0),
    classifier_training=replace(FRAMES.classifier_training, learning_rate=3e-4),
)
"""World4RL's own data and sizes: a U-Net of 330 M weights and a ResNet-18; for a GPU."""

PRESETS = {
    "default": DEFAULT,
    "contacts": CONTACTS,
    "paper": PAPER,
    "tiny": TINY,
    "pixels": pixels(DEFAULT, AutoencoderConfig()),
    "pixels-contacts": pixels(CONTACTS, AutoencoderConfig()),
    "pixels-tiny": pixels(TINY, SMALL_LATENT, steps=150),
    "frames": FRAMES,
    "frames-tiny": FRAMES_TINY,
    "frames-paper": FRAMES_PAPER,
}

RECIPE = Recipe(
    name="world4rl",
    system="World4RL, on states, on a compact latent of pictures, or on frames as published",
    paper="arXiv 2509.19080",
    needs="a task with an expert, or your own data; frames-paper: a GPU",
    status="works",
    build=recipe,
    presets=PRESETS,
)
