"""Fidelity of imagined pictures in a world where every number follows from a square's position."""

import json
import math
from dataclasses import replace

import pytest
import torch

from burnish.data import STATE
from burnish.errors import InputError
from burnish.evaluation.feature_networks import FeatureNetworks, Features, Perceptual
from burnish.evaluation.fidelity import picture_fidelity
from burnish.evaluation.picture_metrics import PSNR_CAP
from burnish.world_models import RSSM, RSSM_PRESETS
from tests.evaluation.moving_square import CAMERA, KEY, SIDE, SIZE, SquareWorld, always_right, hold, squares


def column_of(pictures):
    """The square's left edge, (N, 1)."""
    return (pictures[:, 15, :, 0] > 0).float().argmax(1, keepdim=True).float()


def gap(pictures, target):
    return (column_of(pictures) - column_of(target)).abs()[:, 0]


NETWORKS = FeatureNetworks(
    lpips=Perceptual("gap", gap),
    fid=Features("column", column_of),
    fvd=Features("path", lambda videos: column_of(videos.flatten(0, 1)).view(len(videos), -1), min_frames=4),
    own=Features("trunk", column_of),
)


def dataset():
    """Experts push right and the policy left by one a step; random motion goes to and fro."""
    return squares(
        [("expert", 2, [1] * 10), ("expert", 5, [1] * 10), ("policy", 20, [-1] * 10), ("random", 9, [1, -1] * 5)]
    )


def psnr_of(columns_off):
    """Two edges of `columns_off` columns and 8 rows are wrong by 255."""
    return 10 * math.log10(SIZE * SIZE / (2 * SIDE * columns_off))


def test_a_perfect_model_and_hold_last_by_hand():
    found = picture_fidelity(SquareWorld(), dataset(), horizon=3, seed=0, networks=NETWORKS).summary()
    assert list(found["sources"]) == ["expert", "policy", "random"]
    assert (found["camera"], found["horizon"], found["missing"]) == (CAMERA, [1, 2, 3], {})
    assert found["networks"] == {"lpips": "gap", "fid": "column", "fvd": "path", "frechet_own": "trunk"}
    expert = found["sources"]["expert"]
    assert (expert["episodes"], expert["windows"]) == (2, 16)
    assert expert["psnr"]["model"] == [PSNR_CAP] * 3
    assert expert["psnr"]["hold_last"] == pytest.approx([psnr_of(1), psnr_of(2), psnr_of(3)])
    assert expert["psnr_moving"]["model"] == [PSNR_CAP] * 3
    assert expert["psnr_moving"]["hold_last"] == pytest.approx([0, 0, 0], abs=1e-5)
    assert expert["psnr_moving"]["windows"] == [16] * 3
    assert expert["ssim"]["model"] == pytest.approx([1] * 3)
    assert 1 > expert["ssim"]["hold_last"][0] > expert["ssim"]["hold_last"][1] > expert["ssim"]["hold_last"][2]
    assert expert["lpips"] == {"model": [0, 0, 0], "hold_last": [1, 2, 3]}
    json.dumps(found, allow_nan=False)


def test_frechet_distances_by_hand():
    """Holding shifts the columns of horizon h by h, and leaves the paths' spread where it was."""
    found = picture_fidelity(SquareWorld(), dataset(), horizon=3, seed=0, networks=NETWORKS).summary()
    policy = found["sources"]["policy"]
    assert policy["windows"] == 8
    for name in ("fid", "frechet_own"):
        assert (policy[name]["samples"], policy[name]["feature_dim"]) == (24, 1)
        assert policy[name]["model"] == pytest.approx(0, abs=1e-9)
        assert policy[name]["hold_last_by_horizon"] == pytest.approx([1, 4, 9])
        assert policy[name]["model_by_horizon"] == pytest.approx([0, 0, 0], abs=1e-9)
    # A path x, x − 1, x − 2, x − 3 against x, x, x, x: 1 + 4 + 9, with the same covariance.
    assert policy["fvd"]["samples"] == 8 and policy["fvd"]["feature_dim"] == 4
    assert policy["fvd"]["hold_last"] == pytest.approx(14)
    assert policy["fvd"]["model"] == pytest.approx(0, abs=1e-9)


def test_where_nothing_moves_the_moving_number_is_none():
    """To and fro: after two steps every square is back, and holding is perfect."""
    random = picture_fidelity(SquareWorld(), dataset(), horizon=2, seed=0).summary()["sources"]["random"]
    assert random["psnr"]["hold_last"] == pytest.approx([psnr_of(1), PSNR_CAP])
    assert random["psnr_moving"]["model"] == [PSNR_CAP, None]
    assert random["psnr_moving"]["windows"] == [9, 0]


def test_a_model_that_holds_equals_hold_last():
    found = picture_fidelity(SquareWorld(hold), dataset(), horizon=3, seed=0, networks=NETWORKS)
    for source in found.sources.values():
        for by_predictor in source.errors.values():
            torch.testing.assert_close(by_predictor["model"], by_predictor["hold_last"], equal_nan=True)
        for distance in source.distances.values():
            assert distance["model"] == pytest.approx(distance["hold_last"])


