"""The sizes of PolyGRAD (`burnish.recipes.polygrad`), by name, and what the list of recipes says of it."""

from dataclasses import replace

from burnish.evaluation.gate import GateConfig
from burnish.evaluation.settings import EvaluationConfig
from burnish.imagination import GuidanceConfig
from burnish.policies import GaussianPolicyConfig
from burnish.recipes.base import Recipe
from burnish.recipes.polygrad import PolyGRAD, recipe
from burnish.rl import A2CConfig
from burnish.world_models import SamplerConfig

DEFAULT = PolyGRAD()
PAPER = replace(
    DEFAULT,
    world_model=replace(DEFAULT.world_model, network="mlp", width=1024, depth=6),
    world_model_training=replace(DEFAULT.world_model_training, steps=100_000, learning_rate=3e-4),
    imagination=replace(
        DEFAULT.imagination,
        num_envs=1024,
        guidance=GuidanceConfig(sampler=SamplerConfig(steps=128, sigma_max=80.0), scale=0.015),
    ),
    a2c=A2CConfig(policy_learning_rate=3e-5, value_learning_rate=3e-4, slow_rate=0.005, critic_steps=1),
    refine=replace(DEFAULT.refine, iterations=20_000, evaluate_every=1000),
)
TINY = replace(
    DEFAULT,
    world_model=replace(DEFAULT.world_model, horizon=5, width=32, depth=3),
    world_model_training=replace(DEFAULT.world_model_training, steps=300, batch_size=128),
    policy=GaussianPolicyConfig(hidden=(64,)),
    pretraining=replace(DEFAULT.pretraining, steps=200),
    imagination=replace(
        DEFAULT.imagination,
        num_envs=64,
        guidance=GuidanceConfig(sampler=SamplerConfig(steps=12, sigma_max=80.0), scale=0.1),
    ),
    a2c=A2CConfig(rollout_steps=5, critic_warmup=2, critic_hidden=(64,)),
    refine=replace(DEFAULT.refine, iterations=8, imagined_episodes=32, evaluate_every=4),
    gate=GateConfig(worlds=2, training_share=0.5, episodes=16),
    evaluation=EvaluationConfig(episodes=10, curve_points=1, curve_episodes=4, videos=0),
)
"""Every stage for real, in seconds: for tests and continuous integration, not for good policies."""
PRESETS = {"default": DEFAULT, "tiny": TINY, "paper": PAPER}

RECIPE = Recipe(
    name="polygrad",
    system="PolyGRAD: whole trajectories of states and rewards denoised at once under the policy's score, A2C",
    paper="arXiv 2312.08533",
    needs="your own data with rewards; paper: a GPU",
    status="three seeds, above its clone on three of four sets of Hopper, Walker2d (benchmarks/results/polygrad.md)",
    build=recipe,
    presets=PRESETS,
)
