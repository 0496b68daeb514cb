"""Where imagined success that is not real comes from, by hand and on the toy world."""

import pytest
import torch

from burnish.evaluation.anatomy import Anatomy


def column(*values):
    return torch.tensor(values, dtype=torch.bool)


def test_every_episode_is_counted_once():
    """One episode of each kind, in this order: right, right, reward, dynamics, halted, lost, halted failure."""
    real = column(1, 0, 0, 0, 1, 1, 0)
    imagined = column(1, 0, 1, 1, 1, 0, 1)
    halted = column(0, 0, 0, 0, 1, 0, 1)
    claims = column(1, 0, 1, 0, 1, 1, 0)
    found = Anatomy.of(real, imagined, halted, claims)
    assert found == Anatomy(7, real=3, imagined=3, reward=1, dynamics=1, halted=1, lost=1, claimed_failures=1)
    assert found.imagined - found.real == found.reward + found.dynamics - found.halted - found.lost
    told = found.summary()["false_claims"]
    assert told["failures"] == 4 and told["share"] == 0.25 and told["ci95"] == pytest.approx([0.0456, 0.6994], abs=1e-4)


def test_without_a_failure_nothing_is_claimed_falsely():
    found = Anatomy.of(column(1, 1), column(1, 0), column(0, 0), column(1, 1))
    assert found.summary()["false_claims"] is None and found.lost == 1
