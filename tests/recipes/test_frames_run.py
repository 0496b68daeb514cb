"""World4RL on frames: a whole small run on Meta-World, one on one's own pictures, and world models from elsewhere."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
import yaml
from burnish.recipes.device import chosen_device
from burnish.recipes.world4rl_frames import check_cameras, frames_of
from burnish.recipes.world4rl_frames_config import World4RLFramesConfig

from burnish.cli import main
from burnish.components import load, save
from burnish.data import read_dataset, write_dataset
from burnish.errors import InputError
from burnish.policies import load_agent
from burnish.recipes.catalogue import entry
from burnish.recipes.runs import reopen, run_recipe
from burnish.report.contract import validate_report
from burnish.storage import load_tensors
from burnish.world_models import PixelDiffusion, PixelHistory
from tests.evaluation.moving_square import CAMERA, squares

TASK = "drawer-open-v3"
STAGES = ("policy", "dataset", "world_model", "classifier", "refined", "evaluation", "report")
SHORT = [
    *("--observation", "frames", "--preset", "tiny", "--threads", "1"),
    *("--config.pretraining.steps", "40"),
    *("--config.world-model-training.steps", "20"),
    *("--config.classifier-training.steps", "10"),
    *("--config.refine.iterations", "2", "--config.refine.margin=-1"),
    *("--config.evaluation.imagined-episodes", "4"),
]
SIMULATED = [
    *("--task", TASK, "--config.collect.demonstrations", "2", "--config.collect.policy-episodes", "2"),
    *("--config.simulator.max-steps", "45", "--config.collect.random-episodes", "2", "--config.fidelity-windows", "2"),
    *("--config.evaluation.episodes", "2", "--config.evaluation.curve-points", "0", "--config.held-out", "0.4"),
]


@pytest.fixture(scope="module")
def simulated(restored, tmp_path_factory):
    """The folder of a small run in the simulator; not to be changed."""
    out = tmp_path_factory.mktemp("frames") / "run"
    assert main(["run", "world4rl", *SHORT, *SIMULATED, "--out", str(out)]) == 0
    return out


def manifests(folder):
    return {name: json.loads((folder / name / "stage.json").read_text()) for name in STAGES}


def test_a_whole_run_from_pictures(simulated):
    report = json.loads((simulated / "report.json").read_text())
    validate_report(report)
    assert (report["recipe"], report["task"], report["accepted"]) == ("world4rl-frames", TASK, True)
    assert report["simulator_steps"]["refinement"] == 0 and report["imagined_steps"] == 2 * 8 * 16
    assert report["success"]["refined"]["episodes"] == 2 and report["device"] == "cpu"
    dataset = read_dataset(simulated / "dataset")
    assert [dataset.sources.count(name) for name in ("expert", "random", "policy")] == [2, 2, 2]
    agent = load_agent(simulated / "refined", TASK)
    assert isinstance(agent.observer, PixelHistory) and agent.policy.feature_dim == 3 * 32 * 32
    before, after = (load_tensors(simulated / name / "model.safetensors")[0] for name in ("policy", "refined"))
    assert any(not before[name].equal(after[name]) for name in before)


def test_imagined_pictures_are_judged_and_the_page_says_what_is_missing(simulated):
    fidelity = json.loads((simulated / "evaluation/fidelity.json").read_text())
    assert fidelity["camera"] == "corner3" and set(fidelity["sources"]) <= {"expert", "random", "policy"}
    assert len(fidelity["horizon"]) == 10 and fidelity["action_following"]["own_future"]["windows"] > 0
    failures = json.loads((simulated / "evaluation/failure_fidelity.json").read_text())
    assert {"failures_kept", "successes_kept", "sources"} == set(failures)
    assert not (simulated / "evaluation/prediction.json").exists() and not (simulated / "ensemble").exists()
    page = (simulated / "report.html").read_text()
    for words in ("no state vector", "no ensemble", "Imagined pictures: where something moves"):
        assert words in page
    videos = {path.name for path in (simulated / "videos").glob("*.mp4")}
    assert videos == {"evaluation_before_after_1.mp4", "evaluation_real_imagined_1.mp4"}


def test_the_folder_knows_its_recipe(simulated, capfd):
    assert yaml.safe_load((simulated / "recipe.yaml").read_text())["recipe"] == "world4rl-frames"
    assert isinstance(reopen(simulated).config, World4RLFramesConfig)
    before = manifests(simulated)
    assert main(["run", "world4rl", *SHORT, *SIMULATED, "--out", str(simulated)]) == 0
    assert main(["refine", str(simulated), "--threads", "1"]) == 0
    assert manifests(simulated) == before and "started" not in capfd.readouterr().err


def test_a_world_model_from_elsewhere(simulated, tmp_path):
    copy, other = shutil.copytree(simulated, tmp_path / "copy"), tmp_path / "other"
    shutil.copytree(simulated / "world_model", other)
    model = load(other, PixelDiffusion)
    with torch.no_grad():
        model.network.output.bias.add_(1.0)
    save(other, model)
    resolved = reopen(copy)
    taking = replace(resolved, config=replace(resolved.config, world_model_from=str(other)))
    run_recipe(copy, taking, ("world_model",), threads=1)
    taken = load_tensors(copy / "world_model/model.safetensors")[0]
    assert taken["network.output.bias"].equal(model.network.output.bias)
    assert {path.name for path in (copy / "world_model").iterdir()} == {
        *("model.safetensors", "config.json", "metrics.jsonl", "stage.json")
    }
    manifest = json.loads((copy / "world_model/stage.json").read_text())
    assert set(manifest["inputs"]) == {"dataset", "world_model_from"}
    run_recipe(copy, taking, ("world_model",), threads=1)
    assert json.loads((copy / "world_model/stage.json").read_text()) == manifest
    with torch.no_grad():
        model.network.output.bias.add_(1.0)
    save(other, model)  # its content counts, not its name
    run_recipe(copy, taking, ("world_model",), threads=1)
    assert load_tensors(copy / "world_model/model.safetensors")[0]["network.output.bias"].equal(
        model.network.output.bias
    )
    history = replace(taking.config.history, frames=3)
    with pytest.raises(InputError, match=r"other: this world model sees .*frames=4.*expected config.history"):
        run_recipe(copy, replace(taking, config=replace(taking.config, history=history)), ("world_model",), threads=1)


def test_own_pictures_need_no_simulator(tmp_path):
    pushes = [("teleoperation", 2.0 * start, [1.0] * 20) for start in range(4)]
    idle = [("teleoperation", 5.0, [0.0] * 20)] * 4
    dataset = squares([*pushes, *idle])
    write_dataset(tmp_path / "data", dataset.to_episodes(), dataset.info)
    cameras = f"--config.history.cameras {CAMERA}".split()
    assert (
        main(["run", "world4rl", *SHORT, *cameras, "--dataset", str(tmp_path / "data"), "--out", f"{tmp_path}/run"])
        == 0
    )
    report = json.loads((tmp_path / "run/report.json").read_text())
    assert report["success"] is None and report["simulator_steps"]["collection"] == 0
    assert (tmp_path / "run/evaluation/fidelity.json").exists()
    seen = frames_of(tmp_path / "run/dataset", (CAMERA,))
    assert set(seen.observations) == {f"observation.images.{CAMERA}"} and seen.num_episodes == 8


def test_how_frames_are_chosen(capsys):
    frames = entry("world4rl").looking_at("frames")
    assert frames.name == "world4rl-frames" and frames is entry("world4rl-frames")
    assert entry("world4rl").looking_at("pixels").name == entry("world4rl").looking_at(None).name == "world4rl"
    assert isinstance(entry("world4rl").preset("paper", "frames"), World4RLFramesConfig)
    assert main(["run", "world4rl", "--observation", "frames", "--task", TASK, "--preset", "paper", "--dry-run"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["config"]["world_model"]["preset"] == "published"
    with pytest.raises(InputError, match="expected one of: state, pixels, frames"):
        entry("world4rl").preset("default", "smell")
    with pytest.raises(InputError, match="expected one of: frames"):
        frames.preset("default", "pixels")


def test_settings_that_contradict_each_other():
    config = World4RLFramesConfig()
    check_cameras(config.simulator, config.history)
    with pytest.raises(InputError, match="look at corner3 in 64 pixels, the simulator records corner3 in 32"):
        check_cameras(replace(config.simulator, image_size=32), config.history)
    with pytest.raises(InputError, match="records no camera in 64"):
        check_cameras(replace(config.simulator, cameras=()), config.history)
    with pytest.raises(InputError, match="member_share"):
        replace(config, imagination=replace(config.imagination, member_share=0.5))


def test_devices(tmp_path):
    assert chosen_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="unknown device 'tpu'"):
        chosen_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="finds no GPU"):
            chosen_device("cuda")
