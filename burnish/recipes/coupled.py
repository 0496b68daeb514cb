"""Coupled local and global world models (arXiv 2602.06219), read from top to bottom like its method section.

Two models of one world. The global one is large and exact and is only ever run forward: it makes the rollouts. The
local one is small and differentiable and is only ever run backward: in the graph of a rollout each value is the global
model's, each Jacobian the local one's. So a policy can follow first-order gradients of a return that no differentiable
model would have to be trusted to predict. After each update the local model learns on what the policy just did inside
the global one, so that it is right where it is needed.

The policy's learner is SAPO: the return of H decisions, entropy, and a target critic's value of where they lead, all
differentiated at once. An episode that ends within the H is worth nothing more, or the critic's value where it was cut,
and nothing leaks over its end. Rewards are learned on both sides: the global one gives values, the local one gradients.

Where the paper is silent or this differs:
- The paper's global models are of pixels (DIAMOND, DreamerV4), its local model is a latent one of encoded frames. Here
  the global model is our diffusion on states, and the local one an MLP with a GRU as in DMO (arXiv 2509.00215), or a
  latent model (preset `rssm`); both observe the global model's features, and the policy reads these.
- DMO's reward head is two-hot on (x, a); here it is the small ensemble that our learned rewards are, on (x, a, x').
- Ends have a gradient, too, that of a learned chance: where imagination halts, a policy is to be kept from going.
- The paper learns from random; here the policy begins at a clone and the critics learn alone for the first updates.
- Beyond the paper, imagination is pessimistic as in our World4RL, and a trust gate decides.
"""

from dataclasses import dataclass, replace

from burnish.config import within
from burnish.errors import InputError
from burnish.evaluation.gate import GateConfig
from burnish.evaluation.settings import EvaluationConfig
from burnish.imagination import ImaginationConfig
from burnish.pipeline import Reading, stage
from burnish.policies import GaussianPolicyConfig, SquashedPolicyConfig
from burnish.recipes.base import Models, Plan, Recipe, RecipeConfig, RunSpec
from burnish.recipes.stages.cloning import SMALL, Cloning, clone_newest, starting
from burnish.recipes.stages.coupling import refine_through_local, train_local
from burnish.recipes.stages.data import Recorded, own_data
from burnish.recipes.stages.finish import Parts, finish
from burnish.recipes.stages.latent import PlayConfig, record_play
from burnish.recipes.stages.training import reward_of
from burnish.recipes.stages.transitions import fit_support, train_ensemble, train_world_model
from burnish.rewards import ClassifierConfig, RewardConfig, RewardHeadConfig
from burnish.rl import RefineConfig, RefreshingConfig, ShortHorizonConfig
from burnish.training import TrainingConfig
from burnish.world_models import (
    RSSM_PRESETS,
    DataSupport,
    DiffusionConfig,
    DisagreementEnsemble,
    EnsembleConfig,
    HistoryConfig,
    LocalDynamicsConfig,
    RSSMConfig,
    SupportConfig,
)


@dataclass(frozen=True)
class Coupled(RecipeConfig):
    """Every setting of the method."""

    collect: PlayConfig = PlayConfig()
    reward: RewardConfig = RewardConfig(kind="learned")
    """next.reward as it was recorded, learned: first-order gradients need something that has a slope. Success alone
    (`--config.reward.kind success`) has none but that of the critic, which misled (benchmarks/results/coupled.md)."""
    history: HistoryConfig = HistoryConfig()
    world_model: DiffusionConfig = DiffusionConfig()
    """The global model, G."""
    world_model_training: TrainingConfig = TrainingConfig(steps=3000, batch_size=256, learning_rate=2e-3)
    local_model: LocalDynamicsConfig | RSSMConfig = LocalDynamicsConfig()
    """The local model, L."""
    local_reward: RewardHeadConfig = RewardHeadConfig(imagined_share=0.0)
    """`termination_weight 0`: ends have no gradient, as published."""
    local_training: TrainingConfig = TrainingConfig(steps=1500, batch_size=64, ema_decay=None)
    """Of the local model and its reward before refinement, on the recorded data."""
    local_length: int = within(16, 2)
    """Frames of a training sequence."""
    ensemble: EnsembleConfig = EnsembleConfig()
    ensemble_training: TrainingConfig = TrainingConfig(steps=2500, batch_size=256, ema_decay=None)
    support: SupportConfig = SupportConfig()
    policy: SquashedPolicyConfig | GaussianPolicyConfig = SquashedPolicyConfig(max_std=1.0, min_std=0.1)
    pretraining: TrainingConfig = SMALL
    cloning_noise: float = within(0.05, 0)
    """Noise on the features while cloning: imagined features are never exact."""
    classifier: ClassifierConfig = ClassifierConfig()
    classifier_training: TrainingConfig = TrainingConfig(steps=2500, batch_size=256, ema_decay=None, weight_decay=1e-3)
    """Of the success classifier, or of a learned reward: the global side's."""
    imagination: ImaginationConfig = ImaginationConfig(num_envs=128)
    learner: RefreshingConfig = RefreshingConfig()
    refine: RefineConfig = RefineConfig(iterations=200, evaluate_every=20, margin=0.02, average=0.9, patience=4)

    def __post_init__(self) -> None:
        self.imagination.pessimism.check((DisagreementEnsemble.name, DataSupport.name))
        # Each decision leaves a frame, and all but the last may be followed by one of a restart.
        most = 2 * self.learner.policy.rollout_steps * self.imagination.num_envs
        if self.learner.capacity < most:
            raise InputError(
                f"learner.capacity is {self.learner.capacity}, expected at least {most}: so many frames may come of "
                "one rollout of learner.policy.rollout_steps in imagination.num_envs"
            )


