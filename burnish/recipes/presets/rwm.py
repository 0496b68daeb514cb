"""The sizes of RWM (`burnish.recipes.rwm`), by name, and what the list of recipes says of it."""

from dataclasses import replace

from burnish.evaluation.gate import GateConfig
from burnish.evaluation.settings import EvaluationConfig
from burnish.recipes.base import Recipe
from burnish.recipes.rwm import RWM, recipe
from burnish.world_models import GRUEnsembleConfig

DEFAULT = RWM()
PAPER = replace(
    DEFAULT,
    world_model=GRUEnsembleConfig(hidden=256, layers=2),
    world_model_training=replace(DEFAULT.world_model_training, batch_size=1024, learning_rate=1e-4),
    imagination=replace(DEFAULT.imagination, num_envs=4096),
    ppo=replace(DEFAULT.ppo, rollout_steps=100, minibatch_size=4096 * 25),
)
TINY = replace(
    DEFAULT,
    world_model=GRUEnsembleConfig(members=3, history=8, forecast=4, hidden=32, head=(32,)),
    world_model_training=replace(DEFAULT.world_model_training, steps=150, batch_size=32),
    pretraining=replace(DEFAULT.pretraining, steps=200),
    classifier_training=replace(DEFAULT.classifier_training, steps=200),
    imagination=replace(DEFAULT.imagination, num_envs=64, horizon=32),
    ppo=replace(DEFAULT.ppo, rollout_steps=8, critic_warmup=2),
    refine=replace(DEFAULT.refine, iterations=6, imagined_episodes=32, evaluate_every=3),
    gate=GateConfig(worlds=2, training_share=0.5, episodes=16),
    evaluation=EvaluationConfig(episodes=10, curve_points=1, curve_episodes=4, videos=0),
)
PRESETS = {"default": DEFAULT, "tiny": TINY, "paper": PAPER}

RECIPE = Recipe(
    name="rwm",
    system="RWM and RWM-O: a recurrent ensemble on states that learns from its own forecasts, PPO, a penalty",
    paper="arXiv 2501.10100, 2504.16680",
    needs="your own data with rewards; paper: a GPU",
    status="HalfCheetah medium, return: 149 to 1,112, TD3+BC 371 (benchmarks/results/states.md)",
    build=recipe,
    presets=PRESETS,
)
