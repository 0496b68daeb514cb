"""A real learning run of each recipe, as a user would start it: the policy gets better on the real simulator."""

import json

import pytest

from burnish.cli import main


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("recipe", ["world4rl", "diwa"])
def test_refinement_in_imagination_helps_in_reality(recipe, tmp_path):
    """drawer-open, seed 0, the default preset: at least half of the failures are gone, without a simulator step."""
    arguments = ["--task", "drawer-open-v3", "--seed", "0", "--out", str(tmp_path / "run")]
    assert main(["run", recipe, *arguments, "--config.evaluation.videos", "0"]) == 0
    report = json.loads((tmp_path / "run/report.json").read_text())
    before, after = (report["success"][name]["rate"] for name in ("pretrained", "refined"))
    assert before < 0.9, "nothing to gain here"
    assert after - before >= 0.5 * (1 - before)
    assert report["imagined_success"]["refined"] > report["imagined_success"]["pretrained"]
    assert report["simulator_steps"]["refinement"] == 0
