"""The history of pictures: the same step by step and in windows, exact bytes, clear words about unusable pictures."""

import dataclasses

import numpy as np
import pytest
import torch

from burnish.data import Windows
from burnish.errors import InputError
from burnish.world_models import PixelHistory, PixelHistoryConfig
from burnish.world_models.pixel_history import signed, to_levels
from tests.world_models.moving_dot import CAMERA, KEY, SIZE, moving_dot

CONFIG = PixelHistoryConfig((CAMERA,), image_size=SIZE, frames=3)


def frame(*values, size=SIZE):
    """One picture a row, of one shade each."""
    shades = torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1)
    return {KEY: shades.expand(-1, size, size, 3)}


def actions(*values):
    return torch.tensor(values, dtype=torch.float32).unsqueeze(1)


def shades(state):
    return state.frames[:, :, 0, 0, 0].tolist()


def test_push_order_by_hand():
    history = PixelHistory(1, CONFIG)
    state = history.initial(1)
    assert state.frames.shape == (1, 3, 3, SIZE, SIZE) and not state.valid.any()
    state = history.observe(state, actions(0.9), frame(5))
    assert shades(state) == [[5, 5, 5]] and state.valid.tolist() == [[False, False, True]]
    assert state.action.flatten().tolist() == [0, 0, 0]
    state = history.observe(state, actions(0.1), frame(6))
    assert shades(state) == [[5, 5, 6]] and state.action.flatten().tolist() == pytest.approx([0, 0.1, 0])
    state = history.observe(state, actions(0.2), frame(7))
    state = history.observe(state, actions(0.3), frame(8))
    assert shades(state) == [[6, 7, 8]] and state.valid.all()
    assert state.action.flatten().tolist() == pytest.approx([0.2, 0.3, 0])


def test_partial_restart():
    """Row 1 begins anew while row 0 goes on."""
    history = PixelHistory(1, CONFIG)
    state = history.observe(history.initial(2), None, frame(1, 10))
    state = history.observe(state, actions(0.5, 0.6), frame(2, 20))
    state = state.where(torch.tensor([False, True]), history.initial(2))
    state = history.observe(state, actions(0.7, 0.8), frame(3, 30))
    assert shades(state) == [[1, 2, 3], [30, 30, 30]]
    assert state.valid.tolist() == [[True, True, True], [False, False, True]]


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_recorded_equals_observed(frames):
    dataset = moving_dot(3, length=5)
    history = PixelHistory(2, dataclasses.replace(CONFIG, frames=frames))
    recorded = history.recorded(dataset)
    for start, length in zip(dataset.starts.tolist(), dataset.lengths.tolist(), strict=True):
        state = history.initial(1)
        for i in range(start, start + length):
            action = dataset.actions[i - 1 : i] if i > start else None
            state = history.observe(state, action, {KEY: dataset.observations[KEY][i : i + 1]})
            for name, tensor in state.tensors().items():
                assert torch.equal(tensor[0], recorded.tensors()[name][i]), (name, i)


def test_two_cameras_are_stacked_and_come_back():
    history = PixelHistory(1, PixelHistoryConfig(("left", "right"), image_size=4, frames=2, feature_frames=2))
    generator = torch.Generator().manual_seed(0)
    observation = {
        f"observation.images.{name}": torch.randint(256, (2, 4, 4, 3), generator=generator, dtype=torch.uint8)
        for name in ("right", "left")
    }
    state = history.observe(history.initial(2), None, observation)
    assert state.frames.shape == (2, 2, 6, 4, 4)
    assert torch.equal(state.frames[0, 0, 1], observation["observation.images.left"][0, :, :, 1])
    decoded = history.decode(state)
    assert list(decoded) == ["observation.images.left", "observation.images.right"]
    assert all(torch.equal(decoded[key], observation[key]) for key in decoded)
    features = history.features(state)
    assert features.shape == (2, history.feature_dim) and history.feature_dim == 2 * 6 * 16
    assert torch.equal(features.view(2, *history.feature_shape), signed(state.frames))


def test_bytes_survive():
    every = torch.arange(256, dtype=torch.uint8)
    assert signed(every)[[0, 255]].tolist() == [-1, 1]
    assert torch.equal(to_levels(signed(every)), every)
    assert to_levels(torch.tensor([-3.0, 0.0, 7.0])).tolist() == [0, 128, 255]


def test_windows():
    dataset, history = moving_dot(2, length=6), PixelHistory(2, CONFIG)
    windows = Windows(dataset, history=3, horizon=2)
    state = history.window_state(windows.gather(windows.present_frames))
    assert torch.equal(state.frames, history.recorded(dataset).rows(windows.present_frames).frames)


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        ({"observation.state": torch.zeros(1, 2)}, rf"{KEY}: found only \['observation.state'\]"),
        (frame(1, size=16), r"found shape \(1, 16, 16, 3\), expected uint8 \(…, 8, 8, 3\)"),
        ({KEY: frame(1)[KEY].movedim(-1, 1)}, r"found shape \(1, 3, 8, 8\), channels first"),
        ({KEY: frame(1)[KEY].float()}, r"found torch\.float32, expected uint8"),
        ({KEY: frame(1)[KEY].numpy()}, "found ndarray"),
        ({KEY: np.zeros(3)}, "found ndarray"),
        ({KEY: frame(1)[KEY][0]}, r"shape \(8, 8, 3\), expected one per row"),
    ],
)
def test_unusable_pictures(observation, message):
    history = PixelHistory(1, CONFIG)
    with pytest.raises(InputError, match=message):
        history.observe(history.initial(1), None, observation)


@pytest.mark.parametrize(
    "settings", [{"cameras": ()}, {"cameras": ("a", "a")}, {"feature_frames": 4}, {"feature_frames": 0}, {"frames": 0}]
)
def test_impossible_settings(settings):
    with pytest.raises(InputError, match="expected"):
        dataclasses.replace(CONFIG, **settings)
