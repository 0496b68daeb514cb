"""Contiguous sequences, and the data set as a model of action chunks sees it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.data import STATE, Dataset, DatasetInfo, Episode, Streams, in_chunks
from burnish.errors import InputError


def numbered(*lengths):
    """Frame i has state i and action i + 0.5, throughout the data set."""
    episodes, first = [], 0
    for length in lengths:
        state = np.arange(first, first + length, dtype=np.float32)[:, None]
        episodes.append(Episode({STATE: state}, state + 0.5, np.zeros(length, bool), "expert", 0, "t"))
        first += length
    return Dataset.from_episodes(episodes, DatasetInfo(fps=10))


def test_batches_go_on_where_the_last_one_ended():
    streams = Streams(numbered(6, 6), length=4)
    one, two = (streams.sample(2, torch.Generator()) for _ in range(2))
    assert one.observation[STATE][..., 0].tolist() == [[0, 1, 2, 3], [6, 7, 8, 9]]
    assert two.observation[STATE][..., 0].tolist() == [[4, 5, 6, 7], [10, 11, 0, 1]]
    assert one.begins.tolist() == [[True, False, False, False]] * 2
    assert two.begins.tolist() == [[False, False, True, False]] * 2


def test_previous_actions_stop_at_an_episodes_start():
    streams = Streams(numbered(3, 3), length=6)
    batch = streams.sample(1, torch.Generator())
    assert batch.previous_action[0, :, 0].tolist() == [0, 0.5, 1.5, 0, 3.5, 4.5]


def test_a_resumed_stream_goes_on():
    data = numbered(20)
    streams = Streams(data, length=3)
    streams.sample(2, torch.Generator())
    streams.carry = {"h": torch.ones(2, 1)}
    resumed = Streams(data, length=3)
    resumed.load_state_dict(streams.state_dict())
    following = [s.sample(2, torch.Generator()).observation[STATE] for s in (streams, resumed)]
    assert torch.equal(*following) and torch.equal(resumed.carry["h"], torch.ones(2, 1))


@pytest.mark.parametrize("length", [1, 21])
def test_impossible_lengths(length):
    with pytest.raises(InputError, match="expected 2 to 20"):
        Streams(numbered(20), length)


def test_chunks_by_hand():
    """Five frames in chunks of two: frames 0, 2, 4 and 1, 3; actions are pairs, the last one padded."""
    data, order = in_chunks(numbered(5), 2)
    assert order.tolist() == [0, 2, 4, 1, 3]
    assert data.lengths.tolist() == [3, 2]
    assert data.actions.tolist() == [[0.5, 1.5], [2.5, 3.5], [4.5, 4.5], [1.5, 2.5], [3.5, 4.5]]


@given(st.lists(st.integers(2, 9), min_size=1, max_size=4), st.integers(1, 5))
def test_chunks_hold_every_frame_once_and_never_cross_episodes(lengths, chunk):
    data = numbered(*lengths)
    chunked, order = in_chunks(data, chunk)
    assert sorted(order.tolist()) == list(range(data.num_frames))
    episodes = data.episode_of_frame[order]
    for start, length in zip(chunked.starts.tolist(), chunked.lengths.tolist(), strict=True):
        rows = order[start : start + length]
        assert (episodes[start : start + length] == episodes[start]).all()
        assert (rows[1:] - rows[:-1] == chunk).all()
