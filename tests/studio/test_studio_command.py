"""The command: what it says of itself, and what it refuses before anything is served."""

import pytest

from burnish.cli import main
from burnish.usage import of


def test_help_fits_on_a_screen(capsys):
    assert main(["studio", "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: burnish studio") and len(said.splitlines()) <= 25
    assert all(len(line) <= 120 for line in of("studio", [], "").splitlines())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: no such folder"),
        ([".", "--host", "0.0.0.0"], "lets other machines in"),
        ([".", "--token", "short"], "too short"),
        ([".", "--port", "70000"], "from 0 to 65535"),
        ([".", "--threads", "0"], "at least one of --threads"),
        ([".", "--dataset", "nowhere"], "nowhere: no such file or folder"),
        ([".", "--drive", "."], "--drive needs the run that it was driven in"),
        ([".", "--host", "no.such.host.invalid", "--token", "long enough token"], "choose another --port or --host"),
    ],
    ids=range(8),
)
def test_what_is_refused(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["studio", *arguments, "--no-browser"]) == 2
    assert said in capsys.readouterr().err and list(tmp_path.iterdir()) == []
