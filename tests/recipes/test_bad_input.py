"""Bad input through the command line: one clear line, exit code 2 (or 1), and earlier results stay as they were."""

import json
import shutil

import numpy as np
import pytest
import torch

from burnish.cli import main
from burnish.data import read_dataset
from burnish.pipeline.manifest import hash_files
from tests.data.support import edit_info, edit_table
from tests.recipes.small_runs import (
    command,
    flags,
    own_data_command,
    redone,
    replace_by_pickle,
    stage_files,
    write_point_data,
)


@pytest.fixture
def fails(capfd):
    """Run a command line that fails: returns (exit code, the one line that it says on stderr)."""

    def check(arguments):
        code = main(arguments)
        lines = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("[burnish]")]
        assert len(lines) == 1, lines
        assert lines[0].startswith("burnish: error: ")
        return code, lines[0]

    return check


@pytest.fixture
def data(tmp_path):
    return write_point_data(tmp_path / "data")


@pytest.mark.parametrize("wrong", ["drawr-open-v3", "drawer-open-v2", "drawer_open"])
def test_unknown_task_names_near_matches(wrong, fails, tmp_path):
    code, message = fails(command(tmp_path / "run", task=wrong))
    assert code == 2
    assert wrong in message
    assert "did you mean drawer-open-v3" in message
    assert not (tmp_path / "run").exists()


def test_no_task(fails, tmp_path):
    code, message = fails(["run", "world4rl", "--out", str(tmp_path / "run")])
    assert code == 2
    assert "--task" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("flag", "value"), [("--preset", "huge"), ("--device", "tpu")])
def test_impossible_values(flag, value, fails, tmp_path):
    code, message = fails([*command(tmp_path / "run"), f"{flag}={value}"])
    assert code == 2
    assert value in message


def test_data_set_that_does_not_exist(fails, tmp_path):
    code, message = fails(own_data_command(tmp_path / "nothing", tmp_path / "run"))
    assert code == 2
    assert str(tmp_path / "nothing") in message


def test_data_set_without_a_success(fails, tmp_path):
    data = write_point_data(tmp_path / "failures", succeed=False)
    code, message = fails(own_data_command(data, tmp_path / "run"))
    assert code == 2
    assert str(data) in message
    assert "success" in message
    assert not (tmp_path / "run").exists()


def test_data_set_of_another_task(fails, data, tmp_path):
    code, message = fails(own_data_command(data, tmp_path / "run", "--task", "corner"))
    assert code == 2
    assert "'corner'" in message
    assert "center" in message


def test_no_device(fails, tmp_path):
    """Before anything is done, where the machine has no GPU."""
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    code, message = fails(command(tmp_path / "run", "--device", "cuda"))
    assert code == 2
    assert "finds no GPU" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        (
            "pixels",
            {"autoencoder.cameras": "topview"},
            "look at topview in 32 pixels, the simulator records corner3",
        ),
        ("frames", {"simulator.image-size": 48}, "look at corner3 in 32 pixels, the simulator records corner3 in 48"),
        ("world4rl", {"imagination.pessimism.use": "luck"}, "pessimism.use: found ['luck'], expected some of"),
    ],
)
def test_settings_that_contradict_each_other(name, settings, said, fails, tmp_path):
    code, message = fails(command(tmp_path / "run", *flags(settings), name=name))
    assert code == 2
    assert said in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["pixels", "frames"])
def test_own_data_without_the_camera(name, fails, tmp_path):
    data, models = write_point_data(tmp_path / "data", camera="front"), {"frames": "history", "pixels": "autoencoder"}
    code, message = fails(own_data_command(data, tmp_path / "run", f"--config.{models[name]}.cameras=wrist", name=name))
    assert code == 2
    assert "wrist" in message


def test_a_judge_that_does_not_show_the_camera(fails, tmp_path):
    """Known before anything trains, not at the evaluation."""
    data = write_point_data(tmp_path / "data", camera="front", state=False)
    more = ("--task", "toy_env:make", "--config.autoencoder.cameras", "front", "--config.simulator.cameras")
    code, message = fails(own_data_command(data, tmp_path / "run", *more, name="pixels"))
    assert code == 2 and "look at front in 32 pixels, the simulator records no camera" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("part", ["data", "meta"])
def test_parquet_that_is_cut_off(part, fails, data, tmp_path):
    path = next((data / part).rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code, message = fails(own_data_command(data, tmp_path / "run"))
    assert code == 2
    assert path.name in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [("observation.state", np.nan, "nan"), ("action", np.inf, "inf")],
)
def test_numbers_that_cannot_be(column, value, found, fails, data, tmp_path):
    def change(rows):
        rows[45][1] = value

    edit_table(next((data / "data").rglob("*.parquet")), column, change)
    code, message = fails(own_data_command(data, tmp_path / "run"))
    assert code == 2
    assert column in message
    assert found in message.lower()
    assert "episode 2" in message  # row 45 of episodes with 20 frames


def test_another_format_version(fails, data, tmp_path):
    edit_info(data, lambda info: info.update(codebase_version="v2.1"))
    code, message = fails(own_data_command(data, tmp_path / "run"))
    assert code == 2
    assert "v2.1" in message


@pytest.mark.parametrize("same_size", [True, False])
def test_weights_that_are_a_pickle_are_made_again(finished, copy, tmp_path, same_size, capfd):
    path = copy / "classifier/model.safetensors"
    replace_by_pickle(path, tmp_path / "sprung", same_size=same_size)
    before = stage_files(copy)
    assert main(["train-classifier", str(copy), "--threads", "1"]) == 0
    assert redone(before, stage_files(copy)) == {"classifier"}
    assert path.read_bytes() == (finished / "classifier/model.safetensors").read_bytes()
    assert not (tmp_path / "sprung").exists()
    assert "classifier: its file model.safetensors " in capfd.readouterr().err
    # What comes out the same does not redo what follows.
    assert main(["report", str(copy), "--threads", "1"]) == 0
    assert redone(before, stage_files(copy)) == {"classifier"}


