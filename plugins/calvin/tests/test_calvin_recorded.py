"""CALVIN's own data, which needs no calvin_env: small generated folders, right and wrong."""

import json

import numpy as np
import pytest

from burnish.data import STATE, read_dataset
from burnish.errors import InputError
from burnish_calvin import recorded
from burnish_calvin.recorded import import_calvin
from burnish_calvin.segments import Segment, read_segments
from burnish_calvin.state import STATE_NAMES, state_vector

TASK = "calvin:open_drawer"


def read_calvin(folder, task, **settings):
    """All episodes at once."""
    return list(recorded.read_calvin(folder, task, **settings))


def frame(number: int) -> dict[str, np.ndarray]:
    """Frame 100 has the drawer closed, and it opens by 2 cm at every frame."""
    robot = np.zeros(15, np.float32)
    robot[:7] = [0.001 * number, -0.2, 0.5, np.pi, 0.0, np.pi / 2, 0.08]
    robot[14] = 1.0
    scene = np.zeros(24, np.float32)
    scene[1] = 0.02 * (number - 100)
    scene[5] = 1.0
    scene[6:] = np.tile([0.1, -0.1, 0.46, 0.0, 0.0, 0.3], 3)
    action = np.array([0.5, -1.0, 0.0, 0.0, 0.1, 0.0, -1.0], np.float32)
    absolute = np.concatenate([robot[:6], action[6:]])
    return {"robot_obs": robot, "scene_obs": scene, "rel_actions": action, "actions": absolute}


@pytest.fixture
def folder(tmp_path):
    """Two recordings: frames 100 to 110 and 200 to 206."""
    path = tmp_path / "training"
    path.mkdir()
    for number in (*range(100, 111), *range(200, 207)):
        shifted = frame(number if number < 200 else number - 100)
        np.savez(path / f"episode_{number:07d}.npz", rgb_static=np.zeros((4, 4, 3), np.uint8), **shifted)
    np.save(path / "ep_start_end_ids.npy", np.array([[200, 206], [100, 110]]))
    return path


def change(folder, number, **fields):
    """Replace fields of a frame; None removes one."""
    whole = {**frame(number), **fields}
    np.savez(folder / f"episode_{number:07d}.npz", **{k: v for k, v in whole.items() if v is not None})


def test_recordings_become_pieces_with_state_action_and_success(folder):
    reported = []
    episodes = read_calvin(folder, TASK, frames=8, progress=lambda *counts: reported.append(counts))
    assert [len(e) for e in episodes] == [8, 3, 7]
    assert {(e.source, e.seed, e.task) for e in episodes} == {("play", -1, TASK)}
    assert reported == [(11, 18), (18, 18)]
    first = episodes[0]
    expected = np.stack([state_vector(frame(n)["robot_obs"], frame(n)["scene_obs"]) for n in range(100, 108)])
    assert np.array_equal(first.observation[STATE], expected)
    assert first.observation[STATE].shape == (8, 63) == (8, len(STATE_NAMES))
    assert np.array_equal(first.action[0], frame(100)["rel_actions"])
    # Opened by more than 12 cm since the piece began.
    assert first.success.tolist() == [False] * 7 + [True]
    assert not episodes[1].success.any()


def test_the_state_has_the_names_it_says(folder):
    state = read_calvin(folder, TASK)[0].observation[STATE]
    column = {name: state[:, k] for k, name in enumerate(STATE_NAMES)}
    assert np.allclose(column["hand_x"], 0.001 * np.arange(100, 111))
    assert np.allclose(column["drawer_joint"], 0.02 * np.arange(11))
    assert np.allclose(column["drawer_handle_y"], -0.25 - 0.02 * np.arange(11))
    assert np.allclose(column["block3_z"], 0.46)
    assert np.allclose(column["gripper_opening"], 0.08)
    assert np.allclose(column["led_on"], 1.0)


