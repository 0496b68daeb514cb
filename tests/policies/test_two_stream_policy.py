"""The two-stream policy: masks that are missing while it is cloned, and what it refuses."""

import dataclasses

import pytest
import torch

from burnish.errors import InputError
from burnish.policies import TwoStreamPolicy, TwoStreamPolicyConfig

CONFIG = TwoStreamPolicyConfig(
    frames=2, image_size=32, widths=(8, 8), embedding=16, hidden=(16,), shift=0, mask_dropout=0.25
)
F = 2 * 6 * 32**2


def make(**changes):
    torch.manual_seed(0)
    return TwoStreamPolicy(F, 2, dataclasses.replace(CONFIG, **changes))


def test_masks_go_missing_in_all_frames_and_colours_never_do():
    features = torch.rand(400, F) * 2 - 1
    rows = make().augment(features, torch.Generator().manual_seed(0)).view(400, 2, 6, -1)
    before = features.view(400, 2, 6, -1)
    gone = (rows == -1).all(-1)
    assert torch.equal(rows[:, :, :3], before[:, :, :3]) and not gone[:, :, :3].any()
    assert torch.equal(gone[:, 0], gone[:, 1]), "both frames of a row"
    assert torch.equal(torch.where(gone[..., None], before, rows), before), "what is left is as it was"
    share = gone[:, 0, 3:].float().mean(0)
    assert ((share - 0.25).abs() < 0.08).all() and len(gone[:, 0, 3:].unique(dim=0)) == 8, "each by itself"


def test_without_dropout_features_stay():
    features = torch.rand(3, F)
    assert torch.equal(make(mask_dropout=0.0).augment(features), features)


def test_colours_and_masks_shift_together():
    frame = torch.rand(8, 1, 1, 32, 32).expand(-1, 2, 6, -1, -1)
    moved = make(shift=2, mask_dropout=0.0).augment(frame.flatten(1), torch.Generator().manual_seed(0))
    moved = moved.view(8, 2, 6, 32, 32)
    assert torch.equal(moved[:, :, :3], moved[:, :, 3:]) and not torch.equal(moved, frame)


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"masks": 6}, "found 6 masks among 6 channels, expected fewer"),
        ({"channels": 9}, "expected frames × channels × image_size² = 2 × 9 × 32²"),
    ],
    ids=["no-colours", "other-size"],
)
def test_what_is_refused(changes, told):
    with pytest.raises(InputError, match=told):
        make(**changes)
