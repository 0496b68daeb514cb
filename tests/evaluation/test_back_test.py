"""Back-tests in worlds that are right, and in worlds that are wrong in a known way; their numbers by hand."""

import math

import numpy as np
import pytest
import torch

from burnish.data import STATE, Dataset, DatasetInfo, Episode, folds
from burnish.evaluation.agreement import BackTest
from burnish.evaluation.back_test import back_test, deviations, on_policy, telling_sources
from burnish.policies import Decision, GaussianPolicyConfig
from burnish.policies.agent import Agent
from burnish.world_models import HistoryConfig, ObservationHistory
from tests.imagination.counter_world import PUSH, CounterWorld, Distance, Position, make_models

LIMIT = 8
INFO = DatasetInfo(fps=10)


class Toward(torch.nn.Module):
    """A policy that goes to 1.125, and slowly near it; a chunk repeats its action."""

    feature_dim = 1

    def __init__(self, chunk=1):
        super().__init__()
        self.config = GaussianPolicyConfig(chunk=chunk)

    def act(self, features, deterministic, generator):
        action = (2 * (1.125 - features)).clamp(-1, 1)
        return Decision(action.expand(-1, self.config.chunk).unsqueeze(-1), torch.zeros(len(features), 1))


def agent(chunk=1):
    return Agent(CounterWorld(), Toward(chunk))


def rollout(agent, start, noise, source="policy", after_success=0):
    """One real episode, until success or the time limit; `noise` is added to the agent's first actions."""
    position, states, actions, left = torch.tensor([[start]]), [], [], None
    agent.begin(1)
    for step in range(LIMIT + 1):
        states.append(float(position))
        action = agent.act({STATE: position})
        if step < len(noise):
            action = (action + noise[step]).clamp(-1, 1)
            agent.executed(action)
        actions.append(float(action))
        left = after_success if left is None and position >= 1 else left
        if left == 0:
            break
        left = None if left is None else left - 1
        position = position + PUSH * action
    state = np.array(states, np.float32)[:, None]
    return Episode({STATE: state}, np.array(actions, np.float32)[:, None], state[:, 0] >= 1, source, 0, "counter")


def recorded(agent, source="policy", episodes=24, noisy=True):
    """Half of the episodes are pushed back as long as they last, so that they mostly fail."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for number in range(episodes):
        start = 1.5 * float(torch.rand((), generator=generator)) - 0.75
        noise = 0.4 * torch.randn(LIMIT, generator=generator) - (1.0 if number % 2 else 0.0)
        made.append(rollout(agent, start, noise if noisy else [], source, after_success=number % 3))
    return Dataset.from_episodes(made, INFO)


def world(kind=CounterWorld, classifier=None, support=None):
    return make_models(kind(), classifier, (support,))


class Backwards(CounterWorld):
    """Actions push the other way."""

    def imagine(self, state, action, generator=None):
        return Position(state.position - PUSH * action)


class Always:
    """Everything is a success."""

    def succeeded(self, features):
        return torch.ones(len(features), dtype=torch.bool)


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_skill_is_the_correlation_of_the_two_outcomes():
    """φ of 8 1 / 0 7 by hand, and Pearson's correlation of the zeros and ones of 5 3 / 2 4."""
    assert BackTest(8, 1, 0, 7).skill == pytest.approx((8 * 7 - 1 * 0) / math.sqrt(9 * 7 * 8 * 8))
    tested = BackTest(both=5, only_real=3, only_imagined=2, neither=4)
    real = [1] * 5 + [1] * 3 + [0] * 2 + [0] * 4
    imagined = [1] * 5 + [0] * 3 + [1] * 2 + [0] * 4
    assert tested.skill == pytest.approx(np.corrcoef(real, imagined)[0, 1]) and tested.episodes == 14
    assert BackTest(4, 0, 0, 6).skill == 1 and BackTest(0, 4, 6, 0).skill == -1 and BackTest(2, 2, 2, 2).skill == 0


@pytest.mark.parametrize("counts", [(5, 0, 0, 0), (3, 4, 0, 0), (3, 0, 4, 0), (0, 3, 0, 4), (0, 0, 3, 4), (0, 0, 0, 0)])
def test_nothing_was_shown_where_an_outcome_never_varies(counts):
    tested = BackTest(*counts)
    assert tested.skill == 0
    assert all(math.isfinite(number) for number in (*tested.transfer, tested.expected(0.5)))


def test_transfer_by_hand():
    """9 of 10 after imagined successes, 2 of 10 after imagined failures; with one of each outcome added to both."""
    tested = BackTest(both=8, only_real=1, only_imagined=0, neither=7)
    worth, error = tested.transfer
    assert worth == pytest.approx(0.9 - 0.2) and error == pytest.approx(math.sqrt(0.09 / 10 + 0.16 / 10))
    assert BackTest(0, 0, 0, 0).transfer == pytest.approx((0, math.sqrt(2 * 0.25 / 2)))


