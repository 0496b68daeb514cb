"""The recurrent world model: its numbers, its resets, its contract, its chunks and its cameras."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from burnish.data import STATE, Dataset, DatasetInfo, Episode, Streams
from burnish.errors import InputError
from burnish.evaluation.prediction import open_loop
from burnish.networks import categorical_kl, sample_one_hot, straight_through
from burnish.training import TrainingConfig, fit
from burnish.world_models import RSSM, RSSM_PRESETS, RSSMConfig

TINY = dataclasses.replace(RSSM_PRESETS["tiny"], reset_probability=0.0)


def moving(episodes=12, length=20, seed=0):
    """A point that follows its actions: x' = x + 0.2 a, with a second state dimension that is a constant goal."""
    rng = np.random.default_rng(seed)
    recorded = []
    for index in range(episodes):
        action = rng.uniform(-1, 1, (length, 1)).astype(np.float32)
        x = np.concatenate([[0], 0.2 * action[:-1, 0].cumsum()]).astype(np.float32)
        state = np.stack([x, np.full(length, index % 3, np.float32)], 1)
        recorded.append(Episode({STATE: state}, action, x > 0.5, "play", index, "t"))
    return Dataset.from_episodes(recorded, DatasetInfo(fps=10))


def make(data, config=TINY):
    torch.manual_seed(0)
    return RSSM(2, 1, config).fit(data).eval()


def test_kl_by_hand():
    p = torch.tensor([[[0.25, 0.75], [0.5, 0.5]]]).log()
    q = torch.tensor([[[0.5, 0.5], [0.5, 0.5]]]).log()
    assert categorical_kl(p, q).item() == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5), rel=1e-5)


def test_samples_follow_the_probabilities():
    logits = torch.tensor([[[0.2, 0.3, 0.5]]]).log().expand(20000, 1, 3)
    frequency = sample_one_hot(logits, torch.Generator().manual_seed(0)).mean(0)[0]
    assert frequency.tolist() == pytest.approx([0.2, 0.3, 0.5], abs=0.02)


def test_straight_through_passes_the_gradient_of_the_probabilities():
    logits = torch.tensor([[[0.0, 1.0, 2.0]]], requires_grad=True)
    weight = torch.tensor([1.0, 3.0, -2.0])
    (straight_through(logits) * weight).sum().backward()
    other = logits.detach().clone().requires_grad_()
    (other.softmax(-1) * weight).sum().backward()
    torch.testing.assert_close(logits.grad, other.grad)


def test_the_loss_weighs_kl_and_reconstruction_as_configured():
    """With a KL weight of zero only the reconstruction counts: ½ · weight · Σ over dimensions of the squared error."""
    data = moving()
    model = make(data, dataclasses.replace(TINY, kl_weight=0.0, state_weight=4.0))
    loss, metrics = model.loss(Streams(data, 10).sample(4, torch.Generator()))
    assert loss.item() == pytest.approx(0.5 * 4.0 * 2 * metrics["mse_state"].item(), rel=1e-5)
    weighted = make(data, dataclasses.replace(TINY, kl_weight=0.5, state_weight=0.0))
    loss, metrics = weighted.loss(Streams(data, 10).sample(4, torch.Generator()))
    assert loss.item() == pytest.approx(0.5 * metrics["kl"].item(), rel=1e-5)


def test_balance_trains_the_prior_or_the_posterior():
    """Balance 1: only the prior gets a gradient from the KL term (with z detached); 0: only the posterior."""
    data = moving()
    for balance, learns, rests in ((1.0, "prior_head", "posterior_head"), (0.0, "posterior_head", "prior_head")):
        model = make(data, dataclasses.replace(TINY, kl_balance=balance, state_weight=0.0, deterministic=64))
        loss, _ = model.loss(Streams(data, 2).sample(4, torch.Generator()))
        loss.backward()
        gradient = {name: getattr(model.cell, name).weight.grad for name in (learns, rests)}
        assert gradient[learns].abs().sum() > 0
        if balance == 0.0:
            assert gradient[rests] is None or gradient[rests].abs().sum() == 0


