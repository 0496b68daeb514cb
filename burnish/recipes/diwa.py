"""DiWA (arXiv 2508.03645), read from top to bottom like its method section.

A recurrent latent world model learns from play data and is frozen.  On its features a diffusion policy is cloned from a
few demonstrations and a contrastive classifier learns what success is.  PPO then fine-tunes the policy over its last
denoising steps, inside the world model.  Start states come from the data alone.  Beyond the paper, imagination halts
where bootstrapped priors disagree.
"""

from typing import TYPE_CHECKING

import torch

from burnish.components import frozen, load, save
from burnish.data import Dataset, Streams, in_chunks, require_successes
from burnish.pipeline import StageContext
from burnish.policies import Agent, DiffusionPolicy, GaussianPolicy, load_agent
from burnish.recipes.device import CPU
from burnish.recipes.diwa_config import DiWAConfig
from burnish.recipes.gating import gate_steps
from burnish.recipes.own_data import OwnData, copy_own_data
from burnish.recipes.parts import (
    Imagination,
    Split,
    clone,
    cloned_episodes,
    recorded_features,
    refine_in_imagination,
    train_classifier,
    validation,
    with_evaluation_and_report,
)
from burnish.recipes.steps import Step, store_dataset
from burnish.recipes.views import StateView, view_of
from burnish.rewards import ContrastiveClassifier
from burnish.training import fit
from burnish.world_models import RSSM, BootstrapTransitions, Encoded, LatentEnsemble, position_differences

if TYPE_CHECKING:  # a run on somebody's own data imports no simulator
    from burnish.recipes.recording import Recorder


def steps(
    config: DiWAConfig,
    task: str,
    seed: int,
    recorder: "Recorder | None" = None,
    own: OwnData | None = None,
    device: torch.device = CPU,
) -> list[Step]:
    """The method in its order: every stage, what of the configuration it depends on, and what it reads.

    Data come from the simulator of `recorder`, or from `own`.  Without a simulator nothing is evaluated in one.  Models
    learn and imagine on `device`; an autoencoder of pictures, the gate's judgement and the evaluation are on the CPU.
    """
    c = config
    simulator = c.simulator if recorder is not None else None
    view = view_of(c.observation, c.autoencoder, c.autoencoder_training, simulator, c.held_out, seed)
    seen = view.inputs

    def data(stage: StageContext) -> Dataset:
        return view.dataset(stage).to(device)

    def vectors(stage: StageContext) -> Dataset:
        return view.vectors(data(stage))

    def split(stage: StageContext) -> Split:
        return vectors(stage).split(c.held_out, seed=0)

    def agent(stage: StageContext) -> Agent:
        return load_agent(stage.inputs["policy"], task).to(device)

    def world_model(stage: StageContext, where: torch.device = device) -> RSSM:
        return frozen(load(stage.inputs["world_model"], RSSM)).to(where)

    def classifier(stage: StageContext) -> ContrastiveClassifier:
        return frozen(load(stage.inputs["classifier"], ContrastiveClassifier)).to(device)

    def ensemble(stage: StageContext, where: torch.device = device) -> LatentEnsemble:
        return frozen(load(stage.inputs["ensemble"], LatentEnsemble)).to(where)

    learning = {"held_out": c.held_out, "seed": seed}
    if recorder is not None:
        real = {"simulator": c.simulator, "collect": c.collect, "task": task, "seed": seed}
        first = Step("dataset", real, (), lambda s: collect_play(c, recorder, s), alone=True)
    else:
        assert own is not None
        first = Step(
            "dataset",
            {"own_data": own.rule, "task": task},
            own.inputs(view.cameras),
            lambda s: copy_own_data(own, task, view.cameras, s),
            alone=True,
        )
    learned = [
        first,
        *view.steps("dataset"),
        *view.latents(),
        Step(
            "world_model",
            {**learning, "model": c.world_model, "length": c.sequence_length, "training": c.world_model_training},
            ("dataset", *seen),
            lambda s: train_world_model(c, seed, split(s), s),
        ),
        Step(
            "policy",
            {
                "family": c.policy,
                "policy": c.diffusion if c.policy == "diffusion" else c.gaussian,
                "training": c.pretraining,
                "noise": c.cloning_noise,
                "samples": c.posterior_samples,
                "task": task,
                "seed": seed,
            },
            ("dataset", "world_model", *seen),
            lambda s: pretrain(c, task, seed, vectors(s), world_model(s), view, s),
        ),
        Step(
            "ensemble",
            {**learning, "model": c.ensemble, "training": c.ensemble_training},
            ("dataset", "world_model", *seen),
            lambda s: train_ensemble(c, seed, split(s), world_model(s), s),
        ),
        Step(
            "classifier",
            {**learning, "model": c.classifier, "training": c.classifier_training},
            ("dataset", "world_model", *seen),
            lambda s: train_success_classifier(c, seed, split(s), world_model(s), s),
        ),
        Step(
            "refined",
            {
                "starts": c.starts,
                "imagination": c.imagination,
                "ppo": c.ppo if c.policy == "diffusion" else c.gaussian_ppo,
                "refine": c.refine,
                "imagined_episodes": c.evaluation.imagined_episodes,
                "seed": seed,
            },
            ("dataset", "policy", "world_model", "classifier", "ensemble", *seen),
            lambda s: refine_policy(
                c,
                task,
                seed,
                data(s),
                agent(s),
                view.outside(s, world_model(s)).to(device),
                classifier(s),
                ensemble(s),
                s,
            ),
        ),
    ]
    learned += gate_steps(
        c,
        task,
        seed,
        view,
        {
            "world_model": c.world_model,
            "length": c.sequence_length,
            "ensemble": c.ensemble,
            "classifier": c.classifier,
        },
        ("dataset", *seen),
        lambda fewer_steps, seed, split, s: train_world(
            fewer_steps, seed, (split[0].to(device), split[1].to(device)), s
        ),
    )
    return with_evaluation_and_report(
        learned,
        c,
        task,
        seed,
        recorder,
        view,
        lambda s: world_model(s, CPU),
        lambda s: ensemble(s, CPU),
    )


