"""GWM: its own stage, on a moving block; where cameras are; what is refused. Whole runs are among `small_runs`."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch

from burnish.cli import main
from burnish.data import DatasetInfo, depth_camera, unpack_depth, write_dataset
from burnish.errors import InputError
from burnish.pipeline import StageContext
from burnish.recipes.gwm import GWM
from burnish.recipes.presets.gwm import DEFAULT, PRESETS
from burnish.recipes.stages.recording import Real
from burnish.recipes.stages.scenes import simulated_cameras, train_scene_autoencoder
from burnish.simulators.settings import SimulatorConfig
from burnish.training import TrainingConfig
from burnish.training import loop as training_loop
from burnish.world_models import HistoryConfig, SceneAutoencoderConfig, SceneConfig
from tests.world_models.moving_block import CAMERA, COLOURS, DEPTH, SIZE, VIEW, moving_block

MODEL = SceneAutoencoderConfig(
    scene=SceneConfig((VIEW,), SIZE, points=24),
    gaussians=8,
    tokens=2,
    token_dim=2,
    width=16,
    heads=2,
    drawn=1,
    drawn_size=8,
)
TRAINING = TrainingConfig(steps=6, batch_size=4, learning_rate=1e-3, log_every=1, checkpoint_seconds=0.0)


class Killed(Exception):
    """The process is gone."""


@pytest.fixture(scope="module")
def data():
    return moving_block(6), moving_block(2, seed=1)


@pytest.fixture
def cameras(tmp_path):
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps({VIEW: dataclasses.asdict(CAMERA)}))
    return path


def learn(data, cameras, folder, training=TRAINING):
    folder.mkdir(exist_ok=True)
    context = StageContext(folder.name, folder, {}, "x")
    return train_scene_autoencoder(context, data, cameras, MODEL, training, 0), context.outputs


def test_it_learns_and_says_how_well(data, cameras, tmp_path):
    made, said = learn(data, cameras, tmp_path / "sets")
    torch.testing.assert_close(made.scenes.distance, torch.full((1, SIZE, SIZE), 2.0))
    assert said["depth_holes"] == 0 and 0 < said["held_out_chamfer"] < 2 and said["held_out_psnr"] > 0


def test_a_killed_stage_ends_with_the_same_bits(data, cameras, tmp_path, monkeypatch):
    whole = learn(data, cameras, tmp_path / "whole")[0].state_dict()
    save_state, count = training_loop.save_state, []

    def stopping(*arguments, **more):
        save_state(*arguments, **more)
        count.append(1)
        if len(count) == 3:
            raise Killed

    monkeypatch.setattr(training_loop, "save_state", stopping)
    with pytest.raises(Killed):
        learn(data, cameras, tmp_path / "killed")
    monkeypatch.undo()
    resumed = learn(data, cameras, tmp_path / "killed")[0].state_dict()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_nothing_is_trained_on_depth_in_other_units(data, cameras, tmp_path):
    wrong = dataclasses.replace(data[0], observations={**data[0].observations, DEPTH: data[0].observations[COLOURS]})
    with pytest.raises(InputError, match=r"front_depth.*third channel"):
        learn((wrong, data[1]), cameras, tmp_path / "sets")
    assert not list(tmp_path.rglob("metrics.jsonl"))


def test_the_simulators_cameras_fit_its_depth():
    """One sees the hand where the simulator has it; two see the same table and the same arm."""
    pytest.importorskip("mujoco")
    from burnish.data import image_key, view_tensors
    from burnish.networks import View
    from burnish.simulators.vector import SimulatorVectorEnv

    views = ("corner3", "topview")
    settings = SimulatorConfig(image_size=48, cameras=tuple(depth_camera(view) for view in views))
    env = SimulatorVectorEnv("drawer-open-v3", 1, settings)
    seen, _ = env.reset(seed=0)
    env.close()
    points = []
    for view, camera in zip(views, simulated_cameras(Real("drawer-open-v3", 0, settings), views), strict=True):
        depth = unpack_depth(torch.from_numpy(seen[image_key(depth_camera(view))]))
        points.append(View(*view_tensors(camera)).unproject(depth).flatten(0, 2))
    hand = torch.from_numpy(seen["observation.state"][0, :3])
    assert (points[0] - hand).norm(dim=-1).min() < 0.06
    above = [each[(each[:, 2] > 0.1) & (each[:, 1] > 0.3)] for each in points]
    assert len(above[1]) > 50 and torch.cdist(above[1], above[0]).amin(1).median() < 0.08
    for each in points:
        table = each[(each[:, :2] - torch.tensor([0.0, 0.6])).norm(dim=-1) < 0.3, 2]
        assert float(table.quantile(0.1)) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(
    "task, view, told",
    [
        ("drawer-open-v3", "gripperPOV", "does not stand still"),
        ("gym:Pendulum-v1", "render", "does not tell where its cameras are: found no --config.calibration"),
    ],
    ids=["moving", "unknown"],
)
def test_cameras_that_nobody_knows(task, view, told):
    if ":" not in task:
        pytest.importorskip("mujoco")
    with pytest.raises(InputError, match=re.escape(told)):
        simulated_cameras(Real(task, 0, SimulatorConfig()), (view,))


# Commands -------------------------------------------------------------------------------------------------------------


def written(folder, count=6):
    episodes = [
        dataclasses.replace(each, success=np.arange(len(each)) >= (8 if k % 2 else 99), source="expert")
        for k, each in enumerate(moving_block(count).to_episodes())
    ]
    write_dataset(folder, episodes, DatasetInfo(fps=10))
    return folder


def command(data, out, *more):
    flags = "--config.autoencoder.scene.views front --config.autoencoder.scene.image-size 16 --threads 1"
    flags += " --config.autoencoder.drawn-size 16 --config.simulator.image-size 16"
    flags += " --config.simulator.cameras front front_depth --preset tiny"
    return ["run", "gwm", "--dataset", str(data), "--out", str(out), *flags.split(), *more]


def test_cameras_without_intrinsics_are_refused_at_once(tmp_path, capsys):
    data = written(tmp_path / "data")
    assert main(command(data, tmp_path / "run")) == 2
    assert "the cameras front have no intrinsics: found no --config.calibration" in capsys.readouterr().err
    cameras = tmp_path / "cameras.json"
    cameras.write_text('{"side": {}}')
    assert main(command(data, tmp_path / "run", "--config.calibration", str(cameras))) == 2
    assert "found cameras side, expected one of the name 'front'" in capsys.readouterr().err
    assert not list(tmp_path.rglob("metrics.jsonl"))


@pytest.mark.slow
def test_own_data_with_depth_and_a_calibration_are_refined(tmp_path):
    cameras = tmp_path / "cameras.json"
    cameras.write_text(json.dumps({VIEW: dataclasses.asdict(CAMERA)}))
    steps = " ".join(
        f"--config.{name}.steps 20"
        for name in ("autoencoder-training", "pretraining", "world-model-training", "ensemble-training")
    )
    more = f"{steps} --config.classifier-training.steps 20 --config.refine.margin=-1 --config.gate.worlds 0"
    more += f" --config.calibration {cameras} --config.refine.iterations 2 --config.refine.evaluate-every 1"
    more += " --config.refine.no-preflight --config.autoencoder.scene.workspace None"
    out = tmp_path / "run"
    assert main(command(written(tmp_path / "data", 24), out, *more.split())) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["recipe"] == "gwm" and report["success"] is None
    said = json.loads((out / "autoencoder/stage.json").read_text())["outputs"]
    assert said["depth_holes"] == 0 and said["held_out_chamfer"] > 0


def test_a_folder_that_names_code_is_not_opened(tmp_path, capsys):
    run = tmp_path / "run"
    assert main(command(written(tmp_path / "data"), run, "--config.calibration", "none.json")) == 2
    run.mkdir(exist_ok=True)
    saved = {"recipe": "gwm", "task": "block", "seed": 0}
    code = {"autoencoder": {"scene": {"maker": "nowhere:maker"}}}
    text = json.dumps({**saved, "config": {**code, "run": {"simulator": None}}})
    (run / "recipe.yaml").write_text(text)
    capsys.readouterr()
    assert main(["report", str(run)]) == 2
    assert "names code to be imported, 'nowhere:maker'" in capsys.readouterr().err


# Settings -------------------------------------------------------------------------------------------------------------


def test_settings_that_make_no_sense():
    with pytest.raises(InputError, match="no inertia"):
        dataclasses.replace(DEFAULT, history=HistoryConfig())
    with pytest.raises(InputError, match=r"transformer\.tokens is 8, expected the 9"):
        dataclasses.replace(DEFAULT, autoencoder=dataclasses.replace(DEFAULT.autoencoder, tokens=9))


def test_denoised_features_need_one_world():
    with pytest.raises(InputError, match=r"config\.features"):
        dataclasses.replace(PRESETS["denoised"], worlds=2)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_record_what_they_look_at(name):
    c = PRESETS[name]
    assert isinstance(c, GWM) and c.simulator.cameras == c.cameras == c.autoencoder.cameras
    assert c.simulator.image_size == c.autoencoder.image_size