def test_a_model_that_ignores_actions_is_right_where_they_agree_with_it():
    found = picture_fidelity(SquareWorld(always_right), dataset(), horizon=3, seed=0, networks=NETWORKS).summary()
    assert found["sources"]["expert"]["psnr"]["model"] == [PSNR_CAP] * 3
    assert found["sources"]["policy"]["lpips"]["model"] == [2, 4, 6]
    assert found["sources"]["policy"]["psnr"]["model"] == pytest.approx([psnr_of(2), psnr_of(4), psnr_of(6)])


def test_chunks_of_actions_are_asked_at_their_ends():
    found = picture_fidelity(SquareWorld(chunk=2), dataset(), horizon=2, seed=0, networks=NETWORKS).summary()
    assert found["frames_per_step"] == 2
    assert found["missing"] == {"fvd": "FVD: its network needs 4 frames, a window has 3"}
    expert = found["sources"]["expert"]
    assert expert["windows"] == 2 * 7
    assert expert["lpips"] == {"model": [0, 0], "hold_last": [2, 4]}


def test_without_networks_their_numbers_are_missing():
    found = picture_fidelity(SquareWorld(), dataset(), horizon=2, seed=0).summary()
    assert set(found["missing"]) == {"lpips", "fid", "fvd", "frechet_own"}
    assert "weights not on this machine" in found["missing"]["fid"]
    assert set(found["sources"]["expert"]) == {"episodes", "windows", "psnr", "psnr_moving", "ssim"}


def test_limit_seed_batches_and_memory():
    """The states of one batch's episodes are enough; the size of a batch changes nothing."""
    data = squares([("expert", start, [1] * 10) for start in range(8)])
    world = SquareWorld(lambda x, push, g: x + push + torch.randint(0, 3, x.shape, generator=g))
    one, two, other = (picture_fidelity(world, data, 2, seed, limit=12) for seed in (0, 0, 1))
    assert one.sources["expert"].windows == 12
    assert one.summary() == two.summary() != other.summary()
    exact = SquareWorld()
    whole = picture_fidelity(exact, data, 2, 0, networks=NETWORKS, limit=12).summary()
    assert exact.largest_read > 11
    exact.largest_read = 0
    assert picture_fidelity(exact, data, 2, 0, networks=NETWORKS, limit=12, batch=1).summary() == whole
    assert exact.largest_read == 11


def test_a_source_of_short_episodes_is_named():
    data = squares([("expert", 2, [1] * 10), ("random", 2, [1] * 2)])
    found = picture_fidelity(SquareWorld(), data, horizon=3, seed=0).summary()
    assert list(found["sources"]) == ["expert"]
    assert found["missing"]["random"] == "random: no episode has more than 3 frames"
    with pytest.raises(InputError, match="no episode longer than 11 frames"):
        picture_fidelity(SquareWorld(), data, horizon=11, seed=0)


def test_bad_input_is_named():
    with pytest.raises(InputError, match=f"found decoded \\['{STATE}'\\], expected '{KEY}': it predicts no pictures"):
        picture_fidelity(SquareWorld(pictures=False), dataset(), horizon=2, seed=0)
    with pytest.raises(InputError, match=r"expected 'observation.images.wrist'"):
        picture_fidelity(SquareWorld(), dataset(), horizon=2, seed=0, camera="wrist")
    data = dataset()
    data.observations[KEY] = data.observations[KEY][:, :16, :16]
    with pytest.raises(InputError, match=r"decoded pictures of \(32, 32, 3\), expected \(16, 16, 3\)"):
        picture_fidelity(SquareWorld(), data, horizon=2, seed=0)
    del data.observations[KEY]
    with pytest.raises(InputError, match=r"expected 'observation.images.<camera>'"):
        picture_fidelity(SquareWorld(), data, horizon=2, seed=0)


def test_a_recurrent_world_model_with_a_camera():
    """Untrained, so worse than holding; what it draws from the recorded state is compared frame by frame."""
    data = dataset()
    large = data.observations[KEY].repeat_interleave(2, 1).repeat_interleave(2, 2)
    data = replace(data, observations={**data.observations, KEY: large})
    torch.manual_seed(0)
    model = RSSM(1, 1, replace(RSSM_PRESETS["tiny"], cameras=(CAMERA,))).fit(data).eval()
    found = picture_fidelity(model, data, horizon=2, seed=0, limit=3)
    assert found.sources["expert"].errors["psnr"]["model"].shape == (3, 2)
    for told in found.summary()["sources"].values():
        assert max(told["psnr"]["model"]) < min(told["psnr"]["hold_last"])
        assert told["psnr"]["hold_last"][0] == pytest.approx(psnr_of(1))
        assert all(0 < value < 20 for value in told["psnr"]["model"])
