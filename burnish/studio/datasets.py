"""Data sets: what is in them, what is odd about them, and success labels given by hand."""

import csv
import io
import shlex
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from burnish.data import STATE, Dataset
from burnish.data.formats import ReadingRule, SourceFormat, format_of
from burnish.data.inspection import Inspection, inspect
from burnish.data.reading import assemble
from burnish.data.signals import action_names_of, names_of
from burnish.data.success import UNTOLD, Label, read_labels
from burnish.errors import BurnishError, InputError
from burnish.storage import write_bytes_atomic
from burnish.studio.folders import Folders, identity
from burnish.studio.protocol import RAW, encoded, file_name, plain_object

_KEPT = 3
_IN_RUNS = ("dataset", "demonstrations")
_RULE = ReadingRule(skip_bad=True)


class DataSets:
    """Those that were given, and those of the runs; the last few stay open."""

    def __init__(self, given: Sequence[Path], folders: Folders, out: Path) -> None:
        self.given, self.folders, self.out = [path.absolute() for path in given], folders, out
        self._known: dict[str, Path] = {}
        self._open: OrderedDict[Path, Inspection] = OrderedDict()
        self._pictures: dict[Path, Dataset] = {}

    def listed(self, run: str | None) -> list[dict[str, Any]]:
        """The given data sets, and those of a run."""
        places = [(path.name, path) for path in self.given]
        if run is not None:
            folder = self.folders.run(run)
            places += [
                (f"{self.folders.shown(folder)}/{name}", folder / name)
                for name in _IN_RUNS
                if (folder / name / "meta" / "info.json").is_file() and not (folder / name).is_symlink()
            ]
        self._known |= {identity(path): path for _, path in places}
        return [{"id": identity(path), "name": name} for name, path in places]

    def summary(self, key: str) -> dict[str, Any]:
        """All its episodes, its names, and the doctor's findings.

        Raises:
            InputError: it cannot be read.
        """
        found = self._inspected(key)
        data = found.dataset
        returns = data.episode_return.tolist() if data.has_reward else None
        success, lengths = data.episode_success.tolist(), data.lengths.tolist()
        return {
            **found.to_json(),
            "id": key,
            "state_names": names_of(data),
            "action_names": action_names_of(data),
            "rows": [
                {
                    "length": lengths[index],
                    "source": data.sources[index],
                    "seed": data.seeds[index],
                    "task": data.tasks[index],
                    "success": success[index],
                    "return": None if returns is None else returns[index],
                }
                for index in range(data.num_episodes)
            ],
        }

    def episode(self, key: str, number: int) -> dict[str, Any]:
        """One episode's numbers: states (T, D), actions (T, A), success (T,)."""
        data = self._inspected(key).dataset
        frames = _frames(data, number)
        state = data.observations[STATE][frames] if STATE in data.observations else None
        return {
            "states": [] if state is None else _rounded(state.numpy()),
            "actions": _rounded(data.actions[frames].numpy()),
            "success": data.success[frames].tolist(),
            "reward": None if data.reward is None else _rounded(data.reward[frames].numpy()),
        }

    def picture(self, key: str, number: int, frame: int, camera: str) -> tuple[bytes, str]:
        """A recorded picture as a file, and its media type."""
        found = self._inspected(key)
        if camera not in found.cameras:
            raise InputError("this data set has no such camera")
        if found.path not in self._pictures:
            self._pictures = {found.path: _with_pictures(found)}
        data = self._pictures[found.path]
        frames = _frames(data, number)
        if not 0 <= frame < frames.stop - frames.start:
            raise InputError(f"frame {frame}: the episode has {frames.stop - frames.start}")
        keys = [name for name in data.observations if name == camera or name.endswith("." + camera)]
        values = data.observations[keys[0]][frames.start + frame].numpy()
        kind = "PNG" if max(values.shape[:2]) <= RAW else "JPEG"
        return encoded(np.ascontiguousarray(values), kind), f"image/{kind.lower()}"

    def labels(self, key: str, name: str) -> dict[str, Any]:
        """Labels that were saved under a name; none where there are not."""
        self._path(key)
        path = self._label_file(name)
        if not path.is_file():
            return {"labels": []}
        return {
            "labels": [
                {"episode": number, "success": label.success, "frame": label.frame}
                for number, label in sorted(read_labels(path).items())
            ]
        }

    def save_labels(self, key: str, name: str, body: bytes) -> dict[str, Any]:
        """Save labels as the CSV that `--labels` reads.

        Raises:
            InputError: they are none, or of episodes that there are not.
        """
        data = self._inspected(key).dataset
        if any("are bad and were left out" in note for note in data.info.notes):
            raise InputError(
                "some episodes are bad and are not shown, so numbers would not be theirs: repair them first"
            )
        lengths = data.lengths.tolist()
        labels = _checked(plain_object(body, "labels").get("labels"), lengths)
        with_frames = all(label.frame is not None for label in labels.values() if label.success)
        path, out = self._label_file(name), io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["episode", "success", *(["frame"] if with_frames else [])])
        for number, label in sorted(labels.items()):
            frame = "" if label.frame is None else label.frame
            writer.writerow([number, int(label.success), *([frame] if with_frames else [])])
        write_bytes_atomic(path, out.getvalue().encode())
        words = ["burnish", "run", "world4rl", "--dataset", str(self._path(key)), "--labels", str(path)]
        command = shlex.join([*words, *([] if with_frames else ["--success-last-frames", "5"])])
        return {
            "path": str(path),
            "labelled": len(labels),
            "missing": len(lengths) - len(labels),
            "command": command,
        }

    def _label_file(self, name: str) -> Path:
        return self.out / "labels" / f"{file_name('name', name)}.csv"

    def _path(self, key: str) -> Path:
        if key not in self._known:
            for run in self.folders.runs():
                self.listed(run)
        if key not in self._known:
            raise InputError("there is no such data set (any more)")
        return self._known[key]

    def _inspected(self, key: str) -> Inspection:
        path = self._path(key)
        if path not in self._open:
            try:
                self._open[path] = inspect(path, _RULE)
            except BurnishError:
                raise
            except Exception as error:  # whatever a damaged folder leads to, the studio goes on
                raise InputError(f"{path.name}: cannot be read ({type(error).__name__}: {error})") from error
            while len(self._open) > _KEPT:
                self._open.popitem(last=False)
        self._open.move_to_end(path)
        return self._open[path]


