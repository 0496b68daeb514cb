"""ADEPT (arXiv 2405.19878): a diffusion world model that is weighted, again and again, for the policy it evaluates.

Diffusion learns p(s' | s, a) from the data. SAC improves a policy on short imagined rollouts, whose actions are that
policy's; then every recorded transition gets the weight π(a|s) / π_b(a|s), π_b by maximum likelihood, and the world
model learns on with these weights: where the policy goes, it gets better. So this world model is not frozen, as others'
here are. It adapts to the policy offline, from the same data with other weights; nothing real is ever added. Where
outputs from different noises differ, the reward is less; beyond a threshold imagination can end, too, as in the later
version (OpenReview 1zuJZ1jGvT), but by default it goes on: halting taught standing still (benchmarks/results/adept.md).

Of the paper we know the loop, H = 5 and SAC; networks, weights and schedule are ours: clipped ratios of single actions,
tempered to a floor of effective samples; the reward is learned once, from (s, a, s'); SAC learns from imagined and
recorded transitions half and half and begins at a clone of the best episodes. The best iterate is chosen, and gate and
evaluation are made, in world models with weights of one.
"""

from dataclasses import dataclass, replace

from burnish.config import within
from burnish.errors import InputError
from burnish.imagination import ImaginationConfig, PessimismConfig, StartConfig
from burnish.pipeline import Reading, stage
from burnish.policies import SquashedPolicyConfig
from burnish.recipes.base import Models, Plan, RecipeConfig, RunSpec
from burnish.recipes.stages.adapting import adapt_policy, fit_behaviour, train_guided
from burnish.recipes.stages.cloning import SMALL, Cloning, clone_newest
from burnish.recipes.stages.data import Recorded
from burnish.recipes.stages.finish import Parts, finish
from burnish.recipes.stages.play import PlayConfig, play_or_own
from burnish.recipes.stages.training import reward_of
from burnish.rewards import ClassifierConfig, RewardConfig, RewardHeadConfig
from burnish.rl import AdaptingConfig, RefineConfig
from burnish.training import TrainingConfig
from burnish.world_models import GuidedDiffusion, GuidedDiffusionConfig, HistoryConfig


@dataclass(frozen=True)
class ADEPT(RecipeConfig):
    """Every setting of the method."""

    collect: PlayConfig = PlayConfig()
    """Where no data are brought along."""
    history: HistoryConfig = HistoryConfig(frames=1)
    """The paper's world model knows the present state alone."""
    world_model: GuidedDiffusionConfig = GuidedDiffusionConfig()
    world_model_training: TrainingConfig = TrainingConfig(steps=4000, batch_size=256, learning_rate=1e-3)
    policy: SquashedPolicyConfig = SquashedPolicyConfig()
    pretraining: TrainingConfig = SMALL
    behaviour_training: TrainingConfig = replace(SMALL, validate_every=100, patience=3)
    """Of π_b, which stops where held-out episodes get less likely."""
    cloning_noise: float = within(0.05, 0)
    """Noise on the features while cloning, and of π_b: imagined features are never exact."""
    reward: RewardConfig = RewardConfig(head=RewardHeadConfig())
    classifier: ClassifierConfig = ClassifierConfig()
    classifier_training: TrainingConfig = SMALL
    """Of the learned reward, or of a success classifier."""
    imagination: ImaginationConfig = ImaginationConfig(
        num_envs=256,
        horizon=5,
        starts=StartConfig(episode_start_share=0.1),
        pessimism=PessimismConfig(rule="penalty", weight=0.1, use=(GuidedDiffusion.name,)),
    )
    """Penalty and halting together, as in the later version, are `pessimism.rule both`."""
    learner: AdaptingConfig = AdaptingConfig()
    """SAC and the world model's further learning; `learner.steps 0` is a world model that stays as it is."""
    refine: RefineConfig = RefineConfig(iterations=300, evaluate_every=30, average=0.9)

    def __post_init__(self) -> None:
        self.imagination.pessimism.check((GuidedDiffusion.name,))
        if self.policy.chunk != 1:
            raise InputError(f"policy.chunk is {self.policy.chunk}, expected 1: ADEPT weighs single actions")


def recipe(c: ADEPT, run: RunSpec) -> Plan:
    """The method in its order."""
    data = play_or_own(c, run)
    recorded = Recorded(data, reward=c.reward)
    # The world model and the reward, all weights one.
    imagined = models(c, recorded.split(c.held_out), run.seed)
    how = Cloning(c.policy, c.pretraining, c.cloning_noise, best_share=c.reward.best_share)
    settings = {"how": how, "seed": run.seed, "task": run.task}
    policy = stage(clone_newest, "policy", data=recorded.whole, world=imagined.world, **settings)
    # π_b, for the weights.
    density = Cloning(c.policy, c.behaviour_training, c.cloning_noise)
    settings = {"policy": policy, "how": density, "seed": run.seed}
    behaviour = stage(fit_behaviour, "behaviour", data=recorded.split(c.held_out), **settings)
    # The policy's updates and the world model's, in turns.
    settings = {"imagination": c.imagination, "learner": c.learner, "refinement": c.refine, "seed": run.seed}
    known = (recorded.whole, behaviour)
    refined = stage(adapt_policy, "refined", policy=policy, data=known, models=imagined, **settings)
    return finish(run, c, models, Parts(data, recorded, policy, imagined, refined))


def models(c: ADEPT, data: Reading, seed: int) -> Models:
    """p(s' | s, a), which is its own uncertainty, and the reward; the gate asks for them on other episodes."""
    settings = {"model": c.world_model, "training": c.world_model_training, "seed": seed}
    world = stage(train_guided, "world_model", data=data, history=c.history, **settings)
    return Models(world, reward_of(c, data, world, c.classifier, seed))
