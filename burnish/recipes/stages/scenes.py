"""Bodies that make sets of 3-D Gaussians of pictures with depth."""

from pathlib import Path
from typing import Any

import torch

from burnish.components import build
from burnish.data import Camera, Dataset, Windows, read_cameras
from burnish.errors import InputError
from burnish.pipeline import StageContext
from burnish.policies import Agent
from burnish.recipes.stages.cloning import Cloning, clone, cloned_episodes
from burnish.recipes.stages.data import Split
from burnish.recipes.stages.recording import Real
from burnish.recipes.stages.training import recorded_features, train
from burnish.recipes.stages.transitions import train_world_model
from burnish.training import TrainingConfig
from burnish.world_models import (
    DenoisedFeatures,
    Encoded,
    SceneAutoencoder,
    SceneAutoencoderConfig,
    TokenDiffusion,
)


def train_scene_autoencoder(
    context: StageContext,
    data: Split,
    cameras: Path | Real,
    model: SceneAutoencoderConfig,
    training: TrainingConfig,
    seed: int,
) -> SceneAutoencoder:
    """Sets to a few tokens and back, from short windows; frozen afterwards.

    Args:
        context: the stage's.
        data: (training, held out) episodes with the pictures of all views.
        cameras: where they stand: a file, or the simulator itself.
        model: sizes.
        training: of the autoencoder.
        seed: of its weights.

    Raises:
        InputError: depth or cameras are not what they should be; before anything is trained.
    """
    episodes, held_out = data
    views = model.scene.views
    placed = read_cameras(cameras, views) if isinstance(cameras, Path) else simulated_cameras(cameras, views)
    torch.manual_seed(seed)
    autoencoder = build(model, episodes.action_dim).to(context.device)
    context.record("depth_holes", autoencoder.fit(episodes, placed))
    train(context, autoencoder, Windows(episodes, history=1, horizon=2), training, seed)
    autoencoder.eval()
    context.record("held_out_chamfer", autoencoder.distance(held_out))
    context.record("held_out_psnr", autoencoder.psnr(held_out))
    return autoencoder


def clone_denoised(
    context: StageContext, data: Dataset, world: TokenDiffusion, how: Cloning, seed: int, task: str, encoder: Any
) -> Agent:
    """Behaviour cloning on latents and on what the first denoising step of a world model makes of them."""
    observer = DenoisedFeatures(world, world)
    torch.manual_seed(seed)
    policy = build(how.policy, observer.feature_dim, data.action_dim).to(context.device)
    chosen = cloned_episodes(data, how.best_share)
    clone(context, how, policy, [recorded_features(observer, chosen)], chosen, seed)
    return Agent(Encoded(encoder, observer), policy, task, data.info.scaling)


def train_denoised_world(context: StageContext, policy: Agent, **settings: Any) -> DenoisedFeatures:
    """A world model whose features are those that the policy was cloned on."""
    world: Any = train_world_model(context, policy=policy, **settings)
    return DenoisedFeatures(world, policy.observer.inner.source)


def simulated_cameras(real: Real, views: tuple[str, ...]) -> tuple[Camera, ...]:
    """The simulator's own cameras.

    Raises:
        InputError: its suite does not tell where they are, or one of them moves.
    """
    from burnish.simulators.tasks import resolve, suite_of

    suite = suite_of(real.task)
    if suite.calibrate is None:
        raise InputError(
            f"{suite.title} does not tell where its cameras are: found no --config.calibration, expected a JSON file "
            "{camera: {focal, centre, rotation, position}}"
        )
    env = suite.make_env(real.task, resolve(real.task, real.simulator))
    try:
        return tuple(suite.calibrate(env, view) for view in views)
    finally:
        env.close()
