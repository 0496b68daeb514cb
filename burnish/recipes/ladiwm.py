"""LaDi-WM (arXiv 2505.11528): a world model of what frozen encoders see, and a policy that asks it before it acts.

Two encoders tell, of a picture, where things are (geometry) and what they are (semantics). A latent diffusion model
predicts what both will say of the next frames under a chunk of actions: each kind of features is denoised by a stream
of its own, the streams meet in attention, and the last layer of each sees what the other has found (interactive
diffusion). A diffusion policy, cloned from a few demonstrations, proposes a chunk, is told the features that the world
model imagines to follow, and proposes again, several times; then it acts.

The paper ends there. Beyond it, PPO refines the last proposal (DPPO) in episodes imagined by the same world model, with
success by a classifier, pessimism and a trust gate, as everywhere here.

Otherwise here, where the paper is silent or larger:
- Its encoders are DINOv2 and SigLIP, 81 patches each: `TransformersFeatures`, for whoever has their weights. By default
  geometry is our autoencoder and semantics VICReg (arXiv 2105.04906), both learned from the run's own pictures, one
  token each.
- Frames attend to earlier ones alone, and each frame hears its own action, so that the world model can be asked for a
  single step as well: refinement and the gate do.
- A first proposal exists because a share of the training rows sees no imagination; the published policy seems to begin
  with actions of zero. The imagination is told as changes, in units of what usually changes. One camera's or several
  cameras' features are one vector; the paper has two views. A loss on the variation of the prediction is left out.
- Each decision begins anew: what was left over of the last proposal is not used.
"""

from dataclasses import dataclass
from pathlib import Path

from burnish.errors import InputError
from burnish.evaluation.gate import GateConfig
from burnish.imagination import ImaginationConfig
from burnish.pipeline import External, Reading, Stage, stage
from burnish.policies import DiffusionPolicyConfig, ImaginingPolicyConfig
from burnish.recipes.base import Models, Plan, RecipeConfig, RunSpec
from burnish.recipes.stages.data import Recorded, encode, train_autoencoder
from burnish.recipes.stages.finish import Parts, finish
from burnish.recipes.stages.foreseeing import (
    clone_imagining,
    join_encoders,
    take_features,
    take_over_encoders,
    train_latent_diffusion,
    train_self_supervised,
)
from burnish.recipes.stages.play import PlayConfig, play_or_own
from burnish.recipes.stages.refining import refine_policy
from burnish.recipes.stages.training import reward_of
from burnish.recipes.stages.transitions import fit_support, train_ensemble
from burnish.rewards import ClassifierConfig
from burnish.rl import PPOConfig, RefineConfig
from burnish.simulators.settings import SimulatorConfig
from burnish.training import TrainingConfig
from burnish.world_models import (
    AutoencoderConfig,
    DataSupport,
    DisagreementEnsemble,
    EnsembleConfig,
    HistoryConfig,
    LatentDiffusionConfig,
    SelfSupervisedConfig,
    SupportConfig,
    TransformersFeaturesConfig,
)

CAMERAS, SIZE = ("corner3", "topview"), 32


