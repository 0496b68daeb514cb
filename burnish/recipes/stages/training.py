"""Training: everything with a `loss` learns in the one supervised loop; world models are validated, rewards shared."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from burnish.components import Component, build, frozen
from burnish.data import STATE, UNLABELLED, Dataset, about_to_succeed, require_successes
from burnish.errors import InputError
from burnish.evaluation.prediction import open_loop
from burnish.evaluation.replay import replay, success_of_states
from burnish.imagination import imagined_frames, imagined_transitions, recorded_transitions
from burnish.pipeline import External, Reading, Stage, StageContext, stage
from burnish.report.section import save_sections
from burnish.report.sections_rewards import calibration_section, reward_section
from burnish.rewards import (
    BalancedFrames,
    CalibratedClassifier,
    ClassifierConfig,
    FrameClassifierConfig,
    RewardAndSuccess,
    RewardConfig,
    RewardHead,
    RewardHeadConfig,
    SuccessClassifier,
    TransitionSampler,
    WrittenReward,
)
from burnish.storage import read_json, write_json
from burnish.training import Sampler, TrainingConfig, Validate, fit
from burnish.world_models import ObservationHistory, WorldModel, relations

Model = TypeVar("Model", bound=nn.Module)
CALIBRATION_FILE, REWARD_FILE = "calibration.json", "reward.json"


def train(
    context: StageContext,
    model: Model,
    sampler: Sampler,
    training: TrainingConfig,
    seed: int,
    validate: Validate | None = None,
    part: str = "",
) -> Model:
    """Train `model` in place, resumable in the stage's folder (or a `part` of it), with a progress bar."""
    with context.progress(training.steps, "steps") as bar:
        fit(model, sampler, training, context.folder / part, seed, on_step=bar.at, validate=validate)
    return model


# ---------------------------------------------------------------------------------------------------------------------
# World models.


def validation(
    world: WorldModel, training: Dataset, held_out: Dataset, config: TrainingConfig, seed: int
) -> Validate | None:
    """What a world model is validated by, where the configuration asks for it, on episodes that it does not learn from.

    "open_loop_error" is `held_out_error`. "outcome_error" is 1 − the correlation of imagined and recorded success of
    replayed episodes (`evaluation.replay`): the trust gate's score, asked while the model still learns. It is left out
    where the held-out episodes do not have both outcomes, or training has no success.

    Raises:
        InputError: training is to stop by another number, or by one that is left out here.
    """
    if config.validate_every is None:
        return None
    outcomes = held_out.episode_success[[source != UNLABELLED for source in held_out.sources]]
    score = None
    if bool(training.success.any()) and bool(outcomes.any()) and not bool(outcomes.all()):
        score = success_of_states(training.judged, seed)
    names = ["open_loop_error"] if score is None else ["open_loop_error", "outcome_error"]
    if config.stop_by not in (None, *names):
        raise InputError(
            f"world_model_training.stop_by: found '{config.stop_by}', expected one of: {', '.join(names)}"
            + (" (the data lacks successes or failures to compare outcomes by)" if score is None else "")
        )

    def measure() -> dict[str, float]:
        found = held_out_error(world, held_out, seed)
        if score is not None:
            found["outcome_error"] = 1 - replay(world, score, held_out, seed).correlation
        return found

    return measure


