"""Which distances between bodies a model sees, and their scale, by hand."""

import dataclasses

import numpy as np
import pytest
import torch

from burnish.data import STATE, Dataset, DatasetInfo, Episode
from burnish.networks import BodyDifferences
from burnish.world_models import position_differences, relations


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


def reaching(successes=12, names=("arm.0", "arm.1", "block.0", "free"), near=0.01):
    """A hand (arm.0) that ends near a block, wherever it lies, in the first `successes` of 20 episodes; arm.1 and
    `free` do what they like."""
    rng, episodes = np.random.default_rng(0), []
    for index in range(20):
        block, won = rng.uniform(-1, 1), index < successes
        state = rng.uniform(-1, 1, (6, len(names or "four"))).astype(np.float32)
        state[:, 2] = block
        state[-1, 0] = block + (near * rng.normal() if won else 1.0)
        success = np.arange(6) == (5 if won else 6)
        episodes.append(Episode({STATE: state}, np.zeros((6, 1), np.float32), success, "play", index, "t"))
    return Dataset.from_episodes(episodes, DatasetInfo(fps=10, state_names=names))


def test_success_tells_what_belongs_together():
    """Dimensions of no body: the pair that every success brings together, and no other."""
    assert relations(reaching()) == position_differences(reaching()) == ((0, 2),)
    assert position_differences(reaching(), ignored=("block",)) == ()
    assert relations(reaching(near=0.5)) == (), "as far apart as they please"
    assert relations(reaching(successes=7)) == (), "so few may agree by chance"
    assert relations(reaching(names=None)) == (), "latents, say"


def test_what_is_always_together_is_no_relation():
    """A number that is recorded twice tells nothing of success."""
    data = reaching()
    data.observations[STATE][:, 3] = data.observations[STATE][:, 1]
    assert relations(data) == ((0, 2),)


def test_names_of_bodies_win():
    named = reaching(names=tuple(f"{body}_{axis}" for body in ("hand", "mug") for axis in "xyz"))
    assert relations(named) == () and position_differences(named) == ((0, 3), (1, 4), (2, 5))