@dataclass(frozen=True)
class LaDiWM(RecipeConfig):
    """Every setting of the method."""

    simulator: SimulatorConfig = SimulatorConfig(action_repeat=5, max_steps=40, cameras=CAMERAS, image_size=SIZE)
    """Frames far enough apart that an action shows in 32 pixels."""
    collect: PlayConfig = PlayConfig(demonstrations=10, demonstration_noise=0.1, play_episodes=150)
    """Ten demonstrations, as published; play teaches the encoders, the world model and the classifier."""
    geometry: AutoencoderConfig | TransformersFeaturesConfig = AutoencoderConfig(
        cameras=CAMERAS, image_size=SIZE, latent_dim=32, width=16
    )
    geometry_training: TrainingConfig = TrainingConfig(steps=3000, batch_size=16, learning_rate=2e-3)
    """A batch is that many windows of three frames."""
    semantics: SelfSupervisedConfig | TransformersFeaturesConfig = SelfSupervisedConfig(cameras=CAMERAS)
    semantics_training: TrainingConfig = TrainingConfig(steps=1500, batch_size=64, learning_rate=1e-3)
    encoders_from: str | None = None
    """Folder of both encoders, trained elsewhere (the stage `encoder` of a run), instead of training them."""
    history: HistoryConfig = HistoryConfig(frames=2, feature_frames=2, inertia=False)
    world_model: LatentDiffusionConfig = LatentDiffusionConfig()
    world_model_training: TrainingConfig = TrainingConfig(steps=4000, batch_size=64, learning_rate=1e-3)
    policy: ImaginingPolicyConfig = ImaginingPolicyConfig(
        DiffusionPolicyConfig(chunk=4, denoising_steps=10, fine_tuned_steps=5), executed=2
    )
    pretraining: TrainingConfig = TrainingConfig(steps=3000, batch_size=128, weight_decay=1e-3)
    ensemble: EnsembleConfig = EnsembleConfig()
    ensemble_training: TrainingConfig = TrainingConfig(steps=1500, batch_size=256, ema_decay=None)
    support: SupportConfig = SupportConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    classifier_training: TrainingConfig = TrainingConfig(steps=2000, batch_size=256, ema_decay=None, weight_decay=1e-3)
    imagination: ImaginationConfig = ImaginationConfig(num_envs=64)
    learner: PPOConfig = PPOConfig(minibatch_size=512)
    refine: RefineConfig = RefineConfig(imagined_episodes=64, margin=0.02, average=0.9, patience=4)
    gate: GateConfig = GateConfig(worlds=2, training_share=0.5)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Whose pictures the encoders see."""
        return tuple(dict.fromkeys((*self.geometry.cameras, *self.semantics.cameras)))

    def __post_init__(self) -> None:
        if self.geometry.image_size != self.semantics.image_size:
            raise InputError(
                f"config.geometry sees pictures of {self.geometry.image_size} pixels, config.semantics of "
                f"{self.semantics.image_size}; expected the same"
            )
        if self.history.inertia or self.history.feature_frames != self.history.frames:
            raise InputError(
                f"config.history: found inertia {self.history.inertia} and feature_frames "
                f"{self.history.feature_frames}, expected no inertia, and {self.history.frames} as `frames`"
            )
        if self.policy.denoiser.chunk > self.world_model.frames:
            raise InputError(
                f"config.policy.denoiser.chunk is {self.policy.denoiser.chunk}, expected at most "
                f"config.world_model.frames = {self.world_model.frames}: each proposal is imagined at once"
            )
        self.imagination.pessimism.check((DisagreementEnsemble.name, DataSupport.name))


def recipe(c: LaDiWM, run: RunSpec) -> Plan:
    """The method in its order."""
    data = play_or_own(c, run, c.geometry.image_size)
    # Features of every picture, once: all that follows reads them as latents.
    encoder = encoders(c, data, run.seed)
    latents = stage(encode, "latents", alone=True, data=Recorded(data, c.cameras).whole, encoder=encoder)
    recorded = Recorded(latents, reward=c.reward)
    split = recorded.split(c.held_out)
    # The policy, cloned with the world model's word for what follows from each demonstrated chunk.
    settings = {"model": c.policy, "training": c.pretraining, "best_share": c.reward.best_share}
    told = {"seed": run.seed, "task": run.task}
    world = foreseeing(c, split, encoder, run.seed)
    inputs = {"data": recorded.whole, "world": world, "encoder": encoder}
    policy = stage(clone_imagining, "policy", **inputs, **settings, run=told)

    def judges(config: LaDiWM, fold: Reading, seed: int) -> Models:
        return models(config, fold, seed, encoder, policy)

    # Beyond the paper: PPO on its last proposal, in the same latent world.
    imagined = judges(c, split, run.seed)
    settings = {"imagination": c.imagination, "learner": c.learner, "refinement": c.refine, "seed": run.seed}
    refined = stage(refine_policy, "refined", policy=policy, data=recorded.whole, models=imagined, **settings)
    return finish(run, c, judges, Parts(data, recorded, policy, imagined, refined, encoder))


def encoders(c: LaDiWM, data: Stage, seed: int) -> Stage:
    """Geometry and semantics, frozen from here on."""
    pictures = Recorded(data, c.cameras).split(c.held_out)
    if c.encoders_from is not None:
        source = External("encoders_from", Path(c.encoders_from).absolute())
        return stage(take_over_encoders, "encoder", source=source, data=pictures)
    found = {}
    for name, model, training in (
        ("geometry", c.geometry, c.geometry_training),
        ("semantics", c.semantics, c.semantics_training),
    ):
        if isinstance(model, TransformersFeaturesConfig):
            found[name] = stage(take_features, name, model=model)
        else:
            body = train_autoencoder if isinstance(model, AutoencoderConfig) else train_self_supervised
            found[name] = stage(body, name, data=pictures, model=model, training=training, seed=seed)
    return stage(join_encoders, "encoder", data=pictures, **found)


def foreseeing(c: LaDiWM, data: Reading, encoder: Stage, seed: int) -> Stage:
    """The world model."""
    settings = {"history": c.history, "model": c.world_model, "training": c.world_model_training, "seed": seed}
    return stage(train_latent_diffusion, "world_model", data=data, encoder=encoder, **settings)


def models(c: LaDiWM, data: Reading, seed: int, encoder: Stage, policy: Stage) -> Models:
    """Everything that imagines, from (training, held-out) episodes; the gate asks for it again, on other ones."""
    world = foreseeing(c, data, encoder, seed)
    space = {"data": data, "policy": policy, "history": c.history}
    ensemble = stage(train_ensemble, "ensemble", **space, model=c.ensemble, training=c.ensemble_training, seed=seed)
    support = stage(fit_support, "support", data=data, ensemble=ensemble, model=c.support, seed=seed)
    return Models(world, reward_of(c, data, world, c.classifier, seed), (ensemble, support))
