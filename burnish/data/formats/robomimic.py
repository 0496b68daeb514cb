"""robomimic's HDF5: `data/demo_N/obs`, `actions`, `rewards`, `dones`; also a folder of such files (LIBERO)."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from burnish.data import hdf5
from burnish.data.arrays import ArraySource, natural_order, rate
from burnish.data.checks import bad_input
from burnish.data.formats.base import SourceFormat
from burnish.data.frames import Source

_ROOT, _EPISODE = "data", "demo_"


class Robomimic(SourceFormat):
    """The state is every observation of plain numbers, side by side; --state-key names some of them."""

    name = "robomimic"
    title = "robomimic's HDF5 (data/demo_0)"

    def detect(self, path: Path) -> bool:
        """By the group of demonstrations, in the file or in the first one of the folder."""
        files = _files(path)
        if not files or _ROOT not in hdf5.top(files[0]):
            return False
        return bool(hdf5.groups(files[0], _ROOT, _EPISODE))

    def open(self, path: Path) -> Source:
        """Looks at the first demonstration."""
        return _Robomimic(path)


class _Robomimic(ArraySource):
    def __init__(self, path: Path) -> None:
        notes: list[str] = []
        self.episodes = [(file, name) for file in _files(path) for name in hdf5.groups(file, _ROOT, _EPISODE)]
        self.tasks = {file: _told(file) for file in _files(path)}
        control = self.tasks[self.episodes[0][0]][1] if self.episodes else None
        super().__init__(where=path, info=rate(control, notes), notes=notes)
        if not self.episodes:
            raise bad_input(path, "no group 'data/demo_0'", "demonstrations")
        file, name = self.episodes[0]
        with hdf5.opened(file) as opened:
            found = hdf5.arrays_below(hdf5.child(opened, f"{_ROOT}/{name}"))
            found = {key: each for key, each in found.items() if not key.startswith("next_obs/")}
            low = [key for key, each in found.items() if key.startswith("obs/") and each.ndim == 2]
            self.describe(found, low)

    @property
    def num_episodes(self) -> int:
        return len(self.episodes)

    def place(self, number: int) -> str:
        return f"{self.episodes[number][0]}/data/{self.episodes[number][1]}"

    def task(self, number: int) -> str:
        return self.tasks[self.episodes[number][0]][0]

    def arrays(self, number: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        file, episode = self.episodes[number]
        with hdf5.opened(file) as opened:
            group = hdf5.child(opened, f"{_ROOT}/{episode}")
            return {name: hdf5.numbers(group, name) for name in names}

    def blocks(self, number: int, name: str) -> Iterator[np.ndarray]:
        file, episode = self.episodes[number]
        with hdf5.opened(file) as opened:
            yield from hdf5.blocks(hdf5.child(opened, f"{_ROOT}/{episode}"), name, self.at_once)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted((each for each in path.iterdir() if each.suffix in hdf5.SUFFIXES), key=natural_order)
    return [path]


def _told(file: Path) -> tuple[str, float | None]:
    """The task, and the control steps of a second, from what the file says of its environment."""
    with hdf5.opened(file) as opened:
        group = hdf5.child(opened, _ROOT)
        environment, problem = _json(hdf5.text(group, "env_args")), _json(hdf5.text(group, "problem_info"))
    kwargs = environment.get("env_kwargs")
    control = kwargs.get("control_freq") if isinstance(kwargs, dict) else None
    names = (problem.get("language_instruction"), environment.get("env_name"))
    task = next((name for name in names if isinstance(name, str) and name), file.stem)
    return task, float(control) if isinstance(control, int | float) and 0 < control < 10_000 else None


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
