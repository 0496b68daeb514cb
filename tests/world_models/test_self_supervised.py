"""VICReg: its loss by hand, and what it learns of a square that is moved about."""

import dataclasses

import pytest
import torch

from burnish.components import load, save
from burnish.data import Windows, image_key
from burnish.errors import InputError
from burnish.evaluation.probes import linear_probe
from burnish.training import TrainingConfig, fit
from burnish.world_models import SelfSupervised, SelfSupervisedConfig
from burnish.world_models.self_supervised import vicreg
from tests.world_models.test_latent_actions import squares

CONFIG = SelfSupervisedConfig(("view",), 16, latent_dim=8, width=8, hidden=32, expanded=32, shift=0)
VIEW = image_key("view")


def test_the_three_parts_by_hand():
    """Deviations ±1 in both dimensions: variance 2 (over N - 1), so no hinge; covariance 2 twice, over two dimensions,
    in both views."""
    both = torch.tensor([[0.0, 0.0], [2.0, 2.0]])
    _, parts = vicreg(both, both, CONFIG)
    assert float(parts["invariance"]) == 0 and float(parts["variance"]) == 0
    assert float(parts["covariance"]) == pytest.approx(8.0)
    # A constant view: its deviation is the least one, √1e-4; the views differ by 1 and 1.
    loss, parts = vicreg(torch.ones(2, 2), both, CONFIG)
    assert float(parts["invariance"]) == pytest.approx(1.0)
    assert float(parts["variance"]) == pytest.approx((1 - 0.01) / 2)
    assert float(loss) == pytest.approx(25 + 25 * 0.495 + 4)


def test_features_tell_where_the_square_is(tmp_path):
    """Without a label or a decoder, more than half of both places can be read off linearly, and before it, less."""
    data = squares(60)
    torch.manual_seed(0)
    encoder = SelfSupervised(CONFIG)
    place = centre(data.observations[VIEW])

    def told():
        features = encoder.encode_dataset(data)
        return linear_probe(features[:500], place[:500], features[500:], place[500:])["mean"]

    training = TrainingConfig(steps=200, batch_size=64, learning_rate=2e-3, ema_decay=None)
    fit(encoder, Windows(data, history=1, horizon=0), training, tmp_path, 0)
    features = encoder.encode_dataset(data)
    assert told() > 0.5 and (features.std(0) > 0.05).all()
    save(tmp_path / "saved", encoder)
    assert torch.equal(load(tmp_path / "saved", SelfSupervised).encode_dataset(data), features)


def centre(pictures):
    """(F, 2): the mean place of what is bright."""
    bright = (pictures[..., 0] > 100).float()
    steps = torch.arange(bright.shape[1], dtype=torch.float)
    mass = bright.sum((1, 2))
    return torch.stack([(bright.sum(2) * steps).sum(1) / mass, (bright.sum(1) * steps).sum(1) / mass], dim=1)


def test_views_differ_from_the_picture_by_what_is_said():
    encoder = SelfSupervised(dataclasses.replace(CONFIG, contrast=0.0, pixel_noise=0.0))
    pictures = torch.rand(4, 3, 16, 16)
    assert torch.equal(encoder._view(pictures), pictures)
    assert not torch.equal(SelfSupervised(CONFIG)._view(pictures), pictures)


@pytest.mark.parametrize(
    "observation, told",
    [
        ({}, r"found no 'observation.images.view'"),
        ({VIEW: torch.zeros(1, 16, 16, 3)}, r"pictures of torch.float32.*expected torch.uint8"),
        ({VIEW: torch.zeros(1, 8, 8, 3, dtype=torch.uint8)}, r"shape \(8, 8, 3\).*\(16, 16, 3\)"),
    ],
    ids=["missing", "dtype", "size"],
)
def test_other_pictures_are_refused(observation, told):
    with pytest.raises(InputError, match=told):
        SelfSupervised(CONFIG).encode(observation)
