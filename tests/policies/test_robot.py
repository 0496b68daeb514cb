"""A policy as a robot's program wants it: names and shapes are checked, arrays or tensors, one or a batch."""

import numpy as np
import pytest
import torch

from burnish.data import STATE, ActionScaling, image_key
from burnish.errors import InputError
from burnish.policies import Agent, GaussianPolicy, GaussianPolicyConfig, RobotPolicy, observation_shapes
from burnish.world_models import (
    Autoencoder,
    AutoencoderConfig,
    Encoded,
    HistoryConfig,
    ObservationHistory,
    PixelHistory,
    PixelHistoryConfig,
)

SCALING = ActionScaling((-90.0, 0.0), (90.0, 1.0), names=("pan", "gripper"))


def robot(scaling=SCALING):
    torch.manual_seed(0)
    observer = ObservationHistory(3, 2, HistoryConfig(frames=4, feature_frames=2))
    policy = GaussianPolicy(observer.feature_dim, 2, GaussianPolicyConfig(hidden=(16,)))
    return RobotPolicy(Agent(observer, policy, "t", scaling))


def episode(policy, observations):
    policy.reset()
    return [policy.act({STATE: each}) for each in observations]


def test_arrays_tensors_and_batches_say_the_same():
    observations = np.random.default_rng(0).normal(size=(5, 3))
    policy = robot()
    assert policy.observation_shapes == {STATE: (3,)} and policy.action_names == ("pan", "gripper")
    single = episode(policy, observations)
    assert isinstance(single[0], np.ndarray) and single[0].shape == (2,) and single[0].dtype == np.float32
    assert all(-90 <= action[0] <= 90 and 0 <= action[1] <= 1 for action in single)
    tensors = episode(policy, torch.from_numpy(observations).float())
    assert all(isinstance(each, torch.Tensor) and each.shape == (2,) for each in tensors)
    batches = episode(policy, np.stack([observations, observations[::-1]], 1))
    np.testing.assert_array_equal(single, torch.stack(tensors).numpy())
    assert batches[0].shape == (2, 2)
    np.testing.assert_allclose([each[0] for each in batches], single, rtol=1e-5)
    # Whoever does not say that an episode begins goes on with the old one: its history is another.
    assert not np.array_equal(policy.act({STATE: np.stack([observations[0]] * 2)})[0], single[0])


def test_a_robot_may_execute_something_else():
    policy = robot()
    with pytest.raises(InputError, match="found no action yet"):
        policy.executed([0.0, 0.0])
    policy.act({STATE: [0.0, 0, 0], "observation.more": "ignored"})
    policy.executed([45.0, 0.25])
    policy.act({STATE: [0.0, 0, 0]})
    assert policy.agent._state.action[0, -2].tolist() == [0.5, -0.5]
    with pytest.raises(InputError, match=r"executed: found \(1, 2\), expected finite"):
        policy.executed([np.nan, 0])


@pytest.mark.parametrize(
    ("observation", "said"),
    [
        ({}, r"act: found \[\], expected 'observation.state' of shape \(3,\) among them"),
        ({"state": [0, 0, 0]}, r"found \['state'\], expected 'observation.state'"),
        ({STATE: [0, 0]}, r"'observation.state' of shape \(2,\), expected \(3,\) or \(batch, …\)"),
        ({STATE: 1.0}, r"of shape \(\)"),
        ({STATE: np.zeros((1, 1, 3))}, r"of shape \(1, 1, 3\)"),
        ({STATE: [0, np.nan, 0]}, "not finite"),
        ({STATE: np.zeros((0, 3))}, "empty"),
        ({STATE: ["a", "b", "c"]}, "'observation.state': found values of type .*, expected numbers"),
    ],
)
def test_other_observations(observation, said):
    with pytest.raises(InputError, match=said):
        robot().act(observation)


def test_another_batch_within_an_episode():
    policy = robot()
    policy.act({STATE: np.zeros((2, 3))})
    with pytest.raises(InputError, match=r"a batch of 3, expected 2 as before; reset\(\) begins anew"):
        policy.act({STATE: np.zeros((3, 3))})
    policy.reset()
    assert policy.act({STATE: np.zeros((3, 3))}).shape == (3, 2)


def test_pictures_are_bytes_of_the_right_size():
    observer = PixelHistory(2, PixelHistoryConfig(("front", "wrist"), image_size=32))
    policy = RobotPolicy(Agent(observer, GaussianPolicy(observer.feature_dim, 2, GaussianPolicyConfig(hidden=(8,)))))
    picture = np.zeros((32, 32, 3), np.uint8)
    assert policy.observation_shapes == {image_key("front"): (32, 32, 3), image_key("wrist"): (32, 32, 3)}
    assert policy.act({image_key("front"): picture, image_key("wrist"): picture}).shape == (2,)
    with pytest.raises(InputError, match=r"float64, expected bytes \(uint8\)"):
        policy.act({image_key("front"): picture / 255, image_key("wrist"): picture})
    with pytest.raises(InputError, match="expected all of one batch"):
        policy.act({image_key("front"): picture, image_key("wrist"): picture[None]})
    latents = Autoencoder(2, AutoencoderConfig(("top",), 32, latent_dim=4, width=8, hidden=8))
    assert observation_shapes(Encoded(latents, ObservationHistory(4, 2, HistoryConfig()))) == {
        image_key("top"): (32, 32, 3)
    }