def test_a_changed_description_is_made_again(finished, copy):
    path = copy / "policy/config.json"
    path.write_text(path.read_text().replace("drawer-open-v3", "window-open-v3"))
    before = stage_files(copy)
    assert main(["report", str(copy), "--threads", "1"]) == 0
    assert redone(before, stage_files(copy)) == {"policy"}
    assert path.read_bytes() == (finished / "policy/config.json").read_bytes()


@pytest.mark.parametrize("change", [{"task": "door-open-v3"}, {"seed": 1}])
def test_another_run_in_the_same_folder(change, fails, copy):
    content = hash_files(copy / "recipe.yaml")
    before = stage_files(copy)
    code, message = fails(command(copy, **change))
    assert code == 2
    assert str(next(iter(change.values()))) in message
    assert "--out" in message
    assert hash_files(copy / "recipe.yaml") == content
    assert redone(before, stage_files(copy)) == set()


def test_out_is_a_file(fails, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    code, message = fails(command(tmp_path / "notes.txt"))
    assert code == 2
    assert "notes.txt" in message
    code, message = fails(command(tmp_path / "notes.txt" / "run"))
    assert code in (1, 2)
    assert "notes.txt" in message
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_out_is_somebody_elses_folder(fails, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").write_text("a cat")
    code, message = fails(command(tmp_path / "photos"))
    assert code == 2
    assert "cat.jpg" in message
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.jpg"]


@pytest.mark.parametrize("name", ["refine", "report"])
def test_stage_of_a_folder_that_is_no_run(name, fails, tmp_path):
    code, message = fails([name, str(tmp_path)])
    assert code == 2
    assert str(tmp_path) in message
    assert "recipe.yaml" in message


def test_recipe_with_a_wrong_value(fails, copy):
    path = copy / "recipe.yaml"
    path.write_text(path.read_text().replace("clip: 0.2", "clip: high"))
    before = stage_files(copy)
    code, message = fails(["refine", str(copy)])
    assert code == 2
    assert "clip" in message
    assert redone(before, stage_files(copy)) == set()


def test_own_data_that_is_gone(fails, data, tmp_path):
    assert main(own_data_command(data, tmp_path / "run", "--dry-run")) == 0
    shutil.rmtree(data / "meta")
    code, message = fails(own_data_command(data, tmp_path / "run"))
    assert code == 2
    assert str(data) in message


def test_what_cannot_come_of_the_data_is_said_first(fails, tmp_path):
    """One episode; success from the first frame on: known when the data are read, not after all training."""
    data = write_point_data(tmp_path / "single", episodes=1)
    code, message = fails(own_data_command(data, tmp_path / "run"))
    assert code == 2 and "1 episode" in message and "at least 2" in message
    data = write_point_data(tmp_path / "data")
    code, message = fails(own_data_command(data, tmp_path / "run", "--success-last-frames", "500"))
    assert code == 2 and "--success-last-frames is 500, expected less than 20" in message
    code, message = fails(own_data_command(data, tmp_path / "run", "--success-column", "timestamp"))
    assert code == 2 and "--success-above timestamp=VALUE" in message
    assert not (tmp_path / "run").exists()


def test_warnings_come_before_anything_trains(data, tmp_path, capfd):
    assert main(own_data_command(data, tmp_path / "run", "--success-last-frames", "3", "--dry-run")) == 0
    assert "warning: all 14 episodes succeed" in capfd.readouterr().err


def test_labels_are_part_of_the_input(data, tmp_path, capfd, monkeypatch):
    """A relative path is found again, and other labels make the data anew."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.csv").write_text("".join(f"{number},{number % 2}\n" for number in range(14)))
    arguments = own_data_command(data, tmp_path / "run", "--success-last-frames", "3", "--labels", "labels.csv")
    assert main([*arguments, "--dry-run"]) == 0
    out, err = capfd.readouterr()
    assert str(tmp_path / "labels.csv") in out and "all 14 episodes succeed" not in err
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.yaml").write_text(out)
    assert main(["collect", str(tmp_path / "run"), "--threads", "1"]) == 0
    assert int(read_dataset(tmp_path / "run/dataset").episode_success.sum()) == 7
    (tmp_path / "labels.csv").write_text("".join(f"{number},{int(number > 9)}\n" for number in range(14)))
    assert main(["collect", str(tmp_path / "run"), "--threads", "1"]) == 0
    assert int(read_dataset(tmp_path / "run/dataset").episode_success.sum()) == 4


@pytest.mark.parametrize(
    ("recipe", "config"),
    [
        ("world4rl", {"reward": {"kind": "function", "function": "nowhere:name"}}),
        ("gwm", {"reward": {"kind": "function", "function": "nowhere:name"}}),
        ("world-gymnast", {"text_encoder": "nowhere:name"}),
    ],
    ids=["reward", "reward of scenes", "text encoder"],
)
def test_a_folder_that_names_code_is_not_opened(recipe, config, tmp_path, capsys):
    run = {"simulator": "drawer-open-v3"}
    saved = {"recipe": recipe, "task": "drawer-open-v3", "seed": 0, "config": {**config, "run": run}}
    (tmp_path / "recipe.yaml").write_text(json.dumps(saved))
    assert main(["report", str(tmp_path)]) == 2
    assert "names code to be imported, 'nowhere:name'" in capsys.readouterr().err