# ---------------------------------------------------------------------------------------------------------------------
# 1. Play data, and a few demonstrations of the task.


def collect_play(config: DiWAConfig, recorder: "Recorder", stage: StageContext) -> None:
    """Successful demonstrations, play (ever noisier experts) and random motion: the whole offline data."""
    c = config.collect
    others = [
        *recorder.noisy_experts(c.play_episodes, c.play_noise),
        *recorder.random_motion(c.random_episodes),
    ]
    episodes = recorder.record_demonstrations(
        c.demonstrations, c.demonstration_noise, others, c.frames_after_success, stage
    )
    store_dataset(stage.folder, episodes, recorder.info)


# ---------------------------------------------------------------------------------------------------------------------
# 2. The world model: a recurrent state-space model (section 3.1), and bootstrapped priors that know where data ends.


def train_world_model(config: DiWAConfig, seed: int, split: Split, stage: StageContext) -> None:
    """Reconstruction and balanced KL on contiguous sequences, the recurrent state carried over."""
    training, held_out = split
    torch.manual_seed(seed)
    world_model = RSSM(
        training.observation_dim,
        training.action_dim,
        config.world_model,
        position_differences(training, config.world_model.ignored),
        training.info.state_names,
    )
    world_model.to(training.device).fit(training)
    transitions, _ = in_chunks(shuffled(training, seed), config.world_model.action_steps)
    streams = Streams(transitions, config.sequence_length)
    schedule = config.world_model_training
    validate = validation(world_model, training, held_out, schedule, seed)
    with stage.progress(schedule.steps, "steps") as bar:
        fit(world_model, streams, schedule, stage.folder, seed, on_step=bar.at, validate=validate)
    save(stage.folder, world_model)


def shuffled(dataset: Dataset, seed: int) -> Dataset:
    """The episodes in random order, so that neighbouring streams read different kinds of episodes."""
    generator = torch.Generator().manual_seed(seed)
    return dataset.subset(torch.randperm(dataset.num_episodes, generator=generator).tolist())


