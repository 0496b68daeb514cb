"""The sizes of DiWA (`burnish.recipes.diwa`), by name, and what the list of recipes says of it."""

from dataclasses import replace

from burnish.evaluation.gate import GateConfig
from burnish.evaluation.settings import EvaluationConfig
from burnish.policies import DiffusionPolicyConfig, GaussianPolicyConfig
from burnish.recipes.base import Recipe
from burnish.recipes.diwa import DiWA, recipe
from burnish.rl import PPOConfig
from burnish.simulators.settings import SimulatorConfig
from burnish.world_models import (
    RSSM_PRESETS,
    AutoencoderConfig,
)

DEFAULT = DiWA()
SMALL_LATENT = AutoencoderConfig(cameras=("corner3",), image_size=32, latent_dim=16, width=8, hidden=64)

GAUSSIAN = replace(DEFAULT, policy=GaussianPolicyConfig(chunk=4), ppo=PPOConfig(rollout_steps=12, critic_warmup=5))
"""A Gaussian policy over chunks instead of the diffusion policy."""

CALVIN = replace(
    DEFAULT,
    simulator=SimulatorConfig(action_repeat=1, max_steps=72),
    collect=replace(DEFAULT.collect, demonstrations=10, demonstration_noise=0.2, play_noise=(0.0, 0.1, 0.2, 0.3)),
    # No skill needs the blocks, which lie elsewhere in every episode, and the arm's joints say little that the hand's
    # pose does not.
    world_model=replace(DEFAULT.world_model, ignored=("block", "joint")),
    imagination=replace(DEFAULT.imagination, horizon=72),
)
"""For CALVIN's skills (`--task calvin:open_drawer`): DiWA's time limit, play of all eight skills."""

TINY = replace(
    DEFAULT,
    collect=replace(DEFAULT.collect, play_episodes=24, random_episodes=6),
    world_model=RSSM_PRESETS["tiny"],
    world_model_training=replace(DEFAULT.world_model_training, steps=150, batch_size=24),
    policy=DiffusionPolicyConfig(width=64, denoising_steps=8, fine_tuned_steps=4),
    pretraining=replace(DEFAULT.pretraining, steps=300),
    posterior_samples=1,
    ensemble_training=replace(DEFAULT.ensemble_training, steps=200),
    classifier=replace(DEFAULT.classifier, hidden=128, embedding=64),
    classifier_training=replace(DEFAULT.classifier_training, steps=200),
    imagination=replace(DEFAULT.imagination, num_envs=64),
    ppo=replace(DEFAULT.ppo, critic_warmup=2),
    refine=replace(DEFAULT.refine, iterations=10, imagined_episodes=64),
    gate=GateConfig(worlds=2, training_share=0.5, episodes=16),
    evaluation=EvaluationConfig(episodes=20, curve_points=2, curve_episodes=10, videos=1),
)
"""Every stage for real, in about a minute: for tests and continuous integration, not for good policies."""

PAPER = replace(
    DEFAULT,
    simulator=SimulatorConfig(action_repeat=1, max_steps=72),
    collect=replace(DEFAULT.collect, demonstrations=50, play_episodes=5000),
    world_model=RSSM_PRESETS["published"],
    sequence_length=50,
    world_model_training=replace(DEFAULT.world_model_training, steps=100_000, batch_size=50, learning_rate=3e-4),
    policy=DiffusionPolicyConfig(denoising_steps=20, fine_tuned_steps=10, width=512, depth=3),
    pretraining=replace(DEFAULT.pretraining, steps=40_000, learning_rate=1e-4, weight_decay=1e-6),
    imagination=replace(DEFAULT.imagination, num_envs=50, horizon=72),
    ppo=replace(
        DEFAULT.ppo,
        rollout_steps=36,
        critic_warmup=2,
        clip=0.01,
        gamma=0.999,
        epochs=10,
        minibatch_size=750,
        policy_learning_rate=1e-5,
        target_kl=1.0,
    ),
    refine=replace(DEFAULT.refine, iterations=800, evaluate_every=25),
)
"""DiWA's own sizes and settings (CALVIN): for a GPU. 50 demonstrations, 5.76 million imagined steps."""


def pixels(c: DiWA, latent: AutoencoderConfig, steps: int = 7000) -> DiWA:
    """A compact latent of pictures instead of states: nothing that learns sees a state vector."""
    return replace(
        c,
        simulator=replace(c.simulator, cameras=latent.cameras, image_size=latent.image_size),
        autoencoder=latent,
        autoencoder_training=replace(c.autoencoder_training, steps=steps),
        # Latents hold noise besides what matters; weighted as exactly as states, it would fill the recurrent state. And
        # they have no names by which some could be ignored.
        world_model=replace(c.world_model, state_weight=c.world_model.state_weight / 6, ignored=()),
    )


PRESETS = {
    "default": DEFAULT,
    "gaussian": GAUSSIAN,
    "calvin": CALVIN,
    "paper": PAPER,
    "tiny": TINY,
    "pixels": pixels(DEFAULT, AutoencoderConfig()),
    "pixels-calvin": pixels(CALVIN, AutoencoderConfig(cameras=("static", "gripper"))),
    "pixels-tiny": pixels(TINY, SMALL_LATENT, steps=150),
}

RECIPE = Recipe(
    name="diwa",
    system="DiWA, on states or a compact latent of pictures",
    paper="arXiv 2508.03645",
    needs="a task with an expert, or your own data; for the published size a GPU",
    status="works from five demonstrations; successes in play are cloned as well (benchmarks/results/diwa_filtered.md)",
    build=recipe,
    presets=PRESETS,
)
