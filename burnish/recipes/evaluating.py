"""The evaluation stage: what the refined policy is worth, and how far the models behind it could be trusted.

Nothing here feeds back into learning.  Real success is measured after refinement has made its choice.
"""

import math
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from burnish.data import Dataset, Episode
from burnish.errors import BurnishError, InputError
from burnish.evaluation.action_following import action_following
from burnish.evaluation.agent import load_agent, save_agent
from burnish.evaluation.correlation import spearman
from burnish.evaluation.failure_fidelity import Judges, failure_fidelity
from burnish.evaluation.fidelity import picture_fidelity
from burnish.evaluation.prediction import open_loop
from burnish.evaluation.settings import EvaluationConfig
from burnish.evaluation.uncertainty import uncertainty
from burnish.pipeline import StageContext
from burnish.recipes.views import StateView
from burnish.report.compose import read_rows
from burnish.report.outcomes import Outcomes, Played, save_outcomes
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
from burnish.storage import load_tensors, write_json

if TYPE_CHECKING:
    from burnish.recipes.recording import Recorder

NO_SIMULATOR = "the run started from a data set of the user's own, and no simulator was used"
HORIZON = 20
PICTURE_HORIZON = 10
_PICTURE_WINDOWS = 100
_CURVE_OFFSET = 500_000  # the curve's starts are none of the evaluation's
_PAIRS = 2000


def simulator_steps() -> int:
    """Control steps of real simulators since this process began; 0 where none was ever imported."""
    counter = sys.modules.get("burnish.simulators.counter")
    return counter.simulator_use().control_steps if counter is not None else 0


def evaluate(
    config: EvaluationConfig,
    held_out_share: float,
    view: StateView,
    task: str,
    seed: int,
    recorder: "Recorder | None",
    world_model: Any,
    ensemble: Any,
    stage: StageContext,
) -> None:
    """Everything that is measured, as sections and outcomes; without a simulator only the models."""
    before = simulator_steps()
    _, held_out = view.vectors(view.dataset(stage)).split(held_out_share, seed=0)
    sections = measure_models(held_out, world_model, ensemble, seed, stage.folder)
    world_model, pictures = view.outside(stage, world_model), view.pictures(stage)
    if pictures is not None:
        sections.append(measure_pictures(pictures.split(held_out_share, seed=0)[1], world_model, seed, stage.folder))
    sections += measure_policies(config, task, seed, recorder, world_model, stage)
    save_sections(stage.folder, sections)
    stage.record("role", "evaluation")
    stage.record("simulator_steps", simulator_steps() - before)


def measure_policies(
    config: EvaluationConfig, task: str, seed: int, recorder: "Recorder | None", world_model: Any, stage: StageContext
) -> list[Section]:
    """Outcomes, the curve of iterates and videos, from the simulator; a reason where there is none."""
    if recorder is None:
        stage.record("skipped", {"evaluation": NO_SIMULATOR})
        return [videos_section([], "Videos show the simulator, which was not used.")]
    pretrained, refined = stage.inputs["policy"], stage.inputs["refined"]
    episodes = measure_success(recorder, config.episodes, pretrained, refined, stage)
    curve = measure_curve(recorder, config, task, refined, stage)
    return [curve, make_videos(config, recorder, episodes, world_model, seed, stage.folder)]


