"""The sizes of DAWM (`burnish.recipes.dawm`), by name, and what the list of recipes says of it."""

from dataclasses import replace

from burnish.evaluation.gate import GateConfig
from burnish.evaluation.settings import EvaluationConfig
from burnish.networks import TrajectoryNetworkConfig
from burnish.recipes.base import Recipe
from burnish.recipes.dawm import DAWM, recipe
from burnish.recipes.stages.offline import OFFLINE
from burnish.world_models import InverseDynamicsConfig, ReturnDiffusionConfig

DEFAULT = DAWM()
PAPER = replace(
    DEFAULT,
    world_model=ReturnDiffusionConfig(horizon=32, network=TrajectoryNetworkConfig(kind="unet")),
    world_model_training=replace(DEFAULT.world_model_training, steps=100_000, learning_rate=2e-4),
    learners=replace(DEFAULT.learners, training=replace(OFFLINE, steps=1_000_000)),
    synthesis=replace(DEFAULT.synthesis, trajectories=30_000),
)
"""The published network (a U-Net) and the learners' published updates; the other published sizes are not known."""
TINY = replace(
    DEFAULT,
    world_model=ReturnDiffusionConfig(horizon=4, network=TrajectoryNetworkConfig(width=64, depth=2)),
    world_model_training=replace(DEFAULT.world_model_training, steps=600, batch_size=64),
    inverse_dynamics=InverseDynamicsConfig(hidden=(64,)),
    inverse_dynamics_training=replace(DEFAULT.inverse_dynamics_training, steps=300, batch_size=64),
    synthesis=replace(DEFAULT.synthesis, trajectories=256),
    learners=replace(DEFAULT.learners, training=replace(OFFLINE, steps=300, batch_size=64, learning_rate=1e-3)),
    pretraining=replace(DEFAULT.pretraining, steps=200),
    classifier_training=replace(DEFAULT.classifier_training, steps=200),
    gate=GateConfig(worlds=2, training_share=0.5, episodes=16),
    evaluation=EvaluationConfig(episodes=10, curve_points=1, curve_episodes=4, videos=0),
)
PRESETS = {"default": DEFAULT, "tiny": TINY, "paper": PAPER}

RECIPE = Recipe(
    name="dawm",
    system="DAWM: synthetic transitions by return-conditioned diffusion and inverse dynamics, TD3+BC or IQL on both",
    paper="arXiv 2509.19538",
    needs="your own data with rewards; paper: a GPU",
    status="synthetic data made both learners worse in the mean of six sets, two seeds (benchmarks/results/dawm.md)",
    build=recipe,
    presets=PRESETS,
)
