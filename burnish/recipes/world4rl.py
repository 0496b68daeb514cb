"""World4RL (arXiv 2509.19080) on state observations, read from top to bottom like its method section.

Three networks learn, separately, from offline data: a behaviour-cloned policy, a diffusion transition model and a
success classifier.  They are frozen, and PPO refines the policy inside the world that they imagine.  Beyond the paper,
imagination is pessimistic: an ensemble halts episodes that leave the data, and an anchor holds the policy near the
pretrained one.
"""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.data import STATE, Dataset, DatasetInfo, Windows, read_dataset, require_successes, write_dataset
from burnish.errors import InputError, RunError
from burnish.evaluation.actor import PolicyActor
from burnish.evaluation.agent import Agent, load_agent, save_agent
from burnish.imagination import ImaginedEnv, StartStates, imagined_success
from burnish.pipeline import StageContext
from burnish.policies import GaussianPolicy
from burnish.recipes.world4rl_config import World4RLConfig
from burnish.rewards import BalancedFrames, SuccessClassifier
from burnish.rl import refine
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.counter import simulator_use
from burnish.simulators.experts import ExpertActor, RandomActor
from burnish.simulators.metaworld import STATE_NAMES
from burnish.simulators.parallel import WorkerPool
from burnish.simulators.vector import COLLECTION_SEEDS
from burnish.storage import write_json
from burnish.training import fit
from burnish.world_models import (
    DiffusionWorldModel,
    DisagreementEnsemble,
    ObservationHistory,
    TransitionSpace,
    learned_dimensions,
)

# ---------------------------------------------------------------------------------------------------------------------
# 1. Data: D_exp, D_random, and later D_rollout (section III-A).  Each kind of episode has its own range of seeds.

_SEEDS_PER_RUN, _SEEDS_PER_KIND = 100_000, 10_000


def collect_demonstrations(config: World4RLConfig, task: str, seed: int, pool: WorkerPool, stage: StageContext) -> None:
    """Expert demonstrations (the successful ones), random motion, and graded noisy experts if asked for."""
    c = config.collect
    tries = 4 * c.demonstrations + 10
    jobs = [
        _job("expert", ExpertActor, _seeds(seed, 0, tries), task=task, noise=c.demonstration_noise),
        _job("random", RandomActor, _seeds(seed, 1, c.random_episodes)),
    ]
    for level, seeds in _shares(_seeds(seed, 2, c.noisy_expert_episodes), c.noisy_expert_noise):
        jobs.append(_job("noisy_expert", ExpertActor, seeds, task=task, noise=level))
    episodes = _collect(config, task, jobs, pool, stage)
    kept = [e for e in episodes if e.source == "expert" and e.success.any()][: c.demonstrations]
    if len(kept) < c.demonstrations:
        raise RunError(
            f"{task}: the scripted expert with noise {c.demonstration_noise} succeeded in {len(kept)} of {tries} "
            f"episodes, {c.demonstrations} demonstrations are needed; lower collect.demonstration_noise"
        )
    others = [e for e in episodes if e.source != "expert"]
    write_dataset(stage.folder / "data", kept + others, _info(config))


def collect_rollouts(config: World4RLConfig, task: str, seed: int, pool: WorkerPool, stage: StageContext) -> None:
    """Rollouts of the pretrained policy with graded noise, joined to the demonstrations: the whole offline data."""
    c = config.collect
    earlier = read_dataset(stage.inputs["demonstrations"] / "data")
    jobs = [
        _job("policy", PolicyActor, seeds, folder=stage.inputs["policy"], noise=level)
        for level, seeds in _shares(_seeds(seed, 3, c.policy_episodes), c.policy_noise)
    ]
    episodes = _collect(config, task, jobs, pool, stage)
    dataset = earlier.to_episodes() + episodes
    write_dataset(stage.folder / "data", dataset, earlier.info)
    stage.record("episodes", len(dataset))


# ---------------------------------------------------------------------------------------------------------------------
# 2. The policy π_ξ, by behaviour cloning (Eqs. 1–2).


def pretrain(config: World4RLConfig, task: str, seed: int, demonstrations: Dataset, stage: StageContext) -> Agent:
    """Negative log-likelihood of the demonstrated actions; its normaliser is the one that every model shares."""
    observer = ObservationHistory(demonstrations.observation_dim, demonstrations.action_dim, config.history)
    observer.fit(demonstrations)
    torch.manual_seed(seed)
    policy = GaussianPolicy(observer.feature_dim, demonstrations.action_dim, config.policy)
    chosen = cloned_episodes(demonstrations)
    pairs = _Pairs(features(observer, chosen), chosen.actions)
    with stage.progress(config.pretraining.steps, "steps") as bar:
        fit(policy, pairs, config.pretraining, stage.folder, seed, on_step=bar.at)
    agent = Agent(observer, policy).eval()
    save_agent(stage.folder, agent, task)
    return agent