def test_single_replays_flatten_the_worth():
    """Each episode succeeds in imagination with a probability of its own, q, and in reality where a second throw of the
    same dice does: the worth of q is 1, though one throw tells another at less than a half."""
    generator = torch.Generator().manual_seed(0)
    q = torch.rand(20_000, generator=generator)
    found, again, true = (torch.rand(len(q), generator=generator) < q for _ in range(3))
    tested = BackTest.of(found, true, again)
    # Var(q) / Var(found) = (1 / 12) / (1 / 4)
    assert tested.repeatability == pytest.approx(1 / 3, abs=0.03)
    assert BackTest.of(found, true).transfer[0] == pytest.approx(1 / 3, abs=0.03)
    assert tested.transfer[0] == pytest.approx(1, abs=0.1)
    worth, error = tested.transfer
    plain, plain_error = BackTest.of(found, true).transfer
    assert worth / error == pytest.approx(plain / plain_error), "as sure as before that it is above zero"
    # With half of reality independent of all this, half of the worth is left.
    other = torch.where(torch.rand(len(q), generator=generator) < 0.5, true, torch.rand(len(q)) < 0.5)
    assert BackTest.of(found, other, again).transfer[0] == pytest.approx(0.5, abs=0.1)


def test_the_worth_is_at_most_one_and_luck_is_not_divided_away():
    assert BackTest(8, 1, 0, 7, repeatability=0.3).transfer[0] == 1
    slope = BackTest(5, 4, 4, 5).transfer[0]
    assert BackTest(5, 4, 4, 5, repeatability=0.0).transfer[0] == pytest.approx(4 * slope)
    same = torch.tensor([True, True, False])
    assert BackTest.of(same, same, same).repeatability == 1
    assert BackTest.of(same | True, same, same | True).repeatability == 1, "nothing varies, nothing was luck"


def test_expected_success_by_hand():
    tested = BackTest(both=8, only_real=1, only_imagined=0, neither=7)
    assert [tested.expected(rate) for rate in (0.0, 0.5, 1.0)] == pytest.approx([0.2, 0.55, 0.9])
    assert tested.expected(0.75) - tested.expected(0.25) == pytest.approx(0.5 * tested.transfer[0])
    # Steeper by 1 / 0.8, around what was replayed: 10 of 20 successes, 0.55 of them real.
    noisy = BackTest(8, 1, 0, 7, repeatability=0.8)
    assert [noisy.expected(rate) for rate in (0.25, 0.5, 0.75)] == pytest.approx([0.55 - 0.21875, 0.55, 0.55 + 0.21875])
    assert noisy.expected(1.0) == pytest.approx(0.55 + 0.5 * 0.875)


# -- which episodes ----------------------------------------------------------------------------------------------------


def outcomes(*kinds):
    """A data set of episodes of two frames: (source, success)."""
    zeros = np.zeros((2, 1), np.float32)
    made = [Episode({STATE: zeros}, zeros, np.array([False, won]), who, 0, "counter") for who, won in kinds]
    return Dataset.from_episodes(made, INFO)


def test_rollouts_alone_where_there_are_enough_of_both_outcomes():
    """Counted over all worlds' episodes together: 3 and 3, then one success less."""
    one = outcomes(*[("policy", True)] * 2, *[("policy", False)] * 2, ("expert", True), ("random", False))
    other = outcomes(("policy", True), ("policy", False), ("random", False))
    assert telling_sources([one, other], least=3) == {"policy"}
    assert telling_sources([one, other], least=4) == {"policy", "expert"}
    assert telling_sources([one, other]) == {"policy", "expert"}, "ten, unless it is said otherwise"


def test_many_successes_do_not_make_up_for_few_failures():
    data = outcomes(*[("policy", True)] * 30, *[("policy", False)] * 2, ("expert", True))
    assert telling_sources([data], least=3) == {"policy", "expert"}


def test_random_motion_only_where_there_is_nothing_else():
    assert telling_sources([outcomes(("random", False), ("teleoperation", True))]) == {"teleoperation"}
    assert telling_sources([outcomes(("random", False))]) == {"random"}


# -- what the agent would have done ------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 2])
def test_its_own_rollouts_have_no_deviations(chunk):
    actor = agent(chunk)
    data = recorded(actor, noisy=False, episodes=6)
    assert len(set(data.lengths.tolist())) > 1 and data.episode_success.all()
    assert deviations(actor, data).abs().max() == 0
    assert on_policy(actor, data).all()


def test_known_noise_is_found():
    """No clipping here, so the deviation is the noise; after its end there is none."""
    noise = [0.25, -0.5, 0.0, 0.125]
    data = Dataset.from_episodes([rollout(agent(), 0.8125, noise), rollout(agent(), 0.75, [])], INFO)
    found = deviations(agent(), data)[:, 0]
    assert found[: data.lengths[0]].tolist() == pytest.approx([*noise, *[0.0] * 9][: data.lengths[0]], abs=1e-6)
    assert found[data.lengths[0] :].abs().max() == 0
    assert on_policy(agent(), data).tolist() == [False, True]


