"""CALVIN's NumPy files: one `episode_NNNNNNN.npz` a frame, and where recordings begin and end."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from burnish.data import npz
from burnish.data.arrays import ArraySource
from burnish.data.checks import bad_input
from burnish.data.formats.base import SourceFormat
from burnish.data.frames import Source
from burnish.data.info import DatasetInfo

_BOUNDS = "ep_start_end_ids.npy"
_STATES = ("robot_obs", "scene_obs")
_ACTION = "rel_actions"
_FPS = 30


class Calvin(SourceFormat):
    """Play without success: the state is robot_obs and scene_obs, the action rel_actions.

    The language annotations are pickles, and are not read.
    """

    name = "calvin"
    title = "CALVIN's npz (ep_start_end_ids.npy)"

    def detect(self, path: Path) -> bool:
        """By the bounds of its recordings."""
        return (path / _BOUNDS).is_file()

    def open(self, path: Path) -> Source:
        """Looks at the first frame."""
        return _Calvin(path)


class _Calvin(ArraySource):
    def __init__(self, path: Path) -> None:
        super().__init__(where=path, info=DatasetInfo(fps=_FPS))
        bounds = npz.read_array(path / _BOUNDS)
        if bounds.ndim != 2 or bounds.shape[1] != 2 or bounds.dtype.kind not in "iu" or not len(bounds):
            found = f"{bounds.dtype} of shape {bounds.shape}"
            raise bad_input(path / _BOUNDS, found, "the first and the last frame of every recording")
        self.bounds = bounds.astype(np.int64)
        if (self.bounds < 0).any() or (self.bounds[:, 1] < self.bounds[:, 0]).any():
            raise bad_input(path / _BOUNDS, "frames that end before they begin", "first and last frames")
        digits = sorted({len(each.stem) - len("episode_") for each in path.glob("episode_*.npz")})
        if len(digits) != 1:
            raise bad_input(path, f"names with {digits} digits", "files like episode_0000000.npz")
        self.digits = digits[0]
        first = npz.headers(self._file(int(self.bounds[0, 0])))
        frames = {name: npz.Header(each.dtype, (1, *each.shape)) for name, each in first.items()}
        if _ACTION in frames:  # `actions`, in absolute poses, keeps its name
            frames["action"] = frames.pop(_ACTION)
            frames = {("absolute_actions" if name == "actions" else name): each for name, each in frames.items()}
        self.describe(frames, [name for name in _STATES if name in frames])
        self.own = {"action": _ACTION, "absolute_actions": "actions"} if _ACTION in first else {}

    @property
    def num_episodes(self) -> int:
        return len(self.bounds)

    def place(self, number: int) -> str:
        return str(self._file(int(self.bounds[number, 0])))

    def task(self, number: int) -> str:
        return "play"

    def arrays(self, number: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        own = [self.own.get(name, name) for name in names]
        parts: dict[str, list[np.ndarray]] = {name: [] for name in own}
        for found in self._frames(number, own):
            for name, values in found.items():
                parts[name].append(values)
        return {name: np.stack(parts[self.own.get(name, name)]) for name in names}

    def blocks(self, number: int, name: str) -> Iterator[np.ndarray]:
        for found in self._frames(number, [self.own.get(name, name)]):
            yield from (values[None] for values in found.values())

    def _frames(self, number: int, names: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
        """Arrays of one frame after the other, all of one shape."""
        (first, last), shapes = self.bounds[number].tolist(), dict[str, tuple[int, ...]]()
        for frame in range(first, last + 1):
            found = npz.read(self._file(frame), names)
            for name, values in found.items():
                if values.shape != shapes.setdefault(name, values.shape):
                    expected = f"{shapes[name]} as in the frames before"
                    where = self._file(frame)
                    raise bad_input(where, f"shape {values.shape}", expected, field=name, episode=number)
            yield found

    def _file(self, frame: int) -> Path:
        return self.where / f"episode_{frame:0{self.digits}d}.npz"
