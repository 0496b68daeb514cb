"""Windows against a hand-computed example, and against a slow but obvious loop."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.data import STATE, Dataset, Windows
from burnish.errors import InputError
from tests.data.support import INFO, make_episode


def numbered(lengths: list[int]) -> Dataset:
    """A dataset whose state is (episode, frame in the episode) and whose action is the frame in the dataset + 1."""
    dataset = Dataset.from_episodes([make_episode(length, dim=2, actions=1) for length in lengths], INFO)
    for episode, (start, length) in enumerate(zip(dataset.starts.tolist(), lengths, strict=True)):
        dataset.observations[STATE][start : start + length, 0] = episode
        dataset.observations[STATE][start : start + length, 1] = torch.arange(length).float()
    dataset.actions[:, 0] = torch.arange(dataset.num_frames) + 1.0
    return dataset


def test_by_hand() -> None:
    """Episodes of 3 and 4 frames, history 3, horizon 1: presents 0, 1 | 3, 4, 5."""
    windows = Windows(numbered([3, 4]), history=3, horizon=1)
    assert windows.present_frames.tolist() == [0, 1, 3, 4, 5]
    assert len(windows) == 5
    batch = windows.gather(torch.tensor([0, 4, 5]))
    assert batch.observation[STATE][..., 1].tolist() == [[0, 0, 0, 1], [0, 0, 1, 2], [0, 1, 2, 3]]
    assert batch.observation[STATE][..., 0].tolist() == [[0] * 4, [1] * 4, [1] * 4]
    assert batch.valid.tolist() == [[False, False, True, True], [False, True, True, True], [True] * 4]
    assert batch.action[..., 0].tolist() == [[0, 0, 1, 2], [0, 4, 5, 6], [4, 5, 6, 7]]
    assert batch.success.tolist() == [[False] * 4, [False] * 4, [False, False, False, True]]


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 7), min_size=1, max_size=6),
    history=st.integers(1, 9),
    horizon=st.integers(0, 4),
)
def test_never_across_a_border(lengths: list[int], history: int, horizon: int) -> None:
    dataset = numbered(lengths)
    expected_presents = [
        start + frame
        for start, length in zip(dataset.starts.tolist(), lengths, strict=True)
        for frame in range(length)
        if frame + horizon < length
    ]
    if not expected_presents:
        with pytest.raises(InputError, match="no episode longer than"):
            Windows(dataset, history, horizon)
        return
    windows = Windows(dataset, history, horizon)
    assert windows.present_frames.tolist() == expected_presents
    batch = windows.gather(windows.present_frames)
    episodes = dataset.episode_of_frame.tolist()
    for row, present in enumerate(expected_presents):
        episode = episodes[present]
        frame = present - int(dataset.starts[episode])
        assert batch.observation[STATE][row, :, 0].eq(episode).all()
        for position in range(history + horizon):
            wanted = frame - history + 1 + position
            inside = 0 <= wanted < lengths[episode]
            assert bool(batch.valid[row, position]) == inside
            assert batch.observation[STATE][row, position, 1] == min(max(wanted, 0), lengths[episode] - 1)
            expected = present - frame + wanted + 1 if inside else 0
            assert batch.action[row, position, 0] == expected


def test_sampling_is_reproducible_and_reaches_every_window() -> None:
    windows = Windows(numbered([3, 4]), history=2, horizon=1)
    first = windows.sample(500, torch.Generator().manual_seed(3))
    again = windows.sample(500, torch.Generator().manual_seed(3))
    assert torch.equal(first.observation[STATE], again.observation[STATE])
    assert torch.equal(first.action, again.action)
    presents = {tuple(state) for state in first.observation[STATE][:, 1].tolist()}
    assert presents == {(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)}
    assert first.to("cpu").valid.equal(first.valid)


@pytest.mark.parametrize("history, horizon", [(0, 1), (1, -1)])
def test_impossible_windows(history: int, horizon: int) -> None:
    with pytest.raises(InputError, match="expected at least 1 and 0"):
        Windows(numbered([3]), history, horizon)
