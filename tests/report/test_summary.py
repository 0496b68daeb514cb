"""report.json: what it holds, and that broken ones are refused by name."""

import copy
import json
import os

import pytest

from burnish import storage
from burnish.errors import InputError, RunError
from burnish.report.contract import CONTRACT_KEYS, validate_report
from burnish.report.facts import Finished, facts
from burnish.report.outcomes import (
    Outcomes,
    Played,
    read_outcomes,
    reference,
    return_summary,
    save_outcomes,
    success_count,
)
from burnish.report.summary import failures_removed, read_report, write_report
from tests.report.conftest import AFTER, BEFORE, CANNOT_DECIDE, PLAYED, make_report
from tests.report.test_verdict import NO_SIMULATOR, returns

CONTRACT = make_report()


def test_a_built_report_has_the_contracts_keys_and_numbers():
    assert set(CONTRACT) >= CONTRACT_KEYS and CONTRACT["schema"] == 1
    before, after = (CONTRACT["success"][name] for name in ("pretrained", "refined"))
    assert (before["successes"], before["episodes"], before["rate"]) == (48, 100, 0.48)
    assert after["ci95"] == pytest.approx([0.89, 0.98], abs=0.005)
    assert CONTRACT["policies"]["refined"] == {"success": after} and CONTRACT["return"] is None
    assert CONTRACT["simulator_steps"] == {"collection": 33001, "refinement": 0, "evaluation": 21000}
    assert CONTRACT["seconds"] == {"collection": 14, "training": 61, "refinement": 120, "gate": 0, "evaluation": 9}
    assert CONTRACT["imagined_steps_per_second"] == pytest.approx(800_000 / 120, abs=0.05)
    assert CONTRACT["imagined_success"] == {"pretrained": 0.41, "refined": 0.93}
    assert CONTRACT["limit"] == {"decisions": 100, "action_repeat": 2, "control_steps": 200}
    assert CONTRACT["accepted"] is True and CONTRACT["chosen_iteration"] == 36
    assert CONTRACT["paired_difference"]["improved"] == 49 and CONTRACT["paired_difference"]["episodes"] == 100
    # 52 failures before, 5 after: 47/52 of them are gone.
    assert CONTRACT["failures_removed"] == pytest.approx(47 / 52, abs=5e-5)


def test_skipped_evaluation_is_null_with_a_reason(report):
    found = report(None, skipped=NO_SIMULATOR)
    assert found["success"] is found["return"] is found["failures_removed"] is found["paired_difference"] is None
    with pytest.raises(InputError, match=r"skipped\.evaluation"):
        report(None)


def test_returns_have_a_mean_an_interval_and_a_reference(report):
    """Means 1 and 3; differences 1, 2, 3: 2 ± 4.303 / √3."""
    found = report(returns((0.0, 1.0, 2.0), (1.0, 3.0, 5.0)), imagined={"return": {"pretrained": 1, "refined": 2}})
    assert found["success"] is None and found["imagined_return"] == {"pretrained": 1.0, "refined": 2.0}
    assert [found["return"][name]["mean"] for name in ("pretrained", "refined")] == [1, 3]
    assert found["return"]["reference"] is None and "normalised" not in found["return"]["refined"]
    change = found["return_difference"]
    assert change["difference"] == 2 and change["high"] - 2 == pytest.approx(4.3027 / 3**0.5, abs=1e-3)


def test_a_reference_needs_random_motion_and_something_better():
    assert reference({"random": -10.0, "expert": 90.0, "medium": 40.0}) == {
        "low": -10.0,
        "low_source": "random",
        "high": 90.0,
        "high_source": "expert",
    }
    for none in (None, {}, {"expert": 1.0}, {"random": 1.0}, {"random": 1.0, "expert": 1.0}):
        assert reference(none) is None
    assert return_summary((40.0,), {"low": -10.0, "high": 90.0})["normalised"] == 0.5


def test_both_measures_and_further_policies_have_their_place(report):
    both = Played((True, False), (1.0, 0.0))
    cloned = Played((True, True), (1.0, 2.0))
    found = report(Outcomes({"pretrained": both, "filtered cloning": cloned, "refined": both}))
    assert list(found["policies"]) == ["pretrained", "filtered cloning", "refined"]
    assert found["policies"]["filtered cloning"]["success"]["rate"] == 1
    assert found["success"]["refined"]["rate"] == found["return"]["refined"]["mean"] == 0.5


def test_outcomes_survive_their_file_and_damaged_ones_are_refused(tmp_path):
    assert read_outcomes(tmp_path) is None
    save_outcomes(tmp_path, PLAYED)
    assert read_outcomes(tmp_path) == PLAYED
    (tmp_path / "outcomes.json").write_text('{"policies": {"refined": {"success": [1, "yes"]}}}')
    with pytest.raises(InputError, match=r"outcomes\.json"):
        read_outcomes(tmp_path)
    with pytest.raises(InputError, match="equally many"):
        Outcomes({"pretrained": Played(BEFORE), "refined": Played(AFTER[1:])})


def stage(role, **outputs):
    return Finished(role, "folder", 1.0, {"role": role, **outputs})


REFINED = stage("refinement", simulator_steps=0, iteration=1.0)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "no stage of this run refined a policy"),
        ([stage("refinement")], "does not say that it used no simulator"),
        ([stage("refinement", simulator_steps=17)], "refinement must not touch the simulator, but 17"),
        ([REFINED, stage("gate", simulator_steps=3)], "gate must not touch the simulator"),
        ([REFINED, stage("training", simulator_steps=1)], "training must not touch"),
    ],
)
def test_where_a_simulator_has_no_place_it_is_refused(stages, message):
    with pytest.raises((InputError, RunError), match=message):
        facts(stages)


