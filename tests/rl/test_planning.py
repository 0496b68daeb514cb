"""Planning in worlds whose best plan is known, and what the search is made of."""

from dataclasses import replace

import pytest
import torch

from burnish.data import STATE
from burnish.errors import InputError
from burnish.imagination import Models
from burnish.policies import Agent, TanhPolicy, TanhPolicyConfig
from burnish.rewards import Outcome
from burnish.rl import Planner, PlanningAgent, PlanningConfig
from burnish.rl.planning import refit
from burnish.world_models import HistoryConfig, ObservationHistory
from tests.imagination.counter_world import CounterWorld, Distance, Doubt, at, make_models
from tests.world_models.test_gru_ensemble import echo
from tests.world_models.test_gru_ensemble import make as make_recurrent

CEM = PlanningConfig(
    horizon=3, iterations=6, samples=256, policy_samples=4, elites=16, temperature=None, noise=0.8, judged=1
)


class Near:
    """Success is the likelier the nearer the position is to `goal`."""

    def __init__(self, goal, width=0.1):
        self.goal, self.width = goal, width

    def probability(self, features):
        return (-((features[:, 0] - self.goal) / self.width).square()).exp()


class Constant:
    """The same probability everywhere."""

    def __init__(self, value):
        self.value = value

    def probability(self, features):
        return torch.full((len(features),), self.value)


def still(seed=0):
    """A policy that hardly moves."""
    torch.manual_seed(seed)
    policy = TanhPolicy(1, 1, TanhPolicyConfig(hidden=(4,), std=0.1))
    with torch.no_grad():
        for parameter in policy.network.parameters():
            parameter.mul_(0.0)
    return policy


def planner(classifier, config=CEM, disagreement=None, support=None, world=None, seed=0):
    made = Planner(make_models(world, classifier, (disagreement, support)), still(), config)
    made.generator.manual_seed(seed)
    return made


@pytest.mark.parametrize("temperature", [None, 0.05])
def test_it_finds_the_known_optimum(temperature):
    """One push of 0.25 a leads from 0.4 to 0.5 with a = 0.4, and from 0.6 with a = -0.4."""
    config = replace(CEM, horizon=1, temperature=temperature)
    plan = planner(Near(0.5), config).plan(at(0.4, 0.6))
    assert plan.shape == (2, 1, 1)
    assert plan.flatten().tolist() == pytest.approx([0.4, -0.4], abs=0.05)


def test_it_looks_ahead():
    """From 0 to 0.6 takes three pushes; the first two bring nothing by themselves."""
    found = planner(Near(0.6, width=0.05), replace(CEM, samples=512)).plan(at(0.0))
    assert float(found.sum()) == pytest.approx(2.4, abs=0.25)


def test_it_does_not_go_where_imagination_halts():
    """The goal lies beyond the edge of the data: not to go there is better than to be halted there."""
    beyond = planner(Near(0.5), replace(CEM, horizon=1)).plan(at(0.4))
    within = planner(Near(0.5), replace(CEM, horizon=1), support=Distance(0.45)).plan(at(0.4))
    assert 0.4 + 0.25 * float(beyond) > 0.45 >= 0.4 + 0.25 * float(within)
    assert float(within) > 0.1, "as far as it may"
    # No data left of -0.5, by the ensemble's doubt.
    left = planner(Near(-0.6), replace(CEM, horizon=1), disagreement=Doubt()).plan(at(-0.45))
    assert -0.5 <= -0.45 + 0.25 * float(left) < -0.45


def test_the_score_by_hand():
    """p = 0.25 everywhere, γ = 0.9, two steps: 0.25 + 0.9 · 0.75 · 0.25; where the second halts, at cost 2."""
    config = replace(CEM, gamma=0.9, halt_cost=2.0, horizon=2)
    plans = torch.tensor([[[[1.0], [1.0]], [[-1.0], [-1.0]]]])
    free = planner(Constant(0.25), config)
    assert free.score(at(0.0), plans).tolist() == [pytest.approx([0.25 + 0.9 * 0.75 * 0.25] * 2)]
    edge = planner(Constant(0.25), config, support=Distance(0.3))
    expected = [0.25 - 0.9 * 0.75 * 2.0, 0.25 + 0.9 * 0.75 * 0.25]
    assert edge.score(at(0.0), plans).tolist() == [pytest.approx(expected)]
    at_once = planner(Constant(0.25), config, support=Distance(0.1))
    assert at_once.score(at(0.0), plans[:, :1]).tolist() == [pytest.approx([-2.0])], "and nothing after it"


