"""Pessimistic imagined success: one episode from each start, and a halted one is a failure."""

import pytest
import torch

from burnish.imagination import ImaginedEvaluation, imagined_evaluation
from burnish.policies import Decision
from burnish.rewards import Outcome
from tests.imagination.counter_world import Distance, Doubt, at, make_env, start_states


class Follow:
    """A policy whose action is a function of the position."""

    def __init__(self, rule):
        self.rule = rule

    def act(self, features, deterministic, generator):
        assert deterministic, "judged without exploration"
        action = self.rule(features)
        return Decision(action.unsqueeze(1), action)


def evaluate(env, rule, positions, steps, **changes):
    return imagined_evaluation(env, Follow(rule), at(*positions), steps, seed=0, **changes)


def test_by_hand():
    """Full speed ahead for 4 steps: from 0.0 and 0.5 that is in time, from -0.25 and -0.45 too late."""
    env = make_env(num_envs=4, horizon=10**9)
    found = evaluate(env, torch.ones_like, [0.0, 0.5, -0.25, -0.45], steps=4)
    assert found.success.tolist() == [True, True, False, False]
    assert not found.halted.any()
    assert found.score == pytest.approx(0.5) and found.halted_rate == 0


def test_only_the_first_episode_counts():
    """Row 0 halts at once; its restarts, at 0.9, would succeed in every step."""
    env = make_env(num_envs=2, horizon=10**9, starts=start_states([0.9, 0.95]))
    found = evaluate(env, lambda x: torch.where(x < 0, -1.0, 1.0), [-0.4, 0.5], steps=20)
    assert found.success.tolist() == [False, True]
    assert found.halted.tolist() == [True, False]


def test_halting_after_a_success_is_another_episode():
    """Row 0 succeeds, restarts at -0.4 and halts there: that is not its business any more."""
    env = make_env(num_envs=1, horizon=10**9, starts=start_states([-0.4, -0.4]))
    found = evaluate(env, lambda x: torch.where(x < 0, -1.0, 1.0), [0.9], steps=5)
    assert found.success.tolist() == [True] and found.halted.tolist() == [False]


def test_a_truncated_episode_is_over():
    """The environment's horizon cuts an idle episode after 3 steps; its restart at 0.9 succeeds, but is the second."""
    env = make_env(num_envs=1, horizon=3, starts=start_states([0.9, 0.95]))
    found = evaluate(env, lambda x: torch.where(x < 0.5, 0.0, 1.0), [0.0], steps=10)
    assert found.success.tolist() == [False]


def test_the_distance_from_the_data_by_hand():
    """Row 0 goes left from 0 to -0.25, -0.5 and -0.75, where it halts; row 1 reaches 1 at once; neither's second
    episode counts. Disagreement is the negative position by 0.5, the distance that beyond -1 by 2."""
    env = make_env(num_envs=2, horizon=10**9, starts=start_states([-0.4, -0.4]))
    rule = lambda x: torch.where(x < 0.5, -1.0, 1.0)  # noqa: E731
    found = evaluate(env, rule, [0.0, 0.75], steps=20)
    assert found.halted.tolist() == [True, False] and found.mean_uncertainty("distance") is None
    assert found.mean_uncertainty("disagreement") == pytest.approx((0.5 + 1.0 + 1.5 - 2.0) / 4)
    far = (Doubt(), Distance(-1, threshold=2.0))
    env = make_env(num_envs=2, horizon=10**9, starts=start_states([-0.4, -0.4]), uncertainties=far)
    found = evaluate(env, rule, [0.0, 0.75], steps=20)
    assert found.mean_uncertainty("disagreement") == pytest.approx(0.25)
    assert found.mean_uncertainty("distance") == pytest.approx((0.375 + 0.25 + 0.125 + 1.0) / 4)


@pytest.mark.parametrize("check_every", [1, 3, 100])
def test_stopping_early_changes_nothing(check_every):
    env = make_env(num_envs=3, horizon=10**9)
    found = evaluate(env, torch.ones_like, [0.9, 0.5, -0.3], steps=30, check_every=check_every)
    assert found.success.all()
    assert env.imagined_steps < 3 * 30 or check_every == 100
    # -2 * (1.15 + (0.75 + 1) + (-0.05 + 0.2 + 0.45 + 0.7 + 0.95 + 1.2)) / 9 decisions
    assert found.mean_uncertainty("disagreement") == pytest.approx(-2 * 6.35 / 9)


def test_the_same_starts_and_seed_give_the_same_verdict():
    env = make_env(num_envs=50, horizon=10**9, noise=0.3)
    positions = torch.linspace(-0.4, 0.9, 50).tolist()
    one, two = (evaluate(env, lambda x: torch.full_like(x, 0.2), positions, steps=15) for _ in range(2))
    assert torch.equal(one.success, two.success) and torch.equal(one.halted, two.halted)
    assert one.mean_uncertainty("disagreement") == two.mean_uncertainty("disagreement")
    assert 0 < one.score < 1 and 0 < one.halted_rate < 1


def test_rates():
    outcome = torch.tensor([1.0, 0.0, 0.0, 0.0])
    found = ImaginedEvaluation(outcome, outcome > 0, outcome, torch.tensor([False, True, True, False]))
    assert found.score == 0.25 and found.halted_rate == 0.5


class Reluctant:
    """Success at position 1, and no word about what is left of 0."""

    def __call__(self, state, action, following):
        position = following.position[:, 0]
        return Outcome(torch.zeros(len(action)), position >= 1, position >= 1, position < 0)


def test_what_a_judge_does_not_answer_counts_for_nothing():
    """Of four, two reach 1, one goes nowhere, and of one nobody says how it went: 2 of 3."""
    env = make_env(num_envs=4, horizon=10**9, uncertainties=(), reward=Reluctant())
    found = evaluate(env, lambda x: torch.where(x < 0.1, 0.0, 1.0), [0.25, 0.5, 0.05, -0.25], steps=4)
    assert found.unknown is not None and found.unknown.tolist() == [False, False, False, True]
    assert found.score == pytest.approx(2 / 3)
