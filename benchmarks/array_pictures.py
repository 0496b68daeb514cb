"""Memory that one long episode of full-size pictures takes to be read, from HDF5, .npz and zarr.

    python -m benchmarks.array_pictures [--frames 2000 --size 64]

Writes an episode of 480 x 640 pictures in each layout to a temporary folder (1.8 GB uncompressed for 2,000 frames, one
format after the other) and reads it in a process of its own, with the pictures brought to `--size` pixels: the largest
resident set, before and after, and seconds of CPU and of the clock. The pictures are noise in 32 x 32 fields, so that
nothing is packed away.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numcodecs
import numpy as np

from burnish.data.formats import ReadingRule, format_of
from burnish.data.row_store import RowStore

HEIGHT, WIDTH, FIELD = 480, 640, 32
AT_ONCE = 20
"""Frames that are made and written at a time."""


def pictures(frames: int) -> Iterator[np.ndarray]:
    """uint8 (AT_ONCE, HEIGHT, WIDTH, 3) one after the other."""
    generator = np.random.default_rng(0)
    for first in range(0, frames, AT_ONCE):
        shape = (min(AT_ONCE, frames - first), HEIGHT // FIELD, WIDTH // FIELD, 3)
        coarse = generator.integers(0, 256, shape, dtype=np.uint8)
        yield coarse.repeat(FIELD, axis=1).repeat(FIELD, axis=2)


def numbers(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """State (T, 6) and action (T, 6)."""
    path = np.cumsum(np.random.default_rng(1).normal(size=(frames, 6)), axis=0).astype(np.float32)
    return path, np.roll(path, -1, axis=0)


def aloha(path: Path, frames: int) -> Path:
    """ACT's HDF5, a chunk a picture, as its recorder writes them."""
    path.mkdir()
    state, action = numbers(frames)
    with h5py.File(path / "episode_0.hdf5", "w") as file:
        file["action"], file["observations/qpos"] = action, state
        shape = (frames, HEIGHT, WIDTH, 3)
        rows = file.create_dataset("observations/images/top", shape, np.uint8, chunks=(1, *shape[1:]))
        for number, each in enumerate(pictures(frames)):
            rows[number * AT_ONCE : number * AT_ONCE + len(each)] = each
    return path


def npz(path: Path, frames: int) -> Path:
    """A folder of .npz, as np.savez writes it."""
    path.mkdir()
    state, action = numbers(frames)
    np.savez(path / "run_0.npz", state=state, action=action)
    header = {"descr": "|u1", "fortran_order": False, "shape": (frames, HEIGHT, WIDTH, 3)}
    with zipfile.ZipFile(path / "run_0.npz", "a") as archive, archive.open("top.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[arg-type]
        for each in pictures(frames):
            file.write(each.tobytes())
    return path


def zarr(path: Path, frames: int) -> Path:
    """Diffusion Policy's zarr, a chunk a picture, Blosc's default."""
    state, action = numbers(frames)
    _array(path / "data/state", state.shape, state.shape, state.dtype, iter([state]))
    _array(path / "data/action", action.shape, action.shape, action.dtype, iter([action]))
    ends = np.array([frames])
    _array(path / "meta/episode_ends", ends.shape, ends.shape, ends.dtype, iter([ends]))
    shape = (frames, HEIGHT, WIDTH, 3)
    single = (picture[None] for each in pictures(frames) for picture in each)
    _array(path / "data/img", shape, (1, *shape[1:]), np.dtype(np.uint8), single)
    return path


def _array(path: Path, shape: tuple, chunks: tuple, dtype: np.dtype, values: Iterator[np.ndarray]) -> None:
    path.mkdir(parents=True)
    codec = numcodecs.Blosc(cname="lz4", clevel=5)
    header = {"zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": dtype.str, "order": "C", "fill_value": 0}
    (path / ".zarray").write_text(json.dumps({**header, "filters": None, "compressor": codec.get_config()}))
    for number, each in enumerate(values):
        name = ".".join([str(number), *("0" for _ in shape[1:])])
        (path / name).write_bytes(codec.encode(np.ascontiguousarray(each)))


WRITERS: dict[str, Callable[[Path, int], Path]] = {"ACT's HDF5": aloha, ".npz": npz, "zarr": zarr}


def read(path: Path, size: int) -> dict[str, float]:
    """What it takes in this process."""
    rule, before = ReadingRule(success_last_frames=10, picture_size=size), _resident()
    cpu, clock = time.process_time(), time.perf_counter()
    with tempfile.TemporaryDirectory(dir=path.parent) as kept:
        dataset = format_of(path).read(path, rule, None, RowStore(Path(kept)))
        assert any(values.shape[1:] == (size, size, 3) for values in dataset.observations.values())
        frames = dataset.num_frames
    seconds = {"cpu": time.process_time() - cpu, "clock": time.perf_counter() - clock}
    return {"frames": frames, "before": before, "peak": _resident(), **seconds}


def _resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Print a row for each layout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read is not None:
        print(json.dumps(read(options.read, options.size)))
        return
    for name, write in WRITERS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = write(Path(folder) / "data", options.frames)
            command = [sys.executable, "-m", "benchmarks.array_pictures", "--read", str(path)]
            done = subprocess.run([*command, "--size", str(options.size)], capture_output=True, text=True, check=True)
            found = json.loads(done.stdout)
        said = "{frames:.0f} frames, {cpu:.1f} s of CPU, {clock:.1f} s by the clock".format(**found)
        print(f"{name}: {said}; resident {found['before'] / 1e6:.0f} MB before, {found['peak'] / 1e6:.0f} MB at most")


if __name__ == "__main__":
    main()
