"""The report stage: report.json, report.html and videos/ from what the other stages left in their folders."""

from pathlib import Path
from typing import Any

import torch
import yaml

from burnish.pipeline import Absent, Run, StageContext
from burnish.pipeline.finished import STAGE_FILE
from burnish.pipeline.manifest import versions
from burnish.pipeline.publishing import publish_stage
from burnish.report.compose import Finished, compose
from burnish.report.summary import read_report
from burnish.report.verdict import verdict
from burnish.storage import read_json


def report(context: StageContext, run: dict[str, Any], stages: dict[str, Any], configuration: dict[str, Any]) -> None:
    """Write report.json, report.html and videos/ into the stage's folder.

    Args:
        run: recipe, task and seed.
        stages: the folders of all others by name, in their order; those of held-out worlds that the data are too little
            for are `Absent`.
        configuration: the recipe's, as plain data.
    """
    there = {}
    for name, folder in stages.items():
        if not isinstance(folder, Absent):
            there[name] = folder
        elif "/" not in name:  # held-out worlds may be missing: the gate says why
            raise folder
    finished = [Finished.of(name, folder, read_json(folder / STAGE_FILE)) for name, folder in there.items()]
    words = yaml.safe_dump({**run, "config": configuration}, sort_keys=False)
    compose(context.folder, run, finished, versions(), words, {"threads": torch.get_num_threads()})


def publish(run: Run) -> dict[str, Any]:
    """Put the finished report at the run folder's top level, and return report.json's content."""
    publish_stage(run, "report")
    return read_report(run.folder / "report.json")


def closing_words(report: dict[str, Any], folder: Path) -> str:
    """What a person wants to read at the end of a run: the verdict, and where everything is."""
    found = verdict(report)
    return f"{found.headline}\n{found.sentence}\n  {folder / 'report.html'}\n  {folder / 'report.json'}"
