"""How a run's first recorded frame looks, by NumPy and PyArrow alone: what a page shows while PyTorch is imported.

Only what Burnish itself writes into a run folder is understood (one table with the first episodes, pictures in it or
beside it); of anything else there is no glimpse, and the page waits for the model.
"""

import io
import os
import re
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np

from burnish.errors import InputError
from burnish.studio.plain import read_plain
from burnish.studio.protocol import packed

_DATA = "dataset"
"""The stage whose data a world model learned from."""
_TABLE = "data/chunk-000/file-000.parquet"
_STATE, _IMAGES = "observation.state", "observation.images."
_ROWS = 20_000
"""Frames from which the range of the drawing is taken, at most; `OpenedRun.states` takes it from as many."""
_LARGEST = 256 * 2**20
_PIXELS = 2**22
_KEPT = 16


class Glimpses:
    """Those of some runs, each read once."""

    def __init__(self) -> None:
        self._found: dict[Path, bytes] = {}
        self._reading = threading.Lock()

    def of(self, run: Path) -> bytes:
        """A packed answer: `state` (D,) or a picture of the first frame, names and recorded ranges of the state.

        Raises:
            InputError: there is none.
        """
        with self._reading:  # who comes second gets what the first one read
            if run not in self._found:
                self._found[run] = glimpse(run)
                if len(self._found) > _KEPT:
                    del self._found[next(iter(self._found))]
            return self._found[run]


def glimpse(run: Path) -> bytes:
    """See `Glimpses.of`."""
    try:
        return _glimpse(run / _DATA)
    except InputError:
        raise
    except Exception as error:  # a damaged table: the model, which comes later, says what is wrong
        raise InputError(f"{run.name}: no first frame can be shown ({type(error).__name__}: {error})") from error


def _glimpse(data: Path) -> bytes:
    _check_own(data, "meta/info.json")
    info = read_plain(data / "meta" / "info.json")
    features, own = info["features"], info.get("burnish", {})
    cameras = sorted(name for name in features if name.startswith(_IMAGES) and features[name]["dtype"] == "image")
    stored: dict[str, Any] = own.get("pictures", {})
    if stored:
        return packed({"picture": True}, [_stored(data, *min(stored.items()))])
    if cameras:
        return packed({"picture": True}, [_first_image(data, cameras[0])])
    states = _column(data, _STATE)
    some = states[:: max(1, len(states) // _ROWS)]
    bounds = np.quantile(some, [0.01, 0.99], axis=0)
    names = features[_STATE].get("names")
    shown = {
        "picture": False,
        "state": np.round(states[0].astype(float), 5).tolist(),
        "states": names if isinstance(names, list) and all(isinstance(each, str) for each in names) else [],
        "bounds": np.round(bounds, 5).tolist(),
    }
    return packed(shown, [])


def _column(data: Path, name: str) -> np.ndarray:
    """(T, D) of the first table's first rows."""
    import pyarrow.parquet as pq

    _check_own(data, _TABLE)
    with pq.ParquetFile(data / _TABLE, memory_map=False) as file:
        if file.metadata.row_group(0).total_byte_size > _LARGEST:
            raise InputError("its first table is too large for a glimpse")
        found = file.read_row_group(0, columns=[name], use_threads=False).column(name).combine_chunks()
    rows = len(found)
    return found.flatten().to_numpy(zero_copy_only=False).reshape(rows, -1)


def _first_image(data: Path, camera: str) -> np.ndarray:
    import pyarrow.parquet as pq
    from PIL import Image

    _check_own(data, _TABLE)
    with pq.ParquetFile(data / _TABLE, memory_map=False) as file:
        batch = next(file.iter_batches(1, row_groups=[0], columns=[camera], use_threads=False))
    content = batch.column(0)[0].as_py()["bytes"]
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
        if image.width * image.height > _PIXELS:
            raise InputError("its pictures are too large for a glimpse")
        return np.asarray(image.convert("RGB"))


def _stored(data: Path, camera: str, size: Any) -> np.ndarray:
    """Of the pictures that lie beside the table, row after row, as `burnish.data.stored_pictures` wrote them."""
    name = f"pictures/{re.sub(r'[^A-Za-z0-9._-]', '_', camera)}.u8"
    _check_own(data, name)
    height, width = size
    if height * width > _PIXELS:
        raise InputError("its pictures are too large for a glimpse")
    return np.fromfile(data / name, np.uint8, height * width * 3).reshape(height, width, 3)


def _check_own(data: Path, name: str) -> None:
    """Refuse links: on the way to a file of the data set, and in its place."""
    place = data
    for part in ("", *Path(name).parts):
        place = place / part
        try:
            status = os.lstat(place)
        except OSError as error:
            raise InputError(f"{name}: cannot be read ({error.strerror})") from None
        if not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
            raise InputError(f"{name}: expected a file of its own")
