"""The maker of video sets, on two tasks of four short episodes each."""

import importlib.util
import sys
from pathlib import Path

import pytest

from burnish.data import image_key, read_dataset, unlabelled_video
from burnish.errors import InputError
from burnish.simulators.settings import SimulatorConfig

FILE = Path(__file__).parent.parent.parent / "benchmarks" / "video_set.py"


@pytest.fixture(scope="module")
def video_set():
    spec = importlib.util.spec_from_file_location("video_set", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["video_set"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["video_set"]


def test_a_seed_has_one_actor_and_every_actor_its_turn(video_set):
    jobs = video_set.jobs("drawer-open-v3", 10, 6)
    assert [list(job.seeds) for job in jobs] == [[10, 14], [11, 15], [12], [13]]
    assert [job.source for job in jobs] == ["noisy_expert"] * 3 + ["random"]
    assert [job.arguments.get("noise") for job in jobs] == [0.3, 0.6, 1.2, None]
    assert [list(job.seeds) for job in video_set.jobs("drawer-open-v3", 0, 2)] == [[0], [1]]


@pytest.mark.slow
def test_an_ordinary_data_set_with_actions_that_can_be_left_unread(video_set, tmp_path):
    settings = SimulatorConfig(action_repeat=5, max_steps=9, cameras=("corner3",), image_size=16)
    tasks = ("drawer-open-v3", "reach-v3")
    frames, seconds, used = video_set.make(tmp_path / "video", tasks, 80, settings, workers=0)
    data = read_dataset(tmp_path / "video")
    assert frames == data.num_frames == 80 and set(data.lengths.tolist()) == {10}
    assert data.task_names == tasks and set(data.sources) == {"noisy_expert", "random"} and seconds > 0 < used
    assert data.action_dim == 4 and data.info.fps == 16 and data.info.action_repeat == 5
    video = unlabelled_video(data)
    assert video.action_dim == 0 and video.observations[image_key("corner3")].shape == (80, 16, 16, 3)
    with pytest.raises(InputError, match="existing file or folder"):
        video_set.make(tmp_path / "video", tasks, 80, settings, workers=0)


def test_a_video_needs_a_camera(video_set, tmp_path):
    with pytest.raises(InputError, match="--cameras"):
        video_set.make(tmp_path / "video", ("reach-v3",), 80, SimulatorConfig(), workers=0)
