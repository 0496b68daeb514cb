"""Depth as pictures, cameras from a file, and what is refused of both."""

import json

import numpy as np
import pytest
import torch

from burnish.data import (
    STATE,
    Camera,
    check_depth,
    depth_camera,
    image_key,
    is_shown_key,
    pack_depth,
    read_cameras,
    unpack_depth,
)
from burnish.data.framing import Framing
from burnish.errors import InputError

STRAIGHT = {"focal": [1.0, 1.0], "centre": [0.5, 0.5], "rotation": [1, 0, 0, 0, 1, 0, 0, 0, 1], "position": [0, 0, 0]}


def test_metres_become_two_bytes_of_millimetres_and_come_back():
    packed = pack_depth(np.array([[0.001, 1.2344], [0.256, 65.4]]))
    assert packed.dtype == np.uint8 and packed.shape == (2, 2, 3)
    assert packed[1, 0].tolist() == [1, 0, 0] and packed[0, 0].tolist() == [0, 1, 0]
    back = unpack_depth(torch.from_numpy(packed))
    torch.testing.assert_close(back, torch.tensor([[0.001, 1.234], [0.256, 65.4]]))


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, 66.0], ids=["zero", "negative", "nan", "infinite", "far"])
def test_what_is_no_depth_is_a_hole(value):
    assert pack_depth(np.array([value])).tolist() == [[0, 0, 0]]


def pictures(metres):
    return torch.from_numpy(pack_depth(np.asarray(metres, np.float32)))


def test_the_share_of_holes():
    assert check_depth(pictures([[[1.0, 0.0], [2.0, 3.0]]]), "here", 0.3) == pytest.approx(0.25)


@pytest.mark.parametrize(
    "made, told",
    [
        (pictures([[[1.0, 0.0], [0.0, 3.0]]]), r"here: found holes \(0\) in 50% of the pixels, expected at most 30%"),
        (pictures([[[1000.0 / 1000 / 1000] * 2] * 2]), r"a median of 0.001 m .*expected millimetres"),
        (pictures([[[60.0, 61.0]]]), r"a median of 60 m when read as millimetres"),
        (torch.full((1, 2, 2, 3), 90, dtype=torch.uint8), r"third channel that is not 0"),
    ],
    ids=["holes", "metres", "tenths", "grey"],
)
def test_holes_and_other_units_are_refused(made, told):
    with pytest.raises(InputError, match=told):
        check_depth(made, "here", 0.3)


def test_cameras_are_read(tmp_path):
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps({"front": STRAIGHT, "side": {**STRAIGHT, "position": [1, 2, 3]}}))
    front, side = read_cameras(path, ("front", "side"))
    assert front == Camera((1.0, 1.0), (0.5, 0.5), (1, 0, 0, 0, 1, 0, 0, 0, 1), (0, 0, 0)) and side.position[2] == 3


@pytest.mark.parametrize(
    "content, told",
    [
        ({"side": STRAIGHT}, r"cameras.json, field 'front': found cameras side, expected one of the name 'front'"),
        ([], r"cameras.json: found a list, expected an object"),
        ({"front": {k: v for k, v in STRAIGHT.items() if k != "focal"}}, r"cameras.json: field 'front'.*focal"),
        (
            {"front": {**STRAIGHT, "focal": [0, 1]}},
            r"focal lengths \(0.0, 1.0\).*expected finite numbers that are not 0",
        ),
        ({"front": {**STRAIGHT, "rotation": [2, 0, 0, 0, 1, 0, 0, 0, 1]}}, r"expected an orthonormal matrix"),
    ],
    ids=["other", "list", "no-intrinsics", "zero", "no-rotation"],
)
def test_cameras_without_intrinsics_are_refused(content, told, tmp_path):
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=told):
        read_cameras(path, ("front",))


def test_depth_is_chosen_and_not_averaged_where_pictures_are_made_smaller():
    depth = np.array([[1.0, 2.0], [1.0, 2.0]])
    packed = np.repeat(np.repeat(pack_depth(depth), 3, 0), 3, 1)
    view = Framing.told(2, ()).of(depth_camera("front"))
    assert np.array_equal(view.apply(packed), pack_depth(depth))
    assert not Framing.told(2, ()).of("front").chosen


def test_depth_is_not_looked_at():
    keys = [STATE, image_key("top"), image_key(depth_camera("top"))]
    assert [key for key in keys if is_shown_key(key)] == [image_key("top")]
