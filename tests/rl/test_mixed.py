"""Real and synthetic transitions in one batch: how many of which, and which."""

import pytest
import torch

from burnish.data import STATE
from burnish.errors import InputError
from burnish.rl import MixedTransitions, TransitionBatch, Transitions
from tests.imagination.counter_world import dataset


def real():
    data = dataset([0.0, 0.5, 1.0], [0.2, 0.3])
    return Transitions(data.observations[STATE], data)


def synthetic(rows=5):
    column = 10.0 + torch.arange(rows).float()
    return TransitionBatch(column[:, None], column[:, None], column, column > 12, 1 + column[:, None])


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.25, 2), (0.5, 4), (0.9, 7)])
def test_the_share_is_one_of_rows(share, expected):
    mixed = MixedTransitions(real(), synthetic(), share)
    assert len(mixed) == len(real()) + 5
    seen = set()
    for seed in range(20):
        batch = mixed.sample(8, torch.Generator().manual_seed(seed))
        made = batch.features[:, 0] >= 10
        assert made.sum() == expected and len(batch.reward) == 8
        assert torch.equal(batch.reward[made], batch.features[made, 0])
        assert torch.equal(batch.next_features[made, 0], 1 + batch.reward[made])
        assert torch.equal(batch.terminal[made], batch.reward[made] > 12)
        seen |= set(batch.reward[made].tolist())
    assert seen == (set(synthetic().reward.tolist()) if expected else set())


def test_without_a_share_it_is_the_real_sampler():
    drawn = MixedTransitions(real(), None, 0.0).sample(8, torch.Generator().manual_seed(3))
    expected = real().sample(8, torch.Generator().manual_seed(3))
    assert all(torch.equal(vars(drawn)[name], column) for name, column in vars(expected).items())


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5])
def test_a_share_of_all_or_less_than_none(share):
    with pytest.raises(InputError, match=f"synthetic_share: found {share}, expected at least 0 and less than 1"):
        MixedTransitions(real(), synthetic(), share)


def test_a_share_of_nothing():
    with pytest.raises(InputError, match="no synthetic transitions"):
        MixedTransitions(real(), None, 0.5)
