"""Whole runs on Meta-World: what they leave, what they do again, and that they start from the user's data as well."""

import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import burnish
from burnish.cli import main
from burnish.data import STATE, image_key, read_dataset
from burnish.pipeline import ordered
from burnish.pipeline.manifest import hash_files
from burnish.policies import DiffusionPolicy, GaussianPolicy, PicturePolicy, SquashedPolicy, load_agent
from burnish.recipes.runs import reopen
from burnish.report.contract import CONTRACT_KEYS, validate_report
from burnish.storage import load_tensors
from burnish.world_models import RSSM, Encoded, ObservationHistory, PixelHistory
from tests.recipes.small_runs import (
    RUNS,
    TASK,
    command,
    flags,
    names,
    own_data_command,
    redone,
    stage_files,
    write_point_data,
)

DOCUMENTED_EXTRAS = {
    "clock_seconds",
    "skipped",
    "paired_difference",
    "failures_removed",
    "gate",
    "threads",
    "chosen_iteration",
    "stages",
    "start",
    "doubts",
    "over_filtered",
}
CAMERA = image_key("corner3")
# What the small settings make: the kinds of observer and policy, imagined actions (iterations x decisions x
# environments x actions of a decision), and episodes by source.
EXPECTED = {
    "world4rl": (ObservationHistory, GaussianPolicy, 8 * 16 * 32, {"expert": 3, "random": 2, "policy": 6}),
    "pixels": (Encoded, GaussianPolicy, 8 * 16 * 32, {"expert": 3, "random": 2, "noisy_expert": 3, "policy": 6}),
    "gwm": (Encoded, GaussianPolicy, 8 * 16 * 32, {"expert": 3, "random": 2, "noisy_expert": 3, "policy": 6}),
    "frames": (PixelHistory, PicturePolicy, 2 * 8 * 16, {"expert": 2, "random": 2, "policy": 2}),
    "dws": (PixelHistory, PicturePolicy, 2 * 8 * 16, {"expert": 2, "random": 2, "policy": 2}),
    "diwa": (RSSM, DiffusionPolicy, 6 * 8 * 32 * 4, {"expert": 3, "noisy_expert": 8, "random": 2}),
    "s5wm": (RSSM, GaussianPolicy, 8 * 8 * 32, {"expert": 3, "noisy_expert": 8, "random": 2}),
    "coupled": (ObservationHistory, SquashedPolicy, 8 * 8 * 32, {"expert": 3, "noisy_expert": 8, "random": 2}),
}


@pytest.fixture(params=names())
def name(request):
    return request.param


def test_the_report_holds_the_contract(name, runs):
    report = json.loads((runs(name) / "report.json").read_text())
    validate_report(report)
    assert set(report) == CONTRACT_KEYS | DOCUMENTED_EXTRAS
    assert (report["recipe"], report["task"], report["seed"]) == (RUNS[name][0], TASK, 0)
    settings = RUNS[name][2]
    assert {report["success"][who]["episodes"] for who in ("pretrained", "refined")} == {
        settings["evaluation.episodes"]
    }
    steps = report["simulator_steps"]
    assert steps["refinement"] == 0 and steps["collection"] > 0 and steps["evaluation"] > 0
    assert report["imagined_steps"] == EXPECTED[name][2]
    assert report["chosen_iteration"] == settings["refine.iterations"] and report["device"] == "cpu"
    assert report["accepted"] is (report["gate"] is None or report["gate"]["accepted"])
    assert list(report["policies"]) == ["pretrained", "filtered", "refined"] and report["start"] in report["policies"]
    assert report["limit"]["own_control_steps"] == 500
    for policy in report["policies"].values():
        assert policy["success_own_limit"]["successes"] >= policy["success"]["successes"], "the same episodes, later"
        assert 0 < policy["action_change"] < 1
    assert all(seconds > 0 for seconds in report["seconds"].values())


def test_every_result_is_there_and_opens(name, runs):
    run = runs(name)
    observer, policy, _, sources = EXPECTED[name]
    assert set(stage_files(run)) == {each.name for each in ordered([reopen(run).plan.report])}
    dataset = read_dataset(run / "dataset", cameras=())
    assert {source: dataset.sources.count(source) for source in dataset.sources} == sources
    assert dataset.info.simulator == "metaworld"
    before, after = (load_agent(run / stage, TASK) for stage in ("policy", "refined"))
    assert isinstance(after.observer, observer) and isinstance(after.policy, policy) and after.policy.action_dim == 4
    for key, tensor in before.observer.state_dict().items():
        assert tensor.equal(after.observer.state_dict()[key]), "refinement leaves the observer alone"
    assert any(not tensor.equal(after.policy.state_dict()[key]) for key, tensor in before.policy.state_dict().items())
    assert not (run / ".partial").exists()
    assert not [path for path in run.rglob("*") if path.suffix in (".pt", ".pth", ".pkl", ".pickle")]


