"""The sizes of LaDi-WM (`burnish.recipes.ladiwm`), by name, and what the list of recipes says of it."""

from dataclasses import replace

from burnish.evaluation.gate import GateConfig
from burnish.evaluation.settings import EvaluationConfig
from burnish.networks import InteractiveDiTConfig
from burnish.policies import DiffusionPolicyConfig, ImaginingPolicyConfig
from burnish.recipes.base import Recipe
from burnish.recipes.ladiwm import CAMERAS, SIZE, LaDiWM, recipe
from burnish.recipes.stages.play import PlayConfig
from burnish.training import TrainingConfig
from burnish.world_models import (
    AutoencoderConfig,
    HistoryConfig,
    LatentDiffusionConfig,
    SelfSupervisedConfig,
    TransformersFeaturesConfig,
)

DEFAULT = LaDiWM()

PUBLISHED = replace(
    DEFAULT,
    simulator=replace(DEFAULT.simulator, action_repeat=2, max_steps=100, image_size=128),
    geometry=TransformersFeaturesConfig(cameras=CAMERAS),
    semantics=TransformersFeaturesConfig("google/siglip-base-patch16-224", cameras=CAMERAS, resolution=144, patch=16),
    history=HistoryConfig(frames=4, feature_frames=4, inertia=False),
    world_model=LatentDiffusionConfig(
        frames=6, sampling_steps=10, context_noise=0.0, network=InteractiveDiTConfig(width=512, depth=12, heads=8)
    ),
    world_model_training=TrainingConfig(
        steps=100_000, batch_size=12, learning_rate=5e-5, gradient_clip=10.0, checkpoint_seconds=300.0
    ),
    policy=ImaginingPolicyConfig(
        DiffusionPolicyConfig(chunk=6, sampling_steps=2, fine_tuned_steps=2, width=1024, depth=6), rounds=2, versions=0
    ),
    pretraining=TrainingConfig(steps=50_000, batch_size=48, learning_rate=5e-5, checkpoint_seconds=300.0),
)
"""DINOv2 and SigLIP features of 81 patches, frames, sizes, rates and samplers as published (the policy's network is
ours, and its schedule a guess); for a GPU with much memory and the weights at hand. Never run."""

TINY = replace(
    DEFAULT,
    collect=PlayConfig(demonstrations=4, play_episodes=8, random_episodes=3),
    held_out=0.25,
    geometry=AutoencoderConfig(cameras=CAMERAS, image_size=SIZE, latent_dim=16, width=8, hidden=64),
    geometry_training=replace(DEFAULT.geometry_training, steps=80),
    semantics=SelfSupervisedConfig(cameras=CAMERAS, latent_dim=16, width=8, hidden=64, expanded=64),
    semantics_training=replace(DEFAULT.semantics_training, steps=80, batch_size=32),
    world_model=replace(
        DEFAULT.world_model, sampling_steps=2, network=InteractiveDiTConfig(width=48, depth=2, heads=2)
    ),
    world_model_training=replace(DEFAULT.world_model_training, steps=150, batch_size=32),
    policy=replace(DEFAULT.policy, denoiser=replace(DEFAULT.policy.denoiser, denoising_steps=6, width=64)),
    pretraining=replace(DEFAULT.pretraining, steps=150, batch_size=64),
    ensemble_training=replace(DEFAULT.ensemble_training, steps=100, batch_size=64),
    classifier_training=replace(DEFAULT.classifier_training, steps=100, batch_size=64),
    imagination=replace(DEFAULT.imagination, num_envs=16, horizon=20),
    learner=replace(DEFAULT.learner, rollout_steps=8, critic_warmup=1, minibatch_size=64, epochs=2),
    refine=replace(DEFAULT.refine, iterations=4, imagined_episodes=8, evaluate_every=2),
    gate=GateConfig(worlds=2, training_share=0.5, episodes=8),
    evaluation=EvaluationConfig(episodes=4, curve_points=1, curve_episodes=2, videos=1, picture_windows=6),
)
"""Every stage for real, in about a minute: for tests, not for good policies."""

PRESETS = {"default": DEFAULT, "tiny": TINY, "published": PUBLISHED}

RECIPE = Recipe(
    name="ladiwm",
    system="LaDi-WM: features of two encoders, denoised together; a policy that imagines, then proposes again; PPO",
    paper="arXiv 2505.11528",
    needs="a task with an expert, or your own data with pictures; published: a GPU and weights of DINOv2 and SigLIP",
    status="all stages run; one seed: no gain from rounds shown (benchmarks/results/ladiwm.md), no refinement measured",
    build=recipe,
    presets=PRESETS,
)
