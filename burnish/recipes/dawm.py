"""DAWM (arXiv 2509.19538), read from top to bottom like its method section.

A diffusion model makes trajectories of states and rewards from recorded states and actions, for a return that is asked
for; inverse dynamics fill in the actions; so there are complete synthetic transitions, and a one-step learner, TD3+BC
or IQL, trains on real and synthetic ones.

Where the paper is silent (length, network, noise, guidance, shares), these are ours: trajectories of 8 transitions,
EDM's noise and sampler, the recorded window's return and half a standard deviation more as what is asked for, half of
each batch synthetic. Ends of episodes are generated with the rewards. The first action of a trajectory is the recorded
one; inverse dynamics tell the others.

The gate's held-out worlds are the same diffusion model on other episodes, one step at a time and without a return that
is asked for, with a reward learned on it: what made the synthetic data is what is back-tested. They know of no
uncertainty and halt nothing. Of what every recipe has, `refine`, `start_from` and pessimism say nothing here.
"""

from dataclasses import dataclass, field
from typing import Any

from burnish.config import within
from burnish.errors import InputError
from burnish.evaluation.gate import GateConfig
from burnish.pipeline import Reading, stage
from burnish.policies import GaussianPolicyConfig, TanhPolicyConfig
from burnish.recipes.base import Models, Plan, RecipeConfig, RunSpec
from burnish.recipes.stages.cloning import SMALL, Cloning, clone_newest
from burnish.recipes.stages.data import Recorded, own_data
from burnish.recipes.stages.finish import Parts, finish
from burnish.recipes.stages.offline import OFFLINE, LearnerName
from burnish.recipes.stages.synthesis import (
    SynthesisConfig,
    learn_on_both,
    synthesise,
    train_inverse_dynamics,
    train_trajectories,
)
from burnish.recipes.stages.training import reward_of
from burnish.rewards import ClassifierConfig, RewardConfig, RewardHeadConfig
from burnish.rl import IQLConfig, TD3BCConfig
from burnish.training import TrainingConfig
from burnish.world_models import InverseDynamicsConfig, ReturnDiffusionConfig


@dataclass(frozen=True)
class Learners:
    """Both offline learners; the one that is not chosen is of no account."""

    td3_bc: TD3BCConfig = TD3BCConfig()
    td3_bc_policy: TanhPolicyConfig = TanhPolicyConfig()
    iql: IQLConfig = IQLConfig(expectile=0.7)
    iql_policy: GaussianPolicyConfig = GaussianPolicyConfig()
    training: TrainingConfig = OFFLINE

    def of(self, learner: LearnerName) -> dict[str, Any]:
        """The settings of one."""
        names = (learner, f"{learner}_policy")
        return {**{name: getattr(self, name) for name in names}, f"{learner}_training": self.training}


@dataclass(frozen=True)
class DAWM(RecipeConfig):
    """Every setting of the method."""

    reward: RewardConfig = RewardConfig(kind="learned", head=RewardHeadConfig(termination_weight=0.0))
    """Of the gate's worlds; synthetic transitions have the rewards that the diffusion model makes."""
    world_model: ReturnDiffusionConfig = ReturnDiffusionConfig()
    world_model_training: TrainingConfig = TrainingConfig(steps=5000, batch_size=256, learning_rate=1e-3)
    inverse_dynamics: InverseDynamicsConfig = InverseDynamicsConfig()
    inverse_dynamics_training: TrainingConfig = TrainingConfig(steps=3000, batch_size=256, ema_decay=None)
    synthesis: SynthesisConfig = SynthesisConfig()
    synthetic_share: float = within(0.5, 0, 1, open_high=True)
    """Of the transitions that the learner sees; 0: real data alone."""
    learner: LearnerName = "td3_bc"
    learners: Learners = field(default_factory=Learners)
    policy: GaussianPolicyConfig = GaussianPolicyConfig(hidden=(128, 128, 128))
    """The clone that the learned policy is compared with."""
    pretraining: TrainingConfig = SMALL
    cloning_noise: float = within(0.05, 0)
    classifier: ClassifierConfig = ClassifierConfig()
    classifier_training: TrainingConfig = SMALL
    """Of the learned reward."""
    gate: GateConfig = GateConfig(training_share=0.25)


def recipe(c: DAWM, run: RunSpec) -> Plan:
    """The method in its order."""
    if run.own is None:
        raise InputError("dawm learns from data that are there: found no --dataset, expected one with next.reward")
    data = own_data(run.own, run.task, (), c.reward)
    recorded = Recorded(data, reward=c.reward)
    # States, rewards and ends of trajectories; then the actions between their states.
    world = models(c, recorded.split(c.held_out), run.seed)
    settings = {"model": c.inverse_dynamics, "training": c.inverse_dynamics_training, "seed": run.seed}
    split = recorded.split(c.held_out)
    inverse = stage(train_inverse_dynamics, "inverse_dynamics", data=split, **settings)
    settings = {"data": recorded.whole, "how": c.synthesis, "seed": run.seed}
    synthetic = stage(synthesise, "synthetic", world=world.world, inverse=inverse, **settings)
    how = Cloning(c.policy, c.pretraining, c.cloning_noise, best_share=c.reward.best_share)
    settings = {"data": recorded.whole, "how": how, "seed": run.seed, "task": run.task}
    policy = stage(clone_newest, "policy", world=world.world, **settings)
    # TD3+BC or IQL, on both kinds of transitions.
    settings = {"share": c.synthetic_share, "learner": c.learner, "settings": c.learners.of(c.learner)}
    settings |= {"data": recorded.whole, "seed": run.seed}
    refined = stage(learn_on_both, "refined", policy=policy, synthetic=synthetic.folder, **settings)
    return finish(run, c, models, Parts(data, recorded, policy, world, refined))


def models(c: DAWM, data: Reading, seed: int) -> Models:
    """The trajectory model, and a reward on it for whoever imagines single steps; the gate asks on other episodes."""
    settings = {"model": c.world_model, "training": c.world_model_training, "seed": seed}
    world = stage(train_trajectories, "world_model", data=data, **settings)
    return Models(world, reward_of(c, data, world, c.classifier, seed))