def test_the_page_needs_nothing_else(name, runs):
    page = (runs(name) / "report.html").read_text()
    loaded = re.findall(r"""(?:src|href|poster)\s*=\s*["']([^"']+)""", page) + re.findall(r"url\(([^)]+)\)", page)
    assert [link[:60] for link in loaded if not link.startswith(("data:", "#", "https://arxiv.org"))] == ["report.json"]
    assert TASK in page


def test_the_same_command_again_does_nothing(name, runs, capfd):
    run = runs(name)
    before, started = stage_files(run), time.monotonic()
    assert main(command(run, name=name)) == 0
    assert time.monotonic() - started < 20
    assert redone(before, stage_files(run)) == set()
    output = "".join(capfd.readouterr())
    assert "started" not in output
    assert output.count("up to date") == len(before)


def test_a_changed_setting_of_ppo_redoes_what_depends_on_it(copy):
    before = stage_files(copy)
    assert main(command(copy, "--config.ppo.clip", "0.1")) == 0
    assert redone(before, stage_files(copy)) == {"refined", "accepted", "evaluation", "report"}
    assert "clip: 0.1" in (copy / "recipe.yaml").read_text()


def test_every_command_for_a_stage_skips_a_finished_one(finished, capfd):
    before = stage_files(finished)
    for name in reopen(finished).plan.commands:
        assert main([name, str(finished), "--threads", "1"]) == 0
        output = "".join(capfd.readouterr())
        assert "up to date" in output
        assert "started" not in output
    assert redone(before, stage_files(finished)) == set()


# -- pictures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("world4rl", ["No video was asked for"]),
        pytest.param(
            "pixels",
            ["Open-loop prediction error", "Imagined pictures: where something moves", ">Autoencoder<"],
            marks=pytest.mark.slow,
        ),
        pytest.param("frames", ["Imagined pictures: where something moves", "The trust gate"], marks=pytest.mark.slow),
    ],
)
def test_the_page_shows_what_there_is(name, words, runs):
    page = (runs(name) / "report.html").read_text()
    assert [word for word in words if word not in page] == []


@pytest.mark.parametrize("name", names("pixels", "frames", "gwm"))
def test_imagined_pictures_are_compared_and_shown(name, runs):
    run = runs(name)
    fidelity = json.loads((run / "evaluation/fidelity.json").read_text())
    assert fidelity["camera"] == "corner3" and set(fidelity["sources"]) <= set(EXPECTED[name][3])
    assert fidelity["action_following"]["own_future"]["windows"] > 0
    videos = {path.name for path in (run / "videos").iterdir()}
    assert videos == {"evaluation_before_after_1.mp4", "evaluation_real_imagined_1.mp4"}
    # Failures are only asked of frames, errors of states only where there are some.
    assert (run / "evaluation/failure_fidelity.json").exists() == (name == "frames")
    assert (run / "evaluation/prediction.json").exists() == (name != "frames")


@pytest.mark.parametrize("name", names("pixels", "frames"))
@pytest.mark.parametrize("stage", ["policy", "refined"])
def test_the_policy_sees_no_state(name, stage, runs):
    run = runs(name)
    agent, pictures = load_agent(run / stage, TASK), read_dataset(run / "dataset").observations[CAMERA][:4]
    assert pictures.shape == (4, 32, 32, 3)
    actions = []
    for observation in ({CAMERA: pictures}, {CAMERA: pictures, STATE: torch.full((4, 39), torch.nan)}):
        agent.begin(4)
        actions.append(agent.act(observation))
    assert torch.equal(*actions) and bool(actions[0].isfinite().all())


@pytest.mark.parametrize("name", ["pixels"])
def test_pictures_are_encoded_once(name, runs):
    run = runs(name)
    pictures = read_dataset(run / "dataset").observations[CAMERA]
    latents = read_dataset(run / "latents").observations[STATE]
    assert latents.shape == (len(pictures), 16)
    again = load_agent(run / "policy", TASK).observer.autoencoder.encode({CAMERA: pictures[:20]})
    torch.testing.assert_close(again, latents[:20], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["diwa"])
