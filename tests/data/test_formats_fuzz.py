"""Files of every format, damaged at random: a read gives recorded episodes or one sentence, never anything else."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burnish.data import STATE
from burnish.data.formats import ReadingRule, format_of
from burnish.data.inspection import inspect
from burnish.errors import InputError
from tests.data.layouts import WRITERS, Recorded, recorded

EPISODES = recorded((5, 4, 7, 3), seed=3)
Damage = Callable[[Path, float, int], None]
FEW = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MANY = settings(FEW, max_examples=250)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write(tmp_path_factory.mktemp(name) / "d", EPISODES) for name, write in WRITERS.items()}


def truncate(file: Path, part: float, byte: int) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(part * len(content))])


def remove(file: Path, part: float, byte: int) -> None:
    file.unlink()


def empty(file: Path, part: float, byte: int) -> None:
    file.write_bytes(b"")


def a_folder(file: Path, part: float, byte: int) -> None:
    file.unlink()
    file.mkdir()


def zero_the_rest(file: Path, part: float, byte: int) -> None:
    """What is left of a copy that was interrupted on some disks."""
    content = file.read_bytes()
    file.write_bytes(content[: int(part * len(content))] + bytes(len(content) - int(part * len(content))))


def flip(file: Path, part: float, byte: int) -> None:
    content = bytearray(file.read_bytes())
    if content:
        content[int(part * len(content))] ^= byte
    file.write_bytes(content)


LOSSES: list[Damage] = [truncate, remove, empty, a_folder]
"""After these the values are right or refused. Changed bytes are noticed only where a format has checksums."""
CHANGES: list[Damage] = [zero_the_rest, flip]


def read_damaged(source: Path, work: Path, damage: Damage, place: float, part: float, byte: int, skip: bool) -> bool:
    """Damage one file of a copy and read it; returns whether that worked. Anything but an InputError is raised."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    path = work / source.name
    copy = shutil.copytree if source.is_dir() else shutil.copy
    copy(source, path)
    files = sorted(each for each in [path, *path.rglob("*")] if each.is_file() and ".cache" not in each.parts)
    damage(files[int(place * len(files))], part, byte)
    rule = ReadingRule(success_last_frames=2, skip_bad=skip)
    try:
        found = format_of(path).read(path, rule, None)
    except InputError as error:
        assert "\n" not in str(error) or "Traceback" not in str(error)
        return False
    if damage in LOSSES:
        assert_recorded(found)
    inspect(path, rule)
    return True


def assert_recorded(found) -> None:
    """Every episode is one of those that were recorded, whole."""
    for episode in found.to_episodes():
        assert any(same(episode, each) for each in EPISODES), "an episode that nobody recorded"


def same(episode, each: Recorded) -> bool:
    pictures = [values for key, values in episode.observation.items() if key != STATE]
    return (
        np.array_equal(episode.observation[STATE], each.state)
        and np.array_equal(episode.action, each.action)
        and all(np.array_equal(values, each.pictures) for values in pictures)
    )


DRAWN = {
    "place": st.floats(0, 1, exclude_max=True),
    "part": st.floats(0, 1, exclude_max=True),
    "byte": st.integers(1, 255),
    "skip": st.booleans(),
    "damage": st.sampled_from([*LOSSES, *CHANGES]),
}


@pytest.mark.parametrize("name", WRITERS)
@FEW
@given(**DRAWN)
def test_damaged_files(whole, name, tmp_path, damage, place, part, byte, skip):
    read_damaged(whole[name], tmp_path / "copy", damage, place, part, byte, skip)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
@MANY
@given(**DRAWN)
def test_many_damaged_files(whole, name, tmp_path, damage, place, part, byte, skip):
    read_damaged(whole[name], tmp_path / "copy", damage, place, part, byte, skip)


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "lerobot"])
@settings(FEW, max_examples=3)
@given(
    lengths=st.lists(st.integers(2, 9), min_size=1, max_size=5),
    seed=st.integers(0, 99),
    scale=st.sampled_from([1e-3, 90]),
)
def test_any_numbers_come_back(name, tmp_path, lengths, seed, scale):
    episodes = recorded(lengths, seed)
    for each in episodes:
        each.action *= np.float32(scale)
    shutil.rmtree(tmp_path / "x", ignore_errors=True)
    path = WRITERS[name](tmp_path / "x/d", episodes)
    found = format_of(path).read(path, ReadingRule(success_last_frames=1))
    np.testing.assert_array_equal(found.observations[STATE].numpy(), np.concatenate([e.state for e in episodes]))
    np.testing.assert_array_equal(found.actions.numpy(), np.concatenate([e.action for e in episodes]))