def recipe(c: Coupled, run: RunSpec) -> Plan:
    """The method in its order."""
    if run.own is None:
        real = run.real(c)
        real.check_expert()
        data = stage(record_play, "dataset", alone=True, real=real, collect=c.collect)
    else:
        data = own_data(run.own, run.task, (), c.reward)
    recorded = Recorded(data, reward=c.reward)
    split = recorded.split(c.held_out)
    # The global model and its reward.
    imagined = models(c, split, run.seed)
    # The policy that refinement begins with.
    how = Cloning(c.policy, c.pretraining, c.cloning_noise, best_share=c.reward.best_share)
    settings = {"how": how, "seed": run.seed, "task": run.task}
    policy = stage(clone_newest, "policy", data=recorded.whole, world=imagined.world, **settings)
    starts = starting(c, run, policy, recorded.whole, imagined, how)
    # The local model and its reward, of the same data.
    settings = {"model": c.local_model, "reward": c.local_reward, "training": c.local_training, "seed": run.seed}
    local = stage(train_local, "local_model", data=split, models=imagined, length=c.local_length, **settings)
    # Values of the one, gradients of the other.
    settings = {"imagination": c.imagination, "learner": c.learner, "refinement": c.refine, "seed": run.seed}
    refined = stage(
        refine_through_local,
        "refined",
        policy=starts.chosen,
        data=(recorded.whole, local),
        models=imagined,
        **settings,
    )
    return finish(run, c, models, Parts(data, recorded, policy, imagined, refined, starts=starts))


def models(c: Coupled, data: Reading, seed: int) -> Models:
    """The global side, and what knows where its data end; the gate asks for it again, on other episodes."""
    space = {"data": data, "policy": None, "history": c.history}
    settings = {**space, "model": c.world_model, "training": c.world_model_training}
    world = stage(train_world_model, "world_model", **settings, seed=seed)
    ensemble = stage(train_ensemble, "ensemble", **space, model=c.ensemble, training=c.ensemble_training, seed=seed)
    support = stage(fit_support, "support", data=data, ensemble=ensemble, model=c.support, seed=seed)
    return Models(world, reward_of(c, data, world, c.classifier, seed), (ensemble, support))


# ---------------------------------------------------------------------------------------------------------------------
# Presets.

DEFAULT = Coupled()

RSSM_LOCAL = replace(DEFAULT, local_model=RSSM_PRESETS["small"])
"""A latent local model, as the paper's."""

PAPER = replace(
    DEFAULT,
    world_model=replace(DEFAULT.world_model, width=1024, depth=6),
    world_model_training=replace(DEFAULT.world_model_training, steps=100_000, batch_size=1024, learning_rate=3e-4),
    local_model=LocalDynamicsConfig(hidden=(1024, 1024), memory=256),
    local_training=replace(DEFAULT.local_training, steps=20_000, batch_size=512),
    policy=SquashedPolicyConfig(hidden=(128, 64, 32)),
    imagination=replace(DEFAULT.imagination, num_envs=256),
    learner=RefreshingConfig(
        policy=ShortHorizonConfig(rollout_steps=64, policy_learning_rate=3e-4, critic_hidden=(64, 64)),
        steps=32,
        first_steps=1000,
        sequences=512,
    ),
    refine=replace(DEFAULT.refine, iterations=500, evaluate_every=25),
)
"""For a GPU: DMO's sizes for a quadruped, the coupled paper's horizon of 64 and its 8 M imagined steps."""

TINY = replace(
    DEFAULT,
    collect=replace(DEFAULT.collect, play_episodes=24, random_episodes=6),
    world_model_training=replace(DEFAULT.world_model_training, steps=300),
    local_model=LocalDynamicsConfig(hidden=(64, 64), memory=16),
    local_training=replace(DEFAULT.local_training, steps=150, batch_size=32),
    ensemble_training=replace(DEFAULT.ensemble_training, steps=200),
    pretraining=replace(SMALL, steps=300),
    classifier_training=replace(DEFAULT.classifier_training, steps=200),
    learner=RefreshingConfig(
        policy=ShortHorizonConfig(rollout_steps=8, critic_warmup=3, critic_iterations=4, critic_hidden=(64, 64)),
        steps=4,
        first_steps=20,
        sequences=16,
        sequence_length=8,
        capacity=20_000,
    ),
    refine=replace(DEFAULT.refine, iterations=20, evaluate_every=10, imagined_episodes=64),
    gate=GateConfig(worlds=2, training_share=0.5, episodes=16),
    evaluation=EvaluationConfig(episodes=20, curve_points=2, curve_episodes=10, videos=1),
)
"""Every stage for real, in about a minute: for tests and continuous integration, not for good policies."""

PRESETS = {"default": DEFAULT, "tiny": TINY, "rssm": RSSM_LOCAL, "paper": PAPER}

RECIPE = Recipe(
    name="coupled",
    system="Coupled world models: rollouts of a diffusion model, gradients of a small local one, SAPO",
    paper="arXiv 2602.06219",
    needs="a task with an expert, or your own data; paper: a GPU",
    status="all stages run on states; faster than PPO at first, then no gain (benchmarks/results/coupled.md)",
    build=recipe,
    presets=PRESETS,
)
