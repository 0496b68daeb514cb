"""The report of made-up stages whose names nobody knows."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from burnish.errors import InputError
from burnish.report.compose import compose, read_rows
from burnish.report.facts import Finished, facts
from burnish.report.outcomes import Outcomes, Played, save_outcomes
from burnish.report.section import Section, Video, save_sections
from burnish.report.summary import read_report
from tests.report.conftest import PLAYED, RUN, VERSIONS

MP4, JPEG = b"\0\0\0\x18ftypisom", b"\xff\xd8\xff still"


@pytest.fixture
def run(stages, tmp_path):
    found = stages(tmp_path)
    for stage in found:
        (stage.folder / "videos").mkdir(parents=True)
    save_outcomes(tmp_path / "proof", PLAYED)
    save_sections(tmp_path / "shown", [Section("toys", "Toys", 25, ("Seven toys.",))])
    save_sections(
        tmp_path / "proof", [Section("videos", "Videos", videos=(Video("videos/a.mp4", "A", "", "videos/a.jpg"),))]
    )
    (tmp_path / "proof/videos/a.mp4").write_bytes(MP4)
    (tmp_path / "proof/videos/a.jpg").write_bytes(JPEG)
    (tmp_path / "dreams/metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    return found


def test_sections_outcomes_and_curves_of_unknown_stages_are_found(run, tmp_path):
    report = compose(tmp_path / "report", RUN, run, VERSIONS, "seed: 0", {"threads": 1})
    assert read_report(tmp_path / "report/report.json") == report and report["threads"] == 1
    assert report["success"]["refined"]["successes"] == 95 and report["skipped"] == {
        "gate": "this run has no trust gate"
    }
    page = (tmp_path / "report/report.html").read_text()
    titles = [part.split("</h2>")[0] for part in page.split("<h2>")[1:]]
    assert titles == [
        "Before and after, in the real simulator",
        "The trust gate",
        "Toys",
        "What was done",
        "Videos",
        "Training",
        "What was not tested",
        "Configuration and versions",
    ]
    assert "Seven toys." in page and "<h3>Dreams</h3>" in page and "This run has no trust gate." in page
    assert (tmp_path / "report/videos/proof_a.mp4").read_bytes() == MP4
    assert [path.name for path in (tmp_path / "report/videos").iterdir()] == ["proof_a.mp4"]


def test_parts_of_a_stage_count_their_time_and_show_nothing(run, tmp_path):
    part = Finished("court/world_0", tmp_path / "court/world_0", 40.0, {"role": "gate"})
    part.folder.mkdir(parents=True)
    save_sections(part.folder, [Section("toys", "Toys", words=("Another world's toys.",))])
    report = compose(tmp_path / "report", RUN, [*run, part], VERSIONS)
    assert report["seconds"]["gate"] == 40 and "Another world" not in (tmp_path / "report/report.html").read_text()


def test_another_stage_may_have_played_more_policies(run, tmp_path):
    save_outcomes(tmp_path / "dreams", Outcomes({"filtered cloning": Played((True,) * 100)}))
    report = compose(tmp_path / "report", RUN, run, VERSIONS)
    assert report["policies"]["filtered cloning"]["success"]["rate"] == 1 and report["limit"]["decisions"] == 100
    assert set(report["success"]) == {"pretrained", "refined"}


def test_without_an_evaluation_the_reason_is_said(run, tmp_path):
    (tmp_path / "proof/outcomes.json").unlink()
    report = compose(tmp_path / "report", RUN, run, VERSIONS)
    assert report["success"] is None and "no stage of this run played" in report["skipped"]["evaluation"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "proof/videos/a.mp4").write_bytes(b"no video"), "found no MP4"),
        (lambda folder: (folder / "proof/videos/a.jpg").write_bytes(b"<svg>"), "found no JPEG"),
        (lambda folder: (folder / "proof/videos/a.mp4").unlink(), "no such file"),
        (lambda folder: (folder / "dreams/metrics.jsonl").write_text("{}\n{\n"), "line 2: not valid JSON"),
        (lambda folder: (folder / "dreams/metrics.jsonl").write_text("[]"), "line 1: found"),
        (lambda folder: (folder / "shown/sections.json").write_text("[]"), "sections.json"),
    ],
)
def test_damage_is_one_clear_error_and_leaves_no_report(run, tmp_path, damage, message):
    damage(tmp_path)
    with pytest.raises(InputError, match=message):
        compose(tmp_path / "report", RUN, run, VERSIONS)
    assert not (tmp_path / "report").exists()


def test_a_link_out_of_the_stage_is_not_followed(run, tmp_path):
    (tmp_path / "elsewhere.mp4").write_bytes(MP4)
    (tmp_path / "proof/videos/a.mp4").unlink()
    (tmp_path / "proof/videos/a.mp4").symlink_to(tmp_path / "elsewhere.mp4")
    with pytest.raises(InputError, match="found no MP4"):
        compose(tmp_path / "report", RUN, run, VERSIONS)


def test_rows_of_metrics(tmp_path):
    assert read_rows(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1}) + "\n\n")
    assert read_rows(tmp_path) == [{"step": 1}]


def test_time_passes_once_where_stages_are_worked_on_side_by_side():
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def done(name, seconds, ended, role="training"):
        outputs = {"role": role, "simulator_steps": 0}
        return Finished(name, Path(name), seconds, outputs, noon + timedelta(seconds=ended))

    # 0-60 and 20-80 overlap; 100-130 stands alone: 80 + 30 seconds of 150.
    stages = [done("world", 60, 60), done("ensemble", 60, 80), done("refined", 30, 130, "refinement")]
    assert facts(stages).clock_seconds == pytest.approx(110)
    # Where an end is unknown the sum is all that can be said.
    assert facts([*stages[:2], replace(stages[2], ended=None)]).clock_seconds == 150
