"""Parts of the method that published systems share: cloning, the success classifier, refinement in imagination."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from burnish.baselines import successful_episodes
from burnish.data import Dataset, Windows, about_to_succeed, action_chunks, require_successes
from burnish.errors import InputError, RunError
from burnish.evaluation.agent import Agent, check_same_features, save_agent
from burnish.evaluation.prediction import open_loop
from burnish.evaluation.replay import replay, state_judge
from burnish.imagination import ImaginationConfig, ImaginedEnv, StartConfig, StartStates, imagined_success
from burnish.pipeline import StageContext
from burnish.policies import Policy
from burnish.recipes.evaluating import evaluate, simulator_steps
from burnish.recipes.reporting import report
from burnish.recipes.steps import Step
from burnish.recipes.views import StateView
from burnish.report.compose import read_rows
from burnish.report.section import save_sections
from burnish.report.sections_models import calibration_section
from burnish.report.sections_policies import refinement_section
from burnish.rewards import BalancedFrames, CalibratedClassifier
from burnish.rl import PPOConfig, RefineConfig, refine
from burnish.storage import write_json
from burnish.training import TrainingConfig, Validate, current, fit
from burnish.world_models import WorldModel

if TYPE_CHECKING:  # a run on somebody's own data imports no simulator
    from burnish.recipes.recording import Recorder

Split = tuple[Dataset, Dataset]
"""Episodes that a model learns from, and others that calibrate it."""

# ---------------------------------------------------------------------------------------------------------------------
# Behaviour cloning.


def cloned_episodes(dataset: Dataset) -> Dataset:
    """What the policy is cloned from: the expert's episodes where there are any, else the successful ones."""
    require_successes(dataset)
    if "expert" in dataset.sources:
        return dataset.with_sources(["expert"])
    return successful_episodes(dataset)


def clone(
    policy: Policy,
    features: Sequence[Tensor],
    episodes: Dataset,
    noise: float,
    training: TrainingConfig,
    seed: int,
    stage: StageContext,
) -> None:
    """Train `policy` on the chunks of actions that `episodes` show at each frame.

    `features` holds one or several versions (F, feature_dim) of what the observer makes of the frames; `noise` is the
    standard deviation of Gaussian noise on them.  Give 0 for pictures: the policy's own `augment` takes its place.
    """
    frames, chunks = action_chunks(episodes, policy.config.chunk)
    pairs = _Pairs(torch.cat([version[frames] for version in features]), chunks.repeat(len(features), 1, 1), noise)
    with stage.progress(training.steps, "steps") as bar:
        fit(policy, pairs, training, stage.folder, seed, on_step=bar.at)