def test_observing_step_by_step_is_what_recorded_finds():
    data = moving(3, 7)
    model = make(data)
    rows = model.recorded(data)
    for start in data.starts.tolist():
        state = model.initial(1)
        for t in range(7):
            action = data.actions[start + t - 1][None] if t else None
            state = model.observe(state, action, {STATE: data.observations[STATE][start + t][None]})
            torch.testing.assert_close(rows.h[start + t], state.h[0])
            assert torch.equal(rows.z[start + t], state.z[0])


def test_training_sees_the_same_states_as_observing():
    """A sequence over two episodes, in one batch: the second episode begins anew, and the carry is its end."""
    data = moving(2, 5)
    model = make(data)
    seen = []
    model.state_decoder.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    streams = Streams(data, 10)
    torch.manual_seed(0)
    model.loss(streams.sample(1, torch.Generator()))
    hidden = seen[0][0, :, : model.config.deterministic]
    first = model.recorded(data).h
    torch.testing.assert_close(hidden[0], first[0])
    torch.testing.assert_close(hidden[5], first[5])  # zero history again
    torch.testing.assert_close(streams.carry["h"][0], hidden[-1].detach())


def test_the_carry_goes_into_the_next_batch_and_resets_forget_it():
    data = moving(2, 8)
    model = make(data)
    streams = Streams(data, 4)
    seen = []
    model.state_decoder.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    torch.manual_seed(0)
    model.loss(streams.sample(1, torch.Generator()))
    carried = {name: tensor.clone() for name, tensor in streams.carry.items()}
    model.loss(streams.sample(1, torch.Generator()))
    action = model.cell.from_action(data.actions[3][None])
    expected = model.cell.advance(carried["h"], carried["z"], action)
    torch.testing.assert_close(seen[1][0, :1, : model.config.deterministic], expected.detach())
    always = make(data, dataclasses.replace(TINY, reset_probability=1.0))
    always.state_decoder.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    always.loss(Streams(data, 4).sample(1, torch.Generator()))
    hidden = seen[-1][0, :, : model.config.deterministic]
    torch.testing.assert_close(hidden, hidden[:1].expand_as(hidden))


def test_it_learns_to_predict(tmp_path):
    """After a short training, ten open-loop steps are predicted better than by holding the last frame."""
    data = moving(60, 20)
    model = make(data, dataclasses.replace(TINY, reset_probability=0.01))
    config = TrainingConfig(steps=400, batch_size=32, learning_rate=3e-3, ema_decay=None, gradient_clip=100.0)
    fit(model, Streams(data, 10), config, tmp_path, seed=0)
    found = open_loop(model.eval(), moving(20, 20, seed=1), horizon=10, seed=0)
    assert found.model_error[:, -1].median() < 0.5 * found.hold_error[:, -1].median()


