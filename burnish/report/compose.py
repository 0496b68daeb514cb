"""The report of a run: report.json, report.html and videos/ from what finished stages left in their folders.

No stage is known by name: each may have left facts in its manifest (`facts`), sections (`section`), outcomes of an
evaluation (`outcomes`), and metrics of its training (metrics.jsonl).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from burnish.errors import InputError
from burnish.report.facts import Facts, Finished, facts
from burnish.report.html import render_html
from burnish.report.outcomes import Outcomes, read_outcomes
from burnish.report.section import Section, merged, read_sections
from burnish.report.sections_models import training_section
from burnish.report.sections_policies import outcome_section
from burnish.report.sections_run import untested_section, work_section
from burnish.report.summary import build_report, write_report
from burnish.storage import read_bytes, write_bytes_atomic

METRICS_FILE = "metrics.jsonl"
_DEFAULT_REASONS = {"evaluation": "no stage of this run played the policies", "gate": "this run has no trust gate"}
_VIDEO, _STILL = ((4, b"ftyp"), (0, b"\xff\xd8"))  # where the content of an MP4 and of a JPEG tells what it is


def compose(
    folder: Path,
    run: Mapping[str, Any],
    stages: Sequence[Finished],
    versions: Mapping[str, str],
    configuration: str = "",
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the report of `stages`, in their order, into `folder`, and return report.json's content.

    Args:
        folder: where report.json, report.html and videos/ go.
        run: with "recipe", "task" and "seed".
        stages: the finished stages.
        versions: of the packages.
        configuration: the resolved recipe, as text (YAML).
        extra: further top-level keys of report.json.

    Raises:
        InputError: a stage left something damaged.
        RunError: a stage used a simulator where none may be.
    """
    outcomes = _outcomes(stages)
    report = build_report(run, _explained(facts(stages), outcomes), outcomes, versions, extra)
    files: dict[str, bytes] = {}
    found = [outcome_section(report)]
    # A stage below another's name ("gate/world_0/classifier") is a part of what that one reports.
    whole = [stage for stage in stages if "/" not in stage.name]
    for stage in whole:
        found += [_with_files(section, stage, files) for section in read_sections(stage.folder)]
    curves = training_section({s.name: read_rows(s.folder) for s in whole if s.role == "training"})
    found += [
        *([] if curves is None else [curves]),
        work_section(report),
        *_absent(report, found),
        untested_section(report),
    ]
    for name, content in files.items():
        if name.endswith(".mp4"):  # stills are inside the page
            write_bytes_atomic(folder / name, content)
    page = render_html(report, merged(found), configuration, files)
    write_bytes_atomic(folder / "report.html", page.encode())
    write_report(report, folder / "report.json")
    return report


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of a stage's metrics; none where it trained nothing, InputError where a line is damaged."""
    path = Path(folder) / METRICS_FILE
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(read_bytes(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: not valid JSON: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: found {row!r}, expected an object")
        rows.append(row)
    return rows


def _outcomes(stages: Sequence[Finished]) -> Outcomes | None:
    """Those of all stages together: another one may have played further policies."""
    found = [one for stage in stages if (one := read_outcomes(stage.folder)) is not None]
    if not found:
        return None
    policies = {name: played for one in found for name, played in one.policies.items()}
    return replace(next((one for one in found if one.decisions is not None), found[0]), policies=policies)


def _explained(found: Facts, outcomes: Outcomes | None) -> Facts:
    absent = {"evaluation": outcomes is None, "gate": found.gate is None}
    return replace(found, skipped={**{n: why for n, why in _DEFAULT_REASONS.items() if absent[n]}, **found.skipped})


def _absent(report: Mapping[str, Any], found: Sequence[Section]) -> list[Section]:
    """Sections that a reader looks for in vain."""
    keys = {section.key for section in found}
    told = []
    if "gate" not in keys:
        reason = report["skipped"].get("gate", "the decision left no words").rstrip(". ")
        told.append(Section("gate", "The trust gate", 20, missing=(f"{reason[:1].upper()}{reason[1:]}.",)))
    if "videos" not in keys:
        told.append(Section("videos", "Videos", 45, missing=("No video was recorded.",)))
    return told


def _with_files(section: Section, stage: Finished, files: dict[str, bytes]) -> Section:
    """The section with its videos' names in the report's folder; their content goes into `files`."""
    videos = []
    for video in section.videos:
        names = {}
        for kind, name, (at, magic) in (("file", video.file, _VIDEO), ("poster", video.poster, _STILL)):
            if not name:
                continue
            path = stage.folder / name
            content = read_bytes(path) if path.resolve().is_relative_to(stage.folder.resolve()) else b""
            if content[at : at + len(magic)] != magic:
                raise InputError(f"{path}: found no {'MP4 video' if kind == 'file' else 'JPEG picture'}")
            names[kind] = f"videos/{stage.name}_{Path(name).name}"
            files[names[kind]] = content
        videos.append(replace(video, **names))
    return replace(section, videos=tuple(videos))