def cloned_episodes(dataset: Dataset) -> Dataset:
    """What the policy is cloned from: the expert's episodes where there are any, else the successful ones."""
    require_successes(dataset)
    if "expert" in dataset.sources:
        return dataset.with_sources(["expert"])
    return dataset.subset(torch.nonzero(dataset.episode_success).flatten().tolist())


# ---------------------------------------------------------------------------------------------------------------------
# 3. The transition model D_θ (Eqs. 4–7), and an ensemble beside it that knows where the data ends.


def train_world_model(
    config: World4RLConfig, seed: int, dataset: Dataset, agent: Agent, stage: StageContext
) -> DiffusionWorldModel:
    """EDM-preconditioned diffusion over the next observation, given H frames and two-hot actions."""
    training, _ = dataset.split(config.held_out, seed=0)
    torch.manual_seed(seed)
    world_model = DiffusionWorldModel(transition_space(config, training, agent), config.world_model)
    windows = Windows(training, history=config.history.frames, horizon=config.world_model.rollout_steps)
    with stage.progress(config.world_model_training.steps, "steps") as bar:
        fit(world_model, windows, config.world_model_training, stage.folder, seed, on_step=bar.at)
    world_model.save(stage.folder)
    return world_model


def train_ensemble(
    config: World4RLConfig, seed: int, dataset: Dataset, agent: Agent, stage: StageContext
) -> DisagreementEnsemble:
    """Bootstrapped predictors of the mean change; the halting threshold comes from held-out real windows."""
    training, held_out = dataset.split(config.held_out, seed=0)
    torch.manual_seed(seed + 1)
    ensemble = DisagreementEnsemble(transition_space(config, training, agent), config.ensemble)
    sampler = ensemble.bootstrap(training, seed)
    with stage.progress(config.ensemble_training.steps, "steps") as bar:
        fit(ensemble, sampler, config.ensemble_training, stage.folder, seed, on_step=bar.at)
    stage.record("halting", ensemble.calibrate(held_out))
    ensemble.save(stage.folder)
    return ensemble


def transition_space(config: World4RLConfig, training: Dataset, agent: Agent) -> TransitionSpace:
    """The space in which transitions are predicted, with the policy's normaliser."""
    learned = learned_dimensions(training)
    space = TransitionSpace(training.observation_dim, training.action_dim, learned, config.history)
    space.normaliser.load_state_dict(agent.observer.normaliser.state_dict())  # type: ignore[union-attr]
    return space.fit(training)


# ---------------------------------------------------------------------------------------------------------------------
# 4. The reward r_t = C_ψ(x_{t+1}): a binary success classifier.


def train_classifier(
    config: World4RLConfig, seed: int, dataset: Dataset, world_model: DiffusionWorldModel, stage: StageContext
) -> SuccessClassifier:
    """Binary cross-entropy on real frames and on imagined continuations of them; calibrated on held-out episodes."""
    require_successes(dataset)
    training, held_out = dataset.split(config.held_out, seed=0)
    torch.manual_seed(seed + 2)
    classifier = SuccessClassifier(world_model.feature_dim, config.classifier)
    share = config.classifier.imagined_share
    sources = [(1 - share, features(world_model.space, training), training.success)]
    if share > 0:
        sources.append((share, *imagined_frames(world_model, training, seed)))
    frames = BalancedFrames(sources, config.classifier.positive_share, config.classifier.members)
    with stage.progress(config.classifier_training.steps, "steps") as bar:
        fit(classifier, frames, config.classifier_training, stage.folder, seed, on_step=bar.at)
    calibration = classifier.calibrate(features(world_model.space, held_out), held_out.success)
    write_json(stage.folder / "calibration.json", calibration.to_dict())
    classifier.save(stage.folder)
    return classifier


