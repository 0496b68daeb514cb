"""Reads and checks meta/info.json of a LeRobotDataset, v3.0 or v2, that may come from anybody."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.config import from_dict
from burnish.data import lerobot_format as layout
from burnish.data.checks import bad_input
from burnish.data.info import DatasetInfo
from burnish.data.lerobot_format import Feature
from burnish.data.scaling import ActionScaling
from burnish.data.stored_pictures import Sizes, sizes_told


@dataclass(frozen=True)
class Header:
    """What info.json tells.

    Attributes:
        info: what holds for every episode.
        features: every column's name; images and videos among them are not numeric.
        pictures: what info.json says of the cameras' pictures, by key; not checked before they are read.
        total_episodes: the number of episodes.
        total_frames: the number of frames.
        data_template: the path of the data files, relative to the dataset.
        video_template: the path of the video files, if there is a usable one.
        placeholders: columns that Burnish filled in for other readers, and that tell nothing themselves.
        chunk: episodes of a folder, which v2 counts by.
        stored: cameras whose pictures lie beside the tables as they were decoded (`stored_pictures`).
    """

    info: DatasetInfo
    features: dict[str, Feature]
    pictures: dict[str, dict]
    total_episodes: int
    total_frames: int
    data_template: str
    video_template: str | None
    placeholders: tuple[str, ...] = ()
    chunk: int | None = None
    stored: Sizes = field(default_factory=dict)


def read_header(root: Path, versions: tuple[str, ...] = (layout.VERSION,)) -> Header:
    """Read meta/info.json of one of some versions of the format.

    Raises:
        InputError: it is missing, no JSON, of another version, or says something impossible.
    """
    path = root / layout.INFO_PATH
    content = _read_json_object(path)
    version = content.get("codebase_version")
    if version not in versions:
        expected = " or ".join(map(repr, versions))
        raise bad_input(path, repr(version), expected, field="codebase_version")
    template = content.get("data_path")
    old = version != layout.VERSION
    try:
        layout.file_path(_expect(path, content, "data_path", str), 0, 0)
    except ValueError as error:
        known = layout.OLD_DATA_TEMPLATE if old else layout.DATA_TEMPLATE
        raise bad_input(path, repr(template), f"a path inside the dataset like '{known}'", field="data_path") from error
    own = content.get(layout.OWN_KEY, {})
    if not isinstance(own, dict):
        raise bad_input(path, type(own).__name__, "an object", field=layout.OWN_KEY)
    max_steps = None if own.get("max_steps") is None else _expect_count(path, own, "max_steps")
    info = DatasetInfo(
        fps=_expect_rate(path, content),
        robot_type=None if content.get("robot_type") is None else _expect(path, content, "robot_type", str),
        simulator=None if own.get("simulator") is None else _expect(path, own, "simulator", str),
        action_repeat=_expect_count(path, own, "action_repeat") if "action_repeat" in own else 1,
        max_steps=max_steps,
        scaling=None if "scaling" not in own else from_dict(ActionScaling, own["scaling"], f"{path}, 'scaling'"),
    )
    features = _read_features(path, content)
    video_template = content.get("video_path")
    return Header(
        info=info,
        features=features,
        pictures={
            key: content["features"][key] for key, feature in features.items() if feature.dtype in ("image", "video")
        },
        total_episodes=_expect_count(path, content, "total_episodes"),
        total_frames=_expect_count(path, content, "total_frames"),
        data_template=_expect(path, content, "data_path", str),
        video_template=video_template if isinstance(video_template, str) else None,
        placeholders=tuple(_expect(path, own, "placeholders", list)) if "placeholders" in own else (),
        chunk=_expect_count(path, content, "chunks_size") if "chunks_size" in content else None,
        stored=sizes_told(path, own),
    )


def _read_json_object(path: Path) -> dict:
    """A file of a JSON object; InputError where it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise bad_input(path, "no such file", "a LeRobotDataset") from error
    except (OSError, ValueError, RecursionError) as error:
        raise bad_input(path, f"a file that cannot be read ({error})", "JSON") from error
    if not isinstance(content, dict):
        raise bad_input(path, type(content).__name__, "a JSON object")
    return content


def _read_features(path: Path, content: dict) -> dict[str, Feature]:
    features = {}
    for key, entry in _expect(path, content, "features", dict).items():
        field = f"features/{key}"
        if not isinstance(entry, dict):
            raise bad_input(path, type(entry).__name__, "an object with dtype and shape", field=field)
        dtype, shape, names = entry.get("dtype"), entry.get("shape"), entry.get("names")
        if not isinstance(dtype, str):
            raise bad_input(path, repr(dtype), "a dtype's name", field=field)
        feature = Feature(dtype, (1,))
        if feature.is_numeric:
            if not isinstance(shape, list) or not all(type(size) is int and 0 < size < 2**31 for size in shape):
                raise bad_input(path, f"shape {shape!r}", "a list of positive whole numbers", field=field)
            texts = _dimension_names(names)
            feature = Feature(dtype, tuple(shape) or (1,), texts if [len(texts)] == shape else None)
        features[key] = feature
    return features


def _dimension_names(names: Any) -> tuple[str, ...]:
    """Names as a list, or as a list within a list or an object (`{"motors": [...]}`)."""
    while isinstance(names, dict | list) and len(names) == 1:
        inner = next(iter(names.values())) if isinstance(names, dict) else names[0]
        if not isinstance(inner, dict | list):
            break
        names = inner
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


def _expect(path: Path, content: Mapping, key: str, kind: type) -> Any:
    value = content.get(key)
    if not isinstance(value, kind):
        raise bad_input(path, repr(value) if key in content else "nothing", f"a {kind.__name__}", field=key)
    return value


def _expect_count(path: Path, content: Mapping, key: str) -> int:
    value = content.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < 2**63 or value != int(value):
        raise bad_input(path, repr(value) if key in content else "nothing", "a whole number from 1", field=key)
    return int(value)


def _expect_rate(path: Path, content: Mapping) -> float:
    """Frames per second, which may be 29.97."""
    value = content.get("fps")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.001 <= value <= 100_000:
        raise bad_input(path, repr(value) if "fps" in content else "nothing", "frames per second", field="fps")
    return int(value) if value == int(value) else value
