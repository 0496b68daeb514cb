"""Small data sets in other people's layouts, written as their owners' programs write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numcodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from burnish.data import DatasetInfo, Episode, write_dataset


@dataclass
class Recorded:
    """One episode: state (T, 3), action (T, 2) in the data's own units, reward (T,) of each action."""

    state: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    pictures: np.ndarray


def recorded(lengths: Sequence[int] = (5, 4, 7), seed: int = 0, size: int = 8) -> list[Recorded]:
    """Random episodes."""
    g = np.random.default_rng(seed)
    return [
        Recorded(
            g.normal(size=(n, 3)).astype(np.float32),
            g.uniform(-1, 1, (n, 2)).astype(np.float32),
            g.integers(0, 2, n).astype(np.float32),
            g.integers(0, 256, (n, size, size, 3), dtype=np.uint8),
        )
        for n in lengths
    ]


def lerobot(path: Path, episodes: Sequence[Recorded]) -> Path:
    """v3.0, by Burnish's own writer."""
    made = []
    for e in episodes:
        arrived = np.concatenate([[0], e.reward[:-1]]).astype(np.float32)
        observation = {"observation.state": e.state, "observation.images.top": e.pictures}
        made.append(Episode(observation, e.action, np.zeros(len(e.state), bool), "x", 0, "t", reward=arrived))
    write_dataset(path, made, DatasetInfo(fps=10))
    return path


def lerobot_v2(path: Path, episodes: Sequence[Recorded]) -> Path:
    """v2.1: one Parquet file an episode and JSON lines."""
    (path / "meta").mkdir(parents=True)
    (path / "data/chunk-000").mkdir(parents=True)
    begin = 0
    for number, e in enumerate(episodes):
        n = len(e.state)
        columns = {
            "observation.state": pa.FixedSizeListArray.from_arrays(pa.array(e.state.reshape(-1)), 3),
            "action": pa.FixedSizeListArray.from_arrays(pa.array(e.action.reshape(-1)), 2),
            "next.reward": pa.array(e.reward),
            "timestamp": pa.array((np.arange(n) / 10).astype(np.float32)),
            "frame_index": pa.array(range(n), pa.int64()),
            "episode_index": pa.array([number] * n, pa.int64()),
            "index": pa.array(range(begin, begin + n), pa.int64()),
            "task_index": pa.array([0] * n, pa.int64()),
        }
        pq.write_table(pa.table(columns), path / f"data/chunk-000/episode_{number:06d}.parquet")
        begin += n
    feature = {"dtype": "float32", "names": None}
    numbers = {name: {"dtype": "int64", "shape": [1], "names": None}
               for name in ("frame_index", "episode_index", "index", "task_index")}  # fmt: skip
    features = {
        "observation.state": {**feature, "shape": [3], "names": {"motors": ["a", "b", "c"]}},
        "action": {**feature, "shape": [2]},
        "next.reward": {**feature, "shape": [1]},
        "timestamp": {**feature, "shape": [1]},
        **numbers,
    }
    info = {
        "codebase_version": "v2.1",
        "robot_type": "arm",
        "total_episodes": len(episodes),
        "total_frames": begin,
        "total_tasks": 1,
        "chunks_size": 1000,
        "fps": 10,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": features,
    }
    (path / "meta/info.json").write_text(json.dumps(info))
    lines = [json.dumps({"episode_index": n, "tasks": ["t"], "length": len(e.state)}) for n, e in enumerate(episodes)]
    (path / "meta/episodes.jsonl").write_text("\n".join(lines) + "\n")
    (path / "meta/tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "t"}) + "\n")
    return path


def robomimic(path: Path, episodes: Sequence[Recorded]) -> Path:
    """As robomimic's collectors and robosuite write it."""
    path = path.with_suffix(".hdf5")
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20}})
        for number, e in enumerate(episodes):
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = len(e.action)
            demo.create_dataset("actions", data=e.action.astype(np.float64))
            demo.create_dataset("rewards", data=e.reward.astype(np.float64))
            demo.create_dataset("dones", data=np.arange(len(e.action)) == len(e.action) - 1)
            demo.create_dataset("states", data=np.zeros((len(e.action), 9)))
            demo.create_dataset("obs/eef_pos", data=e.state[:, :1].astype(np.float64))
            demo.create_dataset("obs/object", data=e.state[:, 1:].astype(np.float64))
            demo.create_dataset("obs/top", data=e.pictures, compression="gzip")
            demo.create_dataset("next_obs/eef_pos", data=np.roll(e.state[:, :1], -1, 0))
    return path


