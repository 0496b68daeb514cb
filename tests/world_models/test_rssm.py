"""The recurrent world model: its numbers, its resets, its contract and its chunks."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from burnish.components import load, save
from burnish.data import STATE, Dataset, DatasetInfo, Episode, Streams
from burnish.errors import InputError
from burnish.evaluation.prediction import open_loop
from burnish.networks import S5Config, categorical_kl, sample_one_hot, straight_through
from burnish.training import TrainingConfig, fit
from burnish.world_models import RSSM, RSSM_PRESETS

TINY = dataclasses.replace(RSSM_PRESETS["tiny"], reset_probability=0.0)
S5 = dataclasses.replace(TINY, cell="s5", s5=S5Config(modes=16))
CELLS = pytest.mark.parametrize("config", [TINY, S5], ids=["gru", "s5"])


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


@CELLS
def test_the_loss_weighs_kl_and_reconstruction_as_configured(config):
    """With a KL weight of zero only the reconstruction counts: ½ · weight · Σ over dimensions of the squared error."""
    data = moving()
    model = make(data, dataclasses.replace(config, kl_weight=0.0, state_weight=4.0))
    loss, metrics = model.loss(Streams(data, 10).sample(4, torch.Generator()))
    assert loss.item() == pytest.approx(0.5 * 4.0 * 2 * metrics["mse_state"].item(), rel=1e-5)
    weighted = make(data, dataclasses.replace(config, kl_weight=0.5, state_weight=0.0))
    loss, metrics = weighted.loss(Streams(data, 10).sample(4, torch.Generator()))
    assert loss.item() == pytest.approx(0.5 * metrics["kl"].item(), rel=1e-5)


@CELLS
def test_balance_trains_the_prior_or_the_posterior(config):
    """Balance 1: only the prior gets a gradient from the KL term (with z detached); 0: only the posterior."""
    data = moving()
    for balance, learns, rests in ((1.0, "prior_head", "posterior_head"), (0.0, "posterior_head", "prior_head")):
        model = make(data, dataclasses.replace(config, kl_balance=balance, state_weight=0.0, deterministic=64))
        loss, _ = model.loss(Streams(data, 2).sample(4, torch.Generator()))
        loss.backward()
        gradient = {name: getattr(model.cell, name).weight.grad for name in (learns, rests)}
        assert gradient[learns].abs().sum() > 0
        if balance == 0.0:
            assert gradient[rests] is None or gradient[rests].abs().sum() == 0


@CELLS
def test_observing_step_by_step_is_what_recorded_finds(config):
    data = moving(3, 7)
    model = make(data, config)
    rows = model.recorded(data)
    for start in data.starts.tolist():
        state = model.initial(1)
        for t in range(7):
            action = data.actions[start + t - 1][None] if t else None
            state = model.observe(state, action, {STATE: data.observations[STATE][start + t][None]})
            torch.testing.assert_close(rows.h[start + t], state.h[0])
            assert torch.equal(rows.z[start + t], state.z[0])


@CELLS
def test_training_sees_the_same_states_as_observing(config):
    """A sequence over two episodes, in one batch: the second episode begins anew, and the carry is its end."""
    data = moving(2, 5)
    model = make(data, config)
    seen = []
    model.state_decoder.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    streams = Streams(data, 10)
    torch.manual_seed(0)
    model.loss(streams.sample(1, torch.Generator()))
    hidden, first = seen[0][0, :, : model.config.deterministic], model.cell.read(model.recorded(data).h)
    torch.testing.assert_close(hidden[0], first[0])
    torch.testing.assert_close(hidden[5], first[5])  # zero history again
    torch.testing.assert_close(model.cell.read(streams.carry["h"])[0], hidden[-1].detach())


@CELLS
def test_the_carry_goes_into_the_next_batch_and_resets_forget_it(config):
    data = moving(2, 8)
    model = make(data, config)
    streams = Streams(data, 4)
    seen = []
    model.state_decoder.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    torch.manual_seed(0)
    model.loss(streams.sample(1, torch.Generator()))
    carried = {name: tensor.clone() for name, tensor in streams.carry.items()}
    model.loss(streams.sample(1, torch.Generator()))
    action = model.cell.from_action(data.actions[3][None])
    expected = model.cell.advance(carried["h"], carried["z"], action)
    hidden = seen[1][0, :1, : model.config.deterministic]
    torch.testing.assert_close(hidden, model.cell.read(expected).detach())
    always = make(data, dataclasses.replace(config, reset_probability=1.0))
    always.state_decoder.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    always.loss(Streams(data, 4).sample(1, torch.Generator()))
    hidden = seen[-1][0, :, : model.config.deterministic]
    torch.testing.assert_close(hidden, hidden[:1].expand_as(hidden))


@CELLS
def test_it_learns_to_predict(config, tmp_path):
    """After a short training, ten open-loop steps are predicted better than by holding the last frame."""
    data = moving(60, 20)
    model = make(data, dataclasses.replace(config, reset_probability=0.01))
    training = TrainingConfig(steps=400, batch_size=32, learning_rate=3e-3, ema_decay=None, gradient_clip=100.0)
    fit(model, Streams(data, 10), training, tmp_path, seed=0)
    found = open_loop(model.eval(), moving(20, 20, seed=1), horizon=10, seed=0)
    assert found.model_error[:, -1].median() < 0.5 * found.hold_error[:, -1].median()


@CELLS
def test_resume_is_bit_exact(config, tmp_path):
    data = moving()
    training = TrainingConfig(steps=6, batch_size=4, checkpoint_seconds=0.0, ema_decay=None)

    class Stop(Exception):
        pass

    def train(folder, stop=None):
        model = make(data, dataclasses.replace(config, reset_probability=0.1))
        count = 0

        class Watched(Streams):
            def sample(self, batch_size, generator):
                nonlocal count
                if stop is not None and count == stop:
                    raise Stop
                count += 1
                return super().sample(batch_size, generator)

        fit(model, Watched(data, 5), training, folder, seed=0)
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
    with pytest.raises(InputError, match="ignored: no state dimension begins with 'block'"):
        RSSM(2, 1, dataclasses.replace(TINY, ignored=("block",)), (), ("point_x", "goal_x"))


def test_imagining_follows_the_generator():
    data = moving()
    model = make(data)
    state = model.recorded(data).rows(torch.arange(50))
    draws = [model.imagine(state, torch.zeros(50, 1), torch.Generator().manual_seed(s)).z for s in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert (draws[0].unflatten(-1, (8, 8)).sum(-1) == 1).all()


@CELLS
def test_chunked_transitions(config):
    """One transition for two actions: states at every frame, and predictions two frames ahead."""
    data = moving(20, 9)
    model = make(data, dataclasses.replace(config, action_steps=2))
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


def test_with_s5_the_present_frame_alone_decides_the_posterior():
    data = moving(2, 6)
    model = make(data, S5)
    state, observation = model.recorded(data).rows(torch.arange(12)), {STATE: data.observations[STATE]}
    action = torch.rand(12, 1)
    found = [model.observe(before, action, observation) for before in (state, model.initial(12))]
    assert torch.equal(found[0].z, found[1].z) and not torch.equal(found[0].h, found[1].h)


def test_s5_sees_a_sequence_at_once(monkeypatch):
    """Neither the loss nor its gradient asks the cell for a single step."""
    data = moving()
    model = make(data, S5)
    monkeypatch.setattr(model.cell, "advance", None)
    model.loss(Streams(data, 10).sample(4, torch.Generator()))[0].backward()
    assert model.cell.s5.layers[0].log_decay.grad.any()


def hidden_speed(episodes=40, length=20, seed=0):
    """A mass that its actions push: its place is seen, its speed is privileged."""
    rng = np.random.default_rng(seed)
    recorded = []
    for index in range(episodes):
        action = rng.uniform(-1, 1, (length, 1)).astype(np.float32)
        speed = np.concatenate([[0], 0.2 * action[:-1, 0].cumsum()]) + rng.normal(scale=0.5)
        place = np.concatenate([[0], speed[:-1].cumsum() * 0.2])
        state = np.stack([place, speed], 1).astype(np.float32)
        recorded.append(Episode({STATE: state}, action, place > 99, "play", index, "t"))
    return Dataset.from_episodes(recorded, DatasetInfo(fps=10))


NAMES = ("place", "speed")


@CELLS
def test_privileged_dimensions_are_told_and_not_seen(config, tmp_path):
    """The speed comes out of the past of places and actions; a change of the recorded one changes no feature."""
    data, held_out = hidden_speed(), hidden_speed(seed=1)
    torch.manual_seed(0)
    model = RSSM(2, 1, dataclasses.replace(config, privileged=("speed",)), (), NAMES).fit(data)
    training = TrainingConfig(steps=200, batch_size=32, learning_rate=3e-3, ema_decay=None, gradient_clip=100.0)
    fit(model, Streams(data, 10), training, tmp_path, seed=0)
    states = model.eval().recorded(held_out)
    told = model.decode(states)[STATE]
    late = torch.arange(held_out.num_frames) % 20 >= 3
    error = (told - held_out.observations[STATE])[late, 1]
    assert error.square().mean() < 0.2 * held_out.observations[STATE][late, 1].var()
    held_out.observations[STATE][:, 1] = 7.0
    assert torch.equal(model.recorded(held_out).h, states.h)


def test_the_privileged_loss_has_its_own_weight():
    data = hidden_speed(4)
    config = dataclasses.replace(TINY, privileged=("speed",), privileged_weight=3.0, kl_weight=0.0, state_weight=0.0)
    torch.manual_seed(0)
    model = RSSM(2, 1, config, (), NAMES).fit(data)
    loss, metrics = model.loss(Streams(data, 10).sample(4, torch.Generator()))
    assert loss.item() == pytest.approx(1.5 * metrics["mse_privileged"].item(), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"privileged": ("block",)}, "privileged: no state dimension begins with 'block'; found place, speed"),
        ({"privileged": ("speed",), "ignored": ("sp",)}, "'speed' is both ignored and privileged"),
        ({"privileged": ("speed", "place")}, "every state dimension is ignored or privileged"),
    ],
    ids=["unknown", "both", "all"],
)
def test_impossible_privileges(changes, message):
    with pytest.raises(InputError, match=message):
        RSSM(2, 1, dataclasses.replace(TINY, **changes), (), NAMES)


def test_s5_and_privileges_are_saved(tmp_path):
    data = hidden_speed(4)
    torch.manual_seed(0)
    model = RSSM(2, 1, dataclasses.replace(S5, privileged=("speed",)), (), NAMES).fit(data).eval()
    save(tmp_path, model)
    again = load(tmp_path, RSSM)
    found, expected = again.recorded(data), model.recorded(data)
    assert torch.equal(found.h, expected.h) and torch.equal(again.decode(found)[STATE], model.decode(expected)[STATE])
