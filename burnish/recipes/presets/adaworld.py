"""The sizes of AdaWorld (`burnish.recipes.adaworld`), by name, and what the list of recipes says of it."""

from dataclasses import replace

from burnish.evaluation.gate import GateConfig
from burnish.evaluation.settings import EvaluationConfig
from burnish.networks import AdapterConfig
from burnish.recipes.adaworld import AdaWorld, recipe
from burnish.recipes.base import Recipe
from burnish.recipes.stages.play import PlayConfig
from burnish.training import TrainingConfig
from burnish.world_models import (
    PixelDiffusionConfig,
    SpeedConfig,
)

DEFAULT = AdaWorld()
PAPER = replace(
    DEFAULT,
    simulator=replace(DEFAULT.simulator, image_size=256),
    latent_actions=replace(
        DEFAULT.latent_actions, image_size=256, latent_dim=32, width=128, hidden=1024, condition=1024
    ),
    latent_action_training=TrainingConfig(steps=200_000, batch_size=960, learning_rate=2.5e-5, weight_decay=1e-2),
    history=replace(DEFAULT.history, image_size=256, frames=6),
    world_model=PixelDiffusionConfig(
        preset="published", rollout_steps=1, speed=SpeedConfig(precision="bfloat16", compile=True)
    ),
    world_model_training=TrainingConfig(
        steps=80_000, batch_size=64, learning_rate=5e-5, weight_decay=1e-2, ema_decay=0.999, checkpoint_seconds=300.0
    ),
    adapter=AdapterConfig(hidden=1024),
    adaptation=replace(DEFAULT.adaptation, steps=800, batch_size=64, learning_rate=5e-5),
)
"""Pictures, latent actions, context and schedules as published, with our networks (a U-Net of 330 M weights where the
paper fine-tunes 1.5 B, in pixels); for a GPU. Never run."""
TINY = replace(
    DEFAULT,
    collect=PlayConfig(demonstrations=4, play_episodes=6, random_episodes=3),
    held_out=0.25,
    labelled_steps=60,
    latent_actions=replace(DEFAULT.latent_actions, width=8, hidden=64, condition=32),
    latent_action_training=replace(DEFAULT.latent_action_training, steps=80, batch_size=16),
    world_model_training=replace(DEFAULT.world_model_training, steps=80, batch_size=8),
    adapter_training=replace(DEFAULT.adapter_training, steps=100),
    adaptation=replace(DEFAULT.adaptation, steps=30, batch_size=8),
    policy=replace(DEFAULT.policy, widths=(8, 16, 16, 32), embedding=64, hidden=(64,)),
    pretraining=replace(DEFAULT.pretraining, steps=150, batch_size=32),
    classifier_training=replace(DEFAULT.classifier_training, steps=40, batch_size=32),
    imagination=replace(DEFAULT.imagination, num_envs=16, horizon=20),
    learner=replace(DEFAULT.learner, rollout_steps=8, critic_warmup=1, minibatch_size=64, epochs=2),
    refine=replace(DEFAULT.refine, iterations=4, imagined_episodes=8, evaluate_every=2),
    gate=GateConfig(worlds=2, training_share=0.5, episodes=8),
    evaluation=EvaluationConfig(episodes=4, curve_points=1, curve_episodes=2, videos=1, picture_windows=6),
)
"""Every stage for real, in a minute or two: for tests, not for good policies."""
PRESETS = {"default": DEFAULT, "tiny": TINY, "paper": PAPER}

RECIPE = Recipe(
    name="adaworld",
    system="AdaWorld: latent actions from video, a world model on them, adapted by few labels; PPO",
    paper="arXiv 2503.18938",
    needs="a task with an expert, or your own data with pictures; paper: a GPU",
    status="drawer-open, 200 labels: 45 to 97 %; of demonstrations alone exploited (benchmarks/results/adaworld.md)",
    build=recipe,
    presets=PRESETS,
)
