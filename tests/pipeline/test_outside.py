"""Files from outside are hashed once, and again when they changed."""

import json
import os
from pathlib import Path

import pytest

from burnish.pipeline import outside
from burnish.pipeline.finished import hash_file
from burnish.pipeline.outside import OUTSIDE_FILE, OutsideHashes


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    seen: list[Path] = []

    def counting(path: Path) -> str:
        seen.append(path)
        return hash_file(path)

    monkeypatch.setattr(outside, "hash_file", counting)
    return seen


def aged(path: Path, content: bytes, seconds: int) -> Path:
    path.write_bytes(content)
    os.utime(path, (1_700_000_000 + seconds,) * 2)
    return path


def test_hashed_once_and_again_when_size_or_time_changed(tmp_path: Path, counted: list[Path]) -> None:
    file = aged(tmp_path / "video", b"one", 0)

    def ask(verify: bool = False) -> str:
        hashes = OutsideHashes(tmp_path, verify)
        found = hashes(file)
        hashes.remember()
        return found

    first = ask()
    assert first == hash_file(file) and ask() == first and len(counted) == 1
    aged(file, b"two", 1)
    assert ask() == hash_file(file) != first and len(counted) == 2
    aged(file, b"longer", 1)
    assert ask() == hash_file(file) and len(counted) == 3
    ask(verify=True)
    assert len(counted) == 4


def test_what_was_just_written_is_not_believed(tmp_path: Path, counted: list[Path]) -> None:
    file = tmp_path / "video"
    file.write_bytes(b"one")
    for _ in range(2):
        hashes = OutsideHashes(tmp_path)
        hashes(file)
        hashes.remember()
    assert len(counted) == 2 and not (tmp_path / OUTSIDE_FILE).exists()


@pytest.mark.parametrize("content", ["", "[]", json.dumps({"x": 1}), "{"], ids=["empty", "list", "other", "cut"])
def test_a_damaged_memory_is_none(tmp_path: Path, content: str) -> None:
    file = aged(tmp_path / "video", b"one", 0)
    (tmp_path / OUTSIDE_FILE).write_text(content)
    assert OutsideHashes(tmp_path)(file) == hash_file(file)
