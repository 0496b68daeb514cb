"""Checks our datasets against LeRobot itself; run it with `scripts/check_lerobot.sh`, which installs what it needs."""

import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

# torchvision for CUDA cannot load its operators beside a torch for the CPU, and then fails to import; it is enough to
# declare them. The reference must stay alive.
try:
    import torchvision  # noqa: F401
except RuntimeError:
    _library = torch.library.Library("torchvision", "DEF")
    _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from lerobot.datasets.compute_stats import compute_episode_stats
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.datasets.video_utils import get_video_info

from burnish.data import (
    STATE,
    DatasetInfo,
    Episode,
    SuccessRule,
    image_key,
    read_dataset,
    require_successes,
    write_dataset,
)

GRID = "observation.grid"
TOP, WRIST = image_key("top"), image_key("wrist")
CODEC_LEVELS = 3
"""How far two decoders of one video may be apart, of 255: their conversions from YUV round differently."""
INFO = DatasetInfo(fps=40, robot_type="sawyer", simulator="metaworld", action_repeat=2, max_steps=60)


def moving_pictures(length: int, height: int, width: int, shift: int) -> np.ndarray:
    """Pictures (T, H, W, 3) of a slope on which a wave moves: every frame differs, no edge is too hard for a video."""
    rows, columns, frames = np.mgrid[0:height, 0:width, 0:length]
    red = 120 + 100 * np.sin((columns + 3 * frames + shift) / 8)
    green, blue = 3 * rows + frames % 7, 60 + 2 * columns
    return np.stack([red, green, blue], axis=-1).clip(0, 255).astype(np.uint8).transpose(2, 0, 1, 3)


def random_episode(generator: np.random.Generator, length: int, task: str, dim: int = 39) -> Episode:
    """An episode of random numbers with one constant dimension, and two cameras; the last frame shows success."""
    state = generator.normal(size=(length, dim)).astype(np.float32)
    state[:, -1] = 0.25
    return Episode(
        observation={
            STATE: state,
            GRID: generator.normal(size=(length, 2, 3)).astype(np.float32),
            TOP: moving_pictures(length, 48, 64, int(generator.integers(100))),
            WRIST: moving_pictures(length, 32, 32, int(generator.integers(100))),
        },
        action=generator.uniform(-1, 1, size=(length, 4)).astype(np.float32),
        success=np.arange(length) == length - 1,
        source="expert",
        seed=int(generator.integers(2**40)),
        task=task,
    )


def check(name: str, found: object, expected: object) -> None:
    """Stop with both values when they differ."""
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(np.asarray(found), expected, err_msg=name)
    elif found != expected:
        raise SystemExit(f"{name}: found {found!r}, expected {expected!r}")


def check_pictures(name: str, theirs: torch.Tensor, ours: np.ndarray, levels: int) -> None:
    """Compare LeRobot's picture, float (3, H, W) in [0, 1], with ours, uint8 (H, W, 3)."""
    found = np.rint(theirs.numpy().transpose(1, 2, 0) * 255)
    check(f"shape of {name}", found.shape, ours.shape)
    furthest = np.abs(found - ours).max()
    if furthest > levels:
        raise SystemExit(f"{name}: found a pixel that differs by {furthest} levels, expected at most {levels}")


