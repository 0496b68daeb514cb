"""Checks our datasets against LeRobot itself; run it with `scripts/check_lerobot.sh`, which installs what it needs."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

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

from burnish.data import STATE, DatasetInfo, Episode, SuccessRule, read_dataset, require_successes, write_dataset

GRID = "observation.grid"
INFO = DatasetInfo(fps=40, robot_type="sawyer", simulator="metaworld", action_repeat=2, max_steps=60)


def random_episode(generator: np.random.Generator, length: int, task: str, dim: int = 39) -> Episode:
    """An episode of random numbers with one constant dimension; the last frame shows success."""
    state = generator.normal(size=(length, dim)).astype(np.float32)
    state[:, -1] = 0.25
    return Episode(
        observation={STATE: state, GRID: generator.normal(size=(length, 2, 3)).astype(np.float32)},
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


def lerobot_opens_ours(folder: Path) -> None:
    """Write with Burnish, open with LeRobot, compare every value, the bounds, the tasks and the statistics."""
    generator = np.random.default_rng(0)
    lengths = [2, 60, 31, 60, 47, 5]
    tasks = ["drawer-open-v3", "hammer-v3"]
    episodes = [random_episode(generator, length, tasks[i % 2]) for i, length in enumerate(lengths)]
    write_dataset(folder, iter(episodes), INFO, shard_megabytes=0.02)
    shards = len(list(folder.glob("data/*/*.parquet")))
    assert shards > 1, "this check wants several shards"

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
            check("action", item["action"].numpy(), episode.action[frame])
            check("next.success", item["next.success"].item(), frame >= len(episode) - 2)
            check("next.reward", item["next.reward"].item(), float(frame >= len(episode) - 2))
            check("next.done", item["next.done"].item(), frame == len(episode) - 1)
            check("task", item["task"], episode.task)
            indices = tuple(item[key].item() for key in ("episode_index", "frame_index", "index"))
            check("indices", indices, (index, frame, start + frame))
            check("timestamp", item["timestamp"].item(), float(np.float32(frame / 40)))
        start += len(episode)
    print(f"LeRobot opens ours: {len(episodes)} episodes, {len(dataset)} frames, {shards} shards, every value equal")

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

    values = {STATE: episodes[1].observation[STATE].astype(np.float64), "action": episodes[1].action.astype(np.float64)}
    theirs = compute_episode_stats(values, dataset.features)
    files = sorted(dataset.root.glob("meta/episodes/*/*.parquet"))
    row = [row for file in files for row in pq.read_table(file).to_pylist()][1]
    for name, expected in theirs.items():
        assert set(expected) == {key.rpartition("/")[2] for key in row if key.startswith(f"stats/{name}/")}
        for key, value in expected.items():
            # LeRobot's quantiles come from a histogram of 5000 bins, its deviation from a difference of squares.
            np.testing.assert_allclose(row[f"stats/{name}/{key}"], value, atol=2e-3, err_msg=f"{name}/{key}")
    print(f"statistics agree: {', '.join(sorted(next(iter(theirs.values()))))}")


def we_open_lerobots(folder: Path) -> None:
    """Write with LeRobot (images, scalars and matrices beside the state), open with Burnish, compare every value."""
    generator = np.random.default_rng(1)
    features = {
        STATE: {"dtype": "float32", "shape": (3,), "names": ["x", "y", "gripper"]},
        GRID: {"dtype": "float32", "shape": (2, 3), "names": None},
        "observation.force": {"dtype": "float32", "shape": (1,), "names": None},
        "observation.images.top": {"dtype": "image", "shape": (8, 8, 3), "names": ["height", "width", "channels"]},
        "action": {"dtype": "float32", "shape": (2,), "names": None},
        "next.success": {"dtype": "bool", "shape": (1,), "names": None},
    }
    dataset = LeRobotDataset.create(
        "lerobot/check", fps=10, features=features, root=folder, robot_type="arm", use_videos=False
    )
    lengths = [7, 2, 12]
    frames = []
    for index, length in enumerate(lengths):
        for frame in range(length):
            values = {
                STATE: generator.normal(size=3).astype(np.float32),
                GRID: generator.normal(size=(2, 3)).astype(np.float32),
                "observation.force": generator.normal(size=1).astype(np.float32),
                "observation.images.top": generator.integers(0, 255, size=(8, 8, 3), dtype=np.uint8),
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
    check("success", ours.success.nonzero()[:, 0].tolist(), [6, 20])
    require_successes(ours)

    joined = read_dataset(folder, SuccessRule(last_frames=3), state=[STATE, "observation.force", GRID])
    check("joined state", joined.observation_dim, 3 + 1 + 6)
    check("last frames", joined.success.nonzero()[:, 0].tolist(), [4, 5, 6, 18, 19, 20])
    print(
        f"we open LeRobot's: {len(lengths)} episodes, {ours.num_frames} frames, every value equal, images passed over"
    )

    again = folder.with_name("again")
    write_dataset(again, ours.to_episodes(), ours.info)
    check("LeRobot opens our copy of its dataset", len(LeRobotDataset("burnish/again", root=again)), sum(lengths))
    print("LeRobot opens our copy of its own dataset")


def main() -> None:
    """Run all checks in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        lerobot_opens_ours(Path(folder) / "ours")
        we_open_lerobots(Path(folder) / "theirs")
    print("all checks passed")


if __name__ == "__main__":
    main()
