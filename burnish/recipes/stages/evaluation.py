"""The evaluation stage: how good the refined policy is for real, and how far the models behind it could be trusted.

Nothing here feeds back into learning. Real success is measured after refinement has made its choice.
"""

import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from burnish.components import frozen, load, save
from burnish.data import STATE, ActionScaling, Dataset, Episode
from burnish.errors import BurnishError, InputError
from burnish.evaluation.action_following import action_following
from burnish.evaluation.anatomy import anatomy
from burnish.evaluation.correlation import spearman
from burnish.evaluation.failure_fidelity import failure_fidelity
from burnish.evaluation.fidelity import picture_fidelity
from burnish.evaluation.prediction import open_loop
from burnish.evaluation.settings import EvaluationConfig
from burnish.evaluation.uncertainty import uncertainty
from burnish.imagination import Models
from burnish.pipeline import StageContext
from burnish.policies import Agent
from burnish.recipes import base
from burnish.recipes.stages.imagining import imagined
from burnish.recipes.stages.playing import as_learned, compared_by, outcomes_of
from burnish.recipes.stages.recording import Real, tracked
from burnish.recipes.stages.refining import inside, simulator_steps
from burnish.report.compose import read_rows
from burnish.report.outcomes import Outcomes, return_summary, save_outcomes, success_count
from burnish.report.section import Section, Video, save_sections
from burnish.report.sections_models import (
    disagreement_section,
    failure_section,
    picture_section,
    prediction_section,
    uncertainty_section,
    world_model_section,
)
from burnish.report.sections_policies import curve_section
from burnish.report.sections_run import videos_section
from burnish.report.sections_worth import gap_section
from burnish.rewards import RewardConfig, SuccessReward
from burnish.storage import load_tensors, write_json
from burnish.world_models import Encoded

HORIZON = 20
PICTURE_HORIZON = 10
_CURVE_OFFSET = 500_000  # the curve's starts are none of the evaluation's
_PAIRS = 2000
NO_SIMULATOR = "the run started from a data set of the user's own, and no simulator was used"


@dataclass(frozen=True)
class Shown:
    """The data of an evaluation; stages in a graph.

    Attributes:
        data: (training, held out) as the models see them.
        pictures: the same with pictures, where an encoder stands between.
        encoder: that one.
        reward: what real episodes are compared by, too.
    """

    data: Any
    pictures: Any = None
    encoder: Any = None
    reward: RewardConfig = RewardConfig()


def evaluate(
    context: StageContext,
    real: Real | None,
    seed: int,
    evaluation: EvaluationConfig,
    shown: Shown,
    policies: dict[str, Path],
    models: base.Models,
) -> None:
    """Everything that is measured, as sections and outcomes; without a simulator only the models.

    Args:
        real: the simulator; None where there is none.
        policies: the folders of the pretrained and the refined one, by name.
    """
    before, counted = simulator_steps(), tracked(context)
    frozen_models, folder, held_out = imagined(models), context.folder, shown.data[1]
    world = frozen_models.world_model
    outer = world if shown.encoder is None else Encoded(frozen(shown.encoder), world).eval()
    sections = []
    if STATE in held_out.observations:
        sections += measure_models(held_out, frozen_models, seed, folder)
    else:
        sections += measure_failures(held_out, frozen_models, seed, folder, evaluation.picture_windows)
    if shown.pictures is not None or STATE not in held_out.observations:
        seen = held_out if shown.pictures is None else shown.pictures[1]
        sections.append(measure_pictures(seen, outer, seed, folder, evaluation.picture_windows))
    if real is not None:
        # What policies were refined for: data that show no success are refined for their reward.
        training = shown.data[0]
        reward = compared_by(shown.reward, training if training.has_success else held_out)
        scaling = training.info.scaling
        episodes = measure_policies(context, real, evaluation.episodes, policies, reward, scaling)
        sections.append(measure_curve(context, real, evaluation, policies["refined"], reward, scaling))
        if shown.encoder is None and STATE in held_out.observations:
            sections += measure_gap(context, real, episodes, policies, frozen_models, scaling)
        sections.append(make_videos(context, real, evaluation, episodes, outer, scaling))
    else:
        context.record("skipped", {"evaluation": NO_SIMULATOR})
        sections.append(videos_section([], "Videos show the simulator, which was not used."))
    save_sections(folder, [*sections, *counted()])
    context.record("role", "evaluation")
    context.record("simulator_steps", simulator_steps() - before)