def aloha(path: Path, episodes: Sequence[Recorded]) -> Path:
    """As ACT's record_sim_episodes.py writes it."""
    path.mkdir(parents=True)
    for number, e in enumerate(episodes):
        with h5py.File(path / f"episode_{number}.hdf5", "w") as file:
            file.attrs["sim"] = True
            file.create_dataset("action", data=e.action)
            file.create_dataset("observations/qpos", data=e.state)
            file.create_dataset("observations/qvel", data=np.zeros_like(e.state))
            file.create_dataset("observations/images/top", data=e.pictures, chunks=(1, *e.pictures.shape[1:]))
    return path


def minari(path: Path, episodes: Sequence[Recorded]) -> Path:
    """As Minari's HDF5 storage writes it: one observation more than actions."""
    (path / "data").mkdir(parents=True)
    with h5py.File(path / "data/main_data.hdf5", "w") as file:
        for number, e in enumerate(episodes):
            group = file.create_group(f"episode_{number}")
            group.attrs.update({"id": number, "total_steps": len(e.action), "seed": 40 + number})
            group.create_dataset("observations/observation", data=np.concatenate([e.state, e.state[-1:]]))
            group.create_dataset("actions", data=e.action)
            group.create_dataset("rewards", data=e.reward)
            group.create_dataset("terminations", data=np.arange(len(e.action)) == len(e.action) - 1)
            group.create_dataset("truncations", data=np.zeros(len(e.action), bool))
    (path / "data/metadata.json").write_text(json.dumps({"dataset_id": "reach/expert-v0", "total_episodes": 3}))
    return path


def zarr(path: Path, episodes: Sequence[Recorded]) -> Path:
    """As zarr 2 writes Diffusion Policy's replay buffer: chunks that episodes do not respect, compressed by Blosc."""
    write_zarr(path / "data/state", np.concatenate([e.state for e in episodes]), (6, 3))
    write_zarr(path / "data/action", np.concatenate([e.action for e in episodes]), (4, 1))
    write_zarr(path / "data/reward", np.concatenate([e.reward for e in episodes]), (100,))
    write_zarr(path / "data/img", np.concatenate([e.pictures for e in episodes]).astype(np.float32), (3, 8, 8, 3))
    write_zarr(path / "meta/episode_ends", np.cumsum([len(e.state) for e in episodes]), (64,))
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    return path


def write_zarr(path: Path, values: np.ndarray, chunks: tuple[int, ...]) -> None:
    """One array of zarr's version 2."""
    path.mkdir(parents=True)
    codec = numcodecs.Blosc(cname="lz4", clevel=5)
    header = {"zarr_format": 2, "shape": values.shape, "chunks": chunks, "dtype": values.dtype.str, "order": "C",
              "fill_value": 0, "filters": None, "compressor": codec.get_config()}  # fmt: skip
    (path / ".zarray").write_text(json.dumps(header))
    for index in np.ndindex(*(-(-size // chunk) for size, chunk in zip(values.shape, chunks, strict=True))):
        block = values[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True))]
        whole = np.zeros(chunks, values.dtype)
        whole[tuple(slice(0, size) for size in block.shape)] = block
        (path / ".".join(map(str, index))).write_bytes(codec.encode(whole))


def calvin(path: Path, episodes: Sequence[Recorded]) -> Path:
    """One file a frame, and the bounds of the recordings, the last frame included."""
    path.mkdir(parents=True)
    frame, bounds = 100, []
    for e in episodes:
        bounds.append((frame, frame + len(e.state) - 1))
        for state, action, picture in zip(e.state, e.action, e.pictures, strict=True):
            np.savez(path / f"episode_{frame:07d}.npz", robot_obs=state[:1].astype(np.float64), scene_obs=state[1:],
                     rel_actions=action, actions=2 * action, rgb_static=picture)  # fmt: skip
            frame += 1
    np.save(path / "ep_start_end_ids.npy", np.array(bounds))
    return path


def npz(path: Path, episodes: Sequence[Recorded]) -> Path:
    """One file an episode."""
    path.mkdir(parents=True)
    for number, e in enumerate(episodes):
        np.savez(path / f"run_{number}.npz", state=e.state, actions=e.action, rewards=e.reward, front=e.pictures)
    return path


WRITERS: dict[str, Callable[[Path, Sequence[Recorded]], Path]] = {
    "lerobot": lerobot,
    "lerobot-v2": lerobot_v2,
    "robomimic": robomimic,
    "aloha": aloha,
    "minari": minari,
    "replay-buffer": zarr,
    "calvin": calvin,
    "npz": npz,
}