def test_doubt_that_is_no_number_halts():
    class Unknown(Distance):
        def __call__(self, state, action):
            return torch.full((len(action),), torch.nan)

    found = planner(Constant(0.5), support=Unknown(0.0)).score(at(0.0), torch.zeros(1, 1, 1, 1))
    assert found.tolist() == [[-1.0]]


def test_where_nothing_is_in_sight_the_policy_acts():
    """All plans score alike; without the comparison at the end, the search would drift."""
    made = planner(Constant(0.0))
    assert torch.equal(made.plan(at(0.0, 0.3)), torch.zeros(2, 3, 1))


def test_the_plan_before_is_remembered():
    """A good plan that a poor search would not find again goes on, one step further."""
    config = replace(CEM, horizon=4, iterations=1, samples=6, policy_samples=1, elites=1, noise=0.05)
    before = torch.tensor([[[-1.0], [0.9], [0.8], [0.7]]])
    narrow = Near(0.25 * 2.4, width=0.02)
    found = planner(narrow, config).plan(at(0.0), before)
    torch.testing.assert_close(found, torch.tensor([[[0.9], [0.8], [0.7], [0.0]]]))
    assert torch.equal(planner(narrow, config).plan(at(0.0))[:, :, 0].round(), torch.zeros(1, 4))


def test_refit_by_hand():
    """Of the scores 1, 3, 2 the best two; soft weights e^(1/T) : 1 at T = 1, and the bounds of the noise."""
    candidates = torch.tensor([0.0, 0.4, -0.4]).view(1, 3, 1, 1)
    scores = torch.tensor([[1.0, 3.0, 2.0]])
    config = replace(CEM, elites=2, samples=8, policy_samples=1, noise=0.9, min_noise=0.05)
    mean, std = refit(candidates, scores, config)
    assert (mean.item(), std.item()) == (0.0, pytest.approx(0.4))
    mean, std = refit(candidates, scores, replace(config, temperature=1.0))
    share = 1 / (1 + torch.tensor(-1.0).exp().item())
    assert mean.item() == pytest.approx(0.4 * (2 * share - 1))
    assert refit(candidates, scores, replace(config, noise=0.1))[1].item() == pytest.approx(0.1)
    assert refit(candidates, scores, replace(config, elites=1))[1].item() == pytest.approx(0.05)


def test_the_generator_decides():
    noisy = {"world": CounterWorld(noise=0.05)}
    one, same, other = (planner(Near(0.5), seed=seed, **noisy).plan(at(0.4)) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_it_counts_what_it_imagines():
    class Counting(CounterWorld):
        rows = 0

        def imagine(self, state, action, generator=None):
            self.rows += len(action)
            return super().imagine(state, action, generator)

    world = Counting()
    made = planner(Near(0.5), world=world)
    made.plan(at(0.0, 0.2, 0.4))
    assert world.rows == 3 * made.steps_per_decision == 3 * (1 + 4 + 6 * 256 + 2) * 3


@pytest.mark.parametrize("wrong", [{"elites": 0}, {"elites": 300}, {"policy_samples": 255}, {"horizon": 0}])
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(InputError, match="planning"):
        replace(CEM, **wrong)


def test_a_world_with_a_memory_observes_for_a_policy_without_one():
    """RWM's policy reads one observation, its world remembers all of them: each plan begins where the world is."""
    data = echo(ends=True)
    world = make_recurrent(data)
    observer = ObservationHistory(2, 2, HistoryConfig(frames=1))
    observer.normaliser.load_state_dict(world.normaliser.state_dict())
    policy = TanhPolicy(2, 2, TanhPolicyConfig(hidden=(4,), std=0.1))

    def right(state, action, following):
        return Outcome(world.decode(following)[STATE][:, 0], torch.zeros(len(action), dtype=torch.bool))

    agent = PlanningAgent(Agent(observer, policy, "t"), Planner(Models(world, right), policy, CEM))
    agent.begin(3)
    for frame in range(4):
        seen = {STATE: data.observations[STATE][data.starts[:3] + frame]}
        action = agent.act(seen)
        agent.executed(data.actions[data.starts[:3] + frame])
    assert action.shape == (3, 2) and agent.observer is world
    expected = world.recorded(data).rows(data.starts[:3] + 3)
    for name, values in expected.tensors().items():
        torch.testing.assert_close(agent._state.tensors()[name], values, msg=name)
