"""World4RL (arXiv 2509.19080), read from top to bottom like its method section.

Three networks learn, separately, from offline data: a behaviour-cloned policy, a diffusion transition model and a
success classifier. They are frozen, and PPO refines the policy inside the world that they imagine. Beyond the paper,
imagination is pessimistic: an ensemble and the distance to the data halt episodes that leave the data, and an anchor
holds the policy near the pretrained one.

Three presets see the same method in three ways: state vectors (`default`), a compact latent of camera pictures
(`pixels`), or frames in and frames imagined, which is the published form (`frames`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from burnish.components import build
from burnish.config import within
from burnish.data import Dataset
from burnish.errors import InputError
from burnish.imagination import ImaginationConfig
from burnish.pipeline import External, Reading, Stage, StageContext, stage
from burnish.policies import Agent, GaussianPolicyConfig, PicturePolicyConfig
from burnish.policies.given import GivenConfig
from burnish.recipes.base import Models, Plan, RecipeConfig, RunSpec
from burnish.recipes.stages.cloning import Cloning, clone, cloned_episodes, starting
from burnish.recipes.stages.data import Recorded, check_cameras, coarse, encoder_of, own_data, seen_by, sized
from burnish.recipes.stages.finish import Parts, finish
from burnish.recipes.stages.recording import CollectConfig, record_demonstrations, record_rollouts
from burnish.recipes.stages.refining import refine_policy
from burnish.recipes.stages.taking import Seeing, taken
from burnish.recipes.stages.training import recorded_features, reward_of
from burnish.recipes.stages.transitions import (
    fit_support,
    take_over_world_model,
    together,
    train_ensemble,
    train_world_model,
)
from burnish.rewards import ClassifierConfig, FrameClassifierConfig
from burnish.rl import PPOConfig, RefineConfig
from burnish.training import TrainingConfig
from burnish.world_models import (
    AutoencoderConfig,
    DataSupport,
    DiffusionConfig,
    DisagreementEnsemble,
    Encoded,
    EnsembleConfig,
    HistoryConfig,
    ObservationHistory,
    PixelDiffusionConfig,
    PixelHistory,
    PixelHistoryConfig,
    SupportConfig,
)

POOL = 8
"""Pixels, in height and width, of the coarse pictures by which uncertainty about frames is told."""


@dataclass(frozen=True)
class World4RL(RecipeConfig):
    """Every setting of the method; `history` decides whether models see vectors or frames."""

    collect: CollectConfig = CollectConfig()
    autoencoder: AutoencoderConfig | None = None
    """Of pictures, where models read its latents instead of states."""
    autoencoder_training: TrainingConfig = TrainingConfig(steps=7000, batch_size=16, learning_rate=2e-3)
    """A batch is that many windows of three frames."""
    history: HistoryConfig | PixelHistoryConfig = HistoryConfig()
    policy: GaussianPolicyConfig | PicturePolicyConfig = GaussianPolicyConfig()
    pretraining: TrainingConfig = TrainingConfig(steps=600, batch_size=256, ema_decay=None, weight_decay=1e-3)
    cloning_noise: float = within(0.1, 0)
    """Noise on the normalised features while cloning. Imagined features are never exact, so a policy must not hang on
    the last digit of a dimension that hardly moved in the few demonstrations: it would not work in imagination."""
    given: GivenConfig = GivenConfig()
    """Of a policy that was brought along (--policy) instead of cloning one."""
    world_model: DiffusionConfig | PixelDiffusionConfig = DiffusionConfig()
    world_model_training: TrainingConfig = TrainingConfig(steps=3000, batch_size=256, learning_rate=2e-3)
    worlds: int = within(1, 1)
    """World models of the same data that differ in their random numbers, between which imagined episodes are shared:
    what works in one of them only is a flaw of that one. The gate's held-out worlds have one each."""
    world_model_from: str | None = None
    """Folder of a world model of frames that was trained elsewhere, for several tasks at once, say: it is taken over,
    after a check that it sees what `history` says, instead of training one."""
    ensemble: EnsembleConfig = EnsembleConfig()
    ensemble_training: TrainingConfig = TrainingConfig(steps=2500, batch_size=256, ema_decay=None)
    support: SupportConfig = SupportConfig()
    classifier: ClassifierConfig | FrameClassifierConfig = ClassifierConfig()
    classifier_training: TrainingConfig = TrainingConfig(steps=2500, batch_size=256, ema_decay=None, weight_decay=1e-3)
    """Of the success classifier, or of a learned reward."""
    imagination: ImaginationConfig = ImaginationConfig(member_share=0.5)
    ppo: PPOConfig = PPOConfig()
    refine: RefineConfig = RefineConfig(margin=0.02, average=0.9, patience=4)
    held_out_inertia: bool = False
    """`history.inertia` of the gate's held-out worlds. Without it they are of another kind than the world in which the
    policy was refined, so that what fools one need not fool the other; they agree with reality as well or a little
    better (benchmarks/results)."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Whose pictures the models look at."""
        if isinstance(self.history, PixelHistoryConfig):
            return self.history.cameras
        return self.autoencoder.cameras if self.autoencoder is not None else ()

    def __post_init__(self) -> None:
        if isinstance(self.history, PixelHistoryConfig) and self.autoencoder is not None:
            raise InputError("config.autoencoder: models of frames need no latents, expected none")
        if self.worlds > 1 and self.world_model_from is not None:
            raise InputError(f"config.worlds is {self.worlds}, but world_model_from names one; expected 1")
        self.imagination.pessimism.check((DisagreementEnsemble.name, DataSupport.name))