def test_annotated_segments_of_the_skill_become_expert_episodes(folder, tmp_path):
    rows = [
        {"task": "open_drawer", "start": 201, "end": 206},
        {"task": "lift_red_block_table", "start": 100, "end": 105},
    ]
    (tmp_path / "s.json").write_text(json.dumps(rows))
    (tmp_path / "s.csv").write_text("task,start,end\nopen_drawer,201,206\nlift_red_block_table,100,105\n")
    for name in ("s.json", "s.csv"):
        episodes = read_calvin(folder, TASK, segments=tmp_path / name)
        assert [e.source for e in episodes] == ["play", "play", "expert"]
        assert np.array_equal(episodes[2].observation[STATE], episodes[1].observation[STATE][1:7])
    assert read_segments(tmp_path / "s.csv")[0] == Segment("open_drawer", 201, 206)


def test_the_import_writes_a_dataset(folder, tmp_path):
    assert import_calvin(folder, TASK, tmp_path / "out", frames=8) == 3
    dataset = read_dataset(tmp_path / "out")
    assert (dataset.num_episodes, dataset.num_frames, dataset.action_dim) == (3, 18, 7)
    assert dataset.info.state_names == STATE_NAMES
    assert (dataset.info.simulator, dataset.info.fps) == ("calvin", 30)
    assert dataset.episode_success.tolist() == [True, False, False]
    with pytest.raises(InputError, match="exists"):
        import_calvin(folder, TASK, tmp_path / "out")


def nan(values):
    values = values.copy()
    values[3] = np.nan
    return values


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rel_actions": None}, "'rel_actions': found the fields .*'actions' are absolute"),
        ({"rel_actions": frame(103)["actions"]}, r"'rel_actions': found 3\.142 at 3, expected .*not absolute"),
        ({"rel_actions": frame(103)["rel_actions"][:6]}, r"'rel_actions': found shape \(6,\), expected \(7,\)"),
        ({"rel_actions": 0.5 * frame(103)["rel_actions"]}, "found -0.5 for the gripper, expected -1"),
        ({"robot_obs": np.zeros(16)}, r"'robot_obs': found shape \(16,\), expected \(15,\)"),
        ({"robot_obs": nan(frame(103)["robot_obs"])}, "'robot_obs': found a value that is not finite at 3"),
        ({"robot_obs": frame(603)["robot_obs"]}, "moved 0.50 m since frame 102, expected .*without gaps"),
        ({"scene_obs": None}, "'scene_obs': found the fields"),
        ({"scene_obs": np.full(24, 0.5)}, r"'scene_obs': found lights of \[0.5, 0.5\], expected 0 or 1"),
        ({"scene_obs": np.array(["a"] * 24)}, "'scene_obs': found values of type"),
    ],
)
def test_a_wrong_frame_is_named_and_nothing_is_written(folder, tmp_path, fields, message):
    change(folder, 103, **fields)
    with pytest.raises(InputError, match=r"episode_0000103\.npz.*" + message):
        import_calvin(folder, TASK, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["training"]


def test_pickled_objects_are_not_opened(folder):
    change(folder, 103, scene_obs=np.array([{"a": 1}] * 24, dtype=object))
    with pytest.raises(InputError, match=r"'scene_obs': found nothing that can be read .*allow_pickle"):
        read_calvin(folder, TASK)
    np.save(folder / "ep_start_end_ids.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match=r"ep_start_end_ids.npy: found nothing that can be read"):
        read_calvin(folder, TASK)


def test_a_cut_file_is_named(folder):
    path = folder / "episode_0000103.npz"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"episode_0000103.npz: found nothing that can be read"):
        read_calvin(folder, TASK)


def test_missing_frames_are_named(folder):
    (folder / "episode_0000104.npz").unlink()
    (folder / "episode_0000107.npz").unlink()
    with pytest.raises(InputError, match=r"'episode_0000104.npz' and 1 more missing, expected .* from 100 to 110"):
        read_calvin(folder, TASK)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        (np.array([[100.0, 110.0]]), "type float64"),
        (np.array([100, 110]), r"shape \(2,\)"),
        (np.array([[110, 100]]), "from frame 110 to 100"),
        (np.array([[100, 105], [105, 110]]), "starts at frame 105, expected one after frame 105"),
    ],
)
def test_wrong_ranges_are_named(folder, ranges, message):
    np.save(folder / "ep_start_end_ids.npy", ranges)
    with pytest.raises(InputError, match=r"ep_start_end_ids.npy.*" + message):
        read_calvin(folder, TASK)


