"""`burnish.load`: the policy, the world model, its environment and the report of a finished run."""

import shutil

import numpy as np
import pytest
import torch

import burnish
from burnish.components import Component
from burnish.data import STATE, read_dataset
from burnish.errors import InputError
from burnish.policies import load_agent


def test_the_policy_of_a_run_acts(finished):
    loaded = burnish.load(str(finished))
    states = read_dataset(finished / "dataset").observations[STATE][:6]
    assert loaded.policy.observation_shapes == {STATE: (21,)} and loaded.scaling is None
    agent = load_agent(finished / "accepted")
    agent.begin(1)
    expected = [agent.act({STATE: state[None]})[0].numpy() for state in states]
    loaded.policy.reset()
    np.testing.assert_array_equal([loaded.policy.act({STATE: state.numpy()}) for state in states], expected)
    with pytest.raises(InputError, match=r"expected \(21,\)"):
        loaded.policy.act({STATE: np.zeros(20)})


def test_the_environment_of_a_run_is_that_of_its_refinement(finished):
    loaded = burnish.load(finished)
    assert loaded.report["task"] == "drawer-open-v3" and isinstance(loaded.world_model, Component)
    assert not any(weight.requires_grad for weight in loaded.world_model.parameters())
    env, again = loaded.env(8, seed=3), loaded.env(8, seed=3)
    features, _ = env.reset()
    assert features.shape == (8, loaded.world_model.feature_dim) and env.config.horizon == 20
    assert env.single_action_space.shape == (4,) and float(env.single_action_space.high.max()) == 1
    assert torch.equal(again.reset()[0], features)
    action = torch.zeros(8, 4)
    found, expected = again.step(action), env.step(action)
    assert all(torch.equal(one, other) for one, other in zip(found[:4], expected[:4], strict=True))
    assert {"success", "halted", "disagreement", "distance"} <= set(expected[4])


def test_a_run_that_has_not_come_so_far(copy, tmp_path):
    with pytest.raises(InputError, match=r"recipe\.yaml"):
        burnish.load(tmp_path / "nothing")
    shutil.rmtree(copy / "accepted")
    assert burnish.load(copy).policy.action_dim == 4  # a run without a gate hands out the refined one
    for name in ("refined", "world_model"):
        shutil.rmtree(copy / name)
    loaded = burnish.load(copy)
    with pytest.raises(InputError, match=r"found no finished stage, expected it; burnish report .*copy"):
        loaded.policy  # noqa: B018
    with pytest.raises(InputError, match="world_model: found no finished stage"):
        loaded.env(2)
