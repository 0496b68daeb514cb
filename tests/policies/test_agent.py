"""An agent: an observer and a policy that remember a batch of episodes, on disk and back."""

import pytest
import torch

from burnish.components import save
from burnish.data import STATE, ActionScaling
from burnish.errors import InputError
from burnish.policies import Agent, Decision, GaussianPolicy, GaussianPolicyConfig, load_agent
from burnish.recipes.stages.refining import inside
from burnish.world_models import HistoryConfig, ObservationHistory


def make_agent(seed=0):
    torch.manual_seed(seed)
    observer = ObservationHistory(3, 2, HistoryConfig(frames=4, feature_frames=2))
    observer.normaliser.fit(5 + 2 * torch.randn(100, 3))
    policy = GaussianPolicy(observer.feature_dim, 2, GaussianPolicyConfig(hidden=(16, 16), max_std=0.8))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return Agent(observer, policy).eval()


def play(agent, seed=0, steps=6):
    generator = torch.Generator().manual_seed(seed)
    agent.begin(3)
    return torch.stack([agent.act({STATE: 5 + torch.randn(3, 3, generator=generator)}) for _ in range(steps)])


def test_noise_comes_from_the_generator():
    agent, observation = make_agent(), {STATE: torch.randn(3, 3)}

    def act(seed):
        agent.begin(3)
        return agent.act(observation, deterministic=False, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(act(1), act(1)) and not torch.equal(act(1), act(2))
    assert (act(1).abs() <= 1).all()


def test_what_has_two_values_is_executed_as_one_of_them():
    """In the data's units, and in what the observer is told."""
    scaling = ActionScaling((0.0, -90.0), (100.0, 90.0), ("binary", "continuous"), rounded=True)
    between, agent = make_agent(), make_agent()
    agent.scaling, between.scaling = scaling, ActionScaling(scaling.low, scaling.high, scaling.kinds)
    first, other = play(agent), play(between)
    assert set(first[..., 0].flatten().tolist()) == {0, 100} and len(other[..., 0].unique()) > 2
    assert torch.equal(first[0, :, 0] == 100, other[0, :, 0] >= 50) and torch.equal(first[0, :, 1], other[0, :, 1])
    assert set(agent._state.action[:, :-1, 0].flatten().tolist()) <= {-1, 0, 1}


def test_act_before_begin():
    with pytest.raises(RuntimeError, match="begin"):
        make_agent().act({STATE: torch.zeros(1, 3)})


def test_begin_forgets():
    agent = make_agent()
    first = play(agent)
    assert torch.equal(play(agent), first)
    assert not torch.equal(play(agent, seed=1), first)


class Remembered(torch.nn.Module):
    """A policy that always pushes by 0.5; what the observer was told is read from its state."""

    feature_dim, action_dim, config = 1, 1, GaussianPolicyConfig()

    def act(self, features, deterministic, generator):
        return Decision(torch.full((len(features), 1, 1), 0.5), torch.zeros(len(features), 1))


def history_agent():
    return Agent(ObservationHistory(1, 1, HistoryConfig(frames=3)), Remembered())


def test_the_state_holds_what_was_executed():
    """By default the action that `act` returned; after `executed`, the one that really was."""
    agent = history_agent()
    agent.begin(2)
    agent.act({STATE: torch.tensor([[1.0], [10.0]])})
    agent.act({STATE: torch.tensor([[2.0], [20.0]])})
    agent.executed(torch.tensor([[-0.25], [0.75]]))
    agent.act({STATE: torch.tensor([[3.0], [30.0]])})
    assert agent._state.observation[..., 0].tolist() == [[1, 2, 3], [10, 20, 30]]
    assert agent._state.action[..., 0].tolist() == [[0.5, -0.25, 0], [0.5, 0.75, 0]]


def test_steps_equal_batches():
    """Three episodes at once act as each of them alone."""
    agent = make_agent()
    observations = torch.randn(5, 3, 3)
    agent.begin(3)
    together = torch.stack([agent.act({STATE: rows}) for rows in observations])
    for i in range(3):
        agent.begin(1)
        alone = torch.cat([agent.act({STATE: rows[i : i + 1]}) for rows in observations])
        torch.testing.assert_close(together[:, i], alone)


SCALING = ActionScaling((0.0,), (100.0,), names=("pan",))


def test_outside_an_agent_speaks_the_datas_units(tmp_path):
    """A push of 0.5 in [-1, 1] is 75 of 0 … 100; the observer's history holds what was executed, in [-1, 1]."""
    inner = history_agent()
    agent = Agent(inner.observer, inner.policy, "t", SCALING)
    agent.begin(1)
    assert agent.act({STATE: torch.tensor([[1.0]])}).tolist() == [[75.0]]
    agent.act({STATE: torch.tensor([[2.0]])})
    agent.executed(torch.tensor([[25.0]]))
    agent.act({STATE: torch.tensor([[3.0]])})
    assert agent._state.action[..., 0].tolist() == [[0.5, -0.5, 0]]


def test_the_scaling_is_saved_with_the_agent(tmp_path):
    plain = make_agent()
    scaling = ActionScaling((-5.0, 0.0), (5.0, 1.0), ("continuous", "binary"), ("pan", "gripper"))
    save(tmp_path, Agent(plain.observer, plain.policy, "t", scaling).eval())
    found = load_agent(tmp_path, "t")
    assert found.scaling == scaling
    torch.testing.assert_close(play(found), scaling.to_data(play(plain)))
    assert torch.equal(play(inside(found)), play(plain))
    assert inside(plain) is plain


def test_a_scaling_of_other_actions():
    with pytest.raises(InputError, match="gives 2 numbers, the scaling is of 1"):
        Agent(make_agent().observer, make_agent().policy, "t", SCALING)