def test_refinements_that_went_on_from_each_other_are_added_up():
    """The last one kept the policy that it began with, which is not the pretrained one."""
    imagined = [{"return": {"pretrained": low, "refined": high}} for low, high in ((-3.0, 1.0), (0.5, 0.5))]
    rounds = [
        stage("refinement", simulator_steps=0, imagined_steps=100, iteration=chosen, imagined=scores)
        for chosen, scores in zip((4.0, 0.0), imagined, strict=True)
    ]
    found = facts([rounds[0], stage("collection", simulator_steps=60), rounds[1]])
    assert found.iteration == 4 and found.accepted and found.imagined_steps == 200
    assert found.imagined == {"return": {"pretrained": -3.0, "refined": 0.5}}
    assert found.simulator_steps == {"collection": 60, "refinement": 0, "evaluation": 0}


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ([], "an object"),
        ({"seconds": "1", "outputs": {}}, "seconds"),
        ({"seconds": 1.0, "outputs": []}, "outputs"),
        ({"seconds": 1.0, "outputs": {"role": "decoration"}}, "one of collection, training"),
        ({"seconds": 1.0, "outputs": {"simulator_steps": None}}, "outputs.simulator_steps"),
        ({"seconds": 1.0, "outputs": {"imagined": 3}}, "outputs.imagined"),
    ],
)
def test_a_damaged_manifest_is_named(tmp_path, manifest, message):
    with pytest.raises(InputError, match=message):
        Finished.of("polished", tmp_path, manifest)


def test_extra_keys_add_and_never_replace(report):
    assert report(extra={"threads": 3})["threads"] == 3
    with pytest.raises(InputError, match="accepted"):
        report(extra={"accepted": True})


def test_the_gates_decision_is_in_the_report(report, gate):
    found = gate()
    told = report(gate=found)["gate"]
    assert told["accepted"] is True and told["checks"] == {"back-test": True, "gain": True}
    assert (told["knowledge"], told["worlds"], told["episodes"], told["confidence"]) == ("know", 4, 128, 0.95)
    assert told["low"] == pytest.approx(found["low"], abs=5e-5) and len(told["reasons"]) == 2
    gain = told["expected_success"]["refined"] - told["expected_success"]["pretrained"]
    assert told["estimate"] == pytest.approx(gain, abs=2e-4)
    refused = report(gate=CANNOT_DECIDE)
    assert refused["gate"] == CANNOT_DECIDE and refused["accepted"] is False


def test_without_a_gate_it_is_null_with_a_reason():
    assert CONTRACT["gate"] is None and CONTRACT["skipped"] == {"gate": "gate.worlds is 0"}
    with pytest.raises(InputError, match=r"skipped\.gate"):
        validate_report(CONTRACT | {"skipped": {}})


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
        ({"checks": {"gain": "yes"}}, r"gate\.checks\.gain"),
        ({"later": "keys are let through"}, None),
    ],
)
def test_a_broken_gate_is_named(report, gate, changes, message):
    found = report(gate=gate())
    broken = found | {"gate": found["gate"] | changes}
    if message is None:
        validate_report(broken)
        return
    with pytest.raises(InputError, match=message):
        validate_report(broken)


def test_failures_removed_by_hand():
    assert failures_removed(success_count(50, 100), success_count(75, 100)) == 0.5
    assert failures_removed(success_count(50, 100), success_count(25, 100)) == -0.5
    assert failures_removed(success_count(9, 9), success_count(9, 9)) is None


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
        (("success", "refined", "ci95"), [0.9], "a list of 2"),
        (("return",), {"pretrained": {"mean": 1.0}}, "the keys"),
        (("policies", "refined"), [], r"policies\.refined"),
        (("limit", "decisions"), 0, "at least 1"),
        (("success",), {"refined": {}}, "the keys"),
        (("imagined_success", "refined"), float("nan"), "finite"),
        (("imagined_success", "refined"), 93, "from 0 to 1"),
        (("simulator_steps", "refinement"), 3, "from 0 to 0"),
        (("simulator_steps", "collection"), -1, "at least 0"),
        (("imagined_steps",), 10.5, "integer"),
        (("imagined_steps_per_second",), None, "finite"),
        (("seconds", "refinement"), "fast", "finite"),
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


@pytest.mark.parametrize("name", sorted(CONTRACT_KEYS))
def test_a_missing_key_is_named(name):
    report = {key: value for key, value in CONTRACT.items() if key != name}
    with pytest.raises(InputError, match=name):
        validate_report(report)


@pytest.mark.parametrize("report", [None, [], "report", 1])
def test_something_else_than_an_object_is_refused(report):
    with pytest.raises(InputError, match="object"):
        validate_report(report)


def test_written_report_reads_back(tmp_path, report):
    path = tmp_path / "run" / "report.json"
    found = report(run={"recipe": "world4rl", "task": "öffnen", "seed": 0})
    write_report(found, path)
    assert read_report(path) == found
    assert [entry.name for entry in path.parent.iterdir()] == ["report.json"]


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


def test_a_failed_write_keeps_the_old_report(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    write_report(CONTRACT | {"seed": 1}, path)

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.os, "fsync", full_disk)
    with pytest.raises(RunError, match=r"report\.json: the disk is full"):
        write_report(CONTRACT | {"seed": 2}, path)
    monkeypatch.undo()
    assert read_report(path)["seed"] == 1
    assert os.listdir(tmp_path) == ["report.json"]


def test_an_invalid_report_is_never_written(tmp_path):
    with pytest.raises(InputError):
        write_report(CONTRACT | {"seed": None}, tmp_path / "report.json")
    assert os.listdir(tmp_path) == []