def measure_models(held_out: Dataset, world_model: Any, ensemble: Any, seed: int, folder: Path) -> list[Section]:
    """Open-loop error against hold-last, and whether the ensemble's disagreement knows of it; on held-out episodes.

    The numbers are kept as JSON in `folder`, too; uncertainty.json says why it has none ("missing").
    """
    horizon = max(1, min(HORIZON, int(held_out.lengths.max()) - 1) // world_model.action_steps)
    result = open_loop(world_model, held_out, horizon, seed, ensemble)
    assert result.disagreement is not None
    doubt, error = result.disagreement[:, 0], result.model_error[:, 0]
    correlation = spearman(doubt, error)
    disagreement = {
        "threshold": float(ensemble.threshold),
        "spearman": None if math.isnan(correlation) else correlation,
        "pairs": torch.stack([doubt, error], 1)[:_PAIRS].tolist(),
    }
    write_json(folder / "prediction.json", result.summary())
    try:
        calibrated = uncertainty(result, seed).summary()
        third = uncertainty_section(calibrated)
    except InputError as error:
        calibrated = {"missing": f"Whether disagreement is calibrated was not measured: {error}."}
        third = world_model_section(missing=(calibrated["missing"],))
    write_json(folder / "uncertainty.json", calibrated)
    return [prediction_section(result.summary()), disagreement_section(disagreement), third]


def measure_pictures(
    held_out: Dataset, world_model: Any, seed: int, folder: Path, windows: int = _PICTURE_WINDOWS
) -> Section:
    """How true imagined pictures are, and whether they follow the actions; on held-out episodes, fidelity.json."""
    horizon = max(1, min(PICTURE_HORIZON, int(held_out.lengths.max()) - 1) // world_model.action_steps)
    fidelity = picture_fidelity(world_model, held_out, horizon, seed, limit=windows)
    following = action_following(world_model, held_out, horizon, seed, limit=windows)
    found = {**fidelity.summary(), "action_following": following.summary()}
    write_json(folder / "fidelity.json", found)
    return picture_section(found)


def measure_failures(
    held_out: Dataset, world_model: Any, classifier: Judges, seed: int, folder: Path, episodes: int
) -> Section:
    """Whether an imagined failure stays one, by the classifier; on held-out episodes, failure_fidelity.json."""
    found = failure_fidelity(world_model, classifier, held_out, seed, limit=episodes).summary()
    write_json(folder / "failure_fidelity.json", found)
    return failure_section(found)


def measure_success(
    recorder: "Recorder", count: int, pretrained: Path, refined: Path, stage: StageContext
) -> tuple[list[Episode], list[Episode]]:
    """Both policies from the same starts, which no training saw; outcomes.json holds every episode's outcome."""
    from burnish.evaluation.real import evaluation_seeds, play

    seeds = evaluation_seeds(count)
    episodes = []
    with stage.progress(2 * count, "episodes") as bar:
        for index, policy in enumerate((pretrained, refined)):
            offset = index * count
            played = play(
                policy,
                recorder.task,
                recorder.simulator,
                seeds,
                recorder.pool,
                lambda done, total, offset=offset: bar.set(offset + done),
            )
            episodes.append(played)
    policies = {
        name: Played(tuple(bool(episode.success.any()) for episode in played))
        for name, played in zip(("pretrained", "refined"), episodes, strict=True)
    }
    limit = recorder.simulator
    save_outcomes(stage.folder, Outcomes(policies, tuple(seeds), limit.max_steps, limit.action_repeat))
    return episodes[0], episodes[1]


def measure_curve(
    recorder: "Recorder", config: EvaluationConfig, task: str, refined: Path, stage: StageContext
) -> Section:
    """Real success of a few iterates of refinement, for the report's curve only."""
    from burnish.evaluation.real import evaluation_seeds, real_success

    iterates = sorted((refined / "iterates").glob("*.safetensors"))
    seeds = evaluation_seeds(config.curve_episodes, offset=_CURVE_OFFSET)
    rows = []
    for path in _spread(iterates, config.curve_points if seeds else 0):
        agent = load_agent(refined)
        agent.policy.load_state_dict(load_tensors(path)[0])
        folder = stage.folder / "iterate"
        save_agent(folder, agent, task)
        result = real_success(folder, task, recorder.simulator, seeds, recorder.pool)
        rows.append({"iteration": int(path.stem), **result.to_dict()})
        shutil.rmtree(folder)
    return curve_section(rows, read_rows(refined))


def make_videos(
    config: EvaluationConfig,
    recorder: "Recorder",
    episodes: tuple[list[Episode], list[Episode]],
    world_model: Any,
    seed: int,
    folder: Path,
) -> Section:
    """Videos in a stage's folder; where they cannot be made, the section says why and the run goes on."""
    from burnish.recipes.videos import before_and_after, real_and_imagined

    videos: list[Video] = []
    missing = "" if config.videos else "No video was asked for."
    for number, (before, after) in enumerate(_telling(*episodes)[: config.videos], start=1):
        size, rate = config.video_size, recorder.info.fps / 2
        try:
            videos.append(before_and_after(folder, number, before, after, recorder.simulator, size, rate))
        except BurnishError as error:
            # A machine without OpenGL or PyAV: the numbers do not need pictures.
            missing = f"No picture could be drawn: {error}"
        try:
            videos += real_and_imagined(folder, number, after, world_model, recorder.info, seed, size, rate)
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