class _Pairs:
    """Uniform batches of (features, action chunk), with noise on the features."""

    def __init__(self, inputs: Tensor, chunks: Tensor, noise: float) -> None:
        self.inputs, self.chunks, self.noise = inputs, chunks, noise

    def sample(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        index = torch.randint(len(self.inputs), (batch_size,), generator=generator, device=self.inputs.device)
        inputs = self.inputs[index]
        if self.noise == 0:
            return inputs, self.chunks[index]
        disturbance = torch.randn(inputs.shape, generator=generator, device=inputs.device)
        return inputs + self.noise * disturbance, self.chunks[index]


# ---------------------------------------------------------------------------------------------------------------------
# The world model.


def validation(
    world_model: WorldModel, training: Dataset, held_out: Dataset, config: TrainingConfig, seed: int
) -> Validate | None:
    """What a world model is validated by, where the configuration asks for it, on episodes that it does not learn from.

    "open_loop_error" is `held_out_error`.  "outcome_error" is 1 − the correlation of imagined and recorded success of
    replayed episodes (`evaluation.replay`): the trust gate's score, asked while the model still learns.  It is left out
    where the held-out episodes do not have both outcomes, or training has no success.

    Raises:
        InputError: training is to stop by another number, or by one that is left out here.
    """
    if config.validate_every is None:
        return None
    outcomes = held_out.episode_success
    judge = None
    if bool(training.success.any()) and bool(outcomes.any()) and not bool(outcomes.all()):
        judge = state_judge(training, seed)
    names = ["open_loop_error"] if judge is None else ["open_loop_error", "outcome_error"]
    if config.stop_by not in (None, *names):
        raise InputError(
            f"world_model_training.stop_by: found '{config.stop_by}', expected one of: {', '.join(names)}"
            + (" (the data lacks successes or failures to compare outcomes by)" if judge is None else "")
        )

    def measure() -> dict[str, float]:
        found = held_out_error(world_model, held_out, seed)
        if judge is not None:
            found["outcome_error"] = 1 - replay(world_model, judge, held_out, seed).correlation
        return found

    return measure


def held_out_error(
    world_model: WorldModel, held_out: Dataset, seed: int, horizon: int = 10, limit: int = 256
) -> dict[str, float]:
    """The median error of open-loop prediction over windows, at the last horizon.

    In standard deviations of the data.  The training loss tells of one step from recorded states, at all levels of
    noise; refinement lives on many steps from imagined ones.
    """
    reach = min(horizon, int(held_out.lengths.max()) - 1)
    found = open_loop(world_model, held_out, max(1, reach // world_model.action_steps), seed, limit=limit)
    return {"open_loop_error": float(found.model_error[:, -1].quantile(0.5))}


# ---------------------------------------------------------------------------------------------------------------------
# The success classifier.


def train_classifier(
    classifier: CalibratedClassifier,
    world_model: WorldModel,
    training: Dataset,
    held_out: Dataset,
    config: TrainingConfig,
    seed: int,
    stage: StageContext,
) -> None:
    """On features of recorded frames and of imagined continuations of them; calibrated on held-out episodes."""
    share = classifier.config.imagined_share
    sources = [(1 - share, recorded_features(world_model, training), training.success)]
    if share > 0:
        sources.append((share, *imagined_frames(world_model, training, seed)))
    frames = BalancedFrames(
        sources, classifier.config.positive_share, classifier.members, classifier.hard_share, classifier.probability
    )
    with stage.progress(config.steps, "steps") as bar:
        fit(classifier, frames, config, stage.folder, seed, on_step=bar.at)
    clear = ~about_to_succeed(held_out, classifier.config.grace_frames)
    calibration = classifier.calibrate(recorded_features(world_model, held_out)[clear], held_out.success[clear])
    write_json(stage.folder / "calibration.json", calibration.to_dict())
    save_sections(stage.folder, [calibration_section(calibration.to_dict())])
    classifier.save(stage.folder)


@torch.no_grad()
def recorded_features(observer: Any, dataset: Dataset) -> Tensor:
    """What the policy and the classifier read at every frame, (F, feature_dim)."""
    return observer.features(observer.recorded(dataset))


@torch.no_grad()
def imagined_frames(
    world_model: WorldModel, dataset: Dataset, seed: int, steps: int = 8, limit: int = 20_000
) -> tuple[Tensor, Tensor]:
    """Features after 1 … `steps` imagined steps under the recorded actions, labelled by what really happened.

    Windows that end in success are drawn more often, because they are rare.
    """
    chunk, device = world_model.action_steps, dataset.device
    steps = max(1, steps // chunk)
    present = Windows(dataset, history=1, horizon=steps * chunk).present_frames
    generator = torch.Generator(device=device).manual_seed(seed)
    succeeds = dataset.success[present + steps * chunk]
    weights = torch.where(succeeds, 0.3 / succeeds.sum().clamp(min=1), 0.7 / (~succeeds).sum().clamp(min=1))
    drawn = present[torch.multinomial(weights, max(1, limit // steps), replacement=True, generator=generator)]
    state = world_model.recorded(dataset).rows(drawn)
    rows, labels = [], []
    for step in range(steps):
        now = drawn + step * chunk
        action = dataset.actions[now[:, None] + torch.arange(chunk, device=device)].flatten(1)
        state = world_model.imagine(state, action, generator)
        rows.append(world_model.features(state))
        labels.append(dataset.success[now + chunk])
    return torch.cat(rows), torch.cat(labels)


# ---------------------------------------------------------------------------------------------------------------------
# Refinement.


@dataclasses.dataclass(frozen=True)
class Imagination:
    """Everything that refinement imagines with."""

    world_model: Any
    classifier: CalibratedClassifier
    disagreement: Any
    support: Any
    dataset: Dataset
    """Start states come from here, never from a simulator."""
    starts: StartConfig
    config: ImaginationConfig


def refine_in_imagination(
    imagination: Imagination,
    agent: Agent,
    task: str,
    ppo: PPOConfig,
    config: RefineConfig,
    judged_episodes: int,
    seed: int,
    stage: StageContext,
) -> None:
    """PPO from start states of the data; the best iterate by pessimistic imagined success is kept."""
    before = simulator_steps()
    dataset, world_model = imagination.dataset, imagination.world_model
    check_same_features(agent, world_model, {k: v[dataset.starts[:8]] for k, v in dataset.observations.items()})
    starts = start_states(imagination.starts, dataset, world_model)
    chunk = agent.policy.config.chunk
    shared = current().share(imagination.config.num_envs, "imagination.num_envs")
    rules = dataclasses.replace(imagination.config, chunk=chunk, num_envs=shared)
    env = _environment(imagination, starts, rules, seed)
    judge = _environment(
        imagination, starts, dataclasses.replace(rules, num_envs=judged_episodes, horizon=10**9), seed + 1
    )
    judged = starts.episode_starts(judged_episodes)
    limit = -(-(dataset.info.max_steps or int(dataset.lengths.max())) // chunk)
    with stage.progress(config.iterations, "iterations") as bar:
        result = refine(
            agent.policy,
            env,
            config,
            ppo,
            lambda policy: imagined_success(judge, policy, judged, limit, seed),
            stage.folder,
            seed,
            on_iteration=bar.at,
        )
    if simulator_steps() != before:
        raise RunError("refinement touched the simulator; this is a bug: no part of it may")
    stage.record("role", "refinement")
    stage.record("simulator_steps", 0)
    for name, value in result.items():
        stage.record(name, value)
    ends = {"pretrained": result["imagined_success_pretrained"], "refined": result["imagined_success_refined"]}
    imagined = {"success": ends}
    stage.record("imagined", imagined)
    rows, iteration, stopped = read_rows(stage.folder), int(result["iteration"]), result.get("stopped")
    save_sections(stage.folder, [refinement_section(rows, iteration, imagined, stopped)])
    save_agent(stage.folder, agent, task)


def start_states(config: StartConfig, dataset: Dataset, world_model: WorldModel) -> StartStates:
    """The state at every recorded frame."""
    frames = torch.arange(dataset.num_frames, device=dataset.device)
    return StartStates(dataset, world_model.recorded(dataset), frames, config)


def _environment(imagination: Imagination, starts: StartStates, rules: ImaginationConfig, seed: int) -> ImaginedEnv:
    i = imagination
    return ImaginedEnv(
        i.world_model, i.classifier, starts, i.dataset.action_dim, rules, i.disagreement, seed, i.support
    )


# ---------------------------------------------------------------------------------------------------------------------
# The end of every recipe.


def with_evaluation_and_report(
    steps: list[Step],
    config: Any,
    task: str,
    seed: int,
    recorder: "Recorder | None",
    view: StateView,
    world_model: Callable[[StageContext], Any],
    ensemble: Callable[[StageContext], Any],
) -> list[Step]:
    """`steps`, and after them the stages that measure what came of it and write the report.

    `config` is a recipe's configuration: `simulator`, `evaluation` and `held_out` are read.  `world_model` is the one
    of vectors, behind the `view` of pictures.
    """
    evaluation = Step(
        "evaluation",
        {"simulator": config.simulator, "evaluation": config.evaluation, "held_out": config.held_out, "seed": seed},
        ("dataset", "policy", "world_model", "ensemble", "classifier", "refined", *view.inputs),
        lambda s: evaluate(
            config.evaluation, config.held_out, view, task, seed, recorder, world_model(s), ensemble(s), s
        ),
        alone=True,
    )
    return with_report([*steps, evaluation])


def with_report(steps: list[Step]) -> list[Step]:
    """`steps`, and after them the report of all of them."""
    return [*steps, Step("report", {}, tuple(step.name for step in steps), report, alone=True)]
