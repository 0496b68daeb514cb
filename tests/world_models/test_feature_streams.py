"""Several frozen encoders as one: standardised, checked, drawn by the one that can."""

import pytest
import torch

from burnish.components import Component, frozen, load, save
from burnish.data import image_key
from burnish.errors import InputError
from burnish.world_models import Autoencoder, AutoencoderConfig, FeatureStreams, SelfSupervised, SelfSupervisedConfig
from tests.world_models.test_latent_actions import squares

VIEW = image_key("view")
GEOMETRY = AutoencoderConfig(("view",), 16, latent_dim=6, width=8, hidden=32)
SEMANTICS = SelfSupervisedConfig(("view",), 16, latent_dim=4, width=8, hidden=32, expanded=16)


class Corners(Component):
    """A user's own encoder: the four corner pixels, two tokens of two; `scale` may spoil it."""

    latent_dim, tokens = 4, 2

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    @property
    def observation_shapes(self):
        return {VIEW: (16, 16, 3)}

    def encode(self, observation):
        return observation[VIEW][:, ::5, ::5, 0].flatten(1)[:, [5, 6, 9, 10]] * self.scale

    def encode_dataset(self, dataset):
        return self.encode(dataset.observations)


@pytest.fixture(scope="module")
def data():
    return squares(8)


@pytest.fixture(scope="module")
def streams(data):
    torch.manual_seed(0)
    geometry = Autoencoder(data.action_dim, GEOMETRY).fit(data)
    return frozen(FeatureStreams({"geometry": geometry, "semantics": SelfSupervised(SEMANTICS)})).fit(data)


def test_features_stand_side_by_side_with_unit_variance(streams, data):
    latents = streams.encode_dataset(data)
    assert latents.shape == (data.num_frames, 10) and streams.latent_dim == 10
    assert streams.streams == ((1, 6), (1, 4)) and streams.observation_shapes == {VIEW: (16, 16, 3)}
    torch.testing.assert_close(latents.mean(0), torch.zeros(10), atol=1e-4, rtol=0)
    for part in latents.split([6, 4], dim=1):
        # Deviations below the median one are not blown up to one.
        deviations = part.std(0, correction=0)
        assert float(deviations.max()) == pytest.approx(1, abs=1e-3) and (deviations <= 1.001).all()
    torch.testing.assert_close(streams.encode({VIEW: data.observations[VIEW][:3]}), latents[:3], atol=1e-5, rtol=1e-4)


def test_pictures_are_drawn_by_the_encoder_that_can(streams, data):
    latents = streams.encode_dataset(data)[:5]
    geometry = streams.encoders["geometry"]
    own = geometry.encode({VIEW: data.observations[VIEW][:5]})
    difference = streams.decode(latents)[VIEW].int() - geometry.decode(own)[VIEW].int()
    assert difference.abs().max() <= 1
    alone = FeatureStreams({"semantics": SelfSupervised(SEMANTICS)})
    assert alone.decode(torch.zeros(2, 4)) == {}


def test_any_encode_is_a_stream(data):
    found = FeatureStreams({"corners": Corners(1.0), "semantics": SelfSupervised(SEMANTICS)}).fit(data)
    assert found.streams == ((2, 2), (1, 4)) and found.encode_dataset(data).isfinite().all()


def test_what_was_saved_encodes_the_same(streams, data, tmp_path):
    save(tmp_path, streams)
    assert torch.equal(load(tmp_path, FeatureStreams).encode_dataset(data), streams.encode_dataset(data))


@pytest.mark.parametrize(
    "scale, told",
    [
        (
            float("nan"),
            r"encoder of corners \(Corners\): found features that are not finite in 96 of 96 frames.*config",
        ),
        (float("inf"), r"not finite in \d+ of 96"),
        (0.0, r"encoder of corners \(Corners\): found the same features in all 96 frames.*config\.corners"),
    ],
    ids=["nan", "infinite", "constant"],
)
def test_features_that_say_nothing_are_refused(scale, told, data):
    with pytest.raises(InputError, match=told):
        FeatureStreams({"corners": Corners(scale)}).fit(data)


def test_no_encoder_is_none():
    with pytest.raises(InputError, match="found no encoder"):
        FeatureStreams({})