def measure_models(held_out: Dataset, models: Models, seed: int, folder: Path) -> list[Section]:
    """Open-loop error against hold-last, and whether the ensemble's disagreement knows of it; on held-out episodes.

    The numbers are kept as JSON in `folder`, too; uncertainty.json says why it has none ("missing").
    """
    uncertainties = models.pessimism.uncertainties
    ensemble = uncertainties[0] if uncertainties else None
    horizon = max(1, min(HORIZON, int(held_out.lengths.max()) - 1) // models.world_model.action_steps)
    result = open_loop(models.world_model, held_out, horizon, seed, ensemble)
    write_json(folder / "prediction.json", result.summary())
    sections = [prediction_section(result.summary())]
    if ensemble is None or result.disagreement is None:
        return sections
    spread, error = result.disagreement[:, 0], result.model_error[:, 0]
    correlation = spearman(spread, error)
    disagreement = {
        "threshold": float(ensemble.threshold),
        "spearman": None if math.isnan(correlation) else correlation,
        "pairs": torch.stack([spread, error], 1)[:_PAIRS].tolist(),
    }
    write_json(folder / "disagreement.json", disagreement)
    try:
        calibrated = uncertainty(result, seed).summary()
        third = uncertainty_section(calibrated)
    except InputError as reason:
        calibrated = {"missing": f"Whether disagreement is calibrated was not measured: {reason}."}
        third = world_model_section(missing=(calibrated["missing"],))
    write_json(folder / "uncertainty.json", calibrated)
    return [*sections, disagreement_section(disagreement), third]


def measure_pictures(held_out: Dataset, world: Any, seed: int, folder: Path, windows: int) -> Section:
    """How true imagined pictures are, and whether they follow the actions; on held-out episodes, fidelity.json."""
    horizon = max(1, min(PICTURE_HORIZON, int(held_out.lengths.max()) - 1) // world.action_steps)
    fidelity = picture_fidelity(world, held_out, horizon, seed, limit=windows)
    try:
        following = action_following(world, held_out, horizon, seed, limit=windows).summary()
    except InputError as reason:  # one episode may be all that is held out, and one window long
        following = {"missing": f"Whether imagination follows the actions was not measured: {reason}."}
    found = {**fidelity.summary(), "action_following": following}
    write_json(folder / "fidelity.json", found)
    return picture_section(found)


def measure_failures(held_out: Dataset, models: Models, seed: int, folder: Path, episodes: int) -> list[Section]:
    """Whether an imagined failure stays one, by the classifier; on held-out episodes, failure_fidelity.json."""
    if not isinstance(models.reward, SuccessReward):
        return []
    known, classifier = held_out.judged, models.reward.classifier
    found = failure_fidelity(models.world_model, classifier, known, seed, limit=episodes).summary()
    write_json(folder / "failure_fidelity.json", found)
    return [failure_section(found)]


def measure_policies(
    context: StageContext,
    real: Real,
    count: int,
    policies: dict[str, Path],
    reward: RewardConfig,
    scaling: ActionScaling | None = None,
) -> dict[str, list[Episode]]:
    """All policies from the same starts, which no training saw; outcomes.json holds every episode's outcome.

    `scaling` is that of the data's actions, which then are in the environment's own units; those of the episodes are in
    [-1, 1] of the simulator.

    Episodes are played to the simulator's own limit, so that success is known within both; what is returned, and what
    returns count, ends at the run's.
    """
    from burnish.evaluation.real import evaluation_seeds, first_decisions, play
    from burnish.recipes.stages.shards import pool_in

    recorder, seeds, episodes = real.recorder, evaluation_seeds(count), dict[str, list[Episode]]()
    times = dict[str, tuple[int | None, ...]]()
    limit, own = recorder.simulator, recorder.own_limit
    assert limit.max_steps is not None and own.max_steps is not None
    with context.progress(len(policies) * count, "episodes") as bar:
        for index, (name, policy) in enumerate(policies.items()):
            offset = index * count
            played = play(
                policy,
                real.task,
                own,
                seeds,
                pool_in(context, recorder.pool),
                lambda done, total, offset=offset: bar.set(offset + done),
            )
            times[name] = tuple(int(each.success.argmax()) if each.succeeded else None for each in played)
            episodes[name] = [first_decisions(each, limit.max_steps) for each in played]
    outcomes = outcomes_of(real, episodes, reward, scaling)
    if own.max_steps > limit.max_steps:
        outcomes = {name: replace(one, decisions=times[name]) if one.success else one for name, one in outcomes.items()}
    repeat = limit.action_repeat or 1
    save_outcomes(context.folder, Outcomes(outcomes, tuple(seeds), limit.max_steps, repeat, own.max_steps))
    return episodes


def measure_gap(
    context: StageContext,
    real: Real,
    episodes: dict[str, list[Episode]],
    policies: dict[str, Path],
    models: Models,
    scaling: ActionScaling | None = None,
) -> list[Section]:
    """Where the difference between imagined and real success comes from, for every policy; anatomy.json."""
    if not isinstance(models.reward, SuccessReward) or not any(e.succeeded for one in episodes.values() for e in one):
        return []
    recorder, found = real.recorder, dict[str, Any]()
    limit = recorder.simulator.max_steps
    assert limit is not None
    for name, one in episodes.items():
        learned = [as_learned(each, recorder.spec.units, scaling) for each in one]
        played = Dataset.from_episodes(learned, recorder.info)
        found[name] = anatomy(inside(load(policies[name], Agent)), models, played, limit, real.seed).summary()
    write_json(context.folder / "anatomy.json", found)
    return [gap_section(found)]


def measure_curve(
    context: StageContext,
    real: Real,
    evaluation: EvaluationConfig,
    refined: Path,
    reward: RewardConfig,
    scaling: ActionScaling | None = None,
) -> Section:
    """Real success of a few iterates of refinement, for the report's curve only."""
    from burnish.evaluation.real import evaluation_seeds, play
    from burnish.recipes.stages.shards import pool_in

    iterates = sorted((refined / "iterates").glob("*.safetensors"))
    seeds = evaluation_seeds(evaluation.curve_episodes, offset=_CURVE_OFFSET)
    recorder, rows = real.recorder, list[dict[str, Any]]()
    for path in _spread(iterates, evaluation.curve_points if seeds else 0):
        agent = load(refined, Agent)
        agent.policy.load_state_dict(load_tensors(path)[0])
        folder = context.folder / "iterate"
        save(folder, agent)
        episodes = {"refined": play(folder, real.task, recorder.simulator, seeds, pool_in(context, recorder.pool))}
        played = outcomes_of(real, episodes, reward, scaling)["refined"]
        rows.append(
            {"iteration": int(path.stem), **return_summary(played.returns)}
            if played.returns
            else {"iteration": int(path.stem), **success_count(sum(played.success), len(seeds))}
        )
        shutil.rmtree(folder)
    return curve_section(rows, read_rows(refined))


def make_videos(
    context: StageContext,
    real: Real,
    evaluation: EvaluationConfig,
    episodes: dict[str, list[Episode]],
    world: Any,
    scaling: ActionScaling | None = None,
) -> Section:
    """Videos in the stage's folder; where they cannot be made, the section says why and the run goes on."""
    from burnish.recipes.videos import before_and_after, real_and_imagined

    recorder, videos = real.recorder, list[Video]()
    info, size, rate = recorder.info, evaluation.video_size, recorder.info.fps / 2
    missing = "" if evaluation.videos else "No video was asked for."
    pairs = _telling(episodes["pretrained"], episodes["refined"])[: evaluation.videos]
    for number, (before, after) in enumerate(pairs, start=1):
        try:
            videos.append(before_and_after(context.folder, number, before, after, recorder.simulator, size, rate))
        except BurnishError as error:
            # A machine without OpenGL or PyAV: the numbers do not need pictures.
            missing = f"No picture could be drawn: {error}"
        try:
            learned = as_learned(after, recorder.spec.units, scaling)
            videos += real_and_imagined(context.folder, number, learned, world, info, real.seed, size, rate)
        except BurnishError as error:
            missing = missing or str(error)
    return videos_section(videos, missing)


def _telling(before: list[Episode], after: list[Episode]) -> list[tuple[Episode, Episode]]:
    """Pairs of the same start in turns: one that got better, one that got worse, one that still fails, and the rest."""
    pairs = list(zip(before, after, strict=True))
    outcome = [(bool(b.success.any()), bool(a.success.any())) for b, a in pairs]
    groups = [
        [pair for pair, found in zip(pairs, outcome, strict=True) if found == kind]
        for kind in ((False, True), (True, False), (False, False), (True, True))
    ]
    return [pair for index in range(len(pairs)) for group in groups for pair in group[index : index + 1]]


def _spread(items: list[Path], count: int) -> list[Path]:
    """`count` of the items, evenly spread, the first and the last among them."""
    if count >= len(items):
        return items
    if count < 2:
        return items[-1:] if count else []
    return [items[round(index * (len(items) - 1) / (count - 1))] for index in range(count)]