Transition = Callable[[Any, dict[str, Any], int], Stage]
"""The stage of a world model, of configuration, what it reads, and seed."""


Encoding = Callable[[Any, Stage, int], Stage | None]
"""The stage of what makes latents, of configuration, the stage that left the data, and seed."""


Pretraining = Callable[[Any, RunSpec, Stage, Recorded, Stage | None], Stage]
"""The stage of the policy, of configuration, run, the stage that left the data, how models see them, and encoder."""


def recipe(
    c: World4RL,
    run: RunSpec,
    transition: Transition | None = None,
    encoded: Encoding = encoder_of,
    policy_of: Pretraining | None = None,
) -> Plan:
    """The method in its order; with `transition` another world model takes the place of D_θ, with `encoded` another
    encoder that of the autoencoder of pictures, and with `policy_of` another policy that of `pretrained`."""
    transition, policy_of = transition or transition_model, policy_of or pretrained
    if c.cameras and run.simulator is not None:
        check_cameras(c.cameras, image_size(c), c.simulator)
    if run.own is None:
        real = run.real(c)
        real.check_expert()
        demonstrations = stage(record_demonstrations, "demonstrations", alone=True, real=real, collect=c.collect)
        encoder = encoded(c, demonstrations, run.seed)
        seen = seen_by(c, encoder, demonstrations, "demonstration_latents")
        policy = policy_of(c, run, demonstrations, seen, encoder)
        data = stage(
            record_rollouts,
            "dataset",
            alone=True,
            real=real,
            earlier=Recorded(demonstrations, c.simulator.cameras).whole,
            policy=policy.folder,
            episodes=c.collect.policy_episodes,
            noise=c.collect.policy_noise,
            frames_after_success=c.collect.frames_after_success,
        )
    else:
        data = own_data(run.own, run.task, c.cameras, c.reward, image_size(c) if c.cameras else None)
        encoder = encoded(c, data, run.seed)
        policy = policy_of(c, run, data, seen_by(c, encoder, data), encoder)
    recorded = seen_by(c, encoder, data)
    imagined = models(c, recorded.split(c.held_out), run.seed, policy, transition)
    starts = starting(c, run, policy, recorded.whole, imagined, cloning(c))
    refined = stage(
        refine_policy,
        "refined",
        policy=starts.chosen,
        data=recorded.whole,
        models=imagined,
        imagination=c.imagination,
        learner=c.ppo,
        refinement=c.refine,
        seed=run.seed,
    )

    def held_out(config: World4RL, fold: Reading, seed: int) -> Models:
        return models(of_another_kind(config), fold, seed, policy, transition)

    return finish(run, c, held_out, Parts(data, recorded, policy, imagined, refined, encoder, starts))


# ---------------------------------------------------------------------------------------------------------------------
# 1. The policy π_ξ, by behaviour cloning (Eqs. 1–2), where none was brought along.


