"""The diffusion world model on pixels: EDM's limits, the contract, speed, and what it learns of a moving dot."""

import copy
import dataclasses
import math

import pytest
import torch

from burnish.components import load, save
from burnish.data import Windows, unlabelled_video
from burnish.errors import InputError
from burnish.networks import ActionModulesConfig, AdapterConfig, DiTConfig, UNetConfig, preconditioning
from burnish.training import TrainingConfig, fit
from burnish.world_models import (
    NoiseLevels,
    PixelDiffusion,
    PixelDiffusionConfig,
    PixelHistory,
    PixelHistoryConfig,
    SamplerConfig,
    SpeedConfig,
)
from burnish.world_models.pixel_diffusion import motion_weights
from burnish.world_models.pixel_history import signed
from burnish.world_models.pixel_speed import CACHE_BYTES, FrozenNetwork
from burnish.world_models.sampler import offset_noise
from tests.world_models.moving_dot import CAMERA, KEY, SIZE, moving_dot

SMALL = PixelDiffusionConfig(
    preset="custom",
    unet=UNetConfig((16, 32), (1, 1), (False, False), 32),
    dit=DiTConfig(patch=2, width=32, depth=2, heads=2),
)
BACKBONES = ("unet", "dit")


def untrained(backbone="unet", scale=0.1, frames=2, encoding="two_hot", **settings):
    """A model with arbitrary weights: at birth its network outputs zero."""
    torch.manual_seed(0)
    history = PixelHistory(2, PixelHistoryConfig((CAMERA,), SIZE, frames=frames, action_encoding=encoding, bins=5))
    model = PixelDiffusion(history, dataclasses.replace(SMALL, backbone=backbone, **settings))
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model.eval()


def some_states(model, count=5):
    dataset = moving_dot(2)
    state = model.recorded(dataset).rows(torch.arange(3, 3 + count))
    return state, dataset.actions[3 : 3 + count]


def step(model, state, action, seed=0):
    return model.imagine(state, action, torch.Generator().manual_seed(seed))


def numbers(model, state, action, speed, x):
    """F_θ as a sampler hears it with other choices of speed."""
    network = FrozenNetwork(model.network, speed)
    context, actions = model.context(state.frames), model.encoded_actions(state, action)
    return network(x, torch.full((1,), -0.3), network.embed(context, actions, torch.full((1,), -1.0)))


# The contract ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", BACKBONES)
def test_imagination_pushes_the_history(backbone):
    model = untrained(backbone)
    state, action = some_states(model)
    following = step(model, state, action)
    assert torch.equal(following.frames[:, :-1], state.frames[:, 1:]) and following.frames.dtype == torch.uint8
    assert torch.equal(following.action[:, -2], action) and (following.action[:, -1] == 0).all()
    assert following.valid.all()
    assert model.features(following).shape == (5, model.feature_dim)
    assert model.decode(following)[KEY].shape == (5, SIZE, SIZE, 3)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_generator_decides(backbone):
    model = untrained(backbone)
    state, action = some_states(model)
    assert torch.equal(step(model, state, action, 1).frames, step(model, state, action, 1).frames)
    assert not torch.equal(step(model, state, action, 1).frames, step(model, state, action, 2).frames)


def test_imagination_leaves_the_global_generator_alone():
    model = untrained()
    state, action = some_states(model)
    before = torch.get_rng_state()
    step(model, state, action)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("method", ["euler", "heun"])
def test_without_noise_a_prediction_is_the_input(method):
    """σ → 0: c_skip → 1 and c_out → 0, so D(x) = x whatever the network says; no level changes the picture."""
    model = untrained(scale=1.0)
    tiny = torch.tensor(1e-6)
    c_skip, c_out, _, _ = preconditioning(tiny, model.config.sigma_data)
    assert c_skip.item() == pytest.approx(1) and c_out.item() == pytest.approx(1e-6)
    still = SamplerConfig(steps=3, method=method, sigma_max=2e-6, sigma_min=1e-6)
    model.config = dataclasses.replace(model.config, sampler=still)
    state, action = some_states(model)
    newest = step(model, state, action).frames[:, -1]
    assert newest.unique().tolist() == [127, 128]  # the start noise, 127.5 and a little