def train_ensemble(config: DiWAConfig, seed: int, split: Split, world_model: RSSM, stage: StageContext) -> None:
    """Bootstrapped predictors of the next latent; the halting threshold comes from held-out real transitions."""
    training, held_out = split
    torch.manual_seed(seed + 1)
    ensemble = LatentEnsemble(world_model, config.ensemble).to(training.device)
    sampler = BootstrapTransitions(ensemble.transitions(training), config.ensemble.members, seed)
    with stage.progress(config.ensemble_training.steps, "steps") as bar:
        fit(ensemble, sampler, config.ensemble_training, stage.folder, seed, on_step=bar.at)
    stage.record("halting", ensemble.calibrate(held_out))
    save(stage.folder, ensemble)


# ---------------------------------------------------------------------------------------------------------------------
# 3. The policy, by behaviour cloning on the world model's features (section 3.2).


def pretrain(
    config: DiWAConfig,
    task: str,
    seed: int,
    dataset: Dataset,
    world_model: RSSM,
    view: StateView,
    stage: StageContext,
) -> None:
    """A diffusion policy on action chunks, cloned from the demonstrations' posterior features."""
    torch.manual_seed(seed)
    if config.policy == "diffusion":
        policy = DiffusionPolicy(world_model.feature_dim, dataset.action_dim, config.diffusion)
    else:
        policy = GaussianPolicy(world_model.feature_dim, dataset.action_dim, config.gaussian)
    policy.to(dataset.device)
    chosen = cloned_episodes(dataset)
    generator = torch.Generator(device=dataset.device).manual_seed(seed)
    versions = [recorded_features(world_model, chosen)]
    versions += [world_model.features(world_model.recorded(chosen, generator)) for _ in range(config.posterior_samples)]
    clone(policy, versions, chosen, config.cloning_noise, config.pretraining, seed, stage)
    policy.begin_refinement()
    save(stage.folder, Agent(view.outside(stage, world_model), policy, task=task))


# ---------------------------------------------------------------------------------------------------------------------
# 4. The reward: a latent success classifier (section 3.3).


def train_success_classifier(
    config: DiWAConfig, seed: int, split: Split, world_model: RSSM, stage: StageContext
) -> None:
    """Supervised contrastive loss plus cross-entropy, on real and imagined latents; calibrated on held-out episodes."""
    training, held_out = split
    require_successes(training)
    torch.manual_seed(seed + 2)
    classifier = ContrastiveClassifier(world_model.feature_dim, config.classifier).to(training.device)
    train_classifier(classifier, world_model, training, held_out, config.classifier_training, seed, stage)


def train_world(config: DiWAConfig, seed: int, split: Split, stage: StageContext) -> None:
    """Everything that imagines, on other episodes: for the trust gate's held-out worlds."""
    stage.once("world_model", lambda s: train_world_model(config, seed, split, s))
    world_model = frozen(load(stage.folder / "world_model", RSSM)).to(split[0].device)
    stage.once("ensemble", lambda s: train_ensemble(config, seed, split, world_model, s))
    stage.once("classifier", lambda s: train_success_classifier(config, seed, split, world_model, s))


# ---------------------------------------------------------------------------------------------------------------------
# 5. Refinement: PPO in the Dream Diffusion MDP (section 3.4), without any interaction.


def refine_policy(
    config: DiWAConfig,
    task: str,
    seed: int,
    dataset: Dataset,
    agent: Agent,
    world_model: "RSSM | Encoded",
    classifier: ContrastiveClassifier,
    ensemble: LatentEnsemble,
    stage: StageContext,
) -> None:
    """Start states from the data, chunks from the policy, consequences from the prior, reward at the chunk's end."""
    imagination = Imagination(world_model, classifier, ensemble, None, dataset, config.starts, config.imagination)
    ppo = config.ppo if config.policy == "diffusion" else config.gaussian_ppo
    judged = config.evaluation.imagined_episodes
    stage.record("device", dataset.device.type)
    refine_in_imagination(imagination, agent, task, ppo, config.refine, judged, seed, stage)