def pretrained(c: World4RL, run: RunSpec, recorded: Stage, data: Recorded, encoder: Stage | None) -> Stage:
    """The policy that is refined: cloned from `data`, or brought along."""
    if run.policy is not None:
        pictures = None if encoder is None else Recorded(recorded, c.cameras).whole
        return taken(run, c.given, data.whole, Seeing(c.history, encoder=encoder, recorded=pictures))
    return stage(
        clone_policy,
        "policy",
        data=data.whole,
        history=c.history,
        how=cloning(c),
        seed=run.seed,
        task=run.task,
        encoder=encoder,
    )


def cloning(c: World4RL) -> Cloning:
    """How the policy is cloned, from the expert or from all successes."""
    return Cloning(sized(c.policy, c.history), c.pretraining, c.cloning_noise, best_share=c.reward.best_share)


def clone_policy(
    context: StageContext,
    data: Dataset,
    history: HistoryConfig | PixelHistoryConfig,
    how: Cloning,
    seed: int,
    task: str,
    encoder: Any,
) -> Agent:
    """Negative log-likelihood of the demonstrated actions; its normaliser is the one that every model shares."""
    if isinstance(history, PixelHistoryConfig):
        observer = PixelHistory(data.action_dim, history).to(context.device)
    else:
        observer = ObservationHistory(data.observation_dim, data.action_dim, history).to(context.device).fit(data)
    torch.manual_seed(seed)
    policy = build(how.policy, observer.feature_dim, data.action_dim).to(context.device)
    chosen = cloned_episodes(data, how.best_share)
    clone(context, how, policy, [recorded_features(observer, chosen)], chosen, seed)
    return Agent(observer if encoder is None else Encoded(encoder, observer), policy, task, data.info.scaling)


# ---------------------------------------------------------------------------------------------------------------------
# 2. The transition model D_θ (Eqs. 4–7), the reward r_t = C_ψ(x_{t+1}), and what knows where the data end.


def models(c: World4RL, data: Reading, seed: int, policy: Stage, transition: Transition) -> Models:
    """Everything that imagines, from (training, held-out) episodes; the gate asks for it again, on other ones."""
    space = {"data": data, "policy": policy, "history": c.history}
    if c.world_model_from is None:
        world = transition(c, space, seed)
    else:
        source = External("world_model_from", Path(c.world_model_from).absolute())
        world = stage(take_over_world_model, "world_model", source=source, **space, model=c.world_model)
    reward = reward_of(c, data, world, sized(c.classifier, c.history), seed)
    if isinstance(c.history, PixelHistoryConfig):
        # What is not to be trusted is told from coarse pictures, where an ensemble costs seconds.
        history = HistoryConfig(frames=c.history.frames, inertia=False)
        data, space = coarse(data, POOL), {"data": coarse(data, POOL), "policy": None, "history": history, "pool": POOL}
    ensemble = stage(train_ensemble, "ensemble", **space, model=c.ensemble, training=c.ensemble_training, seed=seed)
    support = stage(fit_support, "support", data=data, ensemble=ensemble, model=c.support, seed=seed)
    return Models(world, reward, (ensemble, support))


def transition_model(c: World4RL, space: dict[str, Any], seed: int) -> Stage:
    """The world model, or several as one."""
    settings = {**space, "model": c.world_model, "training": c.world_model_training}
    if c.worlds == 1:
        return stage(train_world_model, "world_model", **settings, seed=seed)
    apart = [1000 * k for k in range(c.worlds)]  # further than the seeds of the gate's folds
    worlds = tuple(
        stage(train_world_model, f"worlds/world_{k}", **settings, seed=seed + each) for k, each in enumerate(apart)
    )
    return stage(together, "world_model", worlds=worlds)


def of_another_kind(c: World4RL) -> World4RL:
    """The configuration of the gate's held-out worlds."""
    c = replace(c, worlds=1)
    if isinstance(c.history, PixelHistoryConfig):
        return c
    return replace(c, history=replace(c.history, inertia=c.held_out_inertia))


# ---------------------------------------------------------------------------------------------------------------------
# Pictures: what depends on their size.


def image_size(c: World4RL) -> int:
    """Height and width of the pictures that models look at."""
    if isinstance(c.history, PixelHistoryConfig):
        return c.history.image_size
    assert c.autoencoder is not None
    return c.autoencoder.image_size
