"""How success is told: columns, thresholds, terminations, labels; a graded column is never taken for it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from burnish.data import DatasetInfo, write_dataset
from burnish.data.formats import ReadingRule, format_of
from burnish.errors import InputError
from tests.data.support import edit_info, edit_table, make_episode

DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three episodes of 4, 3 and 5 frames, without any word of success."""
    episodes = [make_episode(length, seed=length, success_at=None) for length in (4, 3, 5)]
    write_dataset(tmp_path / "d", episodes, DatasetInfo(fps=10), labelled=False)
    return tmp_path / "d"


def shown(root: Path, **rule: object) -> list[str]:
    """Success of each episode's frames as text."""
    found = format_of(root).read(root, ReadingRule(**rule))
    marks = found.success.long().tolist()
    ends = (found.starts + found.lengths).tolist()
    return ["".join(map(str, marks[a:b])) for a, b in zip(found.starts.tolist(), ends, strict=True)]


def rewards(root: Path, values: list[float]) -> None:
    edit_info(root, lambda info: info["burnish"].update(placeholders=["next.success", "next.done"]))
    edit_table(root / DATA, "next.reward", lambda _: values)


GRADED = [0.2, 0.96, 0.3, 0.9, 0.1, 0.1, 0.95, 0, 0.5, 0.5, 0.5, 0.94]


def test_a_graded_column_is_never_success(root):
    rewards(root, GRADED)
    for rule in ({"success_last_frames": 2}, {}):
        with pytest.raises(InputError, match=r"found 0\.2 at frame 0.*--success-above next\.reward=VALUE"):
            shown(root, success_column="next.reward", **rule)


def test_a_threshold(root):
    """next.reward tells of the frame that follows; what the last action earned is the last frame's."""
    rewards(root, GRADED)
    assert shown(root, success_above="next.reward=0.95") == ["0010", "001", "00000"]
    assert shown(root, success_above="next.reward=0.95", success_last_frames=2) == ["0011", "011", "00000"]
    with pytest.raises(InputError, match=r"expected NAME=VALUE"):
        shown(root, success_above="next.reward")
    with pytest.raises(InputError, match=r"one way in which success is told"):
        shown(root, success_above="next.reward=1", success_column="x")
    with pytest.raises(InputError, match=r"'nothing': found the columns"):
        shown(root, success_above="nothing=1")


def test_termination(root):
    with pytest.raises(InputError, match=r"'next\.done': found no such column"):
        shown(root, success_on_termination=True)
    edit_info(root, lambda info: info["burnish"].update(placeholders=["next.success", "next.reward"]))
    edit_table(root / DATA, "next.done", lambda values: [row == 3 for row in range(len(values))])
    assert shown(root, success_on_termination=True) == ["0001", "000", "00000"]
    assert shown(root, success_on_termination=True, success_last_frames=3) == ["0111", "000", "00000"]


def test_failed_episodes(root):
    assert shown(root, failed_episodes=(1,), success_last_frames=2) == ["0011", "000", "00011"]
    with pytest.raises(InputError, match=r"--failed-episodes tells which .* --success-last-frames N"):
        shown(root, failed_episodes=(1,))
    with pytest.raises(InputError, match=r"found episode 7, expected numbers from 0 to 2"):
        shown(root, failed_episodes=(7,), success_last_frames=2)


def test_labels(root, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("episode,success\n0,0\n2,true\n1, 1\n")
    assert shown(root, labels=labels, success_last_frames=1) == ["0000", "001", "00001"]
    for text, said in (
        ("0,1\n1,1\n", "episode 2, field 'episode': found no such row"),
        ("0,maybe\n", r"found '0,maybe' in line 1"),
        ("0,1\n0,0\n", "a second line of episode 0"),
        ("", "found no line"),
    ):
        labels.write_text(text)
        with pytest.raises(InputError, match=said):
            shown(root, labels=labels, success_last_frames=1)
    with pytest.raises(InputError, match="cannot be read"):
        shown(root, labels=tmp_path / "no.csv", success_last_frames=1)


def test_labels_may_say_when(root, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("episode,success,frame\n0,1,2\n1,0,\n2,1,4\n")
    assert shown(root, labels=labels) == ["0011", "000", "00001"]
    labels.write_text("episode,success,frame\n0,1,0\n1,0,\n2,1,\n")
    assert shown(root, labels=labels, success_last_frames=2) == ["1111", "000", "00011"]
    with pytest.raises(InputError, match=r"--labels tells which.*--success-last-frames N.*column 'frame'"):
        shown(root, labels=labels)
    for text, said in (
        ("0,1,9\n1,0\n2,0\n", r"episode 0, field 'frame': found frame 9, expected less than 4"),
        ("0,0,1\n", r"found '0,0,1' in line 1"),
        ("0,1,2,3\n", r"found '0,1,2,3' in line 1"),
        ("0,1,x\n", r"found '0,1,x' in line 1"),
    ):
        labels.write_text(text)
        with pytest.raises(InputError, match=said):
            shown(root, labels=labels)


def test_a_column_of_episodes(root):
    table = pq.read_table(root / EPISODES)
    pq.write_table(table.append_column("outcome", pa.array([1, 0, 1])), root / EPISODES)
    assert shown(root, success_column="outcome", success_last_frames=1) == ["0001", "000", "00001"]
    with pytest.raises(InputError, match=r"one value for each episode.*--success-last-frames N"):
        shown(root, success_column="outcome")
    pq.write_table(table.append_column("outcome", pa.array([0.5, 0, 1])), root / EPISODES)
    with pytest.raises(InputError, match=r"found 0\.5 for episode 0.*--success-above outcome=VALUE"):
        shown(root, success_column="outcome", success_last_frames=1)
    assert shown(root, success_above="outcome=0.5", success_last_frames=1) == ["0001", "000", "00001"]


def test_nothing_is_told(root):
    with pytest.raises(InputError, match=r"--success-column NAME.*--success-above.*--success-last-frames N.*--labels"):
        shown(root)
    assert shown(root, success_last_frames=9) == ["1111", "111", "11111"]


def test_stride_by_hand(root):
    """Every second frame from the last one back; rewards between add up, success between counts."""
    edit_info(root, lambda info: info["burnish"].update(placeholders=["next.done"]))
    edit_table(root / DATA, "next.reward", lambda _: [1, 2, 3, 0, 1, 1, 0, 1, 2, 4, 8, 0])
    edit_table(root / DATA, "next.success", lambda _: [False] * 7 + [False, True, False, False, False])
    fine = format_of(root).read(root, ReadingRule())
    last, total = (format_of(root).read(root, ReadingRule(stride=2, stride_actions=how)) for how in ("last", "sum"))
    kept = [1, 3, 4, 6, 7, 9, 11]
    assert last.lengths.tolist() == [2, 2, 3] and last.info.fps == 5
    assert last.observations["observation.state"].tolist() == fine.observations["observation.state"][kept].tolist()
    assert last.actions.tolist() == fine.actions[[2, 3, 5, 6, 8, 10, 11]].tolist()
    np.testing.assert_allclose(total.actions[0], fine.actions[1] + fine.actions[2])
    np.testing.assert_allclose(total.actions[1], fine.actions[3])
    assert last.reward.tolist() == [0, 5, 0, 2, 0, 3, 12]
    assert last.success.tolist() == [False] * 5 + [True, False]
    with pytest.raises(InputError, match="--stride is 5, expected less than 5"):
        format_of(root).read(root, ReadingRule(stride=5))
    assert format_of(root).read(root, ReadingRule(stride=4)).info.notes[-1].startswith("2 episodes of no more than 4")
