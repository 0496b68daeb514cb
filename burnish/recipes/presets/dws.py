"""The sizes of DWS (`burnish.recipes.dws`), by name, and what the list of recipes says of it."""

from dataclasses import replace

from burnish.imagination import StartConfig
from burnish.networks import ActionModulesConfig
from burnish.recipes.base import Recipe, extended
from burnish.recipes.dws import DWS, recipe
from burnish.recipes.presets.world4rl import FRAMES, FRAMES_PAPER, FRAMES_TINY
from burnish.recipes.world4rl import World4RL


def preset(c: World4RL, video_steps: int, steps: int) -> DWS:
    """The settings of World4RL on frames, as DWS has them."""
    return extended(
        DWS,
        c,
        video_training=replace(c.world_model_training, steps=video_steps),
        world_model_training=replace(c.world_model_training, steps=steps),
        world_model=replace(c.world_model, modules=ActionModulesConfig(), motion_weight=1.0),
        imagination=replace(c.imagination, starts=StartConfig(priority=1.0)),
    )


DEFAULT = preset(FRAMES, 20_000, 5000)
PAPER = preset(FRAMES_PAPER, FRAMES_PAPER.world_model_training.steps, FRAMES_PAPER.world_model_training.steps // 4)
"""The largest U-Net here; the paper's Open-Sora and Wan2.1 are other networks."""
TINY = preset(FRAMES_TINY, 80, 40)
PRESETS = {"default": DEFAULT, "tiny": TINY, "paper": PAPER}

RECIPE = Recipe(
    name="dws",
    system="DWS: a model of video learns to follow actions; PPO in it, from starts where the critic errs",
    paper="arXiv 2502.07825",
    needs="a task with an expert, or your own data with pictures; default: a GPU",
    status="all stages run on pictures; one seed of its parts, no refinement measured (benchmarks/results/dws.md)",
    build=recipe,
    presets=PRESETS,
)
