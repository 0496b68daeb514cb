"""The report stage: report.json, report.html and videos/ from what the other stages left in the run folder."""

import json
from pathlib import Path
from typing import Any

import torch
import yaml

from burnish.config import load_yaml
from burnish.data import Dataset, read_dataset
from burnish.errors import RunError
from burnish.evaluation.intervals import paired_difference
from burnish.pipeline import Run, StageContext
from burnish.pipeline.finished import STAGE_FILE
from burnish.pipeline.manifest import versions
from burnish.pipeline.publishing import publish_stage
from burnish.pipeline.run_folder import RECIPE_FILE
from burnish.report.files import write_atomically
from burnish.report.inputs import ReportInputs
from burnish.report.summary import RunSummary, SuccessCount, build_report, gate_summary, read_report, write_report
from burnish.report.verdict import verdict
from burnish.storage import read_json

_TRAINING = {
    "autoencoder": "Autoencoder of pictures",
    "policy": "Policy (behaviour cloning)",
    "world_model": "World model",
    "ensemble": "Ensemble",
    "classifier": "Success classifier",
}
# The contract's names of what takes time, and the stages behind them.
_SECONDS = {
    "collect": ("demonstrations", "dataset"),
    "autoencoder": ("autoencoder", "latents", "demonstration_latents"),
    "pretrain": ("policy",),
    "world_model": ("world_model",),
    "ensemble": ("ensemble", "support"),
    "classifier": ("classifier",),
    "refine": ("refined",),
    "gate": ("gate/", "accepted"),
    "evaluate": ("evaluation",),
}
_WHERE_PRESENT = ("autoencoder", "gate")
NO_STATES = "The models of this run read pictures alone, so there is no state vector whose error could be told."
NO_ENSEMBLE = "This recipe has no ensemble: as published, imagination is not halted."
NO_SIMULATOR = "the run started from a data set of the user's own, and no simulator was used"


def report(context: StageContext, run: dict[str, Any], stages: dict[str, Path]) -> None:
    """Write report.json, report.html and videos/ into the stage's folder."""
    from burnish.report.html import write_html  # with Matplotlib, which takes two seconds

    manifests = {name: read_json(folder / STAGE_FILE) for name, folder in stages.items()}
    evaluation = stages["evaluation"]
    settings = load_yaml(evaluation.parent / RECIPE_FILE)
    videos, no_videos = _videos(evaluation)
    gate, no_gate = _gate(settings, stages)
    skipped = {name: reason for name, reason in (("videos", no_videos), ("gate", no_gate)) if reason}
    summary = _summary(settings, manifests, evaluation, gate, skipped)
    contract = build_report(summary)
    rows = _refinement_rows(stages["refined"], evaluation)
    chosen = int(manifests["refined"]["outputs"]["iteration"])
    measured: dict[str, Any] = {
        name: read_json(evaluation / f"{name}.json") if (evaluation / f"{name}.json").exists() else None
        for name in ("prediction", "disagreement", "fidelity", "failure_fidelity")
    }
    measured["uncertainty"], uncalibrated = _uncertainty(evaluation)
    missing = {
        "prediction": NO_STATES,
        "disagreement": NO_ENSEMBLE,
        "uncertainty": uncalibrated,
        "gate": no_gate,
        "videos": no_videos,
    }
    inputs = ReportInputs(
        report=contract,
        configuration=yaml.safe_dump(settings, sort_keys=False),
        data=_data_rows(read_dataset(stages["dataset"], cameras=())),
        refinement=rows,
        chosen_iteration=chosen or None,
        refinement_stopped=manifests["refined"]["outputs"].get("stopped"),
        training={title: _metrics(stages[name]) for name, title in _TRAINING.items() if name in stages},
        calibration=read_json(stages["classifier"] / "calibration.json"),
        **measured,
        gate=gate,
        videos=videos,
        missing={name: reason for name, reason in missing.items() if reason},
    )
    for video in videos:
        write_atomically(context.folder / video["path"], video["mp4"])
    write_html(inputs, context.folder / "report.html")
    write_report(contract, context.folder / "report.json")


def publish(run: Run) -> dict[str, Any]:
    """Put the finished report at the run folder's top level, and return report.json's content."""
    publish_stage(run, "report")
    return read_report(run.folder / "report.json")


def closing_words(report: dict[str, Any], folder: Path) -> str:
    """What a person wants to read at the end of a run: the verdict, and where everything is."""
    return f"{verdict(report).sentence}\n  {folder / 'report.html'}\n  {folder / 'report.json'}"


