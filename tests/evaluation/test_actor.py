"""A saved policy as an actor: deterministic, or as it explores, with random numbers of the episodes' seeds."""

import numpy as np
import pytest
import torch

from burnish.components import save
from burnish.data import STATE
from burnish.evaluation.actor import PolicyActor
from burnish.policies import Agent, GaussianPolicy, GaussianPolicyConfig
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import resolve
from burnish.simulators.vector import SimulatorVectorEnv
from burnish.world_models import HistoryConfig, ObservationHistory

TASK = "tests.recipes.toy_env:make_dense"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    policy = GaussianPolicy(4, 2, GaussianPolicyConfig(hidden=(8,)))
    folder = tmp_path_factory.mktemp("actor")
    save(folder, Agent(ObservationHistory(4, 2, HistoryConfig(frames=1)), policy, TASK))
    return folder


def acted(folder, sampled, seeds=range(200)):
    """Two actions in each of the episodes, always in the same state."""
    env = SimulatorVectorEnv(TASK, len(seeds), resolve(TASK, SimulatorConfig()))
    actor = PolicyActor(folder, sampled=sampled)
    actor.begin(env, seeds)
    return np.stack([actor.act({STATE: np.zeros((len(seeds), 4), np.float32)}) for _ in range(2)])


def test_an_exploring_policy_draws_from_its_own_distribution(folder):
    still, drawn = acted(folder, sampled=False), acted(folder, sampled=True)
    assert np.ptp(still, axis=1).max() < 1e-6
    policy = PolicyActor(folder).agent.policy
    assert isinstance(policy, GaussianPolicy)
    with torch.no_grad():
        mean, std = policy.distribution(torch.zeros(1, 4))
    np.testing.assert_allclose(drawn.mean((0, 1)), mean[0], atol=4 * float(std.max()) / 20)
    np.testing.assert_allclose(drawn.std((0, 1)), std[0], rtol=0.15)
    assert np.abs(drawn).max() <= 1 and drawn.dtype == np.float32


def test_its_random_numbers_are_those_of_the_seeds(folder):
    one, same, other = (acted(folder, True, seeds) for seeds in (range(5), range(5), range(5, 10)))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert not np.array_equal(one[0], one[1])
