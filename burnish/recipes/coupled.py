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

from dataclasses import dataclass

from burnish.config import within
from burnish.errors import InputError
from burnish.imagination import ImaginationConfig
from burnish.pipeline import Reading, stage
from burnish.policies import GaussianPolicyConfig, SquashedPolicyConfig
from burnish.recipes.base import Models, Plan, RecipeConfig, RunSpec
from burnish.recipes.stages.cloning import SMALL, Cloning, clone_newest, starting
from burnish.recipes.stages.coupling import refine_through_local, train_local
from burnish.recipes.stages.data import Recorded
from burnish.recipes.stages.finish import Parts, finish
from burnish.recipes.stages.play import PlayConfig, play_or_own
from burnish.recipes.stages.training import reward_of
from burnish.recipes.stages.transitions import fit_support, train_ensemble, train_world_model
from burnish.rewards import ClassifierConfig, RewardConfig, RewardHeadConfig
from burnish.rl import RefineConfig, RefreshingConfig
from burnish.training import TrainingConfig
from burnish.world_models import (
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
    data = play_or_own(c, run)
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
