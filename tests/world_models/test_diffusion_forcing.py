"""Diffusion forcing: its formulas, what sampling leaves alone, and that it learns."""

import dataclasses

import pytest
import torch

from burnish.components import load, save
from burnish.data import Windows
from burnish.errors import InputError
from burnish.networks import FrameDiTConfig
from burnish.world_models import (
    DiffusionForcing,
    DiffusionForcingConfig,
    FilmConfig,
    FilmHistory,
    PatchLatents,
    PatchLatentsConfig,
    instructions_of,
    with_instructions,
)
from tests.world_models.moving_dot import CAMERA, SIZE, moving_dot

NETWORK = FrameDiTConfig(width=16, depth=1, heads=2)


@pytest.fixture(scope="module")
def data():
    return with_instructions(moving_dot(6))


def world_of(data, frames=3, arbitrary=True, **config):
    torch.manual_seed(0)
    history = FilmHistory(2, FilmConfig((CAMERA,), SIZE, frames=frames, film=2), instructions_of(data), "dot")
    encoder = PatchLatents(3, SIZE, PatchLatentsConfig(4, 24))
    encoder.fit(history.pictures_of.pictures(data.observations))
    world = DiffusionForcing(history, encoder, DiffusionForcingConfig(NETWORK, **{"steps": 3, **config}))
    if arbitrary:
        with torch.no_grad():
            for parameter in world.network.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return world.eval()


def imagine(world, data, frames, action=None, seed=0):
    state = world.recorded(data).rows(frames)
    action = data.actions[frames] if action is None else action
    with torch.no_grad():
        return state, world.imagine(state, action, torch.Generator().manual_seed(seed))


def test_latents_of_all_components_are_the_picture_again(data):
    world = world_of(data)
    frames = world.history.pictures_of.pictures(data.observations)
    encoder = PatchLatents(3, SIZE, PatchLatentsConfig(4, 48)).fit(frames)
    latents = encoder.encode(frames.unflatten(0, (6, 12)))
    assert latents.shape == (6, 12, 4, 48) and float(latents.std()) == pytest.approx(1, abs=0.01)
    assert torch.equal(encoder.decode(latents).flatten(0, 1), frames)
    with pytest.raises(InputError, match="patches of 3"):
        PatchLatents(3, SIZE, PatchLatentsConfig(3, 4))


@pytest.mark.parametrize("objective", ["v", "flow"])
def test_one_exact_step_from_noise_to_clean(data, objective):
    """A network that knows the velocity reaches the clean latent; v, clean and noise are each other's rotation."""
    world = world_of(data, objective=objective)
    clean, noise = torch.randn(2, 1, 4, 24), torch.randn(2, 1, 4, 24)
    for now in (1.0, 0.6):
        signal, share = (float(each) for each in world.shares(torch.tensor(now)))
        x = signal * clean + share * noise
        v = noise - clean if objective == "flow" else signal * noise - share * clean
        torch.testing.assert_close(world._moved(x, v, now, 0.0), clean, atol=1e-4, rtol=1e-4)
        signal, share = (float(each) for each in world.shares(torch.tensor(0.3)))
        torch.testing.assert_close(world._moved(x, v, now, 0.3), signal * clean + share * noise, atol=1e-4, rtol=1e-4)


def test_the_schedule_goes_from_clean_to_noise(data):
    signal, share = world_of(data).shares(torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(signal.square() + share.square(), torch.ones(3))
    torch.testing.assert_close(signal, torch.tensor([1.0, 0.5**0.5, 1e-9**0.5]), atol=1e-4, rtol=1e-4)


def test_sampling_leaves_past_frames_and_slides_the_window(data):
    """Nine times with a window of three: each frame that was imagined is once newest, then moves on, unchanged."""
    world, frames = world_of(data), torch.tensor([0, 12])
    state = world.recorded(data).rows(frames)
    for step in range(9):
        with torch.no_grad():
            following = world.imagine(state, data.actions[frames + step], torch.Generator().manual_seed(step))
        assert torch.equal(following.frames[:, :-1], state.frames[:, 1:])
        assert torch.equal(following.action[:, -2], data.actions[frames + step])
        assert following.age.tolist() == [step + 1] * 2
        state = following
    assert bool(state.valid.all())


def test_rows_do_not_know_of_each_other_and_actions_matter(data):
    world, frames = world_of(data), torch.tensor([3, 8])
    _, one = imagine(world, data, frames)
    changed = data.actions[frames].clone()
    changed[1] = -changed[1]
    _, other = imagine(world, data, frames, changed)
    assert torch.equal(one.frames[0], other.frames[0]) and not torch.equal(one.frames[1, -1], other.frames[1, -1])


def test_what_an_unknown_past_shows_is_of_no_account(data):
    """An episode's first frame is repeated where there was none before it."""
    world = world_of(data)
    state, one = imagine(world, data, torch.tensor([0]))
    state.frames[:, :2] = 7
    with torch.no_grad():
        other = world.imagine(state, data.actions[:1], torch.Generator().manual_seed(0))
    assert state.valid.tolist() == [[False, False, True]] and torch.equal(one.frames[:, -1], other.frames[:, -1])


def test_guidance_goes_beyond_the_prediction_with_actions(data):
    frames = torch.tensor([3, 8])
    plain, same, more = (
        imagine(world_of(data, guidance=weight), data, frames)[1].frames for weight in (1.0, 1.0 + 1e-9, 3.0)
    )
    assert (plain.int() - same.int()).abs().max() <= 1 and not torch.equal(plain, more)
    with pytest.raises(InputError, match=r"guidance 2.0 without action_dropout"):
        DiffusionForcingConfig(guidance=2.0, action_dropout=0.0)


@pytest.mark.parametrize("objective", ["v", "flow"])
def test_it_learns_and_ends_as_it_was_saved(data, objective, tmp_path):
    world = world_of(data, arbitrary=False, objective=objective)
    windows, generator = Windows(data, 3, 1), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(world.network.parameters(), 5e-3)
    losses = []
    for _ in range(80):
        loss, _ = world.loss(windows.sample(32, generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.75 * sum(losses[:10])
    save(tmp_path, world.eval())
    _, one = imagine(world, data, torch.tensor([5]))
    _, other = imagine(load(tmp_path, DiffusionForcing), data, torch.tensor([5]))
    assert torch.equal(one.frames, other.frames)


def test_actions_of_another_size(data):
    wrong = dataclasses.replace(data, actions=data.actions[:, :1])
    with pytest.raises(InputError, match="field 'action': found 1 values, expected 2"):
        world_of(data).check(wrong)