def held_out_error(
    world: WorldModel, held_out: Dataset, seed: int, horizon: int = 10, limit: int = 256
) -> dict[str, float]:
    """The median error of open-loop prediction over windows, at the last horizon, in standard deviations of the data.

    The training loss tells of one step from recorded states, at all levels of noise; refinement lives on many steps
    from imagined ones.
    """
    reach = min(horizon, int(held_out.lengths.max()) - 1)
    found = open_loop(world, held_out, max(1, reach // world.action_steps), seed, limit=limit)
    return {"open_loop_error": float(found.model_error[:, -1].quantile(0.5))}


# ---------------------------------------------------------------------------------------------------------------------
# Rewards.


def reward_of(c: Any, data: Reading, world: Stage, classifier: Any, seed: int) -> Stage:
    """The stage that leaves what imagination rewards; a function of the user's own counts with its file."""
    source = None if c.reward.source is None else External("reward_function", c.reward.source)
    settings = {"reward": c.reward, "classifier": classifier, "training": c.classifier_training, "seed": seed}
    return stage(fit_reward, "classifier", data=data, world=world, **settings, source=source)


def fit_reward(
    context: StageContext,
    data: tuple[Dataset, Dataset],
    world: Any,
    reward: RewardConfig,
    classifier: Any,
    training: TrainingConfig,
    seed: int,
    source: Path | None,
) -> Component:
    """What imagination rewards, as configured: a success classifier, a learned or written reward, or both."""
    kind = reward.of(data[0])
    context.record("reward", kind)
    if kind != "success" and isinstance(classifier, FrameClassifierConfig):
        raise InputError(f"a reward of the kind '{kind}' reads states or latents, and these models see frames alone")
    if kind == "success":
        return train_classifier(context, data, world, classifier, training, seed)
    if kind == "learned":
        dense = train_reward(context, data, world, reward.head, training, seed)
    else:
        dense = WrittenReward(reward, data[0].info.state_names, data[0].info.scaling)
    if not reward.with_success:
        return dense
    success = train_classifier(context, data, world, classifier, training, seed)
    sections = [calibration_section(read_json(context.folder / CALIBRATION_FILE))]
    if kind == "learned":
        sections.append(reward_section(read_json(context.folder / REWARD_FILE)))
    save_sections(context.folder, sections)
    return RewardAndSuccess(dense, success)


def train_reward(
    context: StageContext,
    data: tuple[Dataset, Dataset],
    world: Any,
    model: RewardHeadConfig,
    training: TrainingConfig,
    seed: int,
) -> RewardHead:
    """On recorded transitions and imagined continuations; what it explains of held-out rewards is in reward.json."""
    episodes, held_out = (part.judged for part in data)
    world = frozen(world)
    torch.manual_seed(seed + 2)
    rows = recorded_transitions(world, episodes)
    head = RewardHead(2 * world.feature_dim + rows.action.shape[1], model).to(episodes.device).fit(rows.reward)
    sources = [(1 - model.imagined_share, rows)]
    if model.imagined_share > 0:
        sources.append((model.imagined_share, imagined_transitions(world, episodes, seed)))
    train(context, head, TransitionSampler(sources, head.members), training, seed, part="dense")
    found = head.evaluate(recorded_transitions(world, held_out))
    if model.imagined_share > 0:
        imagined = head.explained(imagined_transitions(world, held_out, seed))
        found |= {f"imagined_{name}": value for name, value in imagined.items()}
    write_json(context.folder / REWARD_FILE, found)
    save_sections(context.folder, [reward_section(found)])
    return head


def train_classifier(
    context: StageContext,
    data: tuple[Dataset, Dataset],
    world: Any,
    model: Any,
    training: TrainingConfig,
    seed: int,
) -> CalibratedClassifier:
    """On features of recorded frames and of imagined continuations of them; calibrated on held-out episodes."""
    episodes, held_out = (part.judged for part in data)
    world = frozen(world)
    require_successes(episodes)
    torch.manual_seed(seed + 2)
    classifier = _classifier(context, model, world, episodes).to(episodes.device)
    share = model.imagined_share
    sources = [(1 - share, recorded_features(world, episodes), episodes.success)]
    if share > 0:
        sources.append((share, *imagined_frames(world, episodes, seed)))
    frames = BalancedFrames(
        sources, model.positive_share, classifier.members, classifier.hard_share, classifier.probability
    )
    train(context, classifier, frames, training, seed)
    clear = ~about_to_succeed(held_out, model.grace_frames)
    calibration = classifier.calibrate(recorded_features(world, held_out)[clear], held_out.success[clear])
    context.record("doubts", {"success classifier": "; ".join(calibration.doubts)} if calibration.doubts else {})
    found = {**calibration.to_dict(), "relations": context.outputs.get("relations", [])}
    write_json(context.folder / CALIBRATION_FILE, found)
    save_sections(context.folder, [calibration_section(found)])
    return classifier


def _classifier(context: StageContext, model: Any, world: Any, episodes: Dataset) -> CalibratedClassifier:
    """Untrained; one of states sees what success brings together, which is noted by the dimensions' names."""
    observer = getattr(world, "observer", world)
    found = relations(episodes) if isinstance(observer, ObservationHistory) else ()
    if not found or not isinstance(model, ClassifierConfig):
        return build(model, world.feature_dim)
    names = episodes.info.state_names or ()
    context.record("relations", [[names[i], names[j]] for i, j in found])
    classifier = SuccessClassifier(world.feature_dim, model, found, observer.shown_frames)
    return classifier.relate(observer.normaliser, episodes.thinned().observations[STATE])


@torch.no_grad()
def recorded_features(observer: Any, dataset: Dataset) -> Tensor:
    """What the policy and the classifier read at every frame, (F, feature_dim)."""
    return observer.features(observer.recorded(dataset))
