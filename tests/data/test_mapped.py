"""Rows of a file as a tensor: the same numbers as in memory, read as late as can be, and never written."""

from pathlib import Path

import numpy as np
import pytest
import torch

from burnish.data.mapped import MappedRows, RowFile, choose, concatenated

VALUES = torch.arange(60, dtype=torch.float32).view(20, 3)


@pytest.fixture
def rows(tmp_path: Path) -> MappedRows:
    path = tmp_path / "rows.f32"
    path.write_bytes(VALUES.numpy().tobytes())
    return MappedRows(RowFile(path, torch.float32, (20, 3)))


INDICES = {
    "one": 3,
    "last": -1,
    "slice": slice(4, 9),
    "behind": slice(-6, None),
    "steps": slice(1, None, 4),
    "index": torch.tensor([[0, 5], [19, -2]]),
    "mask": VALUES[:, 0] > 30,
    "element": (torch.tensor([2, 4]), 1),
    "column": (slice(None), 2),
    "empty": torch.tensor([], dtype=torch.int64),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_indexing_is_that_of_a_tensor(rows: MappedRows, index: object) -> None:
    assert torch.equal(rows[index], VALUES[index])  # type: ignore[index]
    chosen = torch.arange(19, -1, -1)
    assert torch.equal(rows.choose(chosen)[index], VALUES[chosen][index])  # type: ignore[index]
    both = torch.cat([VALUES[3:], VALUES[:3]])
    moved = concatenated([rows[3:], rows[:3]])
    assert torch.equal(moved[index], both[index])  # type: ignore[index]


def test_parts_of_parts(rows: MappedRows) -> None:
    assert torch.equal(rows[2:][torch.tensor([0, -1, 4])], VALUES[[2, 19, 6]])
    assert torch.equal(rows[2:][3:7][1:][-1], VALUES[8])
    assert torch.equal(rows[1::4][torch.tensor([2, -1])], VALUES[[9, 17]])


def test_choosing_reads_nothing(rows: MappedRows) -> None:
    for chosen in (rows[3:7], rows.choose(torch.tensor([4, 2])), choose(rows, slice(0, 2)), rows.detach()):
        assert isinstance(chosen, MappedRows) and chosen.file is rows.file
    assert not isinstance(rows[torch.tensor([1])], MappedRows)
    assert rows.to("cpu") is rows


def test_everything_else_works_on_what_is_in_memory(rows: MappedRows) -> None:
    part, expected = rows.choose(torch.tensor([7, 3, 3])), VALUES[[7, 3, 3]]
    assert torch.equal(part.abs().amax(0), expected.abs().amax(0))
    assert torch.equal(torch.cat([part, part]), torch.cat([expected, expected]))
    assert torch.equal(part + 1, expected + 1) and type(part + 1) is torch.Tensor
    np.testing.assert_array_equal(part.numpy(), expected.numpy())
    assert [tuple(each.tolist()) for each in part] == [tuple(each.tolist()) for each in expected]


def test_it_cannot_be_written_into(rows: MappedRows) -> None:
    for write in (lambda: rows.zero_(), lambda: rows.__setitem__(0, 1), lambda: rows.add_(1)):
        with pytest.raises(TypeError, match="cannot be written into"):
            write()
    assert rows.file.path is not None
    assert rows.file.path.read_bytes() == VALUES.numpy().tobytes()


def test_rows_that_are_not_there(rows: MappedRows) -> None:
    with pytest.raises(IndexError):
        rows[2:5][torch.tensor([3])]
    with pytest.raises(IndexError):
        rows[torch.tensor([20])]


def test_parts_of_one_file_are_joined_unread(rows: MappedRows) -> None:
    both = concatenated([rows[10:12], rows[:2]])
    assert isinstance(both, MappedRows) and torch.equal(both.whole(), VALUES[[10, 11, 0, 1]])
    assert torch.equal(concatenated([rows[:1], VALUES[:1]]), VALUES[[0, 0]])


def test_a_file_of_another_size_or_behind_a_link_is_refused(tmp_path: Path, rows: MappedRows) -> None:
    path = rows.file.path
    assert path is not None
    with pytest.raises(ValueError, match="240 bytes, expected 252"):
        RowFile(path, torch.float32, (21, 3))
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError):
        RowFile(tmp_path / "link", torch.float32, (20, 3))
