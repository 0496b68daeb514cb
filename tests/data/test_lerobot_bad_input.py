"""Broken and hostile datasets: each gives one sentence that names the file, the episode and the field."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burnish.data import STATE, read_dataset, write_dataset
from burnish.errors import InputError
from tests.data.support import INFO, assert_same, edit_info, edit_table, make_episode

DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
TASKS = "meta/tasks.parquet"
JSON = "meta/info.json"
RECORDED = [make_episode(length, seed=length) for length in (4, 2, 5)]

Damage = Callable[[Path], object]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "d"
    write_dataset(root, RECORDED, INFO)
    return root


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "d"))


def at(values: list, row: int, value: object) -> None:
    values[row] = value


def data(column: str, change: Callable[[list], object]) -> Damage:
    return lambda root: edit_table(root / DATA, column, change)


def index(column: str, row: int, value: object) -> Damage:
    return lambda root: edit_table(root / EPISODES, column, lambda values: at(values, row, value))


def info(change: Callable[[dict], object]) -> Damage:
    return lambda root: edit_info(root, change)


def drop(file: str, column: str) -> Damage:
    return lambda root: pq.write_table(pq.read_table(root / file).drop_columns([column]), root / file)


def shorten(length: int, moved: int) -> Damage:
    """Give episode 1 (2 frames) another length in a consistent way, except that its neighbour gets the frames."""

    def damage(root: Path) -> None:
        edit_table(root / EPISODES, "length", lambda _: [4, length, moved])
        edit_table(root / EPISODES, "dataset_to_index", lambda _: [4, 4 + length, 11])
        edit_table(root / EPISODES, "dataset_from_index", lambda _: [0, 4, 4 + length])

    return damage


CASES: dict[str, tuple[Damage, str]] = {
    "no info": (lambda root: (root / JSON).unlink(), r"info.json: found no such file"),
    "info no JSON": (lambda root: (root / JSON).write_text("{"), r"info.json: found a file that cannot be read"),
    "info a list": (lambda root: (root / JSON).write_text("[]"), r"info.json: found list, expected a JSON object"),
    "info too deep": (lambda root: (root / JSON).write_text("[" * 200_000), r"info.json: found a file that cannot"),
    "info binary": (lambda root: (root / JSON).write_bytes(b"\xff\xfe\x00"), r"info.json: found a file that cannot"),
    "version": (
        info(lambda i: i.update(codebase_version="v2.1")),
        r"'codebase_version': found 'v2.1', expected 'v3.0'",
    ),
    "version a number": (info(lambda i: i.update(codebase_version=3)), r"'codebase_version': found 3"),
    "no version": (info(lambda i: i.pop("codebase_version")), r"'codebase_version': found None"),
    "fps": (info(lambda i: i.update(fps=0)), r"'fps': found 0"),
    "fps text": (info(lambda i: i.update(fps="40")), r"'fps': found '40'"),
    "fps infinite": (info(lambda i: i.update(fps=float("inf"))), r"'fps': found inf"),
    "no frames": (info(lambda i: i.update(total_frames=0)), r"'total_frames': found 0"),
    "total frames": (info(lambda i: i.update(total_frames=12)), r"'length': found 11 frames in all, expected 12"),
    "total episodes": (info(lambda i: i.update(total_episodes=4)), r"found 3 episodes, expected 4"),
    "features": (info(lambda i: i.update(features=[])), r"'features': found \[\], expected a dict"),
    "no state": (info(lambda i: i["features"].pop(STATE)), rf"info.json, field '{STATE}'"),
    "state an image": (info(lambda i: i["features"][STATE].update(dtype="video")), r"found dtype 'video'"),
    "state shape": (
        info(lambda i: i["features"][STATE].update(shape=[4])),
        r"episode 0.*found 3 values, expected shape",
    ),
    "state matrix": (info(lambda i: i["features"][STATE].update(shape=[3, 1])), r"found values with 1 dim"),
    "state shape negative": (info(lambda i: i["features"][STATE].update(shape=[-3])), r"found shape \[-3\]"),
    "state dtype": (info(lambda i: i["features"][STATE].update(dtype="int64")), r"found values of type float"),
    "dtype no word": (info(lambda i: i["features"][STATE].update(dtype=None)), r"found None, expected a dtype"),
    "own block": (info(lambda i: i.update(burnish=3)), r"field 'burnish'"),
    "climbing template": (info(lambda i: i.update(data_path="../{chunk_index}.parquet")), r"'data_path'.*inside"),
    "absolute template": (info(lambda i: i.update(data_path="/etc/passwd")), r"'data_path'.*inside the dataset"),
    "greedy template": (info(lambda i: i.update(data_path="{chunk_index:099999999d}")), r"'data_path'"),
    "curious template": (info(lambda i: i.update(data_path="{chunk_index.__class__}")), r"'data_path'"),
    "template elsewhere": (info(lambda i: i.update(data_path="d/{file_index:03d}")), r"d/000: found no such file"),
    "no tasks": (lambda root: (root / TASKS).unlink(), r"tasks.parquet: found no such file"),
    "task unknown": (data("task_index", lambda v: at(v, 4, 9)), r"episode 1, field 'task_index': found 9"),
    "tasks without names": (drop(TASKS, "__index_level_0__"), r"tasks.parquet: found the columns"),
    "no episodes": (lambda root: (root / EPISODES).unlink(), r"meta/episodes: found no Parquet file"),
    "no lengths": (drop(EPISODES, "length"), r"field 'length': found no such column"),
    "no data": (lambda root: (root / DATA).unlink(), r"file-000.parquet: found no such file"),
    "data a folder": (lambda root: [(root / DATA).unlink(), (root / DATA).mkdir()], r"file-000.parquet: found"),
    "empty file": (lambda root: (root / DATA).write_bytes(b""), r"file-000.parquet: found a file that cannot"),
    "zero length": (shorten(0, 7), r"episode 1, field 'length': found 0, expected at least 2"),
    "negative length": (shorten(-2, 9), r"episode 1, field 'length': found -2, expected at least 2"),
    "one frame": (shorten(1, 6), r"episode 1, field 'length': found 1, expected at least 2"),
    "bounds moved": (shorten(3, 4), r"episode 1, field 'length': found 2 frames, expected 3"),
    "episode order": (index("episode_index", 1, 2), r"episode 1, field 'episode_index': found 2, expected 1"),
    "length a text": (
        lambda root: edit_table(root / EPISODES, "length", lambda _: ["4", "2", "5"]),
        r"'length': found values of type string",
    ),
    "length missing": (index("length", 1, None), r"episode 1, field 'length': found a missing value"),
    "file negative": (index("data/file_index", 0, -1), r"episode 0, field 'data/file_index': found -1"),
    "seed a text": (
        lambda root: edit_table(root / EPISODES, "burnish/seed", lambda _: ["x"] * 3),
        r"episode 0, field 'burnish/seed': found 'x'",
    ),
    "NaN": (data(STATE, lambda v: at(v, 5, [0.0, float("nan"), 0.0])), r"episode 1.*state': found a .*at frame 1"),
    "infinite": (
        data("action", lambda v: at(v, 6, [float("inf"), 0.0])),
        r"episode 2.*'action'.*not finite at frame 0",
    ),
    "short row": (data(STATE, lambda v: [*v[:7], [1.0], *v[8:]]), r"episode 2.*state'.*found 1 values, expected shape"),
    "missing row": (data(STATE, lambda v: at(v, 4, None)), r"episode 1.*state'.*found a missing value"),
    "missing number": (data("action", lambda v: at(v, 4, [0.0, None])), r"episode 1.*'action'.*found a missing value"),
    "text": (data("action", lambda v: ["x"] * len(v)), r"'action': found values with 0 dimensions"),
    "no action": (drop(DATA, "action"), r"file-000.parquet, field 'action': found no such column"),
    "no index": (drop(DATA, "index"), r"field 'index': found no such column"),
    "frame index": (data("frame_index", lambda v: at(v, 4, 7)), r"episode 1, field 'frame_index': found 7, expected 0"),
    "episode index": (
        data("episode_index", lambda v: at(v, 3, 1)),
        r"episode 0, field 'length': found 3 frames, expected 4",
    ),
    "episode unknown": (
        data("episode_index", lambda v: at(v, 3, 7)),
        r"'episode_index': found an episode 7, expected 0",
    ),
    "index": (data("index", lambda v: at(v, 10, 11)), r"episode 2, field 'index': found 11, expected 10"),
    "fewer rows": (
        lambda root: pq.write_table(pq.read_table(root / DATA)[:10], root / DATA),
        r"episode 2.*found 4 frames",
    ),
    "success": (data("next.success", lambda v: ["x"] * len(v)), r"'next.success': found values of type string"),
}


@pytest.mark.parametrize("damage, message", CASES.values(), ids=CASES)
def test_each_fault_has_its_sentence(root: Path, damage: Damage, message: str) -> None:
    damage(root)
    with pytest.raises(InputError, match=message) as caught:
        read_dataset(root)
    assert str(root) in str(caught.value)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no such folder"):
        read_dataset(tmp_path / "nothing")


def test_float64_that_float32_cannot_hold(root: Path) -> None:
    table = pq.read_table(root / DATA)
    states = np.array(table.column(STATE).to_pylist())
    states[5, 2] = 1e300
    column = pa.FixedSizeListArray.from_arrays(pa.array(states.reshape(-1)), 3)
    pq.write_table(table.set_column(table.schema.get_field_index(STATE), STATE, column), root / DATA)
    with pytest.raises(InputError, match=r"episode 1.*state': found a value that is not finite at frame 1"):
        read_dataset(root)


def test_two_columns_of_one_name(root: Path) -> None:
    table = pq.read_table(root / DATA)
    pq.write_table(table.append_column("action", table.column("action")), root / DATA)
    with pytest.raises(InputError, match=r"'action': found two columns of this name"):
        read_dataset(root)


def test_what_is_not_needed_may_be_broken(root: Path) -> None:
    """Statistics are computed anew, and columns that nobody asked for are left alone."""
    (root / "meta/stats.json").write_text("{")
    edit_info(root, lambda content: content["features"].update(note={"dtype": "string", "shape": None}))
    edit_info(root, lambda content: content["features"].update(top={"dtype": "video", "shape": [8, 8, 3]}))
    assert read_dataset(root, cameras=()).num_frames == 11


def _read_after(root: Path, file: str, content: bytes) -> None:
    """Reading a damaged file gives an InputError, or (when the damage hit nothing that is used) the very same data."""
    (root / file).write_bytes(content)
    try:
        dataset = read_dataset(root)
    except InputError as error:
        assert str(root) in str(error)
        return
    for found, expected in zip(dataset.to_episodes(), RECORDED, strict=True):
        assert_same(found, expected)


FILES = st.sampled_from([DATA, EPISODES, TASKS])
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(file=FILES, part=st.floats(0, 1, exclude_max=True))
def test_truncated_anywhere(whole: Path, root: Path, file: str, part: float) -> None:
    content = (whole / file).read_bytes()
    (root / file).write_bytes(content[: int(part * len(content))])
    with pytest.raises(InputError, match="cannot be read"):
        read_dataset(root)
    (root / file).write_bytes(content)


@FUZZ
@given(part=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_of_the_pages_is_noticed(whole: Path, root: Path, part: float, bit: int) -> None:
    """The pages carry checksums: numbers are either the recorded ones or refused."""
    content = bytearray((whole / DATA).read_bytes())
    footer = int.from_bytes(content[-8:-4], "little") + 8
    position = int(part * (len(content) - footer))
    content[position] ^= 1 << bit
    _read_after(root, DATA, bytes(content))


@pytest.mark.parametrize("file", [DATA, EPISODES, TASKS])
def test_flipped_magic(root: Path, file: str) -> None:
    content = (root / file).read_bytes()
    (root / file).write_bytes(content[:-4] + b"RAP1")
    with pytest.raises(InputError, match=r"cannot be read \(.*magic"):
        read_dataset(root)


def test_a_template_never_leaves_the_dataset(root: Path) -> None:
    """The file outside is a perfectly readable one: only the path may stop the reader."""
    outside = root.parent / "outside.parquet"
    shutil.copy(root / DATA, outside)
    for template in ("../outside.parquet", str(outside), "data/../../outside.parquet", "data\\..\\outside.parquet"):
        edit_info(root, lambda content, template=template: content.update(data_path=template))
        with pytest.raises(InputError, match=r"'data_path'.*inside the dataset"):
            read_dataset(root)
    assert json.loads((root / JSON).read_text())["data_path"] == template