def lerobot_opens_ours(folder: Path, pictures: Literal["image", "video"]) -> None:
    """Write with Burnish, open with LeRobot, compare every value, the bounds, the tasks and the statistics."""
    generator = np.random.default_rng(0)
    lengths = [2, 60, 31, 60, 47, 5]
    tasks = ["drawer-open-v3", "hammer-v3"]
    episodes = [random_episode(generator, length, tasks[i % 2]) for i, length in enumerate(lengths)]
    write_dataset(folder, iter(episodes), INFO, shard_megabytes=0.02, pictures=pictures)
    ours = read_dataset(folder)
    shards = len(list(folder.glob("data/*/*.parquet")))
    assert shards > 1, "this check wants several shards"
    if pictures == "video":
        files = sorted(folder.glob(f"videos/{TOP}/*/*.mp4"))
        assert 1 < len(files) < len(lengths), "this check wants several videos, one of them of several episodes"
        info = get_video_info(files[0])
        check("info of the video", {**info}, {**info, **LeRobotDataset("x", root=folder).features[TOP]["info"]})

    dataset = LeRobotDataset("burnish/check", root=folder)
    check("frames", len(dataset), sum(lengths))
    check("episodes", dataset.num_episodes, len(lengths))
    check("fps", dataset.fps, 40)
    check("robot_type", dataset.meta.robot_type, "sawyer")
    check("extra information in info.json", dataset.meta.info["burnish"]["simulator"], "metaworld")
    start = 0
    for index, episode in enumerate(episodes):
        meta = dataset.meta.episodes[index]
        check("bounds", (meta["dataset_from_index"], meta["dataset_to_index"]), (start, start + len(episode)))
        check("extra columns in meta/episodes", meta["burnish/seed"], episode.seed)
        check("tasks of an episode", meta["tasks"], [episode.task])
        for frame in range(len(episode)):
            item = dataset[start + frame]
            check(STATE, item[STATE].numpy(), episode.observation[STATE][frame])
            check(GRID, item[GRID].numpy(), episode.observation[GRID][frame])
            for key in (TOP, WRIST):
                stored = ours.observations[key][start + frame].numpy()
                check_pictures(key, item[key], stored, 0 if pictures == "image" else CODEC_LEVELS)
                error = np.abs(stored.astype(float) - episode.observation[key][frame]).mean()
                assert error == 0 if pictures == "image" else error < 4, f"{key} is off by {error} levels"
            check("action", item["action"].numpy(), episode.action[frame])
            check("next.success", item["next.success"].item(), frame >= len(episode) - 2)
            check("next.reward", item["next.reward"].item(), float(frame >= len(episode) - 2))
            check("next.done", item["next.done"].item(), frame == len(episode) - 1)
            check("task", item["task"], episode.task)
            indices = tuple(item[key].item() for key in ("episode_index", "frame_index", "index"))
            check("indices", indices, (index, frame, start + frame))
            check("timestamp", item["timestamp"].item(), float(np.float32(frame / 40)))
        start += len(episode)
    print(f"LeRobot opens ours: {len(episodes)} episodes, {len(dataset)} frames, {shards} shards, {pictures}s")

    windows = LeRobotDataset("burnish/check", root=folder, delta_timestamps={"action": [-1 / 40, 0.0, 1 / 40]})
    check("padding of LeRobot's windows", windows[2]["action_is_pad"].tolist(), [True, False, False])
    check("a selection of episodes", len(LeRobotDataset("burnish/check", root=folder, episodes=[1, 3])), 120)
    print("LeRobot's windows and episode selection work on ours")
    check_statistics(dataset, episodes)


def check_statistics(dataset: LeRobotDataset, episodes: list[Episode]) -> None:
    """Compare meta/stats.json with NumPy, and with LeRobot's own statistics where it has an opinion."""
    states = np.concatenate([episode.observation[STATE] for episode in episodes]).astype(np.float64)
    stats = dataset.meta.stats[STATE]
    check("count", stats["count"].tolist(), [len(states)])
    np.testing.assert_array_equal(stats["min"], states.min(0))
    np.testing.assert_array_equal(stats["max"], states.max(0))
    np.testing.assert_allclose(stats["mean"], states.mean(0), atol=1e-12)
    np.testing.assert_allclose(stats["std"], states.std(0), atol=1e-12)

    values: dict[str, Any] = {STATE: episodes[1].observation[STATE].astype(np.float64)}
    values["action"] = episodes[1].action.astype(np.float64)
    paths = []
    for frame, picture in enumerate(episodes[1].observation[TOP]):
        paths.append(str(dataset.root / f"{frame}.png"))
        Image.fromarray(picture).save(paths[-1])
    values[TOP] = paths
    theirs = compute_episode_stats(values, dataset.features)
    files = sorted(dataset.root.glob("meta/episodes/*/*.parquet"))
    row = [row for file in files for row in pq.read_table(file).to_pylist()][1]
    for name, expected in theirs.items():
        assert set(expected) == {key.rpartition("/")[2] for key in row if key.startswith(f"stats/{name}/")}
        for key, value in expected.items():
            # LeRobot's quantiles come from a histogram of 5000 bins, its deviation from a difference of squares.
            if (name, key) == (TOP, "std"):  # LeRobot 0.4.4 squares pixels in uint8, which overflows
                value = (episodes[1].observation[TOP] / 255).std((0, 1, 2)).reshape(3, 1, 1)
            # Of pixels, its quantiles lie between two of the 256 values.
            tolerance = 1.5 / 255 if name == TOP else 2e-3
            np.testing.assert_allclose(row[f"stats/{name}/{key}"], value, atol=tolerance, err_msg=f"{name}/{key}")
    print(f"statistics agree: {', '.join(sorted(next(iter(theirs.values()))))}")