def test_the_agent_is_told_what_was_executed():
    """This one repeats the last action that it remembers, half of it: recorded 1, 0.6, 0.2 deviate by 1, 0.1, -0.1."""

    class Halving(torch.nn.Module):
        feature_dim, config = 1, GaussianPolicyConfig()

    class Remembering(Agent):
        def decide(self, state, deterministic, generator):
            return 0.5 * state.action[:, -2].unsqueeze(1)

    actor = Remembering(ObservationHistory(1, 1, HistoryConfig(frames=3)), Halving())
    state, action = np.zeros((3, 1), np.float32), np.array([[1.0], [0.6], [0.2]], np.float32)
    episode = Episode({STATE: state}, action, np.array([False, False, True]), "policy", 0, "counter")
    found = deviations(actor, Dataset.from_episodes([episode], INFO))
    assert found[:, 0].tolist() == pytest.approx([1.0, 0.1, -0.1])


def test_the_last_action_may_be_anything_and_small_differences_are_rounding():
    own = rollout(agent(), 0.0, [])
    unfinished, rounded, other = (own.action.copy() for _ in range(3))
    unfinished[-1], rounded[1], other[1] = -1.0, own.action[1] - 5e-4, own.action[1] - 2e-3
    actions = (unfinished, rounded, other)
    made = [Episode(own.observation, action, own.success, "policy", 0, "counter") for action in actions]
    data = Dataset.from_episodes(made, INFO)
    assert on_policy(agent(), data).tolist() == [True, True, False]
    assert on_policy(agent(), data, tolerance=1e-4).tolist() == [True, False, False]


# -- replaying ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 2])
def test_a_perfect_world_reproduces_every_outcome(chunk):
    """Noisy rollouts of different lengths, those that succeed with a few frames more; each world has its own."""
    actor = agent(chunk)
    data = recorded(actor)
    successes = int(data.episode_success.sum())
    assert 5 < successes < 19 and len(set(data.lengths.tolist())) > 3
    held_out = [part for _, part in folds(data, 3, seed=0)]
    found = back_test(actor, [world()] * 3, held_out, LIMIT, seed=0)
    assert found == BackTest(successes, 0, 0, 24 - successes)
    assert found.skill == 1


def test_somebody_elses_actions_are_replayed_as_well():
    """An expert's episodes, of which the agent would have done nothing: it pushes at full strength, or away."""
    pushes = [[1.0] * LIMIT, [-2.0] * LIMIT] * 3
    made = [rollout(agent(), 0.125 * number, noise, "expert") for number, noise in enumerate(pushes)]
    data = Dataset.from_episodes(made, INFO)
    assert data.episode_success.tolist() == [True, False] * 3
    assert back_test(agent(), [world()], [data], LIMIT, seed=0) == BackTest(3, 0, 0, 3)


def test_a_world_that_pushes_the_other_way_has_no_skill():
    data = recorded(agent())
    found = back_test(agent(), [world(Backwards)], [data], LIMIT, seed=0)
    assert found.both + found.only_real == int(data.episode_success.sum())
    assert found.skill <= 0 and found.both == 0


def test_a_world_in_which_everything_succeeds_has_no_skill():
    data = recorded(agent())
    successes = int(data.episode_success.sum())
    found = back_test(agent(), [world(classifier=Always())], [data], LIMIT, seed=0)
    assert found == BackTest(successes, 0, 24 - successes, 0) and found.skill == 0


def test_a_halted_replay_is_a_failure():
    """Nothing right of 0.5 is known, so that no success is believed."""
    data = recorded(agent())
    successes = int(data.episode_success.sum())
    found = back_test(agent(), [world(support=Distance(0.5))], [data], LIMIT, seed=0)
    assert found == BackTest(0, successes, 0, 24 - successes)


def test_each_world_replays_the_episodes_that_it_did_not_learn_from():
    """The first world is right about its eight episodes, the second one wrong about its sixteen."""
    data = recorded(agent())
    few, many = data.subset(range(8)), data.subset(range(8, 24))
    found = back_test(agent(), [world(), world(classifier=Always())], [few, many], LIMIT, seed=0)
    right, wrong = (int(part.episode_success.sum()) for part in (few, many))
    assert found == BackTest(right + wrong, 0, 16 - wrong, 8 - right)


def test_a_world_without_telling_episodes_is_passed_over():
    data = recorded(agent())
    nothing = recorded(agent(), source="random", episodes=4)
    alone = back_test(agent(), [world()], [data], LIMIT, seed=0)
    assert back_test(agent(), [world(classifier=Always()), world()], [nothing, data], LIMIT, seed=0) == alone


def test_after_the_recording_the_agent_is_on_its_own():
    """0.65, 0.9, and at the recording's end an action of -1 that was never executed: the agent goes on to 1.0125."""
    state, action = np.array([[0.65], [0.9]], np.float32), np.array([[1.0], [-1.0]], np.float32)
    episode = Episode({STATE: state}, action, np.array([False, False]), "policy", 0, "counter")
    data = Dataset.from_episodes([episode], INFO)
    assert back_test(agent(), [world()], [data], steps=2, seed=0) == BackTest(0, 0, 1, 0)
