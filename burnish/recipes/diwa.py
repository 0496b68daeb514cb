"""DiWA (arXiv 2508.03645), read from top to bottom like its method section.

A recurrent latent world model learns from play data and is frozen. On its features a diffusion policy is cloned from a
few demonstrations and a contrastive classifier learns what success is. PPO then fine-tunes the policy over its last
denoising steps, inside the world model. Start states come from the data alone. Beyond the paper, imagination halts
where bootstrapped priors disagree.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch

from burnish.components import build, frozen
from burnish.config import within
from burnish.data import Dataset, Recording, Streams, in_chunks
from burnish.evaluation.gate import GateConfig
from burnish.evaluation.settings import EvaluationConfig
from burnish.imagination import ImaginationConfig
from burnish.pipeline import Reading, StageContext, stage
from burnish.policies import Agent, DiffusionPolicyConfig, GaussianPolicyConfig
from burnish.recipes.base import Models, Plan, Recipe, RecipeConfig, RunSpec
from burnish.recipes.stages.cloning import Cloning, clone, cloned_episodes, feature_versions, starting
from burnish.recipes.stages.data import Split, check_cameras, encoder_of, own_data, seen_by
from burnish.recipes.stages.finish import Parts, finish
from burnish.recipes.stages.recording import Real, noted
from burnish.recipes.stages.refining import refine_policy
from burnish.recipes.stages.training import reward_of, train, validation
from burnish.rewards import ContrastiveConfig
from burnish.rl import PPOConfig, RefineConfig
from burnish.simulators.settings import SimulatorConfig
from burnish.training import TrainingConfig
from burnish.world_models import (
    RSSM,
    RSSM_PRESETS,
    AutoencoderConfig,
    BootstrapTransitions,
    Encoded,
    LatentEnsemble,
    LatentEnsembleConfig,
    RSSMConfig,
    position_differences,
)


@dataclass(frozen=True)
class PlayConfig:
    """What is recorded in the simulator, once and before any learning."""

    demonstrations: int = within(5, 0)
    """Successful episodes of the scripted expert that the policy is cloned from (DiWA: 50 a skill)."""
    demonstration_noise: float = within(0.3, 0)
    """Standard deviation of the temporally correlated noise on the expert's actions."""
    play_episodes: int = within(300, 0)
    """Episodes of ever noisier experts, most of which fail: they stand for a person's play data (DiWA: 6 h)."""
    play_noise: tuple[float, ...] = within((0.2, 0.4, 0.6, 0.8), 0)
    random_episodes: int = within(30, 0)
    frames_after_success: int = within(8, 0)
    """Decisions recorded after the first success, so that the classifier sees what success looks like."""


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
    if run.own is None:
        if c.autoencoder is not None:
            check_cameras(c.cameras, c.autoencoder.image_size, c.simulator)
        real = run.real(c)
        real.check_expert()
        data = stage(record_play, "dataset", alone=True, real=real, collect=c.collect)
    else:
        data = own_data(
            run.own, run.task, c.cameras, c.reward, None if c.autoencoder is None else c.autoencoder.image_size
        )
    encoder = encoder_of(c, data, run.seed)
    recorded = seen_by(c, encoder, data)
    imagined = models(c, recorded.split(c.held_out), run.seed)
    how = Cloning(c.policy, c.pretraining, c.cloning_noise, c.posterior_samples, c.reward.best_share)
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
    return finish(run, c, models, Parts(data, recorded, policy, imagined, refined, encoder, starts))


# ---------------------------------------------------------------------------------------------------------------------
# 1. Play data, and a few demonstrations of the task.


def record_play(context: StageContext, real: Real, collect: PlayConfig) -> Recording:
    """Successful demonstrations, play (ever noisier experts) and random motion: the whole offline data."""
    c, recorder = collect, real.recorder
    others = [*recorder.noisy_experts(c.play_episodes, c.play_noise), *recorder.random_motion(c.random_episodes)]
    episodes = recorder.record_demonstrations(
        c.demonstrations, c.demonstration_noise, others, c.frames_after_success, context
    )
    return noted(context, Recording(episodes, recorder.info))


