"""S5WM (arXiv 2502.20168): a world model of state spaces that trains on whole sequences at once, and Dreamer inside it.

The recurrent part of Dreamer's world model becomes S5, and the posterior sees the present observation alone; so a long
training sequence is one parallel scan, while imagination goes step by step. Where the robot sees less than was
recorded, the world model has to tell the privileged state from its features in training, and never sees it. Dreamer's
actor-critic learns on short imagined rollouts from recorded states.

The paper's layer sizes, wiring of privileged state and training settings are not known to us; these are ours. The paper
learns online from nothing; here the data are recorded once, the world model is frozen, and the policy begins as a
clone. States only: the paper's pictures are left out.
"""

from dataclasses import dataclass, replace

from burnish.config import within
from burnish.evaluation.gate import GateConfig
from burnish.imagination import ImaginationConfig, StartConfig
from burnish.pipeline import stage
from burnish.policies import DiffusionPolicyConfig, GaussianPolicyConfig
from burnish.recipes.base import Plan, RecipeConfig, RunSpec
from burnish.recipes.stages.cloning import Cloning, starting
from burnish.recipes.stages.data import Recorded
from burnish.recipes.stages.finish import Parts, finish
from burnish.recipes.stages.latent import clone_policy, latent_models
from burnish.recipes.stages.play import PlayConfig, play_or_own
from burnish.recipes.stages.refining import refine_policy
from burnish.rewards import ContrastiveConfig
from burnish.rl import DreamerConfig, RefineConfig
from burnish.training import TrainingConfig
from burnish.world_models import RSSM_PRESETS, LatentEnsemble, LatentEnsembleConfig, RSSMConfig


@dataclass(frozen=True)
class S5WM(RecipeConfig):
    """Every setting of the method."""

    collect: PlayConfig = PlayConfig()
    world_model: RSSMConfig = replace(RSSM_PRESETS["small"], cell="s5")
    """`world_model.privileged` names the state dimensions that only training knows; the cell gru is DreamerV2's."""
    sequence_length: int = within(64, 2)
    """Frames of one training sequence, scanned at once; the state is carried from one to the next."""
    world_model_training: TrainingConfig = TrainingConfig(
        steps=3000, batch_size=16, learning_rate=2e-3, ema_decay=None, gradient_clip=100.0
    )
    policy: GaussianPolicyConfig | DiffusionPolicyConfig = GaussianPolicyConfig()
    pretraining: TrainingConfig = TrainingConfig(steps=3000, batch_size=256, weight_decay=1e-4)
    cloning_noise: float = within(0.05, 0)
    """Noise on the features while cloning: imagined features are never exact."""
    posterior_samples: int = within(4, 0)
    """Samples of the posterior that the policy is cloned from, beside its most likely classes."""
    ensemble: LatentEnsembleConfig = LatentEnsembleConfig()
    ensemble_training: TrainingConfig = TrainingConfig(steps=1500, batch_size=256, ema_decay=None)
    classifier: ContrastiveConfig = ContrastiveConfig()
    classifier_training: TrainingConfig = TrainingConfig(steps=1000, batch_size=256, ema_decay=None, weight_decay=1e-3)
    """Of the success classifier, or of a learned reward."""
    imagination: ImaginationConfig = ImaginationConfig(
        num_envs=256, horizon=15, starts=StartConfig(episode_start_share=0.1)
    )
    """Every rollout begins at recorded frames (DreamerV3: all replayed ones, for 15 steps)."""
    dreamer: DreamerConfig = DreamerConfig(anchor_weight=0.1)
    """The anchor is ours: without one the policy leaves the data for states that this world model is wrong about."""
    refine: RefineConfig = RefineConfig(iterations=400, evaluate_every=40, margin=0.02, average=0.9, patience=4)
    gate: GateConfig = GateConfig(training_share=0.25)

    def __post_init__(self) -> None:
        self.imagination.pessimism.check((LatentEnsemble.name,))


def recipe(c: S5WM, run: RunSpec) -> Plan:
    """The method in its order."""
    data = play_or_own(c, run)
    recorded = Recorded(data, reward=c.reward)
    # The world model, priors that know where the data end, and a reward on the world model's features.
    imagined = latent_models(c, recorded.split(c.held_out), run.seed)
    how = Cloning(c.policy, c.pretraining, c.cloning_noise, c.posterior_samples, c.reward.best_share)
    common = {"data": recorded.whole, "seed": run.seed}
    policy = stage(clone_policy, "policy", world=imagined.world, how=how, task=run.task, encoder=None, **common)
    starts = starting(c, run, policy, recorded.whole, imagined, how)
    # Dreamer's actor-critic, in imagination.
    refined = stage(
        refine_policy,
        "refined",
        policy=starts.chosen,
        models=imagined,
        imagination=c.imagination,
        learner=c.dreamer,
        refinement=c.refine,
        **common,
    )
    return finish(run, c, latent_models, Parts(data, recorded, policy, imagined, refined, None, starts))
