"""Both recipes on pictures: whole small runs in which nothing that learns sees a state, and what they refuse."""

import json

import pytest
import torch

from burnish.cli import main
from burnish.data import STATE, image_key, read_dataset
from burnish.policies import load_agent
from burnish.report.contract import validate_report
from burnish.storage import load_tensors
from burnish.world_models import LATENT, Encoded
from tests.recipes.small_runs import SETTINGS, TASK, own_data_command, write_point_data
from tests.recipes.test_diwa_run import SMALL as SMALL_DIWA

PIXELS = ["--observation", "pixels", "--config.autoencoder-training.steps", "60"]
CAMERA = image_key("corner3")


def world4rl(out, *more):
    settings = [*SETTINGS, "--config.collect.noisy-expert-episodes", "3", "--config.evaluation.videos", "1"]
    return ["run", "world4rl", "--task", TASK, "--out", str(out), *settings, *PIXELS, *more]


def diwa(out):
    settings = [word for name, value in SMALL_DIWA.items() for word in (f"--config.{name}", str(value))]
    tiny = ["--preset", "tiny", "--threads", "1"]
    return ["run", "diwa", "--task", TASK, "--out", str(out), *tiny, *settings, *PIXELS]


@pytest.fixture(scope="module")
def finished(restored, tmp_path_factory):
    out = tmp_path_factory.mktemp("pixels") / "run"
    assert main(world4rl(out)) == 0
    return out


def test_the_report_holds_the_contract_and_shows_the_pictures(finished):
    report = json.loads((finished / "report.json").read_text())
    validate_report(report)
    assert report["simulator_steps"]["refinement"] == 0 < report["simulator_steps"]["collection"]
    assert any(stage["name"] == "autoencoder" and stage["seconds"] > 0 for stage in report["stages"])
    fidelity = json.loads((finished / "evaluation/fidelity.json").read_text())
    assert "policy" in fidelity["sources"] and "fid" in fidelity["missing"]
    page = (finished / "report.html").read_text()
    assert "Imagined pictures" in page and "<h3>Autoencoder</h3>" in page
    assert sorted(path.name for path in (finished / "videos").iterdir()) == [
        "evaluation_before_after_1.mp4",
        "evaluation_real_imagined_1.mp4",
    ]


def test_pictures_are_kept_with_the_data_and_encoded_once(finished):
    dataset = read_dataset(finished / "dataset")
    assert dataset.observations[CAMERA].shape == (dataset.num_frames, 32, 32, 3)
    latents = load_tensors(finished / "latents/latents.safetensors")[0][LATENT]
    assert latents.shape == (dataset.num_frames, 16)
    agent = load_agent(finished / "policy", TASK)
    assert isinstance(agent.observer, Encoded)
    again = agent.observer.autoencoder.encode({CAMERA: dataset.observations[CAMERA][:20]})
    torch.testing.assert_close(again, latents[:20], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stage", ["policy", "refined"])
def test_the_policy_sees_no_state(finished, stage):
    dataset = read_dataset(finished / "dataset")
    agent = load_agent(finished / stage, TASK)
    pictures = {CAMERA: dataset.observations[CAMERA][:4]}
    actions = []
    for observation in (pictures, {**pictures, STATE: torch.full((4, 21), torch.nan)}):
        agent.begin(4)
        actions.append(agent.act(observation))
    assert torch.equal(*actions) and bool(actions[0].isfinite().all())


def test_the_same_command_again_has_nothing_to_do(finished, capsys):
    assert main(world4rl(finished)) == 0
    output = capsys.readouterr()
    assert "started" not in output.out + output.err


def test_cameras_that_the_simulator_does_not_record_are_refused(tmp_path, capsys):
    assert main(world4rl(tmp_path / "run", "--config.autoencoder.cameras", "topview")) == 2
    assert "the simulator records corner3 in 32" in capsys.readouterr().err
    assert main(world4rl(tmp_path / "run", "--observation", "sound")) == 2
    assert "expected one of: state, pixels" in capsys.readouterr().err


def test_diwa_reads_the_same_latents(restored, tmp_path):
    out = tmp_path / "run"
    assert main(diwa(out)) == 0
    report = json.loads((out / "report.json").read_text())
    validate_report(report)
    assert report["simulator_steps"]["refinement"] == 0
    assert isinstance(load_agent(out / "refined", TASK).observer, Encoded)
    assert (out / "evaluation/fidelity.json").exists()


def test_pictures_of_ones_own(restored, tmp_path, capsys):
    data = write_point_data(tmp_path / "data", camera="front")
    out = tmp_path / "run"
    assert main(own_data_command(data, out, *PIXELS, "--config.autoencoder.cameras", "front")) == 0
    agent = load_agent(out / "refined")
    assert agent.observer.autoencoder.config.cameras == ("front",)
    assert (out / "evaluation/fidelity.json").exists()
    missing = own_data_command(data, tmp_path / "other", *PIXELS, "--config.autoencoder.cameras", "wrist")
    assert main(missing) == 2
    assert "wrist" in capsys.readouterr().err
