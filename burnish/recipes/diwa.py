"""DiWA (arXiv 2508.03645), read from top to bottom like its method section.

A recurrent latent world model learns from play data and is frozen. On its features a diffusion policy is cloned from a
few demonstrations and a contrastive classifier learns what success is. PPO then fine-tunes the policy over its last
denoising steps, inside the world model. Start states come from the data alone. Beyond the paper, imagination halts
where bootstrapped priors disagree.
"""

from dataclasses import dataclass

from burnish.config import within
from burnish.evaluation.gate import GateConfig
from burnish.imagination import ImaginationConfig
from burnish.pipeline import stage
from burnish.policies import DiffusionPolicyConfig, GaussianPolicyConfig
from burnish.policies.given import GivenConfig
from burnish.recipes.base import Plan, RecipeConfig, RunSpec
from burnish.recipes.stages.cloning import Cloning, starting
from burnish.recipes.stages.data import Recorded, encoder_of, seen_by
from burnish.recipes.stages.finish import Parts, finish
from burnish.recipes.stages.latent import clone_policy, latent_models
from burnish.recipes.stages.play import PlayConfig, play_or_own
from burnish.recipes.stages.refining import refine_policy
from burnish.recipes.stages.taking import Seeing, taken
from burnish.rewards import ContrastiveConfig
from burnish.rl import PPOConfig, RefineConfig
from burnish.training import TrainingConfig
from burnish.world_models import (
    RSSM_PRESETS,
    AutoencoderConfig,
    LatentEnsemble,
    LatentEnsembleConfig,
    RSSMConfig,
)


@dataclass(frozen=True)
class DiWA(RecipeConfig):
    """Every setting of the method."""

    collect: PlayConfig = PlayConfig()
    autoencoder: AutoencoderConfig | None = None
    """Of pictures, where models read its latents instead of states."""
    autoencoder_training: TrainingConfig = TrainingConfig(steps=7000, batch_size=16, learning_rate=2e-3)
    """A batch is that many windows of three frames."""
    world_model: RSSMConfig = RSSM_PRESETS["small"]
    sequence_length: int = within(20, 1)
    """Frames of one training sequence; the state is carried from one to the next (DiWA: 50)."""
    world_model_training: TrainingConfig = TrainingConfig(
        steps=3000, batch_size=48, learning_rate=2e-3, ema_decay=None, gradient_clip=100.0
    )
    policy: DiffusionPolicyConfig | GaussianPolicyConfig = DiffusionPolicyConfig(
        denoising_steps=10, fine_tuned_steps=5, width=192
    )
    """Half of DiWA's steps (20, the last 10 fine-tuned; preset `paper` has them): PPO's time goes here."""
    pretraining: TrainingConfig = TrainingConfig(steps=3000, batch_size=256, weight_decay=1e-4)
    cloning_noise: float = within(0.05, 0)
    """Noise on the features while cloning: imagined features are never exact."""
    given: GivenConfig = GivenConfig()
    """Of a policy that was brought along (--policy) instead of cloning one; it reads what the world model draws."""
    posterior_samples: int = within(4, 0)
    """Samples of the posterior that the policy is cloned from, beside its most likely classes."""
    ensemble: LatentEnsembleConfig = LatentEnsembleConfig()
    ensemble_training: TrainingConfig = TrainingConfig(steps=1500, batch_size=256, ema_decay=None)
    classifier: ContrastiveConfig = ContrastiveConfig()
    classifier_training: TrainingConfig = TrainingConfig(steps=1000, batch_size=256, ema_decay=None, weight_decay=1e-3)
    """Of the success classifier, or of a learned reward."""
    imagination: ImaginationConfig = ImaginationConfig(num_envs=256, horizon=100, reward_at="decision")
    ppo: PPOConfig = PPOConfig(
        rollout_steps=12,
        critic_warmup=5,
        clip=0.05,
        epochs=5,
        minibatch_size=1024,
        policy_learning_rate=3e-4,
        anchor_weight=0.05,
        target_kl=None,
        gamma=0.99,
    )
    """The discount is per decision; the anchor's weight is DiWA's α_BC. Clip range and learning rate are wider than
    DiWA's (0.01, 1e-5: preset `paper`), which has seven times as many imagined steps."""
    refine: RefineConfig = RefineConfig(iterations=80, margin=0.02, average=0.8, patience=4)
    gate: GateConfig = GateConfig(training_share=0.25)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Whose pictures the models look at."""
        return self.autoencoder.cameras if self.autoencoder is not None else ()

    def __post_init__(self) -> None:
        self.imagination.pessimism.check((LatentEnsemble.name,))


def recipe(c: DiWA, run: RunSpec) -> Plan:
    """The method in its order."""
    data = play_or_own(c, run, None if c.autoencoder is None else c.autoencoder.image_size)
    encoder = encoder_of(c, data, run.seed)
    recorded = seen_by(c, encoder, data)
    # The world model (section 3.1), priors that know where the data end, and the success classifier (section 3.3).
    imagined = latent_models(c, recorded.split(c.held_out), run.seed)
    how = Cloning(c.policy, c.pretraining, c.cloning_noise, c.posterior_samples, c.reward.best_share)
    if run.policy is None:
        # Behaviour cloning on the world model's features (section 3.2).
        policy = stage(
            clone_policy,
            "policy",
            data=recorded.whole,
            world=imagined.world,
            how=how,
            seed=run.seed,
            task=run.task,
            encoder=encoder,
        )
    else:
        pictures = None if encoder is None else Recorded(data, c.cameras).whole
        seeing = Seeing(world=imagined.world, encoder=encoder, recorded=pictures)
        policy = taken(run, c.given, recorded.whole, seeing)
    starts = starting(c, run, policy, recorded.whole, imagined, how)
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
    return finish(run, c, latent_models, Parts(data, recorded, policy, imagined, refined, encoder, starts))
