"""Every registered format gives the numbers that are in the files, leaves the folder as it was, and names a fault."""

from pathlib import Path

import numpy as np
import pytest

from burnish.data import STATE, Dataset
from burnish.data.formats import ReadingRule, format_of, formats
from burnish.errors import InputError
from tests.data.layouts import WRITERS, recorded

UNREAD = {"rlds", "toy-json-lines"}
RULE = ReadingRule(success_last_frames=2)
PICTURES = {name for name in WRITERS if name not in ("lerobot-v2", "minari")}


def tree(path: Path) -> dict[str, tuple[int, int]]:
    """Every file below a path, with its size and time."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return {str(each): (each.stat().st_size, each.stat().st_mtime_ns) for each in files}


def assert_values(found: Dataset, episodes: list) -> None:
    assert found.lengths.tolist() == [len(e.state) for e in episodes]
    np.testing.assert_array_equal(found.observations[STATE].numpy(), np.concatenate([e.state for e in episodes]))
    np.testing.assert_array_equal(found.actions.numpy(), np.concatenate([e.action for e in episodes]))


def test_every_format_has_its_writer():
    assert {each.name for each in formats()} - UNREAD == set(WRITERS)


@pytest.mark.parametrize("name", WRITERS)
def test_values_come_back(name, tmp_path):
    episodes = recorded()
    path = WRITERS[name](tmp_path / "d", episodes)
    before = tree(path)
    assert [each.name for each in formats() if each.detect(path)] == [name]
    found = format_of(path).read(path, RULE, None if name in PICTURES else ())
    assert_values(found, episodes)
    shown = [t >= len(e.state) - 2 for e in episodes for t in range(len(e.state))]
    if name == "lerobot":  # which has a column of success, that nobody does
        shown = [False] * len(shown)
    assert found.success.tolist() == shown
    if (
        found.reward is not None and name != "lerobot"
    ):  # row t is earned on arriving at t + 1; the last one has nowhere else to go
        expected = [np.concatenate([[0], e.reward[:-2], [e.reward[-2] + e.reward[-1]]]) for e in episodes]
        np.testing.assert_array_equal(found.reward.numpy(), np.concatenate(expected))
    cameras = [key for key in found.observations if key != STATE]
    assert len(cameras) == (name in PICTURES)
    for key in cameras:
        np.testing.assert_array_equal(found.observations[key].numpy(), np.concatenate([e.pictures for e in episodes]))
    assert tree(path) == before, "nothing is written into the user's folder"


@pytest.mark.parametrize("name", WRITERS)
def test_a_bad_episode_is_named_and_can_be_left_out(name, tmp_path):
    episodes = recorded()
    episodes[1].action[2, 1] = np.nan
    if name == "lerobot":  # whose writer refuses it
        episodes[1].action[2, 1] = 0
    path = WRITERS[name](tmp_path / "d", episodes)
    if name == "lerobot":
        from tests.data.support import edit_table

        def spoil(values: list) -> None:
            values[7] = [0.0, float("nan")]

        edit_table(path / "data/chunk-000/file-000.parquet", "action", spoil)
    with pytest.raises(InputError, match=r"episode 1, field '.*action.*not finite at frame 2.*--skip-bad"):
        format_of(path).read(path, RULE)
    found = format_of(path).read(path, ReadingRule(success_last_frames=2, skip_bad=True), None)
    assert_values(found, [episodes[0], episodes[2]])
    assert found.info.notes[-2].startswith("1 of 3 episodes are bad") and "episode 1" in found.info.notes[-1]
    for key in (key for key in found.observations if key != STATE):
        expected = np.concatenate([episodes[0].pictures, episodes[2].pictures])
        np.testing.assert_array_equal(found.observations[key].numpy(), expected)


@pytest.mark.parametrize("name", WRITERS)
def test_unknown_columns_are_listed(name, tmp_path):
    path = WRITERS[name](tmp_path / "d", recorded())
    with pytest.raises(InputError, match=r"field 'nothing': found the columns .*action"):
        format_of(path).read(path, ReadingRule(success_last_frames=2, state_key=("nothing",)))
    with pytest.raises(InputError, match="'left' among them"):
        format_of(path).read(path, RULE, ["left"])


def test_rlds_says_how_to_convert(tmp_path):
    (tmp_path / "1.0.0").mkdir()
    (tmp_path / "1.0.0/features.json").write_text("{}")
    with pytest.raises(InputError, match=r"found RLDS.*np\.savez"):
        format_of(tmp_path).read(tmp_path, RULE)