def _summary(
    settings: dict[str, Any],
    manifests: dict[str, dict[str, Any]],
    evaluation: Path,
    gate: dict[str, Any] | None,
    skipped: dict[str, str],
) -> RunSummary:
    outputs = {name: manifest["outputs"] for name, manifest in manifests.items()}
    refined = outputs["refined"]
    if refined.get("simulator_steps") != 0:
        raise RunError("the refined policy's stage does not say that it used no simulator; run refinement again")
    counts, paired = (None, None), None
    if (evaluation / "success.json").exists():
        success = read_json(evaluation / "success.json")
        before, after = success["pretrained"], success["refined"]
        counts = SuccessCount(sum(before), len(before)), SuccessCount(sum(after), len(after))
        paired = paired_difference(before, after)
    else:
        skipped = {"evaluation": NO_SIMULATOR, **skipped}
    seconds = {
        name: sum(manifests[stage]["seconds"] for stage in manifests if stage.startswith(stages))
        for name, stages in _SECONDS.items()
        if name not in _WHERE_PRESENT or any(stage.startswith(stages) for stage in manifests)
    }
    return RunSummary(
        recipe=settings["recipe"],
        task=settings["task"],
        seed=settings["seed"],
        pretrained=counts[0],
        refined=counts[1],
        imagined_pretrained=refined["imagined_success_pretrained"],
        imagined_refined=refined["imagined_success_refined"],
        accepted=int(refined["iteration"]) != 0 and (gate is None or gate["accepted"]),
        collection_steps=sum(
            outputs[name].get("simulator_steps", 0) for name in ("demonstrations", "dataset") if name in outputs
        ),
        evaluation_steps=outputs["evaluation"]["simulator_steps"],
        imagined_steps=int(refined["imagined_steps"]),
        imagined_steps_per_second=refined["imagined_steps"] / max(seconds["refine"], 1e-9),
        seconds=seconds,
        versions=versions(),
        device=str(outputs["refined"].get("device", "cpu")),
        paired=paired,
        gate=None if gate is None else gate_summary(gate),
        skipped=skipped,
        extra={"threads": torch.get_num_threads(), "chosen_iteration": int(refined["iteration"])},
    )


def _gate(settings: dict[str, Any], stages: dict[str, Path]) -> tuple[dict[str, Any] | None, str]:
    """What the trust gate found, or why the run has none."""
    if "accepted" in stages:
        return read_json(stages["accepted"] / "gate.json"), ""
    if "gate" in settings["config"]:
        return None, "The trust gate was left out: gate.worlds is 0, so there are no held-out worlds to ask."
    return None, f"The recipe {settings['recipe']} has no trust gate."


def _data_rows(dataset: Dataset) -> list[dict[str, Any]]:
    success, lengths = dataset.episode_success.tolist(), dataset.lengths.tolist()
    rows = []
    for source in dict.fromkeys(dataset.sources):
        members = [index for index, name in enumerate(dataset.sources) if name == source]
        rows.append(
            {
                "source": source.replace("_", " "),
                "episodes": len(members),
                "successes": sum(success[index] for index in members),
                "frames": sum(lengths[index] for index in members),
            }
        )
    return rows


def _refinement_rows(refined: Path, evaluation: Path) -> list[dict[str, Any]]:
    """The rows of refinement, with the real success of those iterates that were measured."""
    rows = _metrics(refined)
    path = evaluation / "curve.json"
    real = {row["iteration"]: row["rate"] for row in read_json(path)} if path.exists() else {}
    return [row | ({"real/success": real[int(row["iteration"])]} if row["iteration"] in real else {}) for row in rows]


def _metrics(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    # A world model that was taken over may have come without.
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []


def _uncertainty(evaluation: Path) -> tuple[dict[str, Any] | None, str]:
    """The calibration of disagreement, and why it is missing; older runs have neither."""
    path = evaluation / "uncertainty.json"
    found = read_json(path) if path.exists() else {"missing": ""}
    return (None, found["missing"]) if "missing" in found else (found, "")


def _videos(evaluation: Path) -> tuple[list[dict[str, Any]], str]:
    """The videos with their content, and why they or some of them are missing."""
    path = evaluation / "videos.json"
    if not path.exists():
        return [], "Videos show the simulator, which was not used."
    found = read_json(path)
    videos = []
    for video in found["videos"]:
        mp4 = (evaluation / "videos" / video["file"]).read_bytes()
        videos.append({**video, "mp4": mp4, "path": f"videos/{video['file']}"})
    return videos, found["missing"]
