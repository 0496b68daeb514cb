"""Actions in the data's own units: the range of each dimension, there and back, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.config import from_dict, to_dict
from burnish.data import ActionScaling, DatasetInfo, Episode, check_unit, read_dataset, write_dataset
from burnish.data.scaling import switched, usual_range
from burnish.errors import InputError


def recorded(frames=400, seed=0):
    """Four dimensions with units of their own: degrees, a gripper, a switch of three, and one that stands still."""
    generator = np.random.default_rng(seed)
    degrees = generator.uniform(-90, 45, frames)
    gripper = (generator.random(frames) < 0.02).astype(float)
    gripper[:2] = 0, 1
    switch = generator.integers(0, 3, frames) * 10.0
    return torch.tensor(np.stack([degrees, gripper, switch, np.full(frames, 7.5)], 1), dtype=torch.float32)


def test_each_dimension_has_its_range_and_kind():
    actions = recorded()
    scaling = ActionScaling.of(actions, ("pan", "gripper", "mode", "fixed"))
    assert scaling.kinds == ("continuous", "binary", "discrete", "constant")
    assert scaling.low == (float(actions[:, 0].min()), 0, 0, 7.5)
    assert scaling.high == (float(actions[:, 0].max()), 1, 20, 7.5)
    unit = scaling.to_unit(actions)
    assert unit.dtype == torch.float32
    assert unit.amin(0).tolist() == [-1, -1, -1, 0] and unit.amax(0).tolist() == [1, 1, 1, 0]
    assert sorted(unit[:, 1].unique().tolist()) == [-1, 1]
    back = scaling.to_data(unit)
    assert torch.equal(back[:, 1:], actions[:, 1:])
    torch.testing.assert_close(back, actions, rtol=1e-6, atol=1e-5)
    # What nobody recorded: a policy's noise moves no constant, and a human's override stays inside.
    assert scaling.to_data(torch.tensor([0.3, 0.0, 0.0, 0.9]))[3] == 7.5
    assert scaling.to_unit(torch.tensor([400.0, 3.0, -9.0, 0.0])).tolist() == [1, 1, -1, 0]


@given(st.floats(1e-4, 1e4), st.floats(-1e3, 1e3), st.integers(0, 50))
def test_a_change_of_units_changes_nothing(factor, offset, seed):
    actions = recorded(60, seed)
    other = (actions.double() * factor + offset * factor).float()
    unit, changed = (ActionScaling.of(each).to_unit(each) for each in (actions, other))
    # What an offset costs of float32's digits.
    torch.testing.assert_close(unit, changed, rtol=0, atol=1e-6 * (1 + abs(offset)))


def test_powers_of_two_change_no_bit():
    actions = recorded()
    assert torch.equal(ActionScaling.of(actions).to_unit(actions), ActionScaling.of(actions / 16).to_unit(actions / 16))


def test_rare_actions_count_and_spikes_do_not():
    usual = torch.linspace(-1, 1, 2000)
    rare = usual.clone()
    rare[:4] = 2.5  # a fling in four frames of 2,000
    assert usual_range(rare)[:2] == pytest.approx((-1, 2.5), abs=0.01)
    spike = usual.clone()
    spike[7] = 1e6
    low, high, kind = usual_range(spike)
    assert (low, kind) == (-1, "continuous") and high == pytest.approx(3, abs=0.01)
    assert float(ActionScaling.of(spike[:, None]).to_unit(spike[:, None]).max()) == 1
    # A gripper that closed in a single frame is no spike.
    gripper = torch.zeros(2000)
    gripper[9] = 1
    assert usual_range(gripper) == (0, 1, "binary")
    assert usual_range(torch.tensor([1.0, 2.0])) == (1, 2, "binary")
    low, high, kind = usual_range(torch.tensor([1000.0, 1000.0001, 1000.0]))
    assert (low, high, kind) == (1000, 1000, "constant")


def test_a_data_set_is_scaled_once_and_its_info_says_so(tmp_path):
    episodes = [
        Episode(
            {"observation.state": np.zeros((5, 1), np.float32)}, 50 * np.float32(rows), np.zeros(5, bool), "x", -1, "t"
        )
        for rows in np.random.default_rng(0).normal(size=(3, 5, 2))
    ]
    write_dataset(tmp_path / "own", episodes, DatasetInfo(fps=10, action_names=("pan", "lift")))
    data = read_dataset(tmp_path / "own")
    assert data.info.action_names == ("pan", "lift") and data.info.scaling is None
    assert np.array_equal(data.actions.numpy(), np.concatenate([episode.action for episode in episodes]))
    scaling = ActionScaling.of(data.actions, data.info.action_names)
    inside = data.scaled(scaling)
    assert float(inside.actions.abs().max()) == 1 and inside.subset([2, 0]).info.scaling == scaling
    write_dataset(tmp_path / "inside", inside.to_episodes(), inside.info)
    again = read_dataset(tmp_path / "inside")
    assert again.info == inside.info and torch.equal(again.actions, inside.actions)
    assert data.scaled(None) is data


def test_it_is_kept_as_plain_data():
    scaling = ActionScaling.of(recorded(), ("a", "b", "c", "d"))
    assert from_dict(ActionScaling, to_dict(scaling), "here") == scaling


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [((), (), "one for each"), ((0.0,), (1.0, 2.0), "one for each"), ((1.0,), (0.0,), "expected a range")]
    + [((float("nan"),), (1.0,), "expected a range"), ((0.0,), (float("inf"),), "expected a range")],
)
def test_what_is_no_scaling(low, high, said):
    with pytest.raises(InputError, match=said):
        ActionScaling(low, high)


def test_actions_that_are_said_to_be_in_unit_range():
    check_unit(torch.tensor([[1.0005, -1.0]]), "here")
    with pytest.raises(
        InputError, match=r"here, field 'action': found an action of magnitude 90, .*--action-units own"
    ):
        check_unit(torch.tensor([[0.0], [-90.0]]), "here")


def test_what_has_two_values_takes_one_of_them():
    """Where that is asked for; gradients go through as if nothing had been rounded."""
    scaling = ActionScaling((0.0, -90.0), (100.0, 90.0), ("binary", "continuous"))
    actions = torch.tensor([[-0.1, 0.5], [0.0, -0.5]])
    assert scaling.to_data(actions).tolist() == [[45, 45], [50, -45]] and scaling.switches == ()
    rounded = replace(scaling, rounded=True)
    assert rounded.to_data(actions).tolist() == [[0, 45], [100, -45]] and rounded.switches == (True, False)
    assert from_dict(ActionScaling, to_dict(rounded), "x") == rounded
    # Two actions of one chunk, flattened.
    chunk = torch.tensor([[0.2, 0.3, -0.4, 0.5]], requires_grad=True)
    found = switched(chunk, rounded.switches)
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.3, -1.0, 0.5]]))
    (found * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert chunk.grad.tolist() == [[1, 2, 3, 4]]
    assert replace(scaling, kinds=("continuous", "continuous"), rounded=True).switches == ()
