"""The sizes of World-Gymnast (`burnish.recipes.world_gymnast`), by name, and what the list of recipes says of it."""

from dataclasses import replace

from burnish.evaluation.gate import GateConfig
from burnish.evaluation.settings import EvaluationConfig
from burnish.networks import FrameDiTConfig, InstructedConfig
from burnish.policies import TokenPolicyConfig
from burnish.recipes.base import Recipe
from burnish.recipes.stages.play import PlayConfig
from burnish.recipes.world_gymnast import CAMERAS, WorldGymnast, recipe
from burnish.rewards import ScriptedConfig, TruthConfig, VideoJudgeConfig, VotesConfig
from burnish.rl import GRPOConfig
from burnish.training import TrainingConfig
from burnish.world_models import DiffusionForcingConfig, FilmConfig, PatchLatentsConfig

DEFAULT = WorldGymnast()
VOTES = replace(DEFAULT, judge=VotesConfig())
"""Five votes of a vision-language model behind an OpenAI-compatible endpoint; for larger pictures than 32 pixels."""
TRUTH = replace(DEFAULT, judge=TruthConfig())
"""The same model's log-probability of "True"."""
SCRIPTED = replace(DEFAULT, judge=ScriptedConfig())
"""A function of your own (`judge.function`)."""
PUBLISHED = replace(
    VOTES,
    simulator=replace(DEFAULT.simulator, image_size=256),
    film=FilmConfig(cameras=CAMERAS, image_size=256, frames=19, film=14, every=3),
    latents=PatchLatentsConfig(patch=16, latent_dim=256),
    world_model=DiffusionForcingConfig(FrameDiTConfig(width=1024, depth=16, heads=16), steps=10),
    world_model_training=TrainingConfig(
        steps=500_000, batch_size=4, learning_rate=3e-5, weight_decay=2e-2, ema_decay=0.999, checkpoint_seconds=300.0
    ),
    policy=TokenPolicyConfig(
        chunk=5, bins=256, temperature=1.6, network=InstructedConfig(patch=16, width=768, depth=12, heads=12)
    ),
    imagination=replace(DEFAULT.imagination, num_envs=160),
    learner=GRPOConfig(members=8, epochs=1, minibatch_size=160, learning_rate=5e-6),
    refine=replace(DEFAULT.refine, iterations=200, evaluate_every=5, average=0.0, patience=None),
)
"""Window, schedules, groups and judge as published, with our networks: a policy of 0.1 B weights, and linear latents.
For a GPU. Never run."""
TINY = replace(
    DEFAULT,
    simulator=replace(DEFAULT.simulator, max_steps=30),
    collect=PlayConfig(
        demonstrations=2, demonstration_noise=0.1, play_episodes=4, random_episodes=2, frames_after_success=30
    ),
    held_out=0.3,
    film=replace(DEFAULT.film, film=3),
    policy=TokenPolicyConfig(bins=11, temperature=1.5, network=InstructedConfig(width=32, depth=1, heads=2)),
    pretraining=replace(DEFAULT.pretraining, steps=60, batch_size=32),
    latents=PatchLatentsConfig(latent_dim=24),
    world_model=DiffusionForcingConfig(FrameDiTConfig(width=32, depth=1, heads=2), steps=2),
    world_model_training=replace(DEFAULT.world_model_training, steps=60, batch_size=16),
    judge=VideoJudgeConfig(widths=(8, 16, 16), embedding=32, hidden=(32,)),
    judge_training=replace(DEFAULT.judge_training, steps=40, batch_size=32),
    least_kappa=-1.0,
    imagination=replace(DEFAULT.imagination, num_envs=16, horizon=30),
    learner=GRPOConfig(members=4, filter_low=0.0, filter_high=1.0, minibatch_size=32, patience=100),
    refine=replace(DEFAULT.refine, iterations=4, imagined_episodes=8, evaluate_every=2),
    gate=GateConfig(worlds=2, training_share=0.5, episodes=8),
    evaluation=EvaluationConfig(episodes=4, curve_points=1, curve_episodes=2, videos=1, picture_windows=6),
)
"""Every stage for real, in a minute or two: for tests, not for good policies."""
PRESETS = {
    "default": DEFAULT,
    "votes": VOTES,
    "truth": TRUTH,
    "scripted": SCRIPTED,
    "tiny": TINY,
    "published": PUBLISHED,
}

RECIPE = Recipe(
    name="world-gymnast",
    system="World-Gymnast: one policy for many instructions, GRPO in a video world model, a judge of whole episodes",
    paper="arXiv 2602.02454",
    needs="tasks with an expert, or your own data with pictures and sentences; published: a GPU and a judge",
    status="a dot: 76, 62, 100 to 100 %; on Meta-World exploited (benchmarks/results/world_gymnast.md)",
    build=recipe,
    presets=PRESETS,
)
