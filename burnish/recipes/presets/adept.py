"""The sizes of ADEPT (`burnish.recipes.adept`), by name, and what the list of recipes says of it."""

from dataclasses import replace

from burnish.evaluation.gate import GateConfig
from burnish.evaluation.settings import EvaluationConfig
from burnish.recipes.adept import ADEPT, recipe
from burnish.recipes.base import Recipe
from burnish.recipes.stages.cloning import SMALL
from burnish.rl import AdaptingConfig, SACConfig

DEFAULT = ADEPT()
PAPER = replace(
    DEFAULT,
    world_model=replace(DEFAULT.world_model, width=512, sampler=replace(DEFAULT.world_model.sampler, steps=10)),
    world_model_training=replace(DEFAULT.world_model_training, steps=100_000),
    pretraining=replace(SMALL, steps=20_000),
    behaviour_training=replace(DEFAULT.behaviour_training, steps=20_000),
    classifier_training=replace(SMALL, steps=20_000),
    imagination=replace(DEFAULT.imagination, num_envs=2048),
    learner=AdaptingConfig(SACConfig(gradient_steps=200, capacity=1_000_000), every=10, steps=1000),
    refine=replace(DEFAULT.refine, iterations=5000, evaluate_every=250, average=0.99),
)
"""For a GPU; the paper's sizes are not known to us, these are those of MOPO's and SAC's authors."""
TINY = replace(
    DEFAULT,
    collect=replace(DEFAULT.collect, play_episodes=24, random_episodes=6),
    world_model=replace(DEFAULT.world_model, width=64, depth=2, noises=2),
    world_model_training=replace(DEFAULT.world_model_training, steps=200, batch_size=128),
    pretraining=replace(SMALL, steps=200),
    behaviour_training=replace(DEFAULT.behaviour_training, steps=200),
    classifier_training=replace(SMALL, steps=200),
    imagination=replace(DEFAULT.imagination, num_envs=64),
    learner=AdaptingConfig(
        SACConfig(gradient_steps=4, batch_size=64, capacity=20_000, critic_warmup=2, critic_hidden=(64, 64)),
        every=2,
        steps=5,
        batch_size=64,
    ),
    refine=replace(DEFAULT.refine, iterations=8, imagined_episodes=32, evaluate_every=4),
    gate=GateConfig(worlds=2, training_share=0.5, episodes=16),
    evaluation=EvaluationConfig(episodes=10, curve_points=1, curve_episodes=4, videos=0),
)
PRESETS = {"default": DEFAULT, "tiny": TINY, "paper": PAPER}

RECIPE = Recipe(
    name="adept",
    system="ADEPT: diffusion on states, weighted for the policy that SAC learns in it; a penalty",
    paper="arXiv 2405.19878",
    needs="a task with an expert, or your own data with rewards; paper: a GPU",
    status="HalfCheetah medium: 51 to 512, 73 to 370, -12 to -246 (benchmarks/results/compare_states.md)",
    build=recipe,
    presets=PRESETS,
)