def test_a_silent_network_has_a_loss_of_one():
    """The network's target has variance one at every noise level where pixels have variance σ_data²."""
    dataset = moving_dot(4)
    generator = torch.Generator().manual_seed(0)
    noise = (torch.randn(dataset.observations[KEY].shape, generator=generator) * 0.2 * 127.5 + 127.5).clamp(0, 255)
    dataset = dataclasses.replace(dataset, observations={KEY: noise.round().to(torch.uint8)})
    model = untrained(scale=0.0, sigma_data=0.2, rollout_steps=1, offset_noise=0.3)
    windows = Windows(dataset, history=2, horizon=1)
    torch.manual_seed(0)
    loss, _ = model.loss(windows.sample(256, generator))
    assert loss.item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("encoding", ["two_hot", "one_hot", "linear"])
def test_loss_is_finite_with_padded_windows(backbone, frames, encoding):
    model = untrained(backbone, frames=frames, encoding=encoding)
    windows = Windows(moving_dot(2, length=4), history=frames, horizon=2)
    loss, metrics = model.loss(windows.gather(windows.present_frames))
    loss.backward()
    assert loss.isfinite() and all(torch.isfinite(torch.as_tensor(value)) for value in metrics.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_padding_does_not_count():
    """What follows an episode's end is a repeated frame; other pictures there change nothing."""
    model = untrained(disturb_context=False)
    data = moving_dot(2, length=4)
    batch = Windows(data, history=2, horizon=2).gather(torch.arange(data.num_frames))  # also those that end too early
    pictures = batch.observation[KEY].clone()
    pictures[~batch.valid] = 255
    pictures[:, :2] = batch.observation[KEY][:, :2]
    losses = []
    for observation in (batch.observation[KEY], pictures):
        torch.manual_seed(0)
        losses.append(model.loss(dataclasses.replace(batch, observation={KEY: observation}))[0].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_later_predictions_see_earlier_ones():
    """The second prediction's past holds the first prediction, not the true frame: that one is only its target."""
    model = untrained(disturb_context=False, rollout_steps=2)
    windows = Windows(moving_dot(2), history=2, horizon=2)
    batch = windows.gather(windows.present_frames[:4])
    losses = []
    for shift in (0, 100):
        pictures = batch.observation[KEY].clone()
        pictures[:, 3] += shift  # the second target
        torch.manual_seed(0)
        losses.append(model.loss(dataclasses.replace(batch, observation={KEY: pictures}))[1])
    assert losses[0]["loss_first"] == losses[1]["loss_first"]
    assert losses[0]["loss_last"] != losses[1]["loss_last"]


def test_noise_levels_are_log_normal_and_clipped():
    drawn = NoiseLevels(-0.4, 1.2).draw(1000, torch.device("cpu"))
    assert drawn.log().median().item() == pytest.approx(-0.4, abs=0.2)
    assert drawn.log().std().item() == pytest.approx(1.2, abs=0.1)
    assert NoiseLevels(3.0, 0.0, high=5.0).draw(2, torch.device("cpu")).tolist() == [5, 5]


def test_the_network_is_told_the_noise_of_the_past():
    """The level that imagination tells is the least one of training."""
    state, action = some_states(untrained())
    quiet, loud = (untrained(context_noise=NoiseLevels(low=low)) for low in (0.005, 0.5))
    assert not torch.equal(step(quiet, state, action).frames, step(loud, state, action).frames)


def test_the_past_is_disturbed_in_training_only_where_asked():
    windows = Windows(moving_dot(2), history=2, horizon=1)
    batch = windows.gather(windows.present_frames[:4])
    seen = []
    for disturb in (False, True):
        model = untrained(rollout_steps=1, disturb_context=disturb)
        embed = model.network.embed

        def listen(context, *rest, embed=embed):
            seen.append(context)
            return embed(context, *rest)

        model.network.embed = listen
        model.loss(batch)
    clean = model.context(model.history.window_state(batch).frames)
    assert torch.equal(seen[0], clean) and not torch.allclose(seen[1], clean)


def test_offset_noise_has_variance_one_and_a_common_part():
    noise = offset_noise((400, 3, 8, 8), 0.5, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert noise.var().item() == pytest.approx(1, abs=0.05)
    # Variance of a channel's mean: (1/64 + 1/4) / (1 + 1/4).
    assert noise.mean((2, 3)).var().item() == pytest.approx((1 / 64 + 0.25) / 1.25, abs=0.02)


# Speed -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", BACKBONES)
def test_choices_of_speed_change_only_rounding(backbone):
    """Pieces of rows and the layout: float32 rounding; bfloat16: about three digits."""
    model = untrained(backbone)
    state, action = some_states(model)
    x = torch.randn(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    embedding = model.network.embed(
        model.context(state.frames), model.encoded_actions(state, action), torch.full((1,), -1.0)
    )
    plain = model.network(x, torch.full((1,), -0.3), embedding).detach()
    for speed in (SpeedConfig(channels_last=False), SpeedConfig(rows=2), SpeedConfig(rows=1)):
        torch.testing.assert_close(numbers(model, state, action, speed, x), plain, atol=1e-5, rtol=1e-4)
    rough = numbers(model, state, action, SpeedConfig(precision="bfloat16"), x)
    assert rough.dtype == torch.float32
    assert 0 < (rough - plain).square().mean().sqrt() < 0.02 * plain.square().mean().sqrt()


@pytest.mark.slow
@torch.no_grad()
def test_compiled_code_changes_only_rounding():
    """A minute of compilation; in bfloat16 its normalisation is written in another way."""
    model = untrained()
    state, action = some_states(model)
    x = torch.randn(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    plain = numbers(model, state, action, SpeedConfig(), x)
    rough = numbers(model, state, action, SpeedConfig(precision="bfloat16", compile=True), x)
    assert 0 < (rough - plain).square().mean().sqrt() < 0.02 * plain.square().mean().sqrt()


def test_rows_fit_the_cache():
    network = FrozenNetwork(untrained().network, SpeedConfig())
    fit_in = CACHE_BYTES // (4 * 2 * 16 * 64 * 64)
    assert network.rows(torch.empty(1000, 3, 64, 64, device="cpu")) == fit_in == 16
    assert network.rows(torch.empty(3, 3, 64, 64)) == 3
    assert network.rows(torch.empty(2, 3, 8192, 8192, device="meta")) == 2


def test_imagination_follows_the_weights():
    """Its copy is made once, and again when a weight changes; a copied model does not share it."""
    model = untrained()
    state, action = some_states(model)
    before = step(model, state, action).frames
    kept = model.frozen()
    assert model.frozen() is kept
    twin = copy.deepcopy(model)
    with torch.no_grad():
        model.network.output.bias.add_(1.0)
    assert model.frozen() is not kept
    assert not torch.equal(step(model, state, action).frames, before)
    assert torch.equal(step(twin, state, action).frames, before)
    assert not any("frozen" in name for name in model.state_dict())


def test_bfloat16_training_keeps_float32_weights(tmp_path):
    model = untrained(speed=SpeedConfig(precision="bfloat16")).train()
    windows = Windows(moving_dot(2), history=2, horizon=2)
    fit(model, windows, TrainingConfig(steps=2, batch_size=4), tmp_path, seed=0)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


# Files -------------------------------------------------------------------------------------------------------------


def test_bad_input():
    model = untrained()
    windows = Windows(moving_dot(2), history=2, horizon=1)
    with pytest.raises(InputError, match="1 following frames, expected rollout_steps = 2"):
        model.loss(windows.gather(windows.present_frames))
    with pytest.raises(InputError, match=r"observation\.images\.top"):
        model.fit(moving_dot(2, cameras=("front",)))
    with pytest.raises(InputError, match="no state vector"):
        _ = model.normaliser
    with pytest.raises(InputError, match="preset 'diamond' of dit, expected one of xs, small"):
        PixelDiffusionConfig(backbone="dit", preset="diamond")
    with pytest.raises(InputError, match="rollout_steps 0"):
        PixelDiffusionConfig(rollout_steps=0)


# Learning ----------------------------------------------------------------------------------------------------------


def test_interrupted_training_ends_with_the_same_weights(tmp_path):
    windows = Windows(moving_dot(3), history=2, horizon=2)
    # A checkpoint after every step.
    config = TrainingConfig(steps=4, batch_size=4, log_every=1, checkpoint_seconds=0.0)
    straight, broken, resumed = (untrained().train() for _ in range(3))
    fit(straight, windows, config, tmp_path / "straight", seed=0)

    def stop(step, metrics):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(broken, windows, config, tmp_path / "broken", seed=0, on_step=stop)
    fit(resumed, windows, config, tmp_path / "broken", seed=0)
    for (name, one), other in zip(straight.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other), name


def squared_error(frames, truth):
    return (signed(frames) - signed(truth)).square().mean().item()


@pytest.mark.parametrize(
    ("backbone", "steps", "rate"), [("unet", 400, 4e-3), pytest.param("dit", 600, 5e-3, marks=pytest.mark.slow)]
)
def test_learns_where_actions_move_the_dot(backbone, steps, rate, tmp_path):
    """Predictions of held-out frames beat holding the last frame, and other actions give other, worse frames."""
    torch.manual_seed(0)
    history = PixelHistory(2, PixelHistoryConfig((CAMERA,), SIZE, frames=2, action_encoding="linear"))
    size = DiTConfig(patch=2, width=64, depth=2, heads=2)
    settings = dataclasses.replace(SMALL, dit=size, backbone=backbone, disturb_context=False, offset_noise=0.0)
    model = PixelDiffusion(history, dataclasses.replace(settings, rollout_steps=1))
    config = TrainingConfig(steps=steps, batch_size=32, learning_rate=rate, ema_decay=0.98)
    fit(model, Windows(moving_dot(60), history=2, horizon=1), config, tmp_path, seed=0)
    held_out = moving_dot(8, seed=1)
    windows = Windows(held_out, history=2, horizon=1)
    batch = windows.gather(windows.present_frames)
    state, truth = history.window_state(batch), history.pictures(batch.observation)[:, -1]
    hold = squared_error(state.frames[:, -1], truth)
    predicted = squared_error(step(model, state, batch.action[:, 1]).frames[:, -1], truth)
    misled = squared_error(step(model, state, -batch.action[:, 1]).frames[:, -1], truth)
    assert predicted < 0.5 * hold
    assert misled > 2 * predicted


# Action encodings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["two_hot", "one_hot", "linear", "dct", "vq"])
def test_every_action_encoding_is_fitted_learned_with_and_saved(encoding, tmp_path):
    dataset = moving_dot(4)
    narrow = dataclasses.replace(dataset, actions=0.5 * dataset.actions)
    model = untrained(frames=3, encoding=encoding)
    before = {name: buffer.clone() for name, buffer in model.encode.state_dict().items()}
    model.fit(narrow)
    changed = {name for name, buffer in model.encode.state_dict().items() if not buffer.equal(before[name])}
    assert changed == {"dct": {"centre", "half_width"}, "vq": {"codebook"}}.get(encoding, set())
    windows = Windows(narrow, history=3, horizon=2)
    loss, _ = model.loss(windows.sample(8, torch.Generator().manual_seed(0)))
    loss.backward()
    weight = model.network.condition.action.weight
    assert loss.isfinite() and weight.grad is not None and weight.grad.abs().sum() > 0
    save(tmp_path, model)
    again = load(tmp_path, PixelDiffusion)
    state, action = model.recorded(narrow).rows(torch.arange(3, 8)), narrow.actions[3:8]
    assert torch.equal(again.encoded_actions(state, action), model.encoded_actions(state, action))


def test_an_encoding_of_windows_hears_nothing_of_padding():
    """Actions before an episode's first frame do not reach the network, though dct mixes a window."""
    model = untrained(frames=3, encoding="dct").fit(moving_dot(2))
    state, action = some_states(model)
    state = dataclasses.replace(state, valid=state.valid.clone().index_fill(1, torch.tensor([0]), False))
    other = dataclasses.replace(state, action=state.action.clone().index_fill(1, torch.tensor([0]), 0.7))
    assert not torch.equal(state.action, other.action)
    assert torch.equal(model.encoded_actions(state, action), model.encoded_actions(other, action))


# Video, and what follows actions after it --------------------------------------------------------------------------


def of_video(backbone="unet", **settings):
    torch.manual_seed(0)
    history = PixelHistory(0, PixelHistoryConfig((CAMERA,), SIZE, frames=2, bins=5))
    model = PixelDiffusion(history, dataclasses.replace(SMALL, backbone=backbone, **settings))
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


ADAPTED = dataclasses.replace(SMALL, modules=ActionModulesConfig(width=8, train_base=False))


def with_actions(frames=2):
    return PixelHistory(2, PixelHistoryConfig((CAMERA,), SIZE, frames=frames, bins=5))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_model_of_video_learns_to_follow_actions(backbone, tmp_path):
    video = of_video(backbone)
    model = PixelDiffusion.following_actions(video, with_actions(), ADAPTED).eval()
    dataset = moving_dot(2)
    state, silent = model.recorded(dataset).rows(torch.arange(3, 8)), video.recorded(unlabelled_video(dataset))
    action = dataset.actions[3:8]
    imagined = step(model, state, action).frames
    same = step(video, silent.rows(torch.arange(3, 8)), action[:, :0]).frames
    assert torch.equal(imagined[:, -1], same[:, -1])
    config = TrainingConfig(steps=4, batch_size=4, learning_rate=1e-2, ema_decay=0.9, log_every=1)
    before = copy.deepcopy(model.network.state_dict())
    fit(model, Windows(dataset, 2, model.config.rollout_steps), config, tmp_path / "fit", 0)
    changed = {name for name, weight in model.network.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed and all(".block." not in name and ".base." not in name for name in changed)
    save(tmp_path / "model", model)
    assert torch.equal(
        step(load(tmp_path / "model", PixelDiffusion), state, action).frames, step(model, state, action).frames
    )


def test_only_a_model_of_the_same_video_is_taken():
    with pytest.raises(InputError, match="trained without actions"):
        PixelDiffusion.following_actions(untrained(), with_actions(), ADAPTED)
    with pytest.raises(InputError, match="sees"):
        PixelDiffusion.following_actions(of_video(), with_actions(frames=3), ADAPTED)


def test_motion_weights_by_hand():
    """Two numbers, one of which moves by ln 3: softmax 1/4 and 3/4, times two."""
    before, after = torch.zeros(1, 1, 1, 2), torch.tensor([[[[0.0, math.log(3)]]]])
    assert motion_weights(before, after, 1.0).flatten().tolist() == pytest.approx([0.5, 1.5])
    still = torch.rand(3, 3, 4, 4)
    assert torch.equal(motion_weights(still, still, 5.0), torch.ones_like(still))
    assert motion_weights(still, still.flip(0), 2.0).flatten(1).mean(1).tolist() == pytest.approx([1.0] * 3)


def test_the_loss_of_a_still_clip_is_as_ever():
    dataset = moving_dot(2)
    still = dataclasses.replace(dataset, observations={KEY: torch.full_like(dataset.observations[KEY], 7)})
    batch = Windows(still, 2, 2).sample(4, torch.Generator().manual_seed(0))
    losses = []
    for weight in (0.0, 2.0):
        model = untrained(motion_weight=weight, rollout_steps=1)
        torch.manual_seed(3)
        losses.append(model.loss(batch)[0])
    assert torch.equal(*losses)


def test_adapted_to_other_actions_it_is_the_same_network_behind_an_adapter(tmp_path):
    """What the codebook says of an action, and the latent action itself, lead to the same frame."""
    model = untrained(encoding="linear")
    latents = torch.tensor([[0.5, -0.25], [-1.0, 0.0], [0.0, 0.75]])
    moves = torch.eye(3)
    adapted = model.adapted(3, AdapterConfig("codebook", codes=3))
    adapted.encode.tell(moves, latents)
    assert adapted.history.action_dim == 3 and adapted.feature_dim == model.feature_dim
    dataset = moving_dot(2)
    state = model.recorded(dataset).rows(torch.tensor([4, 7, 14]))
    other = adapted.recorded(dataclasses.replace(dataset, actions=dataset.actions.new_zeros(24, 3)))
    other = other.rows(torch.tensor([4, 7, 14]))
    # The past actions, too, as the codebook knows them.
    state = dataclasses.replace(state, action=latents[[0, 1, 2]][:, None].repeat(1, 2, 1))
    other = dataclasses.replace(other, action=moves[:, None].repeat(1, 2, 1))
    one, two = step(model, state, latents), step(adapted, other, moves)
    assert torch.equal(one.frames, two.frames)
    save(tmp_path / "adapted", adapted)
    assert torch.equal(step(load(tmp_path / "adapted", PixelDiffusion), other, moves).frames, two.frames)


@pytest.mark.parametrize("again", [False, True], ids=["two-hot", "adapted-already"])
def test_only_a_world_of_latent_actions_is_adapted(again):
    model = untrained(encoding="linear").adapted(3, AdapterConfig()) if again else untrained()
    with pytest.raises(InputError, match="with an adapter" if again else "'two_hot' actions, expected one of latent"):
        model.adapted(4, AdapterConfig())
