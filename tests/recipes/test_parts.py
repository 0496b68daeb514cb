"""Small parts of the recipe, by hand."""

import pytest
import torch

from burnish.data import Dataset, DatasetInfo, about_to_succeed
from burnish.errors import InputError
from burnish.recipes.parts import _Pairs, cloned_episodes
from tests.world_models.linear_system import episode


def recorded(*episodes) -> Dataset:
    """Episodes of one dimension from (success by frame, source)."""
    parts = [episode([[0.0]] * len(success), success=success, source=source) for success, source in episodes]
    return Dataset.from_episodes(parts, DatasetInfo(fps=10))


def test_frames_about_to_succeed():
    """Two frames before a success, never across the border of an episode, and no success itself."""
    dataset = recorded(([0, 0, 0, 1, 1], "expert"), ([0, 0], "policy"), ([1, 0, 0, 0], "policy"))
    soon = about_to_succeed(dataset, 2)
    assert soon.int().tolist() == [0, 1, 1, 0, 0] + [0, 0] + [0, 0, 0, 0]
    assert not about_to_succeed(dataset, 0).any()


def test_what_the_policy_is_cloned_from():
    """The expert's episodes; without an expert the successful ones; without a success nothing."""
    both = recorded(([0, 1], "expert"), ([0, 1, 1], "policy"))
    assert cloned_episodes(both).lengths.tolist() == [2]
    own = recorded(([0, 0], "unknown"), ([0, 1, 1], "unknown"))
    assert cloned_episodes(own).lengths.tolist() == [3]
    with pytest.raises(InputError, match="success"):
        cloned_episodes(recorded(([0, 0], "unknown")))


def test_noise_on_the_features_only():
    inputs, actions = torch.zeros(50, 3), torch.arange(50.0).unsqueeze(1)
    generator = torch.Generator().manual_seed(0)
    noisy, targets = _Pairs(inputs, actions, 0.1).sample(4000, generator)
    assert noisy.std().item() == pytest.approx(0.1, rel=0.05) and torch.isin(targets, actions).all()
    clean, _ = _Pairs(inputs, actions, 0.0).sample(10, generator)
    assert torch.equal(clean, torch.zeros(10, 3))