def we_open_lerobots(folder: Path, vcodec: str | None) -> None:
    """Write with LeRobot (pictures, scalars and matrices beside the state), open with Burnish, compare every value.

    `vcodec`: how LeRobot is to encode one of the two cameras; None: both are images.
    """
    generator = np.random.default_rng(1)
    features = {
        STATE: {"dtype": "float32", "shape": (3,), "names": ["x", "y", "gripper"]},
        GRID: {"dtype": "float32", "shape": (2, 3), "names": None},
        "observation.force": {"dtype": "float32", "shape": (1,), "names": None},
        TOP: {"dtype": "image", "shape": (8, 12, 3), "names": ["height", "width", "channels"]},
        WRIST: {
            "dtype": "video" if vcodec else "image",
            "shape": (3, 64, 96),
            "names": ["channels", "height", "width"],
        },
        "action": {"dtype": "float32", "shape": (2,), "names": None},
        "next.success": {"dtype": "bool", "shape": (1,), "names": None},
    }
    dataset = LeRobotDataset.create(
        "lerobot/check",
        fps=10,
        features=features,
        root=folder,
        robot_type="arm",
        use_videos=bool(vcodec),
        vcodec=vcodec or "h264",
    )
    lengths = [7, 2, 12]
    frames = []
    for index, length in enumerate(lengths):
        for frame in range(length):
            values = {
                STATE: generator.normal(size=3).astype(np.float32),
                GRID: generator.normal(size=(2, 3)).astype(np.float32),
                "observation.force": generator.normal(size=1).astype(np.float32),
                TOP: generator.integers(0, 255, size=(8, 12, 3), dtype=np.uint8),
                WRIST: moving_pictures(frame + 1, 64, 96, 31 * index)[-1],
                "action": generator.uniform(-1, 1, size=2).astype(np.float32),
                "next.success": np.array([index != 1 and frame == length - 1]),
            }
            frames.append(values)
            dataset.add_frame(values | {"task": f"task {index % 2}"})
        dataset.save_episode()
    dataset.finalize()

    ours = read_dataset(folder, other_observations=[GRID, "observation.force"])
    check("lengths", ours.lengths.tolist(), lengths)
    check("tasks", ours.tasks, ("task 0", "task 1", "task 0"))
    check("sources", ours.sources, ("unknown",) * 3)
    check("info", ours.info, DatasetInfo(fps=10, robot_type="arm", state_names=("x", "y", "gripper")))
    for key in (STATE, GRID, "observation.force"):
        check(key, ours.observations[key].numpy(), np.stack([frame[key] for frame in frames]))
    check("action", ours.actions.numpy(), np.stack([frame["action"] for frame in frames]))
    check(TOP, ours.observations[TOP].numpy(), np.stack([frame[TOP] for frame in frames]))
    reopened = LeRobotDataset("lerobot/check", root=folder)
    for index in range(len(frames)):
        check_pictures(WRIST, reopened[index][WRIST], ours.observations[WRIST][index].numpy(), CODEC_LEVELS)
        if vcodec is None:
            check(WRIST, ours.observations[WRIST][index].numpy(), frames[index][WRIST])
    check("success", ours.success.nonzero()[:, 0].tolist(), [6, 20])
    require_successes(ours)

    joined = read_dataset(folder, SuccessRule(last_frames=3), state=[STATE, "observation.force", GRID])
    check("joined state", joined.observation_dim, 3 + 1 + 6)
    check("last frames", joined.success.nonzero()[:, 0].tolist(), [4, 5, 6, 18, 19, 20])
    print(f"we open LeRobot's: {len(lengths)} episodes, {ours.num_frames} frames, {vcodec or 'images'}")

    again = folder.with_name("again")
    write_dataset(again, ours.to_episodes(), ours.info)
    check("LeRobot opens our copy of its dataset", len(LeRobotDataset("burnish/again", root=again)), sum(lengths))
    print("LeRobot opens our copy of its own dataset")


def lerobot_opens(path: Path) -> None:
    """Open somebody's data set with LeRobot, and compare every state and action with what Burnish reads."""
    ours, theirs = read_dataset(path, SuccessRule(last_frames=1), cameras=()), LeRobotDataset("burnish/own", root=path)
    check("episodes", theirs.num_episodes, ours.num_episodes)
    columns = theirs.hf_dataset.with_format("numpy")
    check(STATE, np.asarray(columns[STATE][:]), ours.observations[STATE].numpy())
    check("action", np.asarray(columns["action"][:]), ours.actions.numpy())
    print(f"LeRobot opens {path}: {ours.num_episodes} episodes, {ours.num_frames} frames, the same numbers")


def main() -> None:
    """Check the data sets that are named, or else all that there is, in a temporary folder."""
    if sys.argv[1:]:
        for path in sys.argv[1:]:
            lerobot_opens(Path(path))
        return
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("image", "video"):
            lerobot_opens_ours(Path(folder) / f"our_{kind}s", kind)
        for vcodec in (None, "h264", "libsvtav1"):
            we_open_lerobots(Path(folder) / f"theirs_{vcodec}" / "data", vcodec)
    print("all checks passed")


if __name__ == "__main__":
    main()
