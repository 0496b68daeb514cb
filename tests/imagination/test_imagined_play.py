"""An agent's play in a world that is known by heart: when it succeeds, what is doubted, and what the agent is told."""

import math

import pytest
import torch

from burnish.data import STATE
from burnish.imagination import imagined_play
from burnish.policies import Decision, GaussianPolicyConfig
from burnish.policies.agent import Agent
from burnish.world_models import HistoryConfig, ObservationHistory
from tests.imagination.counter_world import PUSH, CounterWorld, Distance, Doubt, Goal, Position, at, make_models


class Rule(torch.nn.Module):
    """A policy that says its actions as a function of the position."""

    feature_dim = 1

    def __init__(self, rule, chunk=1):
        super().__init__()
        self.rule, self.config = rule, GaussianPolicyConfig(chunk=chunk)

    def act(self, features, deterministic, generator):
        assert deterministic
        chunk = self.rule(features).expand(len(features), self.config.chunk)
        return Decision(chunk.unsqueeze(-1), torch.zeros(len(features), 1))


class Pairs(CounterWorld):
    """The counter world, two actions at once."""

    action_steps = 2

    def imagine(self, state, action, generator=None):
        return Position(state.position + PUSH * action.sum(1, keepdim=True))


class Watching(Goal):
    """Remembers every position that it was asked about."""

    def __init__(self):
        self.seen = []

    def succeeded(self, features):
        self.seen.append(features[:, 0].tolist())
        return super().succeeded(features)


def agent(rule, chunk=1, observer=None):
    return Agent(observer or CounterWorld(), Rule(rule, chunk))


def always(action):
    return agent(lambda features: torch.full_like(features, action))


def play(agent, positions, steps, world=None, classifier=None, disagreement=None, support=None, seed=0, **settings):
    models = make_models(world, classifier, (disagreement, support))
    starts = at(*positions)
    return imagined_play(agent, models, starts, {STATE: starts.position}, steps, seed, **settings)


def test_success_within_the_time_limit():
    """By quarters: from 0.5 after two actions, from 0 after four; a success stays one."""
    assert play(always(1.0), [0.0, 0.5, 0.75], steps=1).success.tolist() == [False, False, True]
    assert play(always(1.0), [0.0, 0.5, 0.75], steps=2).success.tolist() == [False, True, True]
    assert play(always(1.0), [0.0, 0.5, 0.75], steps=4).success.tolist() == [True, True, True]


def test_success_that_passes_by_counts():
    """It swings between 1 and 0.75, and ends at the latter."""
    swinging = agent(lambda features: torch.where(features > 0.9, -1.0, 1.0))
    watching = Watching()
    assert play(swinging, [0.75, 0.25], steps=2, classifier=watching).success.tolist() == [True, False]
    assert watching.seen == [[1.0, 0.5], [0.75, 0.75]]


def test_a_start_in_success_is_no_success_yet():
    assert not play(always(-1.0), [1.0], steps=2).success.any()


def test_doubts_by_hand():
    """Disagreement -(x + a / 4) / 0.5 of moves to the left: the largest one on the way, and the mean."""
    found = play(always(-1.0), [0.0, -0.25], steps=2, disagreement=Doubt())
    assert found.worst["disagreement"].tolist() == [1.0, 1.5] and "distance" not in found.worst
    assert found.distance.tolist() == [0.75, 1.25], "without a distance it is that of disagreement"
    assert found.halted.tolist() == [False, True], "at the threshold nothing is halted"


def test_distances_by_hand():
    """Beyond 0.25, by 0.25: 0, 1 and 2 thresholds after one, two and three moves."""
    support = Distance(0.25, threshold=0.25)
    found = play(always(1.0), [0.0, -0.25], steps=3, disagreement=Doubt(), support=support)
    assert found.worst["distance"].tolist() == [2, 1] and found.worst["disagreement"].tolist() == [0, 0]
    assert found.distance.tolist() == [1, 0]
    assert found.halted.tolist() == [True, False]


def test_doubts_count_while_the_episode_lives():
    """From 0.75 the first move succeeds, at a distance of 0; what follows, up to 1.5, is nobody's."""
    support = Distance(1.0, threshold=0.25)
    found = play(always(1.0), [0.75, 0.0], steps=3, support=support)
    assert found.success.tolist() == [True, False]
    assert found.worst["distance"].tolist() == [0, 0] and not found.halted.any()
    assert found.distance.tolist() == [0, -2]


def test_success_beyond_the_data_is_not_pessimistic():
    """The move that succeeds is itself too far: 1.25 - 0.9 > 0.25, and 1 - 0.9 is not."""
    support = Distance(0.9, threshold=0.25)
    found = play(agent(lambda features: 4 * (1.25 - features).clamp(0, 0.25)), [0.75, 1.0], steps=1, support=support)
    assert found.success.all() and found.halted.tolist() == [False, True]
    assert found.outcome.tolist() == [1, 0]