# ---------------------------------------------------------------------------------------------------------------------
# 2. The world model: a recurrent state-space model (section 3.1), bootstrapped priors that know where data ends, and
#    the reward: a latent success classifier (section 3.3).


def models(c: DiWA, data: Reading, seed: int) -> Models:
    """Everything that imagines, from (training, held-out) episodes; the gate asks for it again, on other ones."""
    world = stage(
        train_world_model,
        "world_model",
        data=data,
        model=c.world_model,
        length=c.sequence_length,
        training=c.world_model_training,
        seed=seed,
    )
    ensemble = stage(
        train_ensemble,
        "ensemble",
        data=data,
        world=world,
        model=c.ensemble,
        training=c.ensemble_training,
        seed=seed,
    )
    return Models(world, reward_of(c, data, world, c.classifier, seed), (ensemble,))


def train_world_model(
    context: StageContext, data: Split, model: RSSMConfig, length: int, training: TrainingConfig, seed: int
) -> RSSM:
    """Reconstruction and balanced KL on contiguous sequences, the recurrent state carried over."""
    episodes, held_out = data
    torch.manual_seed(seed)
    differences = position_differences(episodes, model.ignored)
    world = RSSM(episodes.observation_dim, episodes.action_dim, model, differences, episodes.info.state_names)
    world.to(episodes.device).fit(episodes)
    transitions, _ = in_chunks(shuffled(episodes, seed), model.action_steps)
    validate = validation(world, episodes, held_out, training, seed)
    return train(context, world, Streams(transitions, length), training, seed, validate)


def shuffled(dataset: Dataset, seed: int) -> Dataset:
    """The episodes in random order, so that neighbouring streams read different kinds of episodes."""
    generator = torch.Generator().manual_seed(seed)
    return dataset.subset(torch.randperm(dataset.num_episodes, generator=generator).tolist())


def train_ensemble(
    context: StageContext,
    data: Split,
    world: RSSM,
    model: LatentEnsembleConfig,
    training: TrainingConfig,
    seed: int,
) -> LatentEnsemble:
    """Bootstrapped predictors of the next latent; the threshold comes from held-out real transitions."""
    episodes, held_out = data
    torch.manual_seed(seed + 1)
    ensemble = LatentEnsemble(frozen(world), model).to(episodes.device)
    sampler = BootstrapTransitions(ensemble.transitions(episodes), model.members, seed)
    train(context, ensemble, sampler, training, seed)
    context.record("threshold", ensemble.calibrate(held_out))
    return ensemble


# ---------------------------------------------------------------------------------------------------------------------
# 3. The policy, by behaviour cloning on the world model's features (section 3.2).


def clone_policy(
    context: StageContext,
    data: Dataset,
    world: RSSM,
    how: Cloning,
    seed: int,
    task: str,
    encoder: Any,
) -> Agent:
    """A policy on action chunks, cloned from the demonstrations' posterior features."""
    world = frozen(world)
    torch.manual_seed(seed)
    policy = build(how.policy, world.feature_dim, data.action_dim).to(data.device)
    chosen = cloned_episodes(data, how.best_share)
    clone(context, how, policy, feature_versions(world, chosen, how.samples, seed), chosen, seed)
    policy.begin_refinement()
    return Agent(world if encoder is None else Encoded(encoder, world), policy, task, data.info.scaling)


# ---------------------------------------------------------------------------------------------------------------------
# Presets.

DEFAULT = DiWA()
SMALL_LATENT = AutoencoderConfig(cameras=("corner3",), image_size=32, latent_dim=16, width=8, hidden=64)

GAUSSIAN = replace(DEFAULT, policy=GaussianPolicyConfig(chunk=4), ppo=PPOConfig(rollout_steps=12, critic_warmup=5))
"""A Gaussian policy over chunks instead of the diffusion policy."""

CALVIN = replace(
    DEFAULT,
    simulator=SimulatorConfig(action_repeat=1, max_steps=72),
    collect=replace(DEFAULT.collect, demonstrations=10, demonstration_noise=0.2, play_noise=(0.0, 0.1, 0.2, 0.3)),
    # No skill needs the blocks, which lie elsewhere in every episode, and the arm's joints say little that the hand's
    # pose does not.
    world_model=replace(DEFAULT.world_model, ignored=("block", "joint")),
    imagination=replace(DEFAULT.imagination, horizon=72),
)
"""For CALVIN's skills (`--task calvin:open_drawer`): DiWA's time limit, play of all eight skills."""