def test_resume_is_bit_exact(tmp_path):
    data = moving()
    config = TrainingConfig(steps=6, batch_size=4, checkpoint_seconds=0.0, ema_decay=None)

    class Stop(Exception):
        pass

    def train(folder, stop=None):
        model = make(data, dataclasses.replace(TINY, reset_probability=0.1))
        count = 0

        class Watched(Streams):
            def sample(self, batch_size, generator):
                nonlocal count
                if stop is not None and count == stop:
                    raise Stop
                count += 1
                return super().sample(batch_size, generator)

        fit(model, Watched(data, 5), config, folder, seed=0)
        return model

    whole = train(tmp_path / "whole")
    with pytest.raises(Stop):
        train(tmp_path / "cut", stop=3)
    resumed = train(tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_constants_are_decoded_exactly():
    """The goal is the same in every episode: it comes back as it was, whatever the decoder says."""
    data = moving(4, 6)
    data.observations[STATE][:, 1] = 0.1
    model = make(data)
    assert (model.decode(model.recorded(data))[STATE][:, 1] == torch.tensor(0.1)).all()


def test_ignored_dimensions_are_neither_seen_nor_predicted():
    data = moving(4, 6)
    config = dataclasses.replace(TINY, ignored=("goal",))
    torch.manual_seed(0)
    model = RSSM(2, 1, config, (), ("point_x", "goal_x")).fit(data).eval()
    before = model.recorded(data)
    seen = model.decode(before)[STATE][:, 1].unique()
    data.observations[STATE][:, 1] += 5.0
    assert torch.equal(model.recorded(data).h, before.h) and len(seen) == 1
    with pytest.raises(InputError, match="no state dimension begins with the ignored 'block'"):
        RSSM(2, 1, dataclasses.replace(TINY, ignored=("block",)), (), ("point_x", "goal_x"))


def test_imagining_follows_the_generator():
    data = moving()
    model = make(data)
    state = model.recorded(data).rows(torch.arange(50))
    draws = [model.imagine(state, torch.zeros(50, 1), torch.Generator().manual_seed(s)).z for s in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert (draws[0].unflatten(-1, (8, 8)).sum(-1) == 1).all()


def test_chunked_transitions(tmp_path):
    """One transition for two actions: states at every frame, and predictions two frames ahead."""
    data = moving(20, 9)
    config = dataclasses.replace(TINY, action_steps=2)
    model = make(data, config)
    rows = model.recorded(data)
    assert len(rows.h) == data.num_frames
    state = model.initial(1)
    first = data.observations[STATE]
    for t in (1, 3, 5):  # frame 5 of the first episode, reached from frame 1
        action = data.actions[t - 2 : t].flatten()[None] if t > 1 else None
        state = model.observe(state, action, {STATE: first[t][None]})
    torch.testing.assert_close(rows.h[5], state.h[0])
    found = open_loop(model, data, horizon=3, seed=0)
    assert found.model_error.shape == (20 * 3, 3)


def test_cameras_are_encoded_and_drawn():
    """Two cameras beside the state, and one without it: losses fall, pictures come back as bytes."""
    data = moving(4, 6)
    pictures = torch.zeros(data.num_frames, 64, 64, 3, dtype=torch.uint8)
    column = ((data.observations[STATE][:, 0] + 1.5) / 3 * 55).long().clamp(0, 55)
    for frame, left in enumerate(column.tolist()):
        pictures[frame, 20:40, left : left + 8] = 255
    observations = {**data.observations, "observation.images.a": pictures, "observation.images.b": 255 - pictures}
    data = dataclasses.replace(data, observations=observations)
    for config in (
        dataclasses.replace(TINY, cameras=("a", "b")),
        dataclasses.replace(TINY, cameras=("a",), state=False),
    ):
        model = make(data, config)
        streams = Streams(data, 6)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        losses = []
        for _ in range(12):
            loss, _ = model.loss(streams.sample(4, torch.Generator()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.5 * losses[0]
        decoded = model.decode(model.recorded(data).rows(torch.arange(3)))
        assert decoded["observation.images.a"].shape == (3, 64, 64, 3)
        assert decoded["observation.images.a"].dtype == torch.uint8
        assert (STATE in decoded) == config.state


def test_published_size():
    """About 40 million parameters with two cameras and 15 values of proprioception (DiWA: second-hand figure)."""
    config = dataclasses.replace(RSSM_PRESETS["published"], cameras=("static", "gripper"))
    with torch.device("meta"):
        model = RSSM(15, 7, config)
    assert model.feature_dim == 2048
    assert 25e6 < sum(p.numel() for p in model.parameters()) < 45e6


def test_errors_name_what_is_missing():
    with pytest.raises(InputError, match="neither the state nor a camera"):
        RSSM(2, 1, RSSMConfig(state=False))
    data = moving(2, 5)
    with pytest.raises(InputError, match=r"observation\.images\.front"):
        make(data, dataclasses.replace(TINY, cameras=("front",))).recorded(data)
