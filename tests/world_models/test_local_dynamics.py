"""The small differentiable model: its loss by hand, episodes kept apart, steps as in sequences, a system learned."""

import pytest
import torch
from torch import nn

from burnish.data import STATE, SequenceBatch, Streams
from burnish.errors import InputError
from burnish.training import TrainingConfig, fit
from burnish.world_models import LocalDynamics, LocalDynamicsConfig
from tests.world_models.linear_system import linear_system


class Fresh:
    carry = None


def make(dim=3, actions=2, memory=4, wild=True):
    torch.manual_seed(0)
    model = LocalDynamics(dim, actions, LocalDynamicsConfig(hidden=(16, 16), memory=memory))
    if wild:
        nn.init.normal_(model.head.weight)
    return model


def batch(rows=2, length=5, begins=(), seed=1):
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.randn(rows, length, size, generator=generator) for size in (3, 2)]
    begin = torch.zeros(rows, length, dtype=torch.bool)
    begin[:, 0] = True
    for row, frame in begins:
        begin[row, frame] = True
    return SequenceBatch({STATE: draw[0]}, draw[1], begin, Fresh())


def test_the_loss_by_hand():
    """An untrained head says μ = 0 and a log-variance v near 0, softly bounded by 0.5: ln(1 + e^0.5) = 0.974 below it,
    -0.474, and e^0.474 Δ² + v on average."""
    model, rows = make(memory=0, wild=False), batch()
    model.scale.fill_(2.0)
    v = torch.tensor(0.5 - 0.97407698)
    v = -10 + nn.functional.softplus(v + 10)
    change = (rows.observation[STATE][:, 1:] - rows.observation[STATE][:, :-1]) / 2
    loss, metrics = model.loss(rows)
    assert loss.item() == pytest.approx(float((change.square() * (-v).exp()).mean() + v), rel=1e-5)
    assert metrics["mse"].item() == pytest.approx(float(change.square().mean()), rel=1e-5)


@pytest.mark.parametrize("memory", [0, 4])
def test_a_sequence_is_its_single_steps(memory):
    """Errors of `loss` are those of `observe` and `imagine`, frame after frame, and forget where an episode begins."""
    model, rows = make(memory=memory), batch(begins=[(1, 2)])
    found, errors = rows.observation[STATE], []
    state = model.observe(model.initial(2), None, {STATE: found[:, 0]})
    for t in range(1, 5):
        wrong = model.imagine(state, rows.previous_action[:, t]).features - found[:, t]
        errors.append(wrong.square() * ~rows.begins[:, t, None])
        fresh = model.observe(state, None, {STATE: found[:, t]})
        following = model.observe(state, rows.previous_action[:, t], {STATE: found[:, t]})
        state = following.where(rows.begins[:, t], fresh)
    expected = torch.stack(errors).sum() / (7 * 3)
    torch.testing.assert_close(model.loss(rows)[1]["mse"], expected, rtol=1e-4, atol=1e-5)


def test_what_leads_to_a_beginning_teaches_nothing():
    """Two episodes in one sequence are the two of them alone: 2 and 1 steps of them, weighted by their number."""
    model, rows = make(), batch(rows=1, begins=[(0, 3)])
    frames, action = rows.observation[STATE], rows.previous_action

    def alone(first, last):
        begins = rows.begins[:, first:last]
        part = SequenceBatch({STATE: frames[:, first:last]}, action[:, first:last], begins, Fresh())
        return model.loss(part)[1]["mse"]

    expected = (2 * alone(0, 3) + alone(3, 5)) / 3
    torch.testing.assert_close(model.loss(rows)[1]["mse"], expected)


def test_recorded_is_observed():
    data = linear_system(3, length=6)
    model = make(dim=4)
    rows = model.recorded(data)
    for start, length in zip(data.starts.tolist(), data.lengths.tolist(), strict=True):
        state = model.initial(1)
        for t in range(length):
            seen = {STATE: data.observations[STATE][start + t][None]}
            state = model.observe(state, data.actions[start + t - 1][None] if t else None, seen)
            torch.testing.assert_close(state.memory[0], rows.memory[start + t])
            assert torch.equal(state.features[0], rows.features[start + t])


def test_values_stay_in_the_data_s_range_and_gradients_pass():
    data = linear_system(3, length=6)
    model = make(dim=4).fit(data)
    state = model.recorded(data).rows(torch.arange(2))
    action = torch.zeros(2, 2, requires_grad=True)
    model.scale.fill_(100.0)
    following = model.imagine(state, action).features
    assert (following <= model.high).all() and (following >= model.low).all() and (following == model.high).any()
    assert torch.autograd.grad(following.sum(), action)[0].any()


def test_a_linear_system_is_learned_and_its_jacobian_is_right(tmp_path):
    """x' = x + 0.1 a in two dimensions; the goal, which nothing moves, stays to the bit."""
    data = linear_system(40)
    model = make(dim=4, memory=8, wild=False).fit(data)
    fit(
        model,
        Streams(data, 8),
        TrainingConfig(steps=300, batch_size=32, learning_rate=3e-3, ema_decay=None),
        tmp_path,
        0,
    )
    model.requires_grad_(False)
    frames = torch.arange(3, 900, 25)
    state, action = model.recorded(data).rows(frames), data.actions[frames].clone().requires_grad_(True)
    following = model.imagine(state, action).features
    assert torch.equal(following[:, 3], state.features[:, 3])
    for i in range(2):
        gradient = torch.autograd.grad(following[:, i].sum(), action, retain_graph=True)[0].mean(0)
        expected = torch.zeros(2)
        expected[i] = 0.1
        torch.testing.assert_close(gradient, expected, atol=0.03, rtol=0)


def test_the_first_layer_comes_in_groups():
    with pytest.raises(InputError, match=r"local_model.hidden: found 12, expected a multiple of 8"):
        LocalDynamicsConfig(hidden=(12,))
