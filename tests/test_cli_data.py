"""`burnish data`: what it prints, its exit codes, and that it leaves the data alone."""

import json

import numpy as np
import pytest

from burnish.cli import main
from burnish.data import STATE, read_dataset
from tests.contracts.test_formats import tree
from tests.data.layouts import WRITERS, recorded


@pytest.mark.parametrize("name", WRITERS)
def test_convert(name, tmp_path, capsys):
    """All formats to the one that Burnish writes, with every number and picture; untold success stays untold."""
    episodes = recorded()
    path = WRITERS[name](tmp_path / "d", episodes)
    before = tree(path)
    assert main(["data", "convert", str(path), str(tmp_path / "out"), "--to", "lerobot", "--pictures", "image"]) == 0
    assert "3 episodes, 16 frames" in capsys.readouterr().out
    assert tree(path) == before
    from burnish.data import SuccessRule

    found = read_dataset(tmp_path / "out", SuccessRule(last_frames=1))
    np.testing.assert_array_equal(found.observations[STATE].numpy(), np.concatenate([e.state for e in episodes]))
    np.testing.assert_array_equal(found.actions.numpy(), np.concatenate([e.action for e in episodes]))
    assert int(found.success.sum()) == (0 if name == "lerobot" else 3)
    for key in set(found.observations) - {STATE}:
        np.testing.assert_array_equal(found.observations[key].numpy(), np.concatenate([e.pictures for e in episodes]))
    assert main(["data", "convert", str(path), str(tmp_path / "out")]) == 2
    assert "existing file or folder" in capsys.readouterr().err


def test_inspect(tmp_path, capsys):
    path = WRITERS["npz"](tmp_path / "d", recorded())
    assert main(["data", "inspect", str(path), "--success-last-frames", "2", "--page", str(tmp_path / "p.html")]) == 0
    said = capsys.readouterr().out
    assert "3 episodes, 16 frames" in said and "warning: all 3 episodes succeed" in said and said.endswith("usable\n")
    page = (tmp_path / "p.html").read_text()
    assert "<svg" in page and "0 by definition" in page and "<script" not in page
    assert main(["data", "inspect", str(path), "--success-last-frames", "7", "--json"]) == 2
    facts = json.loads(capsys.readouterr().out)
    assert not facts["usable"] and facts["findings"][0]["code"] == "begins-in-success"


@pytest.mark.parametrize("arguments, said", [
    ([], "burnish data inspect PATH"),
    (["look"], "burnish data inspect PATH"),
    (["inspect"], "which data set"),
    (["convert", "x"], "which data set"),
    (["inspect", "nothing"], "no such file or folder"),
    (["inspect", "lerobot/pusht"], "hf download lerobot/pusht"),
    (["convert", "x", "y", "--to", "zarr"], "--to"),
])  # fmt: skip
def test_wrong_commands(arguments, said, capsys):
    assert main(["data", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_help_fits_a_screen(capsys):
    assert main(["data", "--help"]) == 0
    assert len(capsys.readouterr().out.splitlines()) <= 40
    assert main(["data", "inspect", "--help-all"]) == 0
    assert "--success-above" in capsys.readouterr().out
