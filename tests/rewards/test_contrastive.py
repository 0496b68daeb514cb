"""The contrastive success classifier: its loss by hand, learning, calibration, files."""

import math

import pytest
import torch

from burnish.rewards import ContrastiveClassifier, ContrastiveConfig
from burnish.rewards.contrastive import supervised_contrastive

SMALL = ContrastiveConfig(hidden=32, embedding=8)


def test_loss_by_hand():
    """Three unit vectors: a and b of one class at 60 degrees, c alone (left out), temperature 0.5."""
    b = torch.tensor([0.5, math.sqrt(0.75)])
    embedding = torch.stack([torch.tensor([3.0, 0.0]), 2 * b, torch.tensor([0.0, -1.0])])
    found = supervised_contrastive(embedding, torch.tensor([True, True, False]), 0.5)
    from_a = -math.log(math.exp(1.0) / (math.exp(1.0) + math.exp(0.0)))
    from_b = -math.log(math.exp(1.0) / (math.exp(1.0) + math.exp(-2 * math.sqrt(0.75))))
    assert found.item() == pytest.approx((from_a + from_b) / 2, rel=1e-5)


def test_no_pair_gives_no_loss():
    assert supervised_contrastive(torch.randn(2, 3), torch.tensor([True, False]), 0.5).item() == 0


def blobs(count, seed):
    generator = torch.Generator().manual_seed(seed)
    success = torch.rand(count, generator=generator) < 0.3
    features = torch.randn(count, 6, generator=generator)
    features[:, 0] += torch.where(success, 2.5, -2.5)
    return features, success


def test_it_learns_and_calibrates(tmp_path):
    torch.manual_seed(0)
    model = ContrastiveClassifier(6, SMALL)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(100):
        loss, _ = model.loss(blobs(128, step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    features, success = blobs(1000, 1000)
    calibration = model.calibrate(features, success)
    assert calibration.reached and calibration.recall > 0.9
    assert (model.succeeded(features) == success).float().mean() > 0.95
    unit = torch.nn.functional.normalize(model.encoder(features), dim=-1)
    same, other = (unit[success] @ unit[mask].T for mask in (success, ~success))
    assert same.mean() > other.mean() + 0.5
