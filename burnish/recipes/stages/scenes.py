"""Bodies that make sets of 3-D Gaussians of pictures with depth."""

from pathlib import Path

import torch

from burnish.components import build
from burnish.data import Camera, Windows, read_cameras
from burnish.errors import InputError
from burnish.pipeline import StageContext
from burnish.recipes.stages.data import Split
from burnish.recipes.stages.recording import Real
from burnish.recipes.stages.training import train
from burnish.training import TrainingConfig
from burnish.world_models import SceneAutoencoder, SceneAutoencoderConfig


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