@torch.no_grad()
def imagined_frames(
    world_model: DiffusionWorldModel, dataset: Dataset, seed: int, steps: int = 8, limit: int = 20_000
) -> tuple[Tensor, Tensor]:
    """Features after 1 … `steps` imagined steps under the recorded actions, labelled by what really happened.

    Windows that end in success are drawn more often, because they are rare.
    """
    frames = world_model.space.config.frames
    windows = Windows(dataset, history=frames, horizon=steps)
    generator = torch.Generator(device=dataset.device).manual_seed(seed)
    present = windows.present_frames
    succeeds = dataset.success[present + steps]
    weights = torch.where(succeeds, 0.3 / succeeds.sum().clamp(min=1), 0.7 / (~succeeds).sum().clamp(min=1))
    drawn = torch.multinomial(weights, max(1, limit // steps), replacement=True, generator=generator)
    batch = windows.gather(present[drawn])
    state = world_model.space.window_state(batch)
    rows, labels = [], []
    for step in range(steps):
        state = world_model.imagine(state, batch.action[:, frames - 1 + step], generator)
        rows.append(world_model.features(state))
        labels.append(batch.success[:, frames + step])
    return torch.cat(rows), torch.cat(labels)


# ---------------------------------------------------------------------------------------------------------------------
# 5. Refinement: PPO inside the frozen world model (Eqs. 8–9), without any interaction.


def refine_policy(
    config: World4RLConfig,
    task: str,
    seed: int,
    dataset: Dataset,
    agent: Agent,
    world_model: DiffusionWorldModel,
    classifier: SuccessClassifier,
    ensemble: DisagreementEnsemble,
    stage: StageContext,
) -> Agent:
    """Start states from the data, actions from the policy, consequences from the world model, reward from C_ψ."""
    before = simulator_use()
    starts = start_states(config, dataset, world_model)
    env = ImaginedEnv(world_model, classifier, starts, dataset.action_dim, config.imagination, ensemble, seed)

    judging = dataclasses.replace(config.imagination, num_envs=config.evaluation.imagined_episodes, horizon=10**9)
    judge = ImaginedEnv(world_model, classifier, starts, dataset.action_dim, judging, ensemble, seed + 1)
    judged = starts.episode_starts(config.evaluation.imagined_episodes)
    limit = dataset.info.max_steps or int(dataset.lengths.max())

    with stage.progress(config.refine.iterations, "iterations") as bar:
        result = refine(
            agent.policy,
            env,
            config.refine,
            config.ppo,
            lambda policy: imagined_success(judge, policy, judged, limit, seed),
            stage.folder,
            seed,
            on_iteration=bar.at,
        )
    if simulator_use() != before:
        raise RunError("refinement touched the simulator; this is a bug: no part of it may")
    for name, value in result.items():
        stage.record(name, value)
    save_agent(stage.folder, agent, task)
    return agent


def start_states(config: World4RLConfig, dataset: Dataset, world_model: DiffusionWorldModel) -> StartStates:
    """The state at every recorded frame."""
    windows = Windows(dataset, history=config.history.frames, horizon=0)
    frames = windows.present_frames
    return StartStates(dataset, world_model.space.window_state(windows.gather(frames)), frames, config.starts)


# ---------------------------------------------------------------------------------------------------------------------
# Small parts.


@torch.no_grad()
def features(observer: ObservationHistory, dataset: Dataset) -> Tensor:
    """What the policy and the classifier read at every frame, (F, feature_dim)."""
    windows = Windows(dataset, history=observer.config.frames, horizon=0)
    return observer.features(observer.window_state(windows.gather(windows.present_frames)))


class _Pairs:
    """Uniform batches of (features, action)."""

    def __init__(self, inputs: Tensor, actions: Tensor):
        self.inputs, self.actions = inputs, actions

    def sample(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        index = torch.randint(len(self.inputs), (batch_size,), generator=generator, device=self.inputs.device)
        return self.inputs[index], self.actions[index]


def _job(source: str, actor: Any, seeds: list[int], **arguments: Any) -> CollectJob:
    return CollectJob(source, actor, seeds, arguments)


def _seeds(run_seed: int, kind: int, count: int) -> list[int]:
    if count > _SEEDS_PER_KIND:
        raise InputError(f"{count} episodes of one kind were asked for, at most {_SEEDS_PER_KIND} are possible")
    first = COLLECTION_SEEDS + run_seed * _SEEDS_PER_RUN + kind * _SEEDS_PER_KIND
    return list(range(first, first + count))


def _shares(seeds: list[int], levels: tuple[float, ...]) -> list[tuple[float, list[int]]]:
    return [(level, seeds[i :: len(levels)]) for i, level in enumerate(levels) if seeds[i :: len(levels)]]


def _collect(config: World4RLConfig, task: str, jobs: list[CollectJob], pool: WorkerPool, stage: StageContext) -> list:
    before = simulator_use().control_steps
    simulator = config.simulator
    with stage.progress(sum(len(job.seeds) for job in jobs), "episodes") as bar:
        episodes = collect(
            task,
            [job for job in jobs if job.seeds],
            action_repeat=simulator.action_repeat,
            max_steps=simulator.max_steps,
            frames_after_success=config.collect.frames_after_success,
            workers=pool,
            progress=lambda done, total: bar.set(done),
        )
    stage.record("simulator_steps", simulator_use().control_steps - before)
    return episodes


def _info(config: World4RLConfig) -> DatasetInfo:
    simulator = config.simulator
    return DatasetInfo(
        fps=max(1, round(80 / simulator.action_repeat)),  # Meta-World's control rate is 80 Hz
        robot_type="sawyer",
        simulator="metaworld",
        action_repeat=simulator.action_repeat,
        max_steps=simulator.max_steps,
        state_names=STATE_NAMES,
    )


__all__ = [
    "STATE",
    "World4RLConfig",
    "collect_demonstrations",
    "collect_rollouts",
    "load_agent",
    "pretrain",
    "refine_policy",
    "train_classifier",
    "train_ensemble",
    "train_world_model",
]
