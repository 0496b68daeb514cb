"""One world model for several runs on frames, and what it will cost."""

import dataclasses
import shutil

import pytest
import torch

from burnish.components import load
from burnish.data import read_dataset, write_dataset
from burnish.errors import InputError, RunError
from burnish.networks import UNetConfig
from burnish.recipes.base import RunSpec
from burnish.recipes.catalogue import entry
from burnish.recipes.how import How
from burnish.recipes.own_data import OwnData
from burnish.recipes.runs import Resolved, run_recipe
from burnish.storage import load_tensors, read_json
from burnish.training import TrainingConfig
from burnish.world_models import PixelDiffusion, PixelDiffusionConfig
from studies import joint
from studies.cost import evaluation_steps, imagined_steps, predicted
from studies.joint import train_joint
from tests.evaluation.moving_square import CAMERA, squares

SMALL = PixelDiffusionConfig(preset="custom", unet=UNetConfig((8, 8), (1, 1), (False, False), 16))
TRAINING = TrainingConfig(steps=6, batch_size=4, log_every=1, checkpoint_seconds=0.0)


@pytest.fixture(scope="module")
def config():
    tiny = entry("world4rl").preset("frames-tiny")
    return dataclasses.replace(tiny, history=dataclasses.replace(tiny.history, cameras=(CAMERA,)))


@pytest.fixture(scope="module")
def runs(config, tmp_path_factory):
    """Two runs on one's own pictures that have their data set, of 4 and of 6 episodes."""
    root, folders = tmp_path_factory.mktemp("joint"), []
    for count in (4, 6):
        dataset = squares([("teleoperation", 2.0 * start, [1.0] * 12) for start in range(2, 2 + count)])
        write_dataset(root / f"data{count}", dataset.to_episodes(), dataset.info)
        folders.append(root / f"run{count}")
        resolved = Resolved(RunSpec("world4rl", "push", 0, OwnData.of(root / f"data{count}")), config)
        run_recipe(folders[-1], resolved, "collect", How(threads=1))
    return folders


def weights(folder):
    return load_tensors(folder / "model.safetensors")[0]


def test_it_learns_from_all_runs_and_resumes_to_the_same_weights(runs, config, tmp_path, monkeypatch):
    whole = train_joint(runs, SMALL, TRAINING, tmp_path / "whole", 0)
    manifest = read_json(whole / "stage.json")
    # A quarter of 4 and of 6 is held out: 1 and 2 episodes.
    assert (manifest["outputs"]["episodes"], manifest["outputs"]["frames"]) == (7, 7 * 13)
    assert load(whole, PixelDiffusion).history.config == config.history
    assert not (whole / "resume.safetensors").exists()

    # Stopped in the middle, the same call goes on.
    original = joint.train_world_model

    def interrupted(context, *rest):
        progress = context.progress

        def bar(*arguments):
            shown = progress(*arguments)
            at = shown.at

            def stop(done, metrics):
                at(done, metrics)
                if done == 4:
                    raise KeyboardInterrupt

            shown.at = stop
            return shown

        context.progress = bar
        return original(context, *rest)

    monkeypatch.setattr(joint, "train_world_model", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_joint(runs, SMALL, TRAINING, tmp_path / "stopped", 0)
    assert (tmp_path / "stopped/.partial/world_model/resume.safetensors").exists()
    monkeypatch.setattr(joint, "train_world_model", original)
    again = train_joint(runs, SMALL, TRAINING, tmp_path / "stopped", 0)
    assert all(weights(again)[name].equal(tensor) for name, tensor in weights(whole).items())

    # Done is done, though the data's decoded pictures may come and go; another seed is another model.
    shutil.rmtree(runs[0] / "dataset/.cache", ignore_errors=True)
    before = (again / "stage.json").read_text()
    train_joint(runs, SMALL, TRAINING, tmp_path / "stopped", 0)
    assert (again / "stage.json").read_text() == before


def test_what_cannot_be_joined(runs, config, tmp_path):
    with pytest.raises(InputError, match="found no run"):
        train_joint([], SMALL, TRAINING, tmp_path / "joint", 0)
    empty = shutil.copytree(runs[0], tmp_path / "empty")
    shutil.rmtree(empty / "dataset")
    with pytest.raises(InputError, match="empty: the data set is not done yet"):
        train_joint([empty], SMALL, TRAINING, tmp_path / "joint", 0)
    other = shutil.copytree(runs[1], tmp_path / "other")
    text = (other / "recipe.yaml").read_text()
    (other / "recipe.yaml").write_text(text.replace("feature_frames: 1", "feature_frames: 2"))
    with pytest.raises(InputError, match=r"other: looks at .*feature_frames=2.*expected"):
        train_joint([runs[0], other], SMALL, TRAINING, tmp_path / "joint", 0)
    assert not (tmp_path / "joint").exists()


def test_too_little_memory_names_the_setting(runs, tmp_path, monkeypatch):
    def hungry(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(joint, "train_world_model", hungry)
    with pytest.raises(RunError, match=r"world_model: out of memory; lower training\.batch_size \(now 4\)"):
        train_joint(runs, SMALL, TRAINING, tmp_path / "joint", 0)


def test_the_cost_by_hand(config):
    """A refinement of 4 iterations of 8 · 16 steps, judged before, after 2 and 4, in 8 episodes of at most 60."""
    assert imagined_steps(config) == 4 * 8 * 16 + 3 * 8 * 60
    assert evaluation_steps(config) == 6 * (30 + 20 + 60) + 60
    one = predicted(config, action_dim=4)
    longer = dataclasses.replace(config.world_model_training, steps=160)
    assert predicted(dataclasses.replace(config, world_model_training=longer), 4).training == 2 * one.training
    frame = one.refinement / imagined_steps(config)
    assert one.evaluation == pytest.approx(frame * evaluation_steps(config))
    heun = dataclasses.replace(config.world_model.sampler, method="heun")
    model = dataclasses.replace(config.world_model, sampler=heun)
    dearer = predicted(dataclasses.replace(config, world_model=model), 4).refinement
    assert 1.45 < dearer / one.refinement < 1.5  # three calls in the place of two, and the past once as before
    assert predicted(entry("world4rl").preset("frames-paper"), 4).parameters == 330_506_627


def test_datasets_side_by_side(runs):
    parts = [read_dataset(run / "dataset") for run in runs]
    both = joint.joined_datasets(parts)
    assert both.num_episodes == 10 and both.starts.tolist() == [13 * i for i in range(10)]
    wider = dataclasses.replace(parts[1], actions=parts[1].actions.repeat(1, 2))
    faster = dataclasses.replace(parts[1], info=dataclasses.replace(parts[1].info, fps=99))
    for wrong, message in ((wider, "action"), (faster, "fps")):
        with pytest.raises(InputError, match=message):
            joint.joined_datasets([parts[0], wrong])
