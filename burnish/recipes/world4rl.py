"""World4RL (arXiv 2509.19080) on state observations, read from top to bottom like its method section.

Three networks learn, separately, from offline data: a behaviour-cloned policy, a diffusion transition model and a
success classifier.  They are frozen, and PPO refines the policy inside the world that they imagine.  Beyond the paper,
imagination is pessimistic: an ensemble and the distance to the data halt episodes that leave the data, and an anchor
holds the policy near the pretrained one.
"""

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from burnish.data import Dataset, Windows, read_dataset, require_successes
from burnish.errors import RunError
from burnish.evaluation.agent import Agent, load_agent, save_agent
from burnish.imagination import ImaginedEnv, StartStates, imagined_success
from burnish.pipeline import StageContext
from burnish.policies import GaussianPolicy
from burnish.recipes.evaluating import evaluate, simulator_steps
from burnish.recipes.own_data import OWN_DATA, OwnData, copy_own_data
from burnish.recipes.reporting import report
from burnish.recipes.steps import Step, store_dataset
from burnish.recipes.world4rl_config import World4RLConfig
from burnish.rewards import BalancedFrames, SuccessClassifier
from burnish.rl import refine
from burnish.storage import write_json
from burnish.training import fit
from burnish.world_models import (
    DataSupport,
    DiffusionWorldModel,
    DisagreementEnsemble,
    ObservationHistory,
    TransitionSpace,
    learned_dimensions,
    position_differences,
)

if TYPE_CHECKING:  # a run on somebody's own data imports no simulator
    from burnish.recipes.recording import Recorder