def _with_pictures(found: Inspection) -> Dataset:
    kind = format_of(found.path)
    if not isinstance(kind, SourceFormat):
        return kind.read(found.path, _RULE, None)
    return assemble(kind.open(found.path), replace(_RULE.choice(), success=UNTOLD), None)


def _frames(data: Dataset, number: int) -> slice:
    if not 0 <= number < data.num_episodes:
        raise InputError(f"episode {number}: the data set has {data.num_episodes}")
    start = int(data.starts[number])
    return slice(start, start + int(data.lengths[number]))


def _rounded(values: np.ndarray) -> list[Any]:
    return np.round(values.astype(float), 5).tolist()


def _checked(said: Any, lengths: list[int]) -> dict[int, Label]:
    if not isinstance(said, list) or not said:
        raise InputError("labels: expected a list with at least one")
    found: dict[int, Label] = {}
    for each in said:
        each = each if isinstance(each, dict) else {}
        number, success, frame = each.get("episode"), each.get("success"), each.get("frame")
        if type(number) is not int or not 0 <= number < len(lengths) or number in found:
            raise InputError(f"labels: expected each of the episodes 0 to {len(lengths) - 1} once at most")
        if not isinstance(success, bool) or (frame is not None and type(frame) is not int):
            raise InputError(f"labels, episode {number}: expected success, and a frame or none")
        if frame is not None and not (success and 0 <= frame < lengths[number]):
            raise InputError(f"labels, episode {number}: expected a frame of a successful episode")
        found[number] = Label(success, frame)
    return found