def test_a_folder_without_data_is_named(tmp_path):
    with pytest.raises(InputError, match=r"ep_start_end_ids.npy: found no such file"):
        read_calvin(tmp_path, TASK)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s.npy", "", "found a file '.npy', expected .*never a pickled"),
        ("s.json", "{", "found no JSON"),
        ("s.json", "{}", "found dict"),
        ("s.json", '[{"task": "open_drawer", "start": 100}]', "row 0.*expected task, start and end"),
        ("s.csv", "task,start,end\nopen_drawer,100,105\nopen_drawer,x,3\n", "row 1.*whole numbers"),
        ("s.csv", "task,start,end\nopen_drawer,105,105\n", "row 0.*two frames"),
        ("s.csv", "task,start,end\nopen_drawer,105,203\n", "frames of one and the same recording"),
    ],
)
def test_wrong_segments_are_named(folder, tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=name + ".*" + message):
        read_calvin(folder, TASK, segments=tmp_path / name)


def test_unknown_tasks_and_lengths_are_refused(folder):
    with pytest.raises(InputError, match="did you mean calvin:open_drawer"):
        read_calvin(folder, "calvin:open-drawr")
    with pytest.raises(InputError, match="at least 2"):
        read_calvin(folder, TASK, frames=1)


# ---------------------------------------------------------------------------------------------------------------------
# Pictures.


def with_pictures(folder):
    """Frame n is of colour (n, 2 n mod 256, 9); its left upper quarter is black."""
    for number in (*range(100, 111), *range(200, 207)):
        pictures = {}
        for camera, size in (("static", 200), ("gripper", 84)):
            picture = np.empty((size, size, 3), np.uint8)
            picture[:] = (number, 2 * number % 256, 9)
            picture[: size // 2, : size // 2] = 0
            pictures[f"rgb_{camera}"] = picture
        shown = number if number < 200 else number - 100
        np.savez(folder / f"episode_{number:07d}.npz", **frame(shown), **pictures)


def test_pictures_come_along_made_smaller(folder, tmp_path):
    with_pictures(folder)
    settings = {"cameras": ("static", "gripper"), "image_size": 10}
    assert import_calvin(folder, TASK, tmp_path / "out", frames=8, **settings) == 3
    dataset = read_dataset(tmp_path / "out", cameras=("static", "gripper"))
    for camera in settings["cameras"]:
        found = dataset.observations[f"observation.images.{camera}"]
        assert found.shape == (18, 10, 10, 3)
        assert found[0, 9, 9].tolist() == [100, 200, 9] and found[17, 0, 9].tolist() == [206, 156, 9]
        assert found[:, :5, :5].max() == 0
    # 84 pixels do not divide by 10: the pixel at the edge of the quarter is a mixture, 4.2 of its 8.4 columns black.
    assert import_calvin(folder, TASK, tmp_path / "odd", frames=8, cameras=("gripper",), image_size=9) == 3
    row = read_dataset(tmp_path / "odd", cameras=("gripper",)).observations["observation.images.gripper"][0, 0, :, 0]
    assert row[:4].max() == 0 and 0 < row[4] < 100 and row[5:].min() == 100


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"cameras": ("static", "tactile")},
            "cameras: found static, tactile, expected different ones of: static",
        ),
        ({"cameras": ("static", "static")}, "expected different ones"),
        ({"cameras": ("static",), "image_size": 0}, "image_size: found 0, expected at least 1"),
        ({"cameras": ("static",), "image_size": 5}, "4×4 pixels.*a square of at least 5.*rgb_static"),
        ({"cameras": ("gripper",)}, "rgb_gripper"),
    ],
)
def test_wrong_cameras_are_refused(folder, tmp_path, settings, message):
    with pytest.raises(InputError) as raised:
        import_calvin(folder, TASK, tmp_path / "out", **settings)
    words = str(raised.value)
    assert all(part in words for part in message.split(".*")), words
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("picture", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 6, 3), np.uint8)])
def test_what_is_no_picture_is_named(folder, tmp_path, picture):
    change(folder, 105, rgb_static=picture)
    with pytest.raises(InputError, match=r"episode_0000105.*rgb_static"):
        import_calvin(folder, TASK, tmp_path / "out", cameras=("static",), image_size=2)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))