TINY = replace(
    DEFAULT,
    collect=replace(DEFAULT.collect, play_episodes=24, random_episodes=6),
    world_model=RSSM_PRESETS["tiny"],
    world_model_training=replace(DEFAULT.world_model_training, steps=150, batch_size=24),
    policy=DiffusionPolicyConfig(width=64, denoising_steps=8, fine_tuned_steps=4),
    pretraining=replace(DEFAULT.pretraining, steps=300),
    posterior_samples=1,
    ensemble_training=replace(DEFAULT.ensemble_training, steps=200),
    classifier=replace(DEFAULT.classifier, hidden=128, embedding=64),
    classifier_training=replace(DEFAULT.classifier_training, steps=200),
    imagination=replace(DEFAULT.imagination, num_envs=64),
    ppo=replace(DEFAULT.ppo, critic_warmup=2),
    refine=replace(DEFAULT.refine, iterations=10, imagined_episodes=64),
    gate=GateConfig(worlds=2, training_share=0.5, episodes=16),
    evaluation=EvaluationConfig(episodes=20, curve_points=2, curve_episodes=10, videos=1),
)
"""Every stage for real, in about a minute: for tests and continuous integration, not for good policies."""

PAPER = replace(
    DEFAULT,
    simulator=SimulatorConfig(action_repeat=1, max_steps=72),
    collect=replace(DEFAULT.collect, demonstrations=50, play_episodes=5000),
    world_model=RSSM_PRESETS["published"],
    sequence_length=50,
    world_model_training=replace(DEFAULT.world_model_training, steps=100_000, batch_size=50, learning_rate=3e-4),
    policy=DiffusionPolicyConfig(denoising_steps=20, fine_tuned_steps=10, width=512, depth=3),
    pretraining=replace(DEFAULT.pretraining, steps=40_000, learning_rate=1e-4, weight_decay=1e-6),
    imagination=replace(DEFAULT.imagination, num_envs=50, horizon=72),
    ppo=replace(
        DEFAULT.ppo,
        rollout_steps=36,
        critic_warmup=2,
        clip=0.01,
        gamma=0.999,
        epochs=10,
        minibatch_size=750,
        policy_learning_rate=1e-5,
        target_kl=1.0,
    ),
    refine=replace(DEFAULT.refine, iterations=800, evaluate_every=25),
)
"""DiWA's own sizes and settings (CALVIN): for a GPU. 50 demonstrations, 5.76 million imagined steps."""


def pixels(c: DiWA, latent: AutoencoderConfig, steps: int = 7000) -> DiWA:
    """A compact latent of pictures instead of states: nothing that learns sees a state vector."""
    return replace(
        c,
        simulator=replace(c.simulator, cameras=latent.cameras, image_size=latent.image_size),
        autoencoder=latent,
        autoencoder_training=replace(c.autoencoder_training, steps=steps),
        # Latents hold noise besides what matters; weighted as exactly as states, it would fill the recurrent state. And
        # they have no names by which some could be ignored.
        world_model=replace(c.world_model, state_weight=c.world_model.state_weight / 6, ignored=()),
    )


PRESETS = {
    "default": DEFAULT,
    "gaussian": GAUSSIAN,
    "calvin": CALVIN,
    "paper": PAPER,
    "tiny": TINY,
    "pixels": pixels(DEFAULT, AutoencoderConfig()),
    "pixels-calvin": pixels(CALVIN, AutoencoderConfig(cameras=("static", "gripper"))),
    "pixels-tiny": pixels(TINY, SMALL_LATENT, steps=150),
}

RECIPE = Recipe(
    name="diwa",
    system="DiWA, on states or a compact latent of pictures",
    paper="arXiv 2508.03645",
    needs="a task with an expert, or your own data; for the published size a GPU",
    status="works",
    build=recipe,
    presets=PRESETS,
)
