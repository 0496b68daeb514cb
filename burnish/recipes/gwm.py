"""GWM (arXiv 2508.17600): a world of 3-D Gaussians. Scenes are sets, a few latent tokens stand for a set, a diffusion
transformer that looks at actions imagines the next tokens, and a policy is refined in what it imagines.

Pictures with depth become a Gaussian for each pixel (the paper's Splatt3R is a plug-in, `scene.maker`). What never
moves is told apart and kept once. An autoencoder makes latent tokens of the rest and decodes them from learned queries,
so that imagined scenes are sets again and can be drawn from anywhere. Policy, reward and end read the tokens.

Everything else is World4RL's method (`world4rl`): data, cloning, PPO in imagination, pessimism, gate. Ours, where the
paper or its code says otherwise or nothing: learned queries on both sides of the autoencoder in the place of points
that are drawn from the set; policies read the tokens, or beside them the first denoising step (`features`); cameras
that stand still, and their background; changes of standardised latents are predicted (σ_data 1); a success classifier,
or a learned reward (`reward.kind`), each ends episodes; PPO in the place of MBPO. The paper's refinement was never
released.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from burnish.components import allow
from burnish.data import read_cameras
from burnish.errors import InputError
from burnish.pipeline import External, Stage, stage
from burnish.recipes import world4rl
from burnish.recipes.base import Plan, RunSpec
from burnish.recipes.stages.data import Recorded
from burnish.recipes.stages.scenes import clone_denoised, train_denoised_world, train_scene_autoencoder
from burnish.recipes.stages.transitions import train_world_model
from burnish.recipes.world4rl import World4RL, cloning
from burnish.training import TrainingConfig
from burnish.world_models import (
    HistoryConfig,
    PixelHistoryConfig,
    SceneAutoencoderConfig,
    TokenDiffusionConfig,
)


@dataclass(frozen=True)
class GWM(World4RL):
    """World4RL's settings on latents, which are those of sets of Gaussians."""

    history: HistoryConfig | PixelHistoryConfig = HistoryConfig(feature_frames=2, inertia=False)
    autoencoder: SceneAutoencoderConfig = SceneAutoencoderConfig()  # type: ignore[assignment]
    autoencoder_training: TrainingConfig = TrainingConfig(steps=1500, batch_size=12, learning_rate=2e-3)
    """A batch is that many windows of three frames."""
    world_model: TokenDiffusionConfig = TokenDiffusionConfig()
    features: Literal["tokens", "denoised"] = "tokens"
    """What policies read: the tokens, or beside them what the first denoising step of a world model makes of them. That
    world model learns from what there is before the policy."""
    calibration: str | None = None
    """A JSON file that tells where the cameras of the data stand, {camera: {focal, centre, rotation, position}}, in
    metres and widths and heights of a picture (`burnish.data.Camera`); a simulator may know it itself."""

    @property
    def code(self) -> str | None:
        """What these settings make Burnish import."""
        return self.autoencoder.scene.maker or super().code

    def __post_init__(self) -> None:
        super().__post_init__()
        latent, transformer = self.autoencoder, self.world_model.transformer
        if isinstance(self.history, PixelHistoryConfig) or self.history.inertia:
            raise InputError("config.history: models of GWM see latents, expected no frames and no inertia")
        if self.features == "denoised" and (self.worlds > 1 or self.world_model_from is not None):
            raise InputError("config.features: denoised ones need a world model of their own, expected worlds of 1")
        if latent.tokens != transformer.tokens:
            raise InputError(
                f"config.world_model.transformer.tokens is {transformer.tokens}, expected the {latent.tokens} of "
                "config.autoencoder.tokens"
            )


def recipe(c: GWM, run: RunSpec) -> Plan:
    """World4RL's order, in other latents and with another world model."""
    if c.code is not None:
        allow(c.code)
    views = c.autoencoder.scene.views
    if c.calibration is not None:
        read_cameras(Path(c.calibration), views)
    elif run.simulator is None:
        raise InputError(
            f"the cameras {', '.join(views)} have no intrinsics: found no --config.calibration and no simulator, "
            "expected a JSON file {camera: {focal, centre, rotation, position}}"
        )

    def scenes(c: GWM, data: Stage, seed: int) -> Stage:
        """The set of every frame, as a few tokens; positions, colours and all are decoded from them."""
        return stage(
            train_scene_autoencoder,
            "autoencoder",
            data=Recorded(data, c.cameras).split(c.held_out),
            cameras=run.real(c) if c.calibration is None else External("calibration", Path(c.calibration).absolute()),
            model=c.autoencoder,
            training=c.autoencoder_training,
            seed=seed,
        )

    if c.features == "tokens":
        return world4rl.recipe(c, run, encoded=scenes)
    if run.policy is not None:
        raise InputError("--policy: a policy that was brought along reads no denoised features (config.features)")
    return world4rl.recipe(c, run, denoised_world, scenes, denoised_policy)


def denoised_policy(c: GWM, run: RunSpec, recorded: Stage, data: Recorded, encoder: Stage | None) -> Stage:
    """A world model first, then a policy cloned on its first denoising step."""
    settings = {"history": c.history, "model": c.world_model, "training": c.world_model_training, "seed": run.seed}
    source = stage(train_world_model, "feature_world", data=data.split(c.held_out), policy=None, **settings)
    how = {"how": cloning(c), "seed": run.seed, "task": run.task, "encoder": encoder}
    return stage(clone_denoised, "policy", data=data.whole, world=source, **how)


def denoised_world(c: GWM, space: dict[str, Any], seed: int) -> Stage:
    """What imagines, with the policy's features."""
    settings = {"model": c.world_model, "training": c.world_model_training, "seed": seed}
    return stage(train_denoised_world, "world_model", **space, **settings)