def steps(
    config: World4RLConfig, task: str, seed: int, recorder: "Recorder | None" = None, own: OwnData | None = None
) -> list[Step]:
    """The method in its order: every stage, what of the configuration it depends on, and what it reads.

    Data come from the simulator of `recorder`, or from `own`.  Without a simulator nothing is evaluated in one.
    """
    c = config

    def data(stage: StageContext) -> Dataset:
        return read_dataset(stage.inputs["dataset"])

    def agent(stage: StageContext) -> Agent:
        return load_agent(stage.inputs["policy"], task)

    def world_model(stage: StageContext) -> DiffusionWorldModel:
        return DiffusionWorldModel.load(stage.inputs["world_model"])

    def classifier(stage: StageContext) -> SuccessClassifier:
        return SuccessClassifier.load(stage.inputs["classifier"])

    def ensemble(stage: StageContext) -> DisagreementEnsemble:
        return DisagreementEnsemble.load(stage.inputs["ensemble"])

    def support(stage: StageContext) -> DataSupport:
        return DataSupport.load(stage.inputs["ensemble"] / "support")

    cloning = {"history": c.history, "policy": c.policy, "training": c.pretraining, "noise": c.cloning_noise}
    cloning |= {"seed": seed, "task": task}
    space = {"held_out": c.held_out, "history": c.history, "seed": seed}
    if recorder is not None:
        real = {"simulator": c.simulator, "collect": c.collect, "task": task, "seed": seed}
        sequence = [
            Step("demonstrations", real, (), lambda s: collect_demonstrations(c, recorder, s)),
            Step(
                "policy",
                cloning,
                ("demonstrations",),
                lambda s: pretrain(c, task, seed, read_dataset(s.inputs["demonstrations"]), s),
            ),
            Step("dataset", real, ("demonstrations", "policy"), lambda s: collect_rollouts(c, recorder, s)),
        ]
    else:
        assert own is not None
        sequence = [
            Step("dataset", {"own_data": own.rule, "task": task}, OWN_DATA, lambda s: copy_own_data(own, task, s)),
            Step("policy", cloning, ("dataset",), lambda s: pretrain(c, task, seed, data(s), s)),
        ]
    return [
        *sequence,
        Step(
            "world_model",
            {**space, "model": c.world_model, "training": c.world_model_training},
            ("dataset", "policy"),
            lambda s: train_world_model(c, seed, data(s), agent(s), s),
        ),
        Step(
            "ensemble",
            {**space, "model": c.ensemble, "training": c.ensemble_training, "support": c.support},
            ("dataset", "policy"),
            lambda s: train_ensemble(c, seed, data(s), agent(s), s),
        ),
        Step(
            "classifier",
            {**space, "model": c.classifier, "training": c.classifier_training},
            ("dataset", "world_model"),
            lambda s: train_classifier(c, seed, data(s), world_model(s), s),
        ),
        Step(
            "refined",
            {
                "starts": c.starts,
                "imagination": c.imagination,
                "ppo": c.ppo,
                "refine": c.refine,
                "imagined_episodes": c.evaluation.imagined_episodes,
                "seed": seed,
            },
            ("dataset", "policy", "world_model", "classifier", "ensemble"),
            lambda s: refine_policy(
                c, task, seed, data(s), agent(s), world_model(s), classifier(s), ensemble(s), support(s), s
            ),
        ),
        Step(
            "evaluation",
            {"simulator": c.simulator, "evaluation": c.evaluation, "held_out": c.held_out, "seed": seed},
            ("dataset", "policy", "world_model", "ensemble", "refined"),
            lambda s: evaluate(c, task, seed, recorder, data(s), world_model(s), ensemble(s), s),
        ),
        Step(
            "report",
            {},
            tuple(step.name for step in sequence) + ("world_model", "ensemble", "classifier", "refined", "evaluation"),
            report,
        ),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# 1. Data: D_exp, D_random, and later D_rollout (section III-A).


def collect_demonstrations(config: World4RLConfig, recorder: "Recorder", stage: StageContext) -> None:
    """Expert demonstrations (the successful ones), random motion, and graded noisy experts if asked for."""
    c = config.collect
    tries = 4 * c.demonstrations + 10
    jobs = [
        *recorder.expert(tries, c.demonstration_noise),
        *recorder.random_motion(c.random_episodes),
        *recorder.noisy_experts(c.noisy_expert_episodes, c.noisy_expert_noise),
    ]
    episodes = recorder.record(jobs, c.frames_after_success, stage)
    kept = [e for e in episodes if e.source == "expert" and e.success.any()][: c.demonstrations]
    if len(kept) < c.demonstrations:
        raise RunError(
            f"{recorder.task}: the scripted expert with noise {c.demonstration_noise} succeeded in {len(kept)} of "
            f"{tries} episodes, {c.demonstrations} demonstrations are needed; lower collect.demonstration_noise"
        )
    others = [e for e in episodes if e.source != "expert"]
    store_dataset(stage.folder, kept + others, recorder.info)


def collect_rollouts(config: World4RLConfig, recorder: "Recorder", stage: StageContext) -> None:
    """Rollouts of the pretrained policy with graded noise, joined to the demonstrations: the whole offline data."""
    c = config.collect
    earlier = read_dataset(stage.inputs["demonstrations"]).to_episodes()
    jobs = recorder.rollouts(stage.inputs["policy"], c.policy_episodes, c.policy_noise)
    episodes = earlier + recorder.record(jobs, c.frames_after_success, stage)
    store_dataset(stage.folder, episodes, recorder.info)


# ---------------------------------------------------------------------------------------------------------------------
# 2. The policy π_ξ, by behaviour cloning (Eqs. 1–2).


def pretrain(config: World4RLConfig, task: str, seed: int, demonstrations: Dataset, stage: StageContext) -> None:
    """Negative log-likelihood of the demonstrated actions; its normaliser is the one that every model shares."""
    observer = ObservationHistory(demonstrations.observation_dim, demonstrations.action_dim, config.history)
    observer.fit(demonstrations)
    torch.manual_seed(seed)
    policy = GaussianPolicy(observer.feature_dim, demonstrations.action_dim, config.policy)
    chosen = cloned_episodes(demonstrations)
    pairs = _Pairs(features(observer, chosen), chosen.actions, config.cloning_noise)
    with stage.progress(config.pretraining.steps, "steps") as bar:
        fit(policy, pairs, config.pretraining, stage.folder, seed, on_step=bar.at)
    agent = Agent(observer, policy).eval()
    save_agent(stage.folder, agent, task)


def cloned_episodes(dataset: Dataset) -> Dataset:
    """What the policy is cloned from: the expert's episodes where there are any, else the successful ones."""
    require_successes(dataset)
    if "expert" in dataset.sources:
        return dataset.with_sources(["expert"])
    return dataset.subset(torch.nonzero(dataset.episode_success).flatten().tolist())


# ---------------------------------------------------------------------------------------------------------------------
# 3. The transition model D_θ (Eqs. 4–7), and an ensemble beside it that knows where the data ends.


def train_world_model(config: World4RLConfig, seed: int, dataset: Dataset, agent: Agent, stage: StageContext) -> None:
    """EDM-preconditioned diffusion over the next observation, given H frames and two-hot actions."""
    training, _ = dataset.split(config.held_out, seed=0)
    torch.manual_seed(seed)
    world_model = DiffusionWorldModel(transition_space(config, training, agent), config.world_model)
    windows = Windows(training, history=config.history.frames, horizon=config.world_model.rollout_steps)
    with stage.progress(config.world_model_training.steps, "steps") as bar:
        fit(world_model, windows, config.world_model_training, stage.folder, seed, on_step=bar.at)
    world_model.save(stage.folder)


def train_ensemble(config: World4RLConfig, seed: int, dataset: Dataset, agent: Agent, stage: StageContext) -> None:
    """Bootstrapped predictors of the mean change; the halting threshold comes from held-out real windows."""
    training, held_out = dataset.split(config.held_out, seed=0)
    torch.manual_seed(seed + 1)
    ensemble = DisagreementEnsemble(transition_space(config, training, agent), config.ensemble)
    sampler = ensemble.bootstrap(training, seed)
    with stage.progress(config.ensemble_training.steps, "steps") as bar:
        fit(ensemble, sampler, config.ensemble_training, stage.folder, seed, on_step=bar.at)
    stage.record("halting", ensemble.calibrate(held_out))
    ensemble.save(stage.folder)
    support = DataSupport.fit(ensemble.space, config.support, training, held_out, seed)
    support.save(stage.folder / "support")


def transition_space(config: World4RLConfig, training: Dataset, agent: Agent) -> TransitionSpace:
    """The space in which transitions are predicted, with the policy's normaliser."""
    learned = learned_dimensions(training)
    differences = position_differences(training)
    space = TransitionSpace(training.observation_dim, training.action_dim, learned, config.history, differences)
    space.normaliser.load_state_dict(agent.observer.normaliser.state_dict())  # type: ignore[union-attr]
    return space.fit(training)


# ---------------------------------------------------------------------------------------------------------------------
# 4. The reward r_t = C_ψ(x_{t+1}): a binary success classifier.


def train_classifier(
    config: World4RLConfig, seed: int, dataset: Dataset, world_model: DiffusionWorldModel, stage: StageContext
) -> None:
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
    clear = ~about_to_succeed(held_out, config.classifier.grace_frames)
    calibration = classifier.calibrate(features(world_model.space, held_out)[clear], held_out.success[clear])
    write_json(stage.folder / "calibration.json", calibration.to_dict())
    classifier.save(stage.folder)


def about_to_succeed(dataset: Dataset, frames: int) -> Tensor:
    """Frames (F,) of failure that success follows within `frames` frames: to call it a moment early is no mistake."""
    soon = torch.zeros_like(dataset.success)
    last = dataset.starts + dataset.lengths - 1
    ahead = dataset.success
    for _ in range(frames):
        ahead = ahead.roll(-1)
        ahead[last] = False
        soon |= ahead
    return soon & ~dataset.success


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
    support: DataSupport,
    stage: StageContext,
) -> None:
    """Start states from the data, actions from the policy, consequences from the world model, reward from C_ψ."""
    before = simulator_steps()
    starts = start_states(config, dataset, world_model)
    env = ImaginedEnv(world_model, classifier, starts, dataset.action_dim, config.imagination, ensemble, seed, support)

    judging = dataclasses.replace(config.imagination, num_envs=config.evaluation.imagined_episodes, horizon=10**9)
    judge = ImaginedEnv(world_model, classifier, starts, dataset.action_dim, judging, ensemble, seed + 1, support)
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
    if simulator_steps() != before:
        raise RunError("refinement touched the simulator; this is a bug: no part of it may")
    stage.record("simulator_steps", 0)
    for name, value in result.items():
        stage.record(name, value)
    save_agent(stage.folder, agent, task)


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
    """Uniform batches of (features, action), with noise on the features."""

    def __init__(self, inputs: Tensor, actions: Tensor, noise: float) -> None:
        self.inputs, self.actions, self.noise = inputs, actions, noise

    def sample(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        index = torch.randint(len(self.inputs), (batch_size,), generator=generator, device=self.inputs.device)
        inputs = self.inputs[index]
        disturbance = torch.randn(inputs.shape, generator=generator, device=inputs.device)
        return inputs + self.noise * disturbance, self.actions[index]
