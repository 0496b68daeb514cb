import copy
import json
import os

import pytest

from burnish.errors import InputError, RunError
from burnish.report import files
from burnish.report.contract import validate_report
from burnish.report.summary import SuccessCount, build_report, failures_removed, gate_summary, read_report, write_report

# Letter for letter the example of the design's contract.
CONTRACT = {
    "schema": 1,
    "recipe": "world4rl",
    "task": "drawer-open-v3",
    "seed": 0,
    "success": {
        "pretrained": {"successes": 48, "episodes": 100, "rate": 0.48, "ci95": [0.38, 0.58]},
        "refined": {"successes": 95, "episodes": 100, "rate": 0.95, "ci95": [0.89, 0.98]},
    },
    "imagined_success": {"pretrained": 0.41, "refined": 0.93},
    "accepted": True,
    "simulator_steps": {"collection": 33001, "refinement": 0, "evaluation": 21000},
    "imagined_steps": 800000,
    "seconds": {
        "collect": 14.0,
        "world_model": 61.0,
        "classifier": 5.0,
        "pretrain": 4.0,
        "refine": 120.0,
        "evaluate": 9.0,
    },
    "imagined_steps_per_second": 6600.0,
    "versions": {"burnish": "...", "torch": "...", "python": "..."},
    "device": "cpu",
}
ADDITIVE = {"skipped", "paired_difference", "failures_removed", "gate"}


def test_the_designs_example_is_valid():
    validate_report(CONTRACT)


def test_a_built_report_has_the_contracts_keys_and_numbers(summary):
    report = build_report(summary())
    assert set(report) == set(CONTRACT) | ADDITIVE
    for name in ("success", "imagined_success", "simulator_steps", "versions"):
        assert set(report[name]) == set(CONTRACT[name])
    assert set(report["seconds"]) == set(CONTRACT["seconds"]) | {"ensemble"}
    for policy in ("pretrained", "refined"):
        built, expected = report["success"][policy], CONTRACT["success"][policy]
        assert set(built) == set(expected)
        assert (built["successes"], built["episodes"], built["rate"]) == tuple(list(expected.values())[:3])
        assert built["ci95"] == pytest.approx(expected["ci95"], abs=0.005)
    assert report["paired_difference"]["improved"] == 49 and report["paired_difference"]["episodes"] == 100
    # 52 failures before, 5 after: 47/52 of them are gone.
    assert report["failures_removed"] == pytest.approx(47 / 52, abs=5e-5)


def test_skipped_evaluation_is_null_with_a_reason(summary):
    skipped = {"evaluation": "the data set names no simulator"}
    report = build_report(summary(pretrained=None, refined=None, paired=None, skipped=skipped, seconds={}))
    assert report["success"] is None and report["skipped"] == {"gate": "gate.worlds is 0", **skipped}
    assert report["failures_removed"] is None and report["paired_difference"] is None
    assert report["seconds"] == dict.fromkeys(CONTRACT["seconds"], 0.0)
    with pytest.raises(InputError, match=r"skipped\.evaluation"):
        build_report(summary(pretrained=None, refined=None, paired=None))


def test_refinement_that_touched_the_simulator_is_refused(summary):
    with pytest.raises(RunError, match="17 simulator steps"):
        build_report(summary(refinement_steps=17))


def test_extra_keys_add_and_never_replace(summary):
    assert build_report(summary(extra={"refinement": {"chosen_iteration": 3}}))["refinement"] == {"chosen_iteration": 3}
    with pytest.raises(InputError, match="accepted"):
        build_report(summary(extra={"accepted": True}))


def test_the_gates_decision_is_in_the_report(summary, gate):
    found = gate()
    report = build_report(summary(gate=gate_summary(found)))["gate"]
    assert report["accepted"] is True and report["checks"] == {"back-test": True, "gain": True}
    assert report["knowledge"] == "know"
    assert (report["worlds"], report["episodes"], report["confidence"]) == (4, 128, 0.95)
    assert report["low"] == pytest.approx(found["low"], abs=5e-5) and len(report["reasons"]) == 2
    gain = report["expected_success"]["refined"] - report["expected_success"]["pretrained"]
    assert report["estimate"] == pytest.approx(gain, abs=2e-4)


def test_a_gate_that_could_not_judge_has_reasons_and_no_numbers(summary, cannot_judge):
    assert build_report(summary(gate=gate_summary(cannot_judge), accepted=False))["gate"] == cannot_judge