class Unsure(Distance):
    """No number at all right of its edge, and nothing to say left of it."""

    def __init__(self, edge, value):
        super().__init__(edge, threshold=0.5)
        self.value = value

    def __call__(self, state, action):
        return torch.where(super().__call__(state, action) > 0, self.value, 0.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("which", ["disagreement", "support"])
def test_a_doubt_that_is_no_number_halts_and_stays_a_number_in_the_evidence(which, value):
    found = play(always(1.0), [0.0, 0.5], steps=2, **{which: Unsure(0.75, value)})
    assert found.halted.tolist() == [False, True] and found.success.tolist() == [False, True]
    assert found.outcome.tolist() == [0, 0]
    for values in (*found.worst.values(), found.distance):
        assert values.isfinite().all()
    assert found.distance[1] > 1000


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_number_after_success_does_no_harm(value):
    """The one goes on beyond 1 while the other still plays."""
    found = play(always(1.0), [0.75, 0.0], steps=3, disagreement=Unsure(1.0, value))
    assert found.outcome.tolist() == [1, 0] and not found.halted.any()
    assert found.distance.tolist() == [0, 0] and found.worst["distance"].tolist() == [0, 0]


def test_an_unknown_threshold_halts():
    doubt = Doubt()
    doubt.threshold.fill_(torch.nan)
    assert play(always(1.0), [0.0, 0.5], steps=2, disagreement=doubt).halted.all()


def test_a_threshold_of_zero_forbids_only_what_is_beyond_it():
    """As in refinement: at the edge itself, 0 / 0 is no doubt."""
    found = play(always(1.0), [0.25, 0.5], steps=1, support=Distance(0.5))
    assert found.worst["distance"][0] == 0 and found.halted.tolist() == [False, True]


def test_deviations_are_added_clipped_and_told_to_the_agent():
    """0.5 + 0.25 and 0.5 + 1.5, clipped; then the agent is on its own."""
    history = agent(lambda f: torch.full_like(f, 0.5), observer=ObservationHistory(1, 1, HistoryConfig(frames=4)))
    deviation = torch.tensor([[0.25, -0.5], [1.5, -3.0]]).unsqueeze(-1)
    watching = Watching()
    play(history, [0.0, 8.0], steps=4, classifier=watching, deviation=deviation)
    expected = [[0.75 * PUSH, 8.25], [0.75 * PUSH, 8.0], [0.3125, 8.125], [0.4375, 8.25]]
    assert watching.seen == expected
    # Three frames in which something was executed, and the newest.
    assert history._state.action[..., 0].tolist() == [[0.75, 0.0, 0.5, 0], [1.0, -1.0, 0.5, 0]]
    assert history._state.observation[0, :, 0].tolist() == [0.0, *(row[0] for row in expected[:3])]


def test_a_chunk_of_actions_is_played_open_loop():
    """Decided at 0.25 and again at 0.75; an agent that looks after each action stops at 0.5."""
    watching = Watching()

    def rule(features):
        return torch.where(features < 0.4, 1.0, 0.0)

    play(agent(rule, chunk=2), [0.25], steps=4, classifier=watching)
    assert watching.seen == [[0.5], [0.75], [0.75], [0.75]]
    watching.seen.clear()
    play(agent(rule), [0.25], steps=3, classifier=watching)
    assert watching.seen == [[0.5], [0.5], [0.5]]


def test_a_world_of_several_actions_finishes_its_last_transition():
    """Three actions are two transitions of two; success is looked for at their ends."""
    watching = Watching()
    mover = agent(lambda features: torch.full_like(features, 0.5), chunk=2, observer=Pairs())
    found = play(mover, [0.0, 0.75], steps=3, world=Pairs(), classifier=watching)
    assert watching.seen == [[0.25, 1.0], [0.5, 1.25]]
    assert found.success.tolist() == [False, True]


def test_deviations_in_a_world_of_several_actions():
    """Each action has its own: 0.5 + (0.25, -0.5) and 0.5 + (0.5, 0); the doubt sees both together."""
    seen = []

    class Remembering:
        name = "disagreement"
        threshold = torch.tensor(1.0)

        def __call__(self, state, actions):
            seen.append(actions.tolist())
            return torch.zeros(len(actions))

    mover = agent(lambda features: torch.full_like(features, 0.5), chunk=2, observer=Pairs())
    deviation = torch.tensor([[[0.25], [-0.5], [0.5]]])
    play(mover, [0.0], steps=4, world=Pairs(), disagreement=Remembering(), deviation=deviation)
    assert seen == [[[0.75, 0.0]], [[1.0, 0.5]]]


@pytest.mark.parametrize("world", [CounterWorld, Pairs])
def test_the_play_ends_when_all_have_succeeded(world):
    """It looks every ten transitions; where one never succeeds, it goes on to the end."""
    chunk, watching = world.action_steps, Watching()
    mover = agent(lambda features: torch.where(features < 0, 0.0, 1.0), chunk=chunk, observer=world())
    play(mover, [0.5, 0.75], steps=40 * chunk, world=world(), classifier=watching)
    assert len(watching.seen) == 10
    watching.seen.clear()
    play(mover, [0.5, -1.0], steps=40 * chunk, world=world(), classifier=watching)
    assert len(watching.seen) == 40


def test_the_seed_decides_what_a_random_world_does():
    def position(seed):
        watching = Watching()
        play(always(0.0), [0.0, 0.0], steps=3, world=CounterWorld(noise=0.1), classifier=watching, seed=seed)
        return watching.seen

    torch.manual_seed(5)
    first = position(1)
    torch.manual_seed(6)
    assert position(1) == first != position(2)


def test_a_second_play_begins_anew():
    """Nothing of the first one is left in the agent's chunk or state."""
    chunked = agent(lambda features: torch.where(features < 0.4, 1.0, 0.0), chunk=3)
    watching = Watching()
    for _ in range(2):
        play(chunked, [0.25], steps=4, classifier=watching)
    assert watching.seen[:4] == watching.seen[4:]