def test_diwa_refines_the_last_denoising_steps_in_the_frozen_world(name, runs):
    run = runs(name)
    before, after = (load_agent(run / stage, TASK).policy for stage in ("start", "refined"))
    for (key, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        assert torch.equal(old, new) == key.startswith("pretrained"), key
    world, kept = (load_tensors(run / stage / "model.safetensors")[0] for stage in ("world_model", "refined"))
    assert all(torch.equal(kept[f"observer.{key}"], tensor) for key, tensor in world.items())


# -- the user's own data -----------------------------------------------------------------------------------------------

WITHOUT_SIMULATOR = """
import sys
from burnish.cli import main

code = main(sys.argv[1:])
names = ("metaworld", "mujoco", "burnish.simulators", "burnish.recipes.recording")
settings = ("burnish.simulators", "burnish.simulators.settings")
found = [name for name in sys.modules if name in names or name.startswith(tuple(f"{n}." for n in names))]
found = [name for name in found if name not in settings]
assert not found, found
sys.exit(code)
"""


def test_a_run_on_own_data_imports_no_simulator(tmp_path):
    data, out = write_point_data(tmp_path / "data", strays=4), tmp_path / "run"
    content = hash_files(data)
    arguments = own_data_command(data, out, "--config.classifier-training.steps", "200")
    done = subprocess.run([sys.executable, "-c", WITHOUT_SIMULATOR, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads((out / "report.json").read_text())
    validate_report(report)
    assert report["task"] == "center" and report["success"] is None
    assert (out / "accepted/gate.json").exists() and len(list((out / "gate").iterdir())) == 2
    assert "no simulator" in report["skipped"]["evaluation"] and "no simulator" in done.stdout
    assert report["simulator_steps"] == {"collection": 0, "refinement": 0, "evaluation": 0}
    assert report["imagined_steps"] > 0
    assert hash_files(data) == content
    assert read_dataset(out / "dataset").num_episodes == 14
    # Again: done. And what changes in the data set is noticed.
    before = stage_files(out)
    assert main(arguments) == 0
    assert redone(before, stage_files(out)) == set()


def test_pictures_without_a_state_are_refined_on(restored, tmp_path, capfd):
    """By models of pictures; models of states refuse them before anything is done, and name the columns."""
    data, out = write_point_data(tmp_path / "data", camera="front", strays=4, state=False), tmp_path / "run"
    assert main(own_data_command(data, out)) == 2
    error = capfd.readouterr().err
    assert "found no state among the columns action, " in error and "--preset pixels" in error and not out.exists()
    short = {
        "autoencoder.cameras": "front",
        "autoencoder-training.steps": 20,
        "pretraining.steps": 40,
        "world-model-training.steps": 40,
        "ensemble-training.steps": 20,
        "classifier-training.steps": 20,
        "refine.iterations": 1,
        "refine.evaluate-every": 1,
        "ppo.epochs": 1,
        "ppo.critic-warmup": 0,
        "gate.worlds": 0,
    }
    assert main(own_data_command(data, out, "--config.refine.no-preflight", *flags(short), name="pixels")) == 0
    validate_report(report := json.loads((out / "report.json").read_text()))
    assert report["imagined_steps"] > 0
    dataset = read_dataset(out / "dataset")
    assert list(dataset.observations) == ["observation.images.front"] and dataset.num_episodes == 14
    policy = burnish.load(out).policy
    assert policy.observation_shapes == {"observation.images.front": (32, 32, 3)}
    assert policy.act({"observation.images.front": np.zeros((32, 32, 3), np.uint8)}).shape == (2,)


@pytest.mark.parametrize(
    ("name", "settings", "observer"),
    [
        ("diwa", ["--config.world-model.action-steps", "4"], RSSM),
        ("diwa", ["--config.world-model.cell", "s5"], RSSM),
        (
            "diwa",
            ["--preset", "pixels-tiny", "--config.autoencoder.cameras", "front"]
            + ["--config.autoencoder-training.steps", "20", "--config.gate.worlds", "0"],
            Encoded,
        ),
        pytest.param("frames", ["--config.history.cameras", "front"], PixelHistory, marks=pytest.mark.slow),
    ],
    ids=["action chunks", "s5", "pixels", "frames"],
)
def test_other_models_of_own_data(name, settings, observer, restored, tmp_path):
    data, out = write_point_data(tmp_path / "data", camera="front"), tmp_path / "run"
    assert main(own_data_command(data, out, *settings, name=name)) == 0
    validate_report(report := json.loads((out / "report.json").read_text()))
    assert report["success"] is None and report["imagined_steps"] > 0
    assert isinstance(load_agent(out / "refined", "center").observer, observer)
    assert (out / "evaluation/fidelity.json").exists() == (observer is not RSSM)