def test_without_a_gate_it_is_null_with_a_reason(summary):
    report = build_report(summary())
    assert report["gate"] is None and report["skipped"] == {"gate": "gate.worlds is 0"}
    with pytest.raises(InputError, match=r"skipped\.gate"):
        validate_report(report | {"skipped": {}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accepted": False}, "accepted: found True, expected false"),
        ({"accepted": 1}, r"gate\.accepted"),
        ({"reasons": []}, "at least one reason"),
        ({"reasons": [" "]}, r"gate\.reasons\.0"),
        ({"low": 0.5}, "low <= estimate <= high"),
        ({"high": 1.2}, r"gate\.high"),
        ({"confidence": 95}, r"gate\.confidence"),
        ({"worlds": 0}, r"gate\.worlds"),
        ({"expected_success": {"refined": 0.5}}, r"gate\.expected_success"),
        ({"checks": {"gain": "yes"}}, r"gate\.checks\.gain"),
        ({"knowledge": "believe"}, r"gate\.knowledge: found 'believe', expected one of know, half know"),
        ({"third_opinion": {"later": "keys are let through"}}, None),
    ],
)
def test_a_broken_gate_is_named(summary, gate, changes, message):
    report = build_report(summary(gate=gate_summary(gate())))
    broken = report | {"gate": report["gate"] | changes}
    if message is None:
        validate_report(broken)
        return
    with pytest.raises(InputError, match=message):
        validate_report(broken)


def test_an_acceptance_needs_its_numbers(summary):
    with pytest.raises(InputError, match="estimate"):
        build_report(summary(gate={"accepted": True, "reasons": ["it is good"]}))


def test_failures_removed_by_hand():
    assert failures_removed(SuccessCount(50, 100), SuccessCount(75, 100)) == 0.5
    assert failures_removed(SuccessCount(50, 100), SuccessCount(25, 100)) == -0.5
    assert failures_removed(SuccessCount(9, 9), SuccessCount(9, 9)) is None
    assert failures_removed(None, None) is None


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema",), 2, "schema"),
        (("schema",), True, "schema"),
        (("task",), "", "task"),
        (("seed",), "0", "seed"),
        (("accepted",), 1, "accepted"),
        (("success", "refined", "successes"), 101, "at most episodes"),
        (("success", "refined", "episodes"), 0, "at least 1"),
        (("success", "refined", "rate"), 0.5, "successes / episodes"),
        (("success", "refined", "ci95"), [0.96, 0.98], "low <= rate"),
        (("success", "refined", "ci95"), [0.9], "low, high"),
        (("success", "refined", "more"), 1, "the keys"),
        (("success",), {"refined": {}}, "the keys"),
        (("imagined_success", "refined"), float("nan"), "finite"),
        (("imagined_success", "refined"), 93, "from 0 to 1"),
        (("simulator_steps", "refinement"), 3, "expected 0"),
        (("simulator_steps", "collection"), -1, "at least 0"),
        (("imagined_steps",), 10.5, "integer"),
        (("imagined_steps_per_second",), None, "finite"),
        (("seconds", "refine"), "fast", "finite"),
        (("versions", "torch"), None, "versions.torch"),
        (("skipped",), ["evaluation"], "an object"),
        (("paired_difference",), {"difference": 0.1}, "paired_difference"),
    ],
)
def test_a_broken_field_is_named(path, value, message):
    report = copy.deepcopy(CONTRACT)
    place = report
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(InputError, match=message) as error:
        validate_report(report, source="runs/a/report.json")
    assert "runs/a/report.json" in str(error.value) and path[0] in str(error.value)


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_a_missing_key_is_named(name):
    report = {key: value for key, value in CONTRACT.items() if key != name}
    with pytest.raises(InputError, match=name):
        validate_report(report)


@pytest.mark.parametrize("report", [None, [], "report", 1])
def test_something_else_than_an_object_is_refused(report):
    with pytest.raises(InputError, match="object"):
        validate_report(report)


def test_written_report_reads_back(tmp_path, summary):
    path = tmp_path / "run" / "report.json"
    report = build_report(summary(task="öffnen"))
    write_report(report, path)
    assert read_report(path) == report
    assert [entry.name for entry in path.parent.iterdir()] == ["report.json"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"schema": NaN}', "[" * 100_000, "\udc80", json.dumps(CONTRACT | {"imagined_steps": 1e400})],
    ids=["empty", "cut", "nan", "deep", "not utf-8", "infinite"],
)
def test_bad_json_is_one_clear_error(tmp_path, text):
    path = tmp_path / "report.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"report\.json"):
        read_report(path)


def test_an_absent_report_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="could not be read"):
        read_report(tmp_path / "report.json")


def test_a_failed_write_keeps_the_old_report(tmp_path, monkeypatch, summary):
    path = tmp_path / "report.json"
    write_report(build_report(summary(seed=1)), path)

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(RunError, match=r"report\.json: could not be written: No space left"):
        write_report(build_report(summary(seed=2)), path)
    monkeypatch.undo()
    assert read_report(path)["seed"] == 1
    assert os.listdir(tmp_path) == ["report.json"]


def test_an_invalid_report_is_never_written(tmp_path):
    with pytest.raises(InputError):
        write_report(CONTRACT | {"seed": None}, tmp_path / "report.json")
    assert os.listdir(tmp_path) == []
