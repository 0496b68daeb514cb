"""A format is one file: found by what lies in a folder, registered by being defined."""

import json

import numpy as np
import pytest

from burnish.data import STATE, Dataset, DatasetInfo, Episode, write_dataset
from burnish.data.formats import Format, ReadingRule, format_of
from burnish.errors import InputError


class JsonLines(Format):
    """A format that nobody here has heard of."""

    name, title = "toy-json-lines", "a file of JSON lines"

    def detect(self, path):
        return path.suffix == ".jsonl"

    def read(self, path, rule: ReadingRule, cameras=(), store=None) -> Dataset:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        state, action = (np.array([row[key] for row in rows], np.float32) for key in (rule.state_key[0], "action"))
        episode = Episode({STATE: state}, action, np.array([row["done"] for row in rows]), "expert", 0, "toy")
        return Dataset.from_episodes([episode], DatasetInfo(fps=10))


def test_a_format_is_found_by_content(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"pose": [0.5], "action": [0.1], "done": false}\n{"pose": [0.6], "action": [0.0], "done": true}\n')
    found = format_of(path)
    assert found.name == "toy-json-lines" and found.parts(path, ()) == {"data": path}
    data = found.read(path, ReadingRule(state_key=("pose",)))
    assert data.observations[STATE].flatten().tolist() == pytest.approx([0.5, 0.6])
    assert data.success.tolist() == [False, True]


def test_lerobot_is_one(tmp_path):
    episode = Episode(
        {STATE: np.zeros((3, 2), np.float32)}, np.zeros((3, 1), np.float32), np.zeros(3, bool), "a", 0, "t"
    )
    write_dataset(tmp_path / "data", [episode], DatasetInfo(fps=10))
    found = format_of(tmp_path / "data")
    assert found.name == "lerobot" and set(found.parts(tmp_path / "data", ())) == {"data", "meta"}
    assert found.read(tmp_path / "data", ReadingRule()).num_frames == 3


def test_what_is_no_data_set_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        format_of(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"no data set of a known format, expected one of: .*LeRobotDataset v3\.0"):
        format_of(tmp_path)
