"""The evaluation stage: what the refined policy is worth, and how far the models behind it could be trusted.

Nothing here feeds back into learning.  Real success is measured after refinement has made its choice.
"""

import math
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from burnish.components import save
from burnish.data import Dataset, Episode
from burnish.errors import BurnishError, InputError
from burnish.evaluation.action_following import action_following
from burnish.evaluation.correlation import spearman
from burnish.evaluation.failure_fidelity import Judges, failure_fidelity
from burnish.evaluation.fidelity import picture_fidelity
from burnish.evaluation.prediction import OpenLoop, open_loop
from burnish.evaluation.settings import EvaluationConfig
from burnish.evaluation.uncertainty import uncertainty
from burnish.pipeline import StageContext
from burnish.policies import load_agent
from burnish.recipes.views import StateView
from burnish.storage import load_tensors, write_json

if TYPE_CHECKING:
    from burnish.recipes.recording import Recorder

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
    """Everything that is measured, as JSON files in the stage's folder; without a simulator only the models."""
    before = simulator_steps()
    _, held_out = view.vectors(view.dataset(stage)).split(held_out_share, seed=0)
    measure_models(held_out, world_model, ensemble, seed, stage.folder)
    world_model, pictures = view.outside(stage, world_model), view.pictures(stage)
    if pictures is not None:
        measure_pictures(pictures.split(held_out_share, seed=0)[1], world_model, seed, stage.folder)
    measure_policies(config, task, seed, recorder, world_model, stage)
    stage.record("simulator_steps", simulator_steps() - before)


def measure_policies(
    config: EvaluationConfig, task: str, seed: int, recorder: "Recorder | None", world_model: Any, stage: StageContext
) -> None:
    """Success, its curve and videos, from the simulator; nothing where there is none."""
    if recorder is None:
        return
    pretrained, refined = stage.inputs["policy"], stage.inputs["refined"]
    episodes = measure_success(recorder, config.episodes, pretrained, refined, stage)
    measure_curve(recorder, config, task, refined, stage)
    make_videos(config, recorder, episodes, world_model, seed, stage)


def measure_models(held_out: Dataset, world_model: Any, ensemble: Any, seed: int, folder: Path) -> None:
    """Open-loop error against hold-last, and whether the ensemble's disagreement knows of it; on held-out episodes.

    uncertainty.json holds a reason under "missing" where there are too few of them.
    """
    horizon = max(1, min(HORIZON, int(held_out.lengths.max()) - 1) // world_model.action_steps)
    result = open_loop(world_model, held_out, horizon, seed, ensemble)
    write_json(folder / "prediction.json", result.summary())
    assert result.disagreement is not None
    doubt, error = result.disagreement[:, 0], result.model_error[:, 0]
    correlation = spearman(doubt, error)
    write_json(
        folder / "disagreement.json",
        {
            "threshold": float(ensemble.threshold),
            "spearman": None if math.isnan(correlation) else correlation,
            "pairs": torch.stack([doubt, error], 1)[:_PAIRS].tolist(),
        },
    )
    write_json(folder / "uncertainty.json", _calibration(result, seed))


def _calibration(result: OpenLoop, seed: int) -> dict[str, Any]:
    try:
        return uncertainty(result, seed).summary()
    except InputError as error:
        return {"missing": f"Whether disagreement is calibrated was not measured: {error}."}


def measure_pictures(
    held_out: Dataset, world_model: Any, seed: int, folder: Path, windows: int = _PICTURE_WINDOWS
) -> None:
    """How true imagined pictures are, and whether they follow the actions; on held-out episodes, fidelity.json."""
    horizon = max(1, min(PICTURE_HORIZON, int(held_out.lengths.max()) - 1) // world_model.action_steps)
    fidelity = picture_fidelity(world_model, held_out, horizon, seed, limit=windows)
    following = action_following(world_model, held_out, horizon, seed, limit=windows)
    write_json(folder / "fidelity.json", {**fidelity.summary(), "action_following": following.summary()})


def measure_failures(
    held_out: Dataset, world_model: Any, classifier: Judges, seed: int, folder: Path, episodes: int
) -> None:
    """Whether an imagined failure stays one, by the classifier; on held-out episodes, failure_fidelity.json."""
    found = failure_fidelity(world_model, classifier, held_out, seed, limit=episodes)
    write_json(folder / "failure_fidelity.json", found.summary())


def measure_success(
    recorder: "Recorder", count: int, pretrained: Path, refined: Path, stage: StageContext
) -> tuple[list[Episode], list[Episode]]:
    """Both policies from the same starts, which no training saw; success.json holds every episode's outcome."""
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
    outcomes = [[bool(episode.success.any()) for episode in played] for played in episodes]
    write_json(stage.folder / "success.json", {"seeds": seeds, "pretrained": outcomes[0], "refined": outcomes[1]})
    return episodes[0], episodes[1]


def measure_curve(
    recorder: "Recorder", config: EvaluationConfig, task: str, refined: Path, stage: StageContext
) -> None:
    """Real success of a few iterates of refinement, for the report's curve only; curve.json."""
    from burnish.evaluation.real import evaluation_seeds, real_success

    iterates = sorted((refined / "iterates").glob("*.safetensors"))
    seeds = evaluation_seeds(config.curve_episodes, offset=_CURVE_OFFSET)
    rows = []
    for path in _spread(iterates, config.curve_points if seeds else 0):
        agent = load_agent(refined)
        agent.policy.load_state_dict(load_tensors(path)[0])
        folder = stage.folder / "iterate"
        save(folder, agent)
        result = real_success(folder, task, recorder.simulator, seeds, recorder.pool)
        rows.append({"iteration": int(path.stem), **result.to_dict()})
        shutil.rmtree(folder)
    write_json(stage.folder / "curve.json", rows)


def make_videos(
    config: EvaluationConfig,
    recorder: "Recorder",
    episodes: tuple[list[Episode], list[Episode]],
    world_model: Any,
    seed: int,
    stage: StageContext,
) -> None:
    """Videos and videos.json; where they cannot be made, the reason is recorded and the run goes on."""
    from burnish.recipes.videos import before_and_after, real_and_imagined

    folder = stage.folder / "videos"
    videos: list[dict[str, str]] = []
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
    write_json(stage.folder / "videos.json", {"videos": videos, "missing": missing})


def _telling(before: list[Episode], after: list[Episode]) -> list[tuple[Episode, Episode]]:
    """Pairs of the same start, those first whose outcomes differ (improvements and setbacks in turn)."""
    pairs = list(zip(before, after, strict=True))
    outcome = [(bool(b.success.any()), bool(a.success.any())) for b, a in pairs]
    better, worse, same = (
        [pair for pair, (old, new) in zip(pairs, outcome, strict=True) if new - old == change] for change in (1, -1, 0)
    )
    turns = [pair for index in range(len(pairs)) for group in (better, worse) for pair in group[index : index + 1]]
    return turns + same


def _spread(items: list[Path], count: int) -> list[Path]:
    """`count` of the items, evenly spread, the first and the last among them."""
    if count >= len(items):
        return items
    if count < 2:
        return items[-1:] if count else []
    return [items[round(index * (len(items) - 1) / (count - 1))] for index in range(count)]
