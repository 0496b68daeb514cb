"""The sizes of S5WM (`burnish.recipes.s5wm`), by name, and what the list of recipes says of it."""

from dataclasses import replace

from burnish.evaluation.gate import GateConfig
from burnish.evaluation.settings import EvaluationConfig
from burnish.recipes.base import Recipe
from burnish.recipes.s5wm import S5WM, recipe
from burnish.world_models import RSSM_PRESETS

DEFAULT = S5WM()

TINY = replace(
    DEFAULT,
    collect=replace(DEFAULT.collect, play_episodes=24, random_episodes=6),
    world_model=replace(RSSM_PRESETS["tiny"], cell="s5", s5=replace(DEFAULT.world_model.s5, modes=32)),
    sequence_length=32,
    world_model_training=replace(DEFAULT.world_model_training, steps=150),
    pretraining=replace(DEFAULT.pretraining, steps=300),
    posterior_samples=1,
    ensemble_training=replace(DEFAULT.ensemble_training, steps=200),
    classifier=replace(DEFAULT.classifier, hidden=128, embedding=64),
    classifier_training=replace(DEFAULT.classifier_training, steps=200),
    imagination=replace(DEFAULT.imagination, num_envs=64),
    dreamer=replace(DEFAULT.dreamer, critic_warmup=5),
    refine=replace(DEFAULT.refine, iterations=40, evaluate_every=20, imagined_episodes=64),
    gate=GateConfig(worlds=2, training_share=0.5, episodes=16),
    evaluation=EvaluationConfig(episodes=20, curve_points=2, curve_episodes=10, videos=1),
)
"""Every stage for real, in about a minute: for tests and continuous integration, not for good policies."""

PRESETS = {"default": DEFAULT, "tiny": TINY}

RECIPE = Recipe(
    name="s5wm",
    system="S5WM: state-space world model, Dreamer's actor-critic, privileged state in training",
    paper="arXiv 2502.20168",
    needs="a task with an expert, or your own data",
    status="trains 2.4 times as fast as the GRU; no gain from refinement shown (benchmarks/results/s5.md)",
    build=recipe,
    presets=PRESETS,
)
