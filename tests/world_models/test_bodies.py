"""Which distances between bodies a model sees, and their scale, by hand."""

import dataclasses

import numpy as np
import pytest
import torch

from burnish.data import STATE, Dataset, DatasetInfo, Episode
from burnish.world_models import BodyDifferences, position_differences


def named(*bodies, absent=()):
    """A data set whose state is the positions of these bodies."""
    names = tuple(f"{body}_{axis}" for body in bodies for axis in "xyz")
    state = np.ones((4, len(names)), np.float32)
    for body in absent:
        state[:, [names.index(f"{body}_{axis}") for axis in "xyz"]] = 0
    episode = Episode({STATE: state}, np.zeros((4, 1), np.float32), np.zeros(4, bool), "play", 0, "t")
    return Dataset.from_episodes([episode], DatasetInfo(fps=10, state_names=names))


def test_all_pairs_of_a_few_bodies():
    assert position_differences(named("hand", "mug")) == ((0, 3), (1, 4), (2, 5))
    assert len(position_differences(named("hand", "mug", "lid", "goal"))) == 6 * 3


def test_of_many_bodies_only_the_hands_distances():
    pairs = position_differences(named("hand", "a", "b", "c", "d"))
    assert len(pairs) == 4 * 3 and {left for left, _ in pairs} == {0, 1, 2}


def test_absent_ignored_and_unnamed_bodies_are_left_out():
    assert position_differences(named("hand", "mug", "ghost", absent=("ghost",))) == ((0, 3), (1, 4), (2, 5))
    assert position_differences(named("hand", "block1", "mug"), ignored=("block",)) == ((0, 6), (1, 7), (2, 8))
    unnamed = named("hand", "mug")
    assert position_differences(dataclasses.replace(unnamed, info=DatasetInfo(fps=10))) == ()


def test_scale_and_magnification_by_hand():
    bodies = BodyDifferences(((0, 1),))
    bodies.fit(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    assert bodies.scale.item() == pytest.approx(12.5**0.5)
    found = bodies.magnified(torch.tensor([[0.1 * 12.5**0.5, 0.0]]))
    assert found[0].tolist() == pytest.approx([0.1, float(np.tanh(0.5))], rel=1e-5)
