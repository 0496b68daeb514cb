"""The report stage: report.json, report.html and videos/ from what the other stages left in their folders."""

import shutil
from pathlib import Path
from typing import Any

import torch
import yaml

from burnish.config import load_yaml
from burnish.pipeline import Run, StageContext
from burnish.pipeline.manifest import versions
from burnish.pipeline.run import RECIPE_FILE
from burnish.pipeline.stages import STAGE_FILE
from burnish.report.compose import Finished, compose
from burnish.report.summary import read_report
from burnish.report.verdict import verdict
from burnish.storage import read_json, write_bytes_atomic


def report(stage: StageContext) -> None:
    """Write report.json, report.html and videos/ into the stage's folder."""
    folders = {name: folder for name, folder in stage.inputs.items() if (folder / STAGE_FILE).exists()}
    finished = [Finished.of(name, folder, read_json(folder / STAGE_FILE)) for name, folder in folders.items()]
    settings = load_yaml(next(iter(folders.values())).parent / RECIPE_FILE)
    configuration = yaml.safe_dump(settings, sort_keys=False)
    compose(stage.folder, settings, finished, versions(), configuration, {"threads": torch.get_num_threads()})


def publish(run: Run) -> dict[str, Any]:
    """Put the finished report at the run folder's top level, and return report.json's content."""
    source = run.folder / "report"
    wanted = [source / "report.html", *sorted((source / "videos").glob("*.mp4")), source / "report.json"]
    for path in wanted:
        target = run.folder / path.relative_to(source)
        content = path.read_bytes()
        if not target.exists() or target.read_bytes() != content:
            write_bytes_atomic(target, content)
    keep = {path.name for path in wanted}
    for old in (run.folder / "videos").glob("*.mp4"):
        if old.name not in keep:
            old.unlink()
    if (run.folder / "videos").is_dir() and not any((run.folder / "videos").iterdir()):
        shutil.rmtree(run.folder / "videos")
    return read_report(run.folder / "report.json")


def closing_words(report: dict[str, Any], folder: Path) -> str:
    """What a person wants to read at the end of a run: the verdict, and where everything is."""
    found = verdict(report)
    return f"{found.headline}\n{found.sentence}\n  {folder / 'report.html'}\n  {folder / 'report.json'}"
