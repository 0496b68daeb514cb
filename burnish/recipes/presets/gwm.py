"""The sizes of GWM (`burnish.recipes.gwm`), by name, and what the list of recipes says of it."""

from dataclasses import replace

from burnish.evaluation.gate import GateConfig
from burnish.networks import TokenDiTConfig
from burnish.recipes.base import Recipe, extended
from burnish.recipes.gwm import GWM, recipe
from burnish.recipes.presets import world4rl
from burnish.recipes.presets.world4rl import pixels
from burnish.recipes.stages.recording import CollectConfig
from burnish.recipes.world4rl import World4RL
from burnish.simulators.settings import SimulatorConfig
from burnish.training import TrainingConfig
from burnish.world_models import (
    AutoencoderConfig,
    SamplerConfig,
    SceneAutoencoderConfig,
    SceneConfig,
    TokenDiffusionConfig,
)


def preset(like: World4RL, latent: SceneAutoencoderConfig, steps: int) -> GWM:
    """The settings of World4RL on latents of pictures, as GWM has them."""
    behind = pixels(like, AutoencoderConfig())
    return extended(
        GWM,
        behind,
        simulator=SimulatorConfig(5, 40, latent.cameras, latent.image_size),
        # With the action repeat of 5 the script fails mostly at the noise of single steps.
        collect=replace(behind.collect, demonstration_noise=0.1),
        autoencoder=latent,
        autoencoder_training=TrainingConfig(steps=steps, batch_size=12, learning_rate=2e-3),
        world_model=TokenDiffusionConfig(transformer=TokenDiTConfig(tokens=latent.tokens)),
        world_model_training=TrainingConfig(steps=steps, batch_size=128, learning_rate=2e-3),
        imagination=replace(behind.imagination, num_envs=min(256, behind.imagination.num_envs), horizon=20),
    )


TABLE = (-0.6, 0.6, 0.25, 1.1, -0.1, 0.6)
"""Where things happen in Meta-World: its table, without most of the arm."""
SCENES = SceneAutoencoderConfig(SceneConfig(workspace=TABLE), gaussians=160, token_dim=12)
DEFAULT = preset(world4rl.DEFAULT, SCENES, 8000)
# With fewer rollouts, thresholds as for states and more iterations PPO exploited this world.
DEFAULT = replace(
    DEFAULT,
    collect=replace(DEFAULT.collect, policy_episodes=300),
    support=replace(DEFAULT.support, halt_quantile=0.96),
    refine=replace(DEFAULT.refine, iterations=60),
    gate=GateConfig(worlds=2, training_share=0.5),
)
TINY = replace(
    preset(
        world4rl.TINY,
        SceneAutoencoderConfig(
            scene=SceneConfig(image_size=32, points=96, workspace=TABLE),
            gaussians=48,
            tokens=4,
            width=32,
            drawn=2,
            drawn_size=16,
        ),
        60,
    ),
    collect=CollectConfig(3, 0.1, policy_episodes=12, random_episodes=3, noisy_expert_episodes=6),
    world_model_training=TrainingConfig(steps=60, batch_size=64, learning_rate=2e-3),
    imagination=replace(world4rl.TINY.imagination, num_envs=64, horizon=20),
    refine=replace(world4rl.TINY.refine, iterations=6, imagined_episodes=32, evaluate_every=3),
    evaluation=world4rl.FRAMES_TINY.evaluation,
)
PUBLISHED = replace(
    DEFAULT,
    simulator=replace(
        DEFAULT.simulator, image_size=128, cameras=("corner3", "corner3_depth", "topview", "topview_depth")
    ),
    autoencoder=SceneAutoencoderConfig(
        scene=SceneConfig(("corner3", "topview"), 128, points=2048),
        gaussians=2048,
        tokens=64,
        token_dim=64,
        width=512,
        heads=8,
        depth=4,
        kl_weight=1e-3 / (64 * 64),
        drawn_size=128,
    ),
    autoencoder_training=TrainingConfig(steps=200_000, batch_size=16, learning_rate=1e-4, checkpoint_seconds=300.0),
    world_model=TokenDiffusionConfig(
        noise_mean=-0.4,
        transformer=TokenDiTConfig(tokens=64, width=384, depth=12, heads=6),
        sampler=SamplerConfig(steps=5, sigma_max=20.0, sigma_min=2e-3),
    ),
    world_model_training=replace(
        DEFAULT.world_model_training, steps=1_000_000, batch_size=4, learning_rate=1e-4, checkpoint_seconds=300.0
    ),
)
"""Published sizes, for a GPU. Not run here."""
PRESETS = {
    "default": DEFAULT,
    "denoised": replace(DEFAULT, features="denoised"),
    "tiny": TINY,
    "published": PUBLISHED,
}

RECIPE = Recipe(
    name="gwm",
    system="GWM: scenes as 3-D Gaussians, imagined by a latent diffusion transformer; PPO in them",
    paper="arXiv 2508.17600",
    needs="a task with an expert and depth (Meta-World), or your own data with depth; published: a GPU",
    status="drawer-open 86 to 99 %, level with filtered cloning; another task: level (benchmarks/results/gwm.md)",
    build=recipe,
    presets=PRESETS,
)
