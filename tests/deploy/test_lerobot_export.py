"""Checkpoints for LeRobot; that LeRobot itself acts by them is tested where it is installed (plugins/)."""

import json

import pytest
import torch
from agents import diffusion, gaussian, given
from checkpoints import observations, played

from burnish.deploy import export_lerobot
from burnish.policies import load_agent
from burnish.policies.given import read_checkpoint


@pytest.mark.parametrize("kind", ["act", "diffusion"])
@torch.no_grad()
def test_lerobots_types_come_back_as_themselves(kind, tmp_path):
    """With the weights that learned, without the spread, and with as many actions as were executed."""
    agent = given(kind, 2, chunk=1)
    for parameter in agent.policy.base.parameters():
        parameter.add_(0.01)
    assert export_lerobot(agent, tmp_path / "out") == {"type": kind, "path": str(tmp_path / "out")}
    found, base = read_checkpoint(tmp_path / "out"), agent.policy.base
    assert found.chunk == 1 and found.inputs == base.inputs
    assert all(torch.equal(one, two) for one, two in zip(found.parameters(), base.parameters(), strict=True))
    seen = observations()
    base.chunk = 1
    assert torch.equal(played(found, seen), played(base, seen))


@pytest.mark.parametrize("make", [gaussian, diffusion, lambda: given("act", refine="residual")])
def test_others_are_of_burnishs_type(make, tmp_path):
    agent = make()
    assert export_lerobot(agent, tmp_path / "out")["type"] == "burnish"
    said = json.loads((tmp_path / "out" / "config.json").read_text())
    assert said["type"] == "burnish" and said["input_features"] == {
        "observation.state": {"type": "STATE", "shape": [4]}
    }
    loaded, features = load_agent(tmp_path / "out" / "agent"), torch.randn(3, agent.policy.feature_dim)
    assert loaded.scaling == agent.scaling
    one, two = (each.policy.act(features, True, None).action_chunk for each in (agent, loaded))
    assert torch.equal(one, two)
    for name in ("policy_preprocessor", "policy_postprocessor"):
        assert json.loads((tmp_path / "out" / f"{name}.json").read_text())["name"] == name
