"""The same numbers as the owners' own readers give: Minari 0.5, zarr 2, robomimic 0.3.

    pip install --no-deps --target FOLDER 'minari<0.6' 'zarr<3' 'numcodecs<0.16' robomimic==0.3.0 asciitree fasteners \
        deprecated wrapt portion sortedcontainers typer termcolor tensorboardX imageio
    PYTHONPATH=FOLDER python scripts/check_readers.py

Minari and zarr write a data set with their own programs; robomimic, which has none for this, gets a file in its layout.
Then its owner and Burnish read each, and every number is compared. What is not installed is left out, and said.
"""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from burnish.data import STATE, Dataset
from burnish.data.formats import ReadingRule, format_of

LENGTHS = (7, 12, 5)
RULE = ReadingRule(success_last_frames=2)
Columns = dict[str, np.ndarray]


def drawn() -> list[Columns]:
    """Episodes of random numbers, one frame longer than their actions for who wants it."""
    generator = np.random.default_rng(0)
    return [
        {
            "state": generator.normal(size=(n + 1, 3)).astype(np.float32),
            "action": generator.uniform(-90, 90, (n, 2)).astype(np.float32),
            "reward": generator.normal(size=n),
            "pictures": generator.integers(0, 256, (n, 16, 24, 3), dtype=np.uint8),
        }
        for n in LENGTHS
    ]


def minari(folder: Path) -> tuple[Path, list[Columns]]:
    """Written and read by Minari."""
    os.environ["MINARI_DATASETS_PATH"] = str(folder)
    import gymnasium
    import minari

    box = gymnasium.spaces.Box
    spaces = {
        "observation_space": box(-np.inf, np.inf, (3,), np.float32),
        "action_space": box(-90, 90, (2,), np.float32),
    }
    buffers = [
        minari.data_collector.EpisodeBuffer(
            observations=e["state"],
            actions=e["action"],
            rewards=e["reward"],
            terminations=np.arange(len(e["action"])) == len(e["action"]) - 1,
            truncations=np.zeros(len(e["action"]), bool),
        )
        for e in drawn()
    ]
    minari.create_dataset_from_buffers("reach/random-v0", buffers, **spaces)
    read = [
        {"state": e.observations[:-1], "action": e.actions, "reward": e.rewards}
        for e in minari.load_dataset("reach/random-v0").iterate_episodes()
    ]
    return folder / "reach" / "random-v0", read


def zarr(folder: Path) -> tuple[Path, list[Columns]]:
    """Written and read by zarr, as Diffusion Policy's replay buffer."""
    import zarr

    path, episodes = folder / "buffer.zarr", drawn()
    root, ends = zarr.open(str(path), "w"), np.cumsum([len(e["action"]) for e in episodes])
    for name, values in (
        ("state", [e["state"][:-1] for e in episodes]),
        ("action", [e["action"] for e in episodes]),
        ("img", [e["pictures"] for e in episodes]),
    ):
        root.create_dataset(f"data/{name}", data=np.concatenate(values), chunks=(4, *values[0].shape[1:]))
    root.create_dataset("meta/episode_ends", data=ends)
    found = zarr.open(str(path), "r")
    parts = [slice(int(end) - len(e["action"]), int(end)) for end, e in zip(ends, episodes, strict=True)]
    data = found["data"]
    read = [{"state": data["state"][p], "action": data["action"][p], "pictures": data["img"][p]} for p in parts]
    return path, read


def robomimic(folder: Path) -> tuple[Path, list[Columns]]:
    """Read by robomimic's SequenceDataset."""
    import h5py
    import robomimic.utils.obs_utils as obs_utils
    from robomimic.utils.dataset import SequenceDataset

    path, keys = folder / "demo.hdf5", ("eef_pos", "object")
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = sum(LENGTHS)
        for number, e in enumerate(drawn()):
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = len(e["action"])
            demo["actions"], demo["rewards"] = e["action"].astype(np.float64), e["reward"]
            demo["dones"] = np.arange(len(e["action"])) == len(e["action"]) - 1
            demo["obs/eef_pos"], demo["obs/object"] = e["state"][:-1, :1], e["state"][:-1, 1:]
            demo["obs/top_image"] = e["pictures"]
    modalities = {"obs": {"low_dim": list(keys), "rgb": ["top_image"]}}
    obs_utils.initialize_obs_utils_with_obs_specs([modalities])
    rows = SequenceDataset(
        str(path),
        obs_keys=(*keys, "top_image"),
        dataset_keys=("actions", "rewards"),
        frame_stack=1,
        seq_length=1,
        pad_seq_length=False,
        hdf5_cache_mode=None,
        hdf5_use_swmr=False,
        load_next_obs=False,
    )
    read, first = list[Columns](), 0
    for length in LENGTHS:
        part = [rows[first + t] for t in range(length)]
        observed = {name: np.concatenate([row["obs"][name] for row in part]) for name in (*keys, "top_image")}
        read.append(
            {
                "state": np.concatenate([observed[name] for name in keys], axis=1),
                "action": np.concatenate([row["actions"] for row in part]),
                "reward": np.concatenate([row["rewards"] for row in part]),
                "pictures": observed["top_image"],
            }
        )
        first += length
    return path, read


def compared(dataset: Dataset, read: list[Columns]) -> int:
    """The numbers that are the same; AssertionError where one is not, or something is missing."""
    assert dataset.lengths.tolist() == [len(each["action"]) for each in read]
    together = {name: np.concatenate([each[name] for each in read]) for name in read[0]}
    found = {"state": dataset.observations[STATE].numpy(), "action": dataset.actions.numpy()}
    if "reward" in together:
        # Told of arriving, so one frame later; what the last action earned has no frame of its own, and is added.
        assert dataset.reward is not None
        inside = np.ones(dataset.num_frames, bool)
        inside[dataset.starts.numpy()] = False
        found["reward"] = dataset.reward.numpy()[inside]
        earned = [each["reward"].reshape(-1).astype(np.float32) for each in read]
        together["reward"] = np.concatenate([np.append(each[:-2], each[-2] + each[-1]) for each in earned])
    if "pictures" in together:
        (key,) = (key for key in dataset.observations if key != STATE)
        found["pictures"] = dataset.observations[key].numpy()
    for name, values in together.items():
        np.testing.assert_array_equal(found[name], values.astype(found[name].dtype), err_msg=name)
    return sum(values.size for values in found.values())


OWNERS: dict[str, Callable[[Path], tuple[Path, list[Columns]]]] = {
    "minari": minari,
    "zarr": zarr,
    "robomimic": robomimic,
}


def main() -> int:
    """Print a line for each owner; 1 where none is installed."""
    there = [name for name in OWNERS if importlib.util.find_spec(name)]
    for name in OWNERS:
        if name not in there:
            print(f"{name}: not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            path, read = OWNERS[name](Path(folder))
            count = compared(format_of(path).read(path, RULE, None), read)
        print(f"{name}: {count:,} numbers of {len(read)} episodes are the same")
    return 0 if there else 1


if __name__ == "__main__":
    sys.exit(main())
