"""Lanes: the same results as one after the other, whatever fails, and whatever waits for whom."""

import threading

import pytest
import torch

from burnish import lanes


@pytest.fixture
def two_lanes():
    threads = torch.get_num_threads()
    lanes.offer(2)
    with lanes.opened():
        yield
    lanes.offer(1)
    assert torch.get_num_threads() == threads


def test_with_nothing_offered_the_caller_does_it_all():
    lanes.offer(1)  # as at first; an earlier test's run in this process may have offered more
    with lanes.opened():
        assert lanes.together(threading.get_ident, threading.get_ident) == [threading.get_ident()] * 2


def test_pieces_work_at_once_and_answer_in_their_order(two_lanes):
    met = threading.Barrier(2, timeout=10)  # broken unless two pieces are at work at the same time
    assert lanes.together(lambda: (met.wait(), "a")[1], lambda: (met.wait(), "b")[1], lambda: "c") == ["a", "b", "c"]


def test_pieces_have_the_callers_gradient_mode(two_lanes):
    with torch.no_grad():
        assert lanes.together(torch.is_grad_enabled, torch.is_grad_enabled) == [False, False]
    assert lanes.together(torch.is_grad_enabled, torch.is_grad_enabled) == [True, True]


def test_pieces_may_have_pieces_of_their_own(two_lanes):
    inner = lambda: lanes.together(lambda: 1, lambda: 2, lambda: 3)  # noqa: E731
    assert lanes.together(inner, inner, inner) == [[1, 2, 3]] * 3


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_piece_that_fails_is_heard(two_lanes, place):
    def fail() -> None:
        raise ValueError("piece")

    pieces = [lambda: None] * 3
    pieces[place] = fail
    with pytest.raises(ValueError, match="piece"):
        lanes.together(*pieces)
    assert lanes.together(lambda: 1, lambda: 2) == [1, 2]


def test_threads_of_pytorch_are_shared_out():
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    try:
        lanes.offer(2)
        with lanes.opened():
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 6
    finally:
        lanes.offer(1)
        torch.set_num_threads(before)
