"""Patch features of DINOv2 and SigLIP: tiny ones with random weights, where transformers is installed."""

import importlib.util
from dataclasses import replace

import pytest
import torch

from burnish.components import load, save
from burnish.data import image_key
from burnish.errors import InputError
from burnish.world_models import FeatureStreams, TransformersFeatures, TransformersFeaturesConfig
from tests.world_models.test_latent_actions import squares

INSTALLED = importlib.util.find_spec("transformers") is not None
VIEW = image_key("view")
CONFIG = TransformersFeaturesConfig("missing", ("view",), image_size=16, resolution=28, patch=14, width=8)


@pytest.mark.skipif(INSTALLED, reason="transformers is installed")
def test_without_the_library_it_is_named():
    with pytest.raises(InputError, match=r"pip install -e .\.\[masks\]"):
        TransformersFeatures(CONFIG).encode({VIEW: torch.zeros(1, 16, 16, 3, dtype=torch.uint8)})


def test_sizes_are_known_before_anything_is_loaded():
    published = TransformersFeatures(TransformersFeaturesConfig())
    assert published.tokens == 81 and published.latent_dim == 81 * 768
    assert TransformersFeatures(replace(CONFIG, cameras=("view", "top"), grid=1)).tokens == 2
    with pytest.raises(InputError, match="resolution of 30, expected at least one and a multiple of the patch, 14"):
        TransformersFeatures(replace(CONFIG, resolution=30))


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("dino")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    transformers.Dinov2Model(transformers.Dinov2Config(**sizes)).save_pretrained(folder)
    transformers.BitImageProcessor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("siglip")
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": 10, "projection_size": 8, "bos_token_id": 0, "eos_token_id": 1}
    vision = {**sizes, "image_size": 28, "patch_size": 14}
    config = transformers.SiglipConfig(text_config=text, vision_config=vision)
    transformers.SiglipModel(config).save_pretrained(folder)
    transformers.SiglipImageProcessor().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["dino", "siglip"])
def test_patches_are_tokens_that_see_their_part_of_the_picture(kind, request, tmp_path):
    encoder = TransformersFeatures(replace(CONFIG, model=str(request.getfixturevalue(kind))))
    data = squares(2)
    found = encoder.encode_dataset(data)
    assert found.shape == (data.num_frames, 4 * 8) and found.isfinite().all() and not found.requires_grad
    assert found.std(0).min() > 0 and not encoder.state_dict()
    # The same, whether alone or among others, and after it was saved without its weights.
    torch.testing.assert_close(encoder.encode({VIEW: data.observations[VIEW][:1]}), found[:1], atol=1e-4, rtol=1e-4)
    save(tmp_path, encoder)
    assert torch.equal(load(tmp_path, TransformersFeatures).encode_dataset(data), found)
    pooled = TransformersFeatures(replace(encoder.config, grid=1)).encode_dataset(data)
    torch.testing.assert_close(pooled, found.unflatten(1, (4, 8)).mean(1), atol=1e-5, rtol=1e-5)
    streams = FeatureStreams({"semantics": encoder}).fit(data)
    assert streams.streams == ((4, 8),)


def test_other_models_are_refused(dino, tmp_path):
    pictures = {VIEW: torch.zeros(1, 16, 16, 3, dtype=torch.uint8)}
    with pytest.raises(InputError, match=r"4 or more of 9; set patch and width"):
        TransformersFeatures(replace(CONFIG, model=str(dino), width=9)).encode(pictures)
    with pytest.raises(InputError, match=f"the model '{tmp_path}' does not load"):
        TransformersFeatures(replace(CONFIG, model=str(tmp_path))).encode(pictures)
