"""Data sets of any size in LeRobot's layouts, for benchmarks: made-up numbers, and clips of a moving scene."""

import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

FPS = 30


def write_v2(root: Path, episodes: int, frames: int, cameras: dict[str, list[Path]], state: int = 6) -> None:
    """LeRobotDataset v2.1: one Parquet file an episode, and of each camera a copy of one of its clips in turn."""
    (root / "meta").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for episode in range(episodes):
        columns = {
            "observation.state": _vectors(generator, frames, state),
            "action": _vectors(generator, frames, state),
            "timestamp": pa.array((np.arange(frames) / FPS).astype(np.float32)),
            "frame_index": pa.array(range(frames), pa.int64()),
            "episode_index": pa.array([episode] * frames, pa.int64()),
            "index": pa.array(range(episode * frames, (episode + 1) * frames), pa.int64()),
            "task_index": pa.array([0] * frames, pa.int64()),
        }
        pq.write_table(pa.table(columns), root / f"data/chunk-000/episode_{episode:06d}.parquet")
        for key, clips in cameras.items():
            place = root / f"videos/chunk-000/{key}/episode_{episode:06d}.mp4"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(clips[episode % len(clips)], place)
    lines = [json.dumps({"episode_index": e, "tasks": ["move"], "length": frames}) for e in range(episodes)]
    (root / "meta/episodes.jsonl").write_text("\n".join(lines))
    (root / "meta/tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "move"}))
    (root / "meta/info.json").write_text(json.dumps(_info(episodes, frames, cameras, state)))


def write_clip(path: Path, frames: int, height: int, width: int, seed: int) -> None:
    """A textured scene that moves before the camera; H.264 with every second frame a key frame, as LeRobot has it."""
    generator = np.random.default_rng(seed)
    texture = Image.fromarray(generator.integers(0, 256, (height // 8, width // 8, 3)).astype(np.uint8))
    scene = np.asarray(texture.resize((2 * width, 2 * height), Image.Resampling.BICUBIC))
    with av.open(str(path), "w", format="mp4") as container:
        options = {"crf": "23", "g": "2", "preset": "veryfast", "threads": "1"}
        stream = container.add_stream("libx264", rate=Fraction(FPS), options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for frame in range(frames):
            top = round(height * (1 + np.sin(frame / 50 + seed)) / 2)
            left = round(width * (1 + np.cos(frame / 70 + seed)) / 2)
            part = np.ascontiguousarray(scene[top : top + height, left : left + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(part, format="rgb24")))
        container.mux(stream.encode())


def _vectors(generator: np.random.Generator, frames: int, size: int) -> pa.Array:
    values = generator.standard_normal(frames * size, np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(values), size)


def _info(episodes: int, frames: int, cameras: dict[str, list[Path]], state: int) -> dict:
    features: dict[str, dict] = {
        name: {"dtype": "int64", "shape": [1], "names": None}
        for name in ("frame_index", "episode_index", "index", "task_index")
    }
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    for name in ("observation.state", "action"):
        features[name] = {"dtype": "float32", "shape": [state], "names": None}
    for key, clips in cameras.items():
        with av.open(str(clips[0])) as container:
            size = container.streams.video[0]
            shape = [size.height, size.width, 3]
        features[key] = {"dtype": "video", "shape": shape, "names": ["height", "width", "channels"]}
    return {
        "codebase_version": "v2.1",
        "robot_type": None,
        "total_episodes": episodes,
        "total_frames": episodes * frames,
        "total_tasks": 1,
        "chunks_size": max(1000, episodes),
        "fps": FPS,
        "splits": {"train": f"0:{episodes}"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": features,
    }


def write_v3(root: Path, episodes: int, frames: int, state: int, action: int, per_file: int = 250_000) -> None:
    """LeRobotDataset v3.0 of numbers, in files of about so many frames: a linear system with noise."""
    generator = np.random.default_rng(0)
    push = generator.standard_normal((action, state), np.float32) / action
    together = max(1, per_file // frames)
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    for file, first in enumerate(range(0, episodes, together)):
        count = min(together, episodes - first)
        actions = generator.standard_normal((count, frames, action), np.float32) / 3
        noise = generator.standard_normal((count, frames, state), np.float32)
        states = np.cumsum(actions @ push + noise / 10, axis=1) / 4
        number = np.repeat(np.arange(first, first + count), frames)
        columns = {
            "observation.state": pa.FixedSizeListArray.from_arrays(pa.array(states.reshape(-1)), state),
            "action": pa.FixedSizeListArray.from_arrays(pa.array(actions.clip(-1, 1).reshape(-1)), action),
            "next.success": pa.array(np.tile(np.arange(frames) >= frames - 5, count)),
            "frame_index": pa.array(np.tile(np.arange(frames), count)),
            "episode_index": pa.array(number),
            "index": pa.array(np.arange(first * frames, (first + count) * frames)),
            "task_index": pa.array(np.zeros(count * frames, np.int64)),
        }
        pq.write_table(pa.table(columns), root / f"data/chunk-000/file-{file:03d}.parquet", compression="none")
    index = np.arange(episodes)
    table = {
        "episode_index": index,
        "length": np.full(episodes, frames),
        "dataset_from_index": index * frames,
        "dataset_to_index": (index + 1) * frames,
        "data/chunk_index": np.zeros(episodes, np.int64),
        "data/file_index": index // together,
    }
    pq.write_table(pa.table(table), root / "meta/episodes/chunk-000/file-000.parquet")
    pq.write_table(pa.table({"task_index": [0], "task": ["move"]}), root / "meta/tasks.parquet")
    info = _info(episodes, frames, {}, state) | {
        "codebase_version": "v3.0",
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "burnish": {"simulator": "generated"},
    }
    info["features"] |= {
        "action": {"dtype": "float32", "shape": [action], "names": None},
        "next.success": {"dtype": "bool", "shape": [1], "names": None},
    }
    del info["features"]["timestamp"]
    (root / "meta/info.json").write_text(json.dumps(info))
