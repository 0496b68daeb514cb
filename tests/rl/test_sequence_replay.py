"""Frames of a rollout, in the order in which they were lived through; a ring whose sequences cross no seam."""

import pytest
import torch

from burnish.data import STATE
from burnish.errors import InputError
from burnish.rl import Rollout, SequenceReplay
from burnish.rl.sequence_replay import frames_of


def rollout():
    """Two environments, three steps. The first one goes 0 → 1 → 2 → 3; the second 10 → 11, an end, and from 20 → 21 →
    22, an end. The action that leads to f is f/10, what it earns f/100."""
    features = torch.tensor([[0.0, 10.0], [1.0, 20.0], [2.0, 21.0]])[..., None]
    following = torch.tensor([[1.0, 11.0], [2.0, 21.0], [3.0, 22.0]])[..., None]
    ended = torch.tensor([[False, True], [False, False], [False, True]])
    none = torch.zeros(3, 2, 1)
    return Rollout(
        features, none, none, following[..., 0] / 100, ended, ~ended & False, following, action=following / 10
    )


def replay(capacity=100):
    return SequenceReplay(capacity, 1, 1, torch.device("cpu"))


def generator():
    return torch.Generator().manual_seed(0)


def test_frames_by_hand():
    found = frames_of(rollout())
    assert found["features"].flatten().tolist() == [0, 1, 2, 3, 10, 11, 20, 21, 22]
    assert found["begins"].int().tolist() == [1, 0, 0, 0, 1, 0, 1, 0, 0]
    torch.testing.assert_close(found["action"].flatten() * 10, torch.tensor([0.0, 1, 2, 3, 0, 11, 0, 21, 22]))
    torch.testing.assert_close(found["reward"] * 100, torch.tensor([0.0, 1, 2, 3, 0, 11, 0, 21, 22]))
    assert found["terminated"].int().tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 1]


def test_sequences_say_what_begins():
    ring = replay()
    ring.add(frames_of(rollout()))
    batch = ring.sequences(200, 4, generator())
    assert batch.begins[:, 0].all() and batch.stream.carry is None
    lived = {tuple(row) for row in batch.observation[STATE][..., 0].int().tolist()}
    assert lived == {(0, 1, 2, 3), (1, 2, 3, 10), (2, 3, 10, 11), (3, 10, 11, 20), (10, 11, 20, 21), (11, 20, 21, 22)}
    inside = ~batch.begins[:, 1:]
    step = batch.observation[STATE][:, 1:, 0] - batch.observation[STATE][:, :-1, 0]
    assert (step[inside] == 1).all() and (step[~inside] != 1).all()


def test_transitions_are_steps():
    ring = replay()
    ring.add(frames_of(rollout()))
    found = ring.transitions(300, generator())
    assert (found.following - found.features == 1).all()
    torch.testing.assert_close(found.action * 10, found.following)
    torch.testing.assert_close(found.reward * 100, found.following[:, 0])
    assert torch.equal(found.terminated, (found.following == 11)[:, 0] | (found.following == 22)[:, 0])
    assert set(found.following.flatten().int().tolist()) == {1, 2, 3, 11, 21, 22}


def test_a_full_ring_has_no_seam_and_keeps_the_newest():
    ring = replay(capacity=12)
    for number in range(3):
        frames = frames_of(rollout())
        ring.add({**frames, "features": frames["features"] + 100 * number})
    assert ring.filled == 12
    batch = ring.sequences(200, 3, generator())
    inside = ~batch.begins[:, 1:]
    step = batch.observation[STATE][:, 1:, 0] - batch.observation[STATE][:, :-1, 0]
    assert (step[inside] == 1).all()
    assert batch.observation[STATE].min() >= 120 and batch.observation[STATE].max() == 222
    rows = ring.transitions(200, generator())
    assert (rows.following - rows.features == 1).all()


def test_what_is_taken_up_again_is_the_same():
    ring, other = replay(capacity=12), replay(capacity=12)
    for _ in range(2):
        ring.add(frames_of(rollout()))
    other.load_state_dict(ring.state_dict())
    for each in (ring, other):
        each.add(frames_of(rollout()))
    one, two = (each.sequences(20, 3, generator()) for each in (ring, other))
    assert torch.equal(one.observation[STATE], two.observation[STATE]) and torch.equal(one.begins, two.begins)


def test_too_little_and_too_much_are_said():
    ring = replay(capacity=8)
    with pytest.raises(InputError, match="found 0 frames, expected at least 4"):
        ring.sequences(1, 4, generator())
    with pytest.raises(InputError, match="found 9 frames in one rollout, expected at most the capacity, 8"):
        ring.add(frames_of(rollout()))
