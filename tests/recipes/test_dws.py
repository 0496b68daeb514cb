"""DWS: its stages by themselves, on a moving dot; whole runs are among `small_runs`."""

import dataclasses

import pytest
import torch

from burnish.components import save
from burnish.errors import InputError
from burnish.networks import ActionBlock, ActionModulesConfig, UNetConfig
from burnish.pipeline import StageContext
from burnish.recipes.dws import DWS
from burnish.recipes.presets.dws import DEFAULT, PRESETS
from burnish.recipes.stages.refining import refine_policy
from burnish.recipes.stages.video import follow_labelled, take_over_video_model, train_video_model
from burnish.rl import DreamerConfig
from burnish.training import TrainingConfig
from burnish.training import loop as training_loop
from burnish.world_models import HistoryConfig, PixelDiffusionConfig, PixelHistoryConfig
from tests.world_models.moving_dot import CAMERA, KEY, SIZE, moving_dot

HISTORY = PixelHistoryConfig((CAMERA,), SIZE, frames=2, bins=5)
VIDEO = PixelDiffusionConfig(preset="custom", unet=UNetConfig((16, 32), (1, 1), (False, False), 32))
FOLLOWS = dataclasses.replace(VIDEO, modules=ActionModulesConfig(width=8, train_base=False), motion_weight=1.0)
TRAINING = TrainingConfig(steps=6, batch_size=4, learning_rate=1e-3, log_every=1, checkpoint_seconds=0.0)


class Killed(Exception):
    """The process is gone."""


@pytest.fixture(scope="module")
def data():
    return moving_dot(6), moving_dot(2, seed=1)


def context(folder):
    folder.mkdir(exist_ok=True)
    return StageContext(folder.name, folder, {}, "x")


def video(data, folder, training=TRAINING):
    return train_video_model(context(folder), data, HISTORY, VIDEO, training, 0)


def following(data, film, folder, steps=20, model=FOLLOWS, history=HISTORY):
    return follow_labelled(context(folder), data, None, film, history, model, TRAINING, steps, 0)  # type: ignore[arg-type]


def test_video_first_then_actions(data, tmp_path):
    film = video(data, tmp_path / "video")
    world = following(data, film, tmp_path / "world")
    assert film.history.action_dim == 0 and world.history.action_dim == 2
    blocks = [module for module in world.network.modules() if isinstance(module, ActionBlock)]
    assert blocks and all(block.scale.weight.abs().max() > 0 for block in blocks)
    assert torch.equal(world.network.input.weight, film.network.input.weight)
    assert world.config.motion_weight == 1.0 and film.config.motion_weight == 0.0


@pytest.mark.parametrize("stage", ["video", "world"])
def test_a_killed_stage_ends_with_the_same_bits(stage, data, tmp_path, monkeypatch):
    film = video(data, tmp_path / "film")

    def train(folder):
        return video(data, folder) if stage == "video" else following(data, film, folder)

    whole = train(tmp_path / "whole").state_dict()
    save_state, count = training_loop.save_state, []

    def stopping(*arguments, **more):
        save_state(*arguments, **more)
        count.append(1)
        if len(count) == 3:
            raise Killed

    monkeypatch.setattr(training_loop, "save_state", stopping)
    with pytest.raises(Killed):
        train(tmp_path / "killed")
    monkeypatch.undo()
    resumed = train(tmp_path / "killed").state_dict()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_a_model_of_video_is_brought_along(data, tmp_path):
    film = video(data, tmp_path / "video")
    save(tmp_path / "elsewhere", film)
    taken = take_over_video_model(context(tmp_path / "taken"), tmp_path / "elsewhere")
    assert all(torch.equal(tensor, taken.state_dict()[name]) for name, tensor in film.state_dict().items())
    other = dataclasses.replace(HISTORY, frames=3)
    with pytest.raises(InputError, match="sees"):
        following(data, taken, tmp_path / "world", history=other)


def test_what_cannot_be_learned_from_is_said(data, tmp_path):
    still = dataclasses.replace(data[0], observations={KEY: torch.zeros_like(data[0].observations[KEY])})
    with pytest.raises(InputError, match="moves"):
        video((still, data[1]), tmp_path / "still")
    film = video(data, tmp_path / "video")
    with pytest.raises(InputError, match="labelled_steps"):
        following(data, film, tmp_path / "many", steps=1000)
    with pytest.raises(InputError, match="modules"):
        following(data, film, tmp_path / "none", model=VIDEO)


def test_settings_that_make_no_sense():
    with pytest.raises(InputError, match="pictures"):
        dataclasses.replace(DEFAULT, history=HistoryConfig())
    with pytest.raises(InputError, match="worlds"):
        dataclasses.replace(DEFAULT, worlds=3)
    assert isinstance(PRESETS["paper"], DWS)


def test_only_ppo_tells_its_errors(tmp_path):
    with pytest.raises(InputError, match="priority"):
        nothing = (context(tmp_path / "refined"), None, None, None)
        refine_policy(*nothing, DEFAULT.imagination, DreamerConfig(), DEFAULT.refine, 0)  # type: ignore[arg-type]
