"""GroundingDINO and SAM through transformers: tiny ones with random weights, where it is installed."""

import importlib.util

import numpy as np
import pytest
import torch

from burnish.errors import InputError
from burnish.masks import GroundedConfig, GroundedMasks, MaskConfig, TrackerConfig, View

INSTALLED = importlib.util.find_spec("transformers") is not None


@pytest.mark.skipif(INSTALLED, reason="transformers is installed")
def test_without_the_library_it_is_named():
    with pytest.raises(InputError, match=r"need transformers: pip install -e '\.\[masks\]'"):
        MaskConfig(provider="grounded").make()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of a detector and a segmenter."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    words = root / "vocab.txt"
    words.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "red", "cube", "green", "pad"]))
    swin = transformers.SwinConfig(
        embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=4, out_indices=[2, 3, 4]
    )
    bert = transformers.BertConfig(
        vocab_size=10, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    config = transformers.GroundingDinoConfig(
        backbone_config=swin,
        text_config=bert,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=8,
        num_feature_levels=3,
    )
    transformers.GroundingDinoForObjectDetection(config).save_pretrained(root / "detector")
    size = {"shortest_edge": 64, "longest_edge": 64}
    transformers.GroundingDinoProcessor(
        transformers.GroundingDinoImageProcessor(size=size), transformers.BertTokenizer(str(words))
    ).save_pretrained(root / "detector")
    vision = transformers.SamVisionConfig(
        hidden_size=16,
        output_channels=8,
        num_pos_feats=4,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=64,
        patch_size=16,
        mlp_dim=16,
        window_size=2,
        global_attn_indexes=[0],
    )
    prompt = transformers.SamPromptEncoderConfig(hidden_size=8, image_size=64, patch_size=16, mask_input_channels=4)
    decoder = transformers.SamMaskDecoderConfig(
        hidden_size=8, mlp_dim=16, num_attention_heads=2, iou_head_hidden_dim=8, num_hidden_layers=1
    )
    sam = transformers.SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    transformers.SamModel(sam).save_pretrained(root / "segmenter")
    prepared = transformers.SamImageProcessor(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    transformers.SamProcessor(prepared).save_pretrained(root / "segmenter")
    return root


def settings(models, **changes):
    return GroundedConfig(detector=str(models / "detector"), segmenter=str(models / "segmenter"), **changes)


def view():
    shown = np.full((32, 32, 3), 150, np.uint8)
    shown[8:16, 8:16] = (200, 40, 40)
    return View(shown)


def test_boxes_become_masks_and_are_followed(models):
    """What random weights find is of no account; that every call of the libraries is right is."""
    masks = GroundedMasks(settings(models, box_threshold=0.0, text_threshold=0.0), TrackerConfig())
    box = masks.detected(view().picture, "red cube")
    assert box is not None and box.shape == (4,) and np.isfinite(box).all()
    found = masks.segmented(view().picture, [np.array([8, 8, 16, 16], np.float32), None])
    assert found.shape == (2, 32, 32) and found.dtype == bool and not found[1].any()
    begun = masks.begin(view(), ["red cube", "green pad"])
    assert begun.shape == (2, 32, 32) and masks.follow(view()).shape == (2, 32, 32)


def test_what_is_not_sure_enough_is_not_there(models):
    masks = GroundedMasks(settings(models, box_threshold=1.0), TrackerConfig())
    assert masks.detected(view().picture, "red cube") is None
    assert not masks.begin(view(), ["red cube"]).any()


def test_a_model_that_does_not_load_is_named(models, tmp_path):
    with pytest.raises(InputError, match=r"the model '.*nowhere' does not load"):
        GroundedMasks(GroundedConfig(detector=str(tmp_path / "nowhere")), TrackerConfig())
