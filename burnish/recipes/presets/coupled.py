"""The sizes of Coupled world models (`burnish.recipes.coupled`), by name, and what the list of recipes says of it."""

from dataclasses import replace

from burnish.evaluation.gate import GateConfig
from burnish.evaluation.settings import EvaluationConfig
from burnish.policies import SquashedPolicyConfig
from burnish.recipes.base import Recipe
from burnish.recipes.coupled import Coupled, recipe
from burnish.recipes.stages.cloning import SMALL
from burnish.rl import RefreshingConfig, ShortHorizonConfig
from burnish.world_models import (
    RSSM_PRESETS,
    LocalDynamicsConfig,
)

DEFAULT = Coupled()

RSSM_LOCAL = replace(DEFAULT, local_model=RSSM_PRESETS["small"])
"""A latent local model, as the paper's."""

PAPER = replace(
    DEFAULT,
    world_model=replace(DEFAULT.world_model, width=1024, depth=6),
    world_model_training=replace(DEFAULT.world_model_training, steps=100_000, batch_size=1024, learning_rate=3e-4),
    local_model=LocalDynamicsConfig(hidden=(1024, 1024), memory=256),
    local_training=replace(DEFAULT.local_training, steps=20_000, batch_size=512),
    policy=SquashedPolicyConfig(hidden=(128, 64, 32)),
    imagination=replace(DEFAULT.imagination, num_envs=256),
    learner=RefreshingConfig(
        policy=ShortHorizonConfig(
            rollout_steps=64, policy_learning_rate=3e-4, policy_rate_falls=500, critic_hidden=(64, 64)
        ),
        steps=32,
        first_steps=1000,
        sequences=512,
    ),
    refine=replace(DEFAULT.refine, iterations=500, evaluate_every=25),
)
"""For a GPU: DMO's sizes for a quadruped, the coupled paper's horizon of 64 and its 8 M imagined steps."""

TINY = replace(
    DEFAULT,
    collect=replace(DEFAULT.collect, play_episodes=24, random_episodes=6),
    world_model_training=replace(DEFAULT.world_model_training, steps=300),
    local_model=LocalDynamicsConfig(hidden=(64, 64), memory=16),
    local_training=replace(DEFAULT.local_training, steps=150, batch_size=32),
    ensemble_training=replace(DEFAULT.ensemble_training, steps=200),
    pretraining=replace(SMALL, steps=300),
    classifier_training=replace(DEFAULT.classifier_training, steps=200),
    learner=RefreshingConfig(
        policy=ShortHorizonConfig(rollout_steps=8, critic_warmup=3, critic_iterations=4, critic_hidden=(64, 64)),
        steps=4,
        first_steps=20,
        sequences=16,
        sequence_length=8,
        capacity=20_000,
    ),
    refine=replace(DEFAULT.refine, iterations=20, evaluate_every=10, imagined_episodes=64),
    gate=GateConfig(worlds=2, training_share=0.5, episodes=16),
    evaluation=EvaluationConfig(episodes=20, curve_points=2, curve_episodes=10, videos=1),
)
"""Every stage for real, in about a minute: for tests and continuous integration, not for good policies."""

PRESETS = {"default": DEFAULT, "tiny": TINY, "rssm": RSSM_LOCAL, "paper": PAPER}

RECIPE = Recipe(
    name="coupled",
    system="Coupled world models: rollouts of a diffusion model, gradients of a small local one, SAPO",
    paper="arXiv 2602.06219",
    needs="a task with an expert, or your own data; paper: a GPU",
    status="handle-pull, three seeds: 4 to 5 times fewer steps to 30 %, then no gain (benchmarks/results/coupled.md)",
    build=recipe,
    presets=PRESETS,
)
