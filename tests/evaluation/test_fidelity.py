"""Fidelity of imagined pictures in a world where every number follows from a square's position."""

import json
import math

import pytest
import torch

from burnish.data import STATE
from burnish.errors import InputError
from burnish.evaluation.fidelity import picture_fidelity
from burnish.evaluation.picture_metrics import PSNR_CAP
from tests.evaluation.moving_square import CAMERA, KEY, SIDE, SIZE, SquareWorld, always_right, hold, squares


def dataset():
    """Experts push right and the policy left by one a step; random motion goes to and fro."""
    return squares(
        [("expert", 2, [1] * 10), ("expert", 5, [1] * 10), ("policy", 20, [-1] * 10), ("random", 9, [1, -1] * 5)]
    )


def psnr_of(columns_off):
    """Two edges of `columns_off` columns and 8 rows are wrong by 255."""
    return 10 * math.log10(SIZE * SIZE / (2 * SIDE * columns_off))


def test_a_perfect_model_and_hold_last_by_hand():
    found = picture_fidelity(SquareWorld(), dataset(), horizon=3, seed=0).summary()
    assert list(found["sources"]) == ["expert", "policy", "random"]
    assert (found["camera"], found["horizon"], found["missing"]) == (CAMERA, [1, 2, 3], {})
    expert = found["sources"]["expert"]
    assert (expert["episodes"], expert["windows"]) == (2, 16)
    assert expert["psnr"]["model"] == [PSNR_CAP] * 3
    assert expert["psnr"]["hold_last"] == pytest.approx([psnr_of(1), psnr_of(2), psnr_of(3)])
    assert expert["psnr_moving"]["model"] == [PSNR_CAP] * 3
    assert expert["psnr_moving"]["hold_last"] == pytest.approx([0, 0, 0], abs=1e-5)
    assert expert["psnr_moving"]["windows"] == [16] * 3
    assert expert["ssim"]["model"] == pytest.approx([1] * 3)
    assert 1 > expert["ssim"]["hold_last"][0] > expert["ssim"]["hold_last"][1] > expert["ssim"]["hold_last"][2]
    json.dumps(found, allow_nan=False)


def test_where_nothing_moves_the_moving_number_is_none():
    """To and fro: after two steps every square is back, and holding is perfect."""
    random = picture_fidelity(SquareWorld(), dataset(), horizon=2, seed=0).summary()["sources"]["random"]
    assert random["psnr"]["hold_last"] == pytest.approx([psnr_of(1), PSNR_CAP])
    assert random["psnr_moving"]["model"] == [PSNR_CAP, None]
    assert random["psnr_moving"]["windows"] == [9, 0]


def test_a_model_that_holds_equals_hold_last():
    found = picture_fidelity(SquareWorld(hold), dataset(), horizon=3, seed=0)
    for source in found.sources.values():
        for by_predictor in source.errors.values():
            torch.testing.assert_close(by_predictor["model"], by_predictor["hold_last"], equal_nan=True)


def test_a_model_that_ignores_actions_is_right_where_they_agree_with_it():
    found = picture_fidelity(SquareWorld(always_right), dataset(), horizon=3, seed=0).summary()
    assert found["sources"]["expert"]["psnr"]["model"] == [PSNR_CAP] * 3
    assert found["sources"]["policy"]["psnr"]["model"] == pytest.approx([psnr_of(2), psnr_of(4), psnr_of(6)])


def test_chunks_of_actions_are_asked_at_their_ends():
    found = picture_fidelity(SquareWorld(chunk=2), dataset(), horizon=2, seed=0).summary()
    assert found["frames_per_step"] == 2
    expert = found["sources"]["expert"]
    assert expert["windows"] == 2 * 7
    assert expert["psnr"]["model"] == [PSNR_CAP] * 2
    assert expert["psnr"]["hold_last"] == pytest.approx([psnr_of(2), psnr_of(4)])


def test_limit_seed_batches_and_memory():
    """The states of one batch's episodes are enough; the size of a batch changes nothing."""
    data = squares([("expert", start, [1] * 10) for start in range(8)])
    world = SquareWorld(lambda x, push, g: x + push + torch.randint(0, 3, x.shape, generator=g))
    one, two, other = (picture_fidelity(world, data, 2, seed, limit=12) for seed in (0, 0, 1))
    assert one.sources["expert"].windows == 12
    assert one.summary() == two.summary() != other.summary()
    exact = SquareWorld()
    whole = picture_fidelity(exact, data, 2, 0, limit=12).summary()
    assert exact.largest_read > 11
    exact.largest_read = 0
    assert picture_fidelity(exact, data, 2, 0, limit=12, batch=1).summary() == whole
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
