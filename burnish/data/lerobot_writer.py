"""Writes a LeRobotDataset v3.0: episodes are taken one at a time, and the folder appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from burnish.data.episodes import Episode
from burnish.data.info import DatasetInfo, Recording
from burnish.data.lerobot_tables import TableWriter
from burnish.data.stored_pictures import FOLDER, adopt, file_of
from burnish.errors import InputError, RunError

_UNFINISHED = "unfinished"


def write_dataset(
    path: Path | str,
    episodes: Iterable[Episode],
    info: DatasetInfo,
    *,
    shard_megabytes: float = 100.0,
    pictures: Literal["image", "video"] = "image",
    labelled: bool = True,
    stored: Mapping[str, tuple[int, int]] | None = None,
) -> None:
    """Write episodes as a LeRobotDataset v3.0 that LeRobot itself can open.

    The files are written to a hidden sibling folder that is renamed in the end, so a write that is killed leaves
    nothing at `path`. Memory holds one episode and a few megabytes of buffers, however many episodes there are.

    Args:
        path: the new folder.
        episodes: consumed one at a time; all with the same observations and action size.
        info: what holds for all of them.
        shard_megabytes: the size after which a new Parquet file (uncompressed) or video is begun.
        pictures: how cameras' pictures are stored: `image`, as PNG in the Parquet files, which keeps every pixel; or
            `video`, as mp4 (H.264, else AV1), which is much smaller, loses detail, and needs PyAV and even sizes.
        labelled: whether the episodes' success was told; where not, readers find none.
        stored: (height, width) of cameras whose pictures are put beside the tables by the caller (`stored_pictures`);
            only Burnish finds these.

    Raises:
        InputError: something exists at `path`, there is no episode, or the episodes differ in shape; pictures that
            cannot be a video.
        RunError: the disk is full or cannot be written; nothing is left behind.
    """
    path = Path(path)
    if os.path.lexists(path):
        raise InputError(f"{path}: found an existing file or folder, expected a new path for the dataset")
    if shard_megabytes <= 0 or info.fps <= 0:
        raise InputError(f"{path}: shards of {shard_megabytes} MB and {info.fps} frames per second must be positive")
    if pictures not in ("image", "video"):
        raise InputError(f"{path}: found pictures={pictures!r}, expected 'image' or 'video'")
    with _environment_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.parent / f".{path.name}.partial-{secrets.token_hex(4)}"
        partial.mkdir()
    writer = TableWriter(partial, path, info, shard_megabytes, pictures)
    writer.labelled, writer.stored = labelled, dict(stored or {})
    try:
        for episode in episodes:
            with _environment_errors(path):
                writer.add(episode)
        with _environment_errors(path):
            writer.finish()
            _flush_to_disk(partial)
            partial.rename(path)
    except BaseException:
        writer.abandon()
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _flush_to_disk(folder: Path) -> None:
    """Have every file on the disk before the rename, so that a power cut cannot leave a hollow dataset either."""
    for file in folder.rglob("*.*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())


@contextlib.contextmanager
def _environment_errors(path: Path) -> Iterator[None]:
    """Say in one sentence that the dataset cannot be written, when that is the environment's fault."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"the dataset cannot be written to {path}: {reason}; nothing was left there") from error


def store_dataset(folder: Path, recording: Recording) -> None:
    """Make a stage's folder itself a LeRobotDataset v3.0; what a killed attempt left there is removed."""
    for leftover in (*folder.glob(f".{_UNFINISHED}*"), folder / _UNFINISHED, folder / "data", folder / "meta"):
        if leftover.exists():
            shutil.rmtree(leftover)
    sizes = {key: (pictures.shape[1], pictures.shape[2]) for key, pictures in recording.stored.items()}
    write_dataset(folder / _UNFINISHED, recording.episodes, recording.info, stored=sizes)
    names = {file_of(key) for key in recording.stored}
    with _environment_errors(folder):
        for key, pictures in recording.stored.items():
            adopt(folder, key, pictures)
        for file in (folder / FOLDER).glob("*"):
            if file.name not in names:
                file.unlink()  # a column that was too large for memory, and is in the tables now
    for part in sorted((folder / _UNFINISHED).iterdir()):
        part.rename(folder / part.name)
    (folder / _UNFINISHED).rmdir()
