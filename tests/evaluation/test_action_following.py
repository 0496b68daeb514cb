"""The same start under its own and under swapped actions, in a world whose futures are known."""

import json

import pytest
import torch

from burnish.errors import InputError
from burnish.evaluation.action_following import action_following, nearer, partners
from burnish.evaluation.intervals import wilson_interval
from tests.evaluation.moving_square import SquareWorld, always_right, draw, hold, squares


def forks(count=4):
    """From the middle, half of the episodes go left and half right."""
    return squares([("policy", 12, [push] * 3) for push in (1, -1) * (count // 2)])


def test_a_perfect_model_follows_every_action():
    found = action_following(SquareWorld(), forks(), horizon=3, seed=0).summary()
    assert found["own_future"]["rate"] == found["other_future"]["rate"] == 1
    assert found["own_future"]["windows"] == found["other_future"]["windows"] == 4
    assert found["own_future"]["ci95"] == pytest.approx(list(wilson_interval(4, 4)))
    assert found["own_future"]["ties"] == 0
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("law", [hold, always_right, lambda x, push, g: x + torch.randint(-3, 4, x.shape, generator=g)])
def test_a_model_that_ignores_actions_ties(law):
    """Also a noisy one: both imaginations draw the same noise."""
    found = action_following(SquareWorld(law), forks(), horizon=3, seed=0)
    assert found.own_future.tolist() == [0.5] * 4
    told = found.summary()["own_future"]
    assert (told["rate"], told["ties"]) == (0.5, 4)
    assert told["ci95"] == pytest.approx(list(wilson_interval(2, 4)))


def test_which_recorded_future_a_blind_model_lands_in():
    """Always right: right for the episodes whose partner went right; holding lies between both futures."""
    found = action_following(SquareWorld(always_right), forks(), horizon=3, seed=0)
    assert found.other_future.tolist() == [0, 1, 0, 1]
    assert action_following(SquareWorld(hold), forks(), horizon=3, seed=0).other_future.tolist() == [0.5] * 4


def test_a_model_that_reverses_actions_scores_nothing():
    found = action_following(SquareWorld(lambda x, push, g: x - push), forks(), horizon=3, seed=0).summary()
    assert found["own_future"]["rate"] == found["other_future"]["rate"] == 0


def test_chunks_of_actions():
    data = squares([("policy", 12, [push] * 4) for push in (1, -1)])
    found = action_following(SquareWorld(chunk=2), data, horizon=2, seed=0).summary()
    assert found["own_future"]["rate"] == found["other_future"]["rate"] == 1


def test_windows_that_tell_nothing_are_left_out():
    """Nothing moves in one episode; the two begin far apart, so that neither future is due."""
    data = squares([("policy", 0, [0, 0]), ("policy", 20, [-1, -1])])
    found = action_following(SquareWorld(), data, horizon=2, seed=0).summary()
    assert (found["own_future"]["windows"], found["own_future"]["untold"]) == (1, 1)
    assert found["own_future"]["rate"] == 1
    assert found["other_future"] == {"windows": 0, "untold": 2, "rate": None, "ci95": None, "ties": 0}


def test_partners_by_hand():
    """Row 0 and 2 begin alike and end apart; 1 has nobody nearby; within one episode any other window will do."""
    pictures = draw(torch.tensor([10.0, 0.0, 10.0, 14.0, 4.0, 6.0]))
    present, future = torch.tensor([0, 1, 2]), torch.tensor([3, 4, 5])
    partner, alike = partners(pictures, present, future, torch.tensor([0, 1, 2]))
    assert partner[[0, 2]].tolist() == [2, 0] and alike.tolist() == [True, False, True]
    partner, _ = partners(pictures, present, future, torch.tensor([0, 1, 0]))
    assert partner.tolist()[::2] == [1, 1]
    partner, _ = partners(pictures, present, future, torch.tensor([0, 0, 0]))
    assert partner[[0, 2]].tolist() == [2, 0]


def test_partners_where_all_windows_are_the_same():
    """0 / 0 everywhere: still never oneself, and never alike."""
    pictures, frames = draw(torch.full((3,), 5.0)), torch.arange(3)
    partner, alike = partners(pictures, frames, frames, frames)
    assert all(own != other for own, other in enumerate(partner.tolist()))
    assert not alike.any()


def test_nearer_by_hand():
    nan = torch.nan
    found = nearer(torch.tensor([1.0, 2.0, 3.0, nan]), torch.tensor([2.0, 2.0, 1.0, 1.0]))
    assert found[:3].tolist() == [1, 0.5, 0] and found[3].isnan()


def test_one_window_is_not_enough():
    with pytest.raises(InputError, match="one window of 4 frames, expected at least two"):
        action_following(SquareWorld(), squares([("policy", 12, [1] * 3)]), horizon=3, seed=0)


def test_a_model_without_pictures():
    with pytest.raises(InputError, match="it predicts no pictures"):
        action_following(SquareWorld(pictures=False), forks(), horizon=3, seed=0)
