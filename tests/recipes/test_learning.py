"""A real learning run of each recipe, as a user would start it: the policy gets better on the real simulator."""

import json

import pytest

from burnish.cli import main


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("recipe", "seed"), [("world4rl", 0), ("diwa", 2)])
def test_refinement_in_imagination_helps_in_reality(recipe, seed, tmp_path):
    """drawer-open, the default preset, a seed whose cloned policy has much to gain: half of the failures are gone."""
    arguments = ["--task", "drawer-open-v3", "--seed", str(seed), "--threads", "1", "--out", str(tmp_path / "run")]
    assert main(["run", recipe, *arguments, "--config.evaluation.videos", "0"]) == 0
    report = json.loads((tmp_path / "run/report.json").read_text())
    before, after = (report["success"][name]["rate"] for name in ("pretrained", "refined"))
    assert before < 0.9, "nothing to gain here"
    assert after - before >= 0.5 * (1 - before)
    assert report["imagined_success"]["refined"] > report["imagined_success"]["pretrained"]
    assert report["simulator_steps"]["refinement"] == 0
