"""Absolute targets are told from changes, dimension by dimension."""

import numpy as np
import pytest
import torch

from burnish.data import STATE, ActionScaling, Dataset, DatasetInfo, Episode
from burnish.data.targets import absolute_targets, relative_scaling
from burnish.errors import InputError

NAMES = ("pan", "lift", "grip")


def recorded(kind: str, info: DatasetInfo, episodes: int = 5, extra: int = 0) -> Dataset:
    """Joints in degrees that follow targets with a lag; the action is the target, or the way to it."""
    generator, made = np.random.default_rng(0), []
    for _ in range(episodes):
        joints, states, actions = generator.uniform(-50, 50, 3), [], []
        for _ in range(40):
            target = joints + generator.normal(0, 8, 3)
            states.append([*joints, *[0.0] * extra])
            actions.append(target if kind == "absolute" else target - joints)
            joints = joints + 0.7 * (target - joints)
        made.append(Episode({STATE: np.float32(states)}, np.float32(actions), np.zeros(40, bool), "x", -1, "t"))
    return Dataset.from_episodes(made, info)


NAMED = DatasetInfo(fps=10, state_names=NAMES, action_names=NAMES)
TURNED = DatasetInfo(fps=10, state_names=NAMES, action_names=("grip", "pan", "lift"))


@pytest.mark.parametrize(
    ("kind", "info", "extra", "expected"),
    [
        ("absolute", NAMED, 0, {0: 0, 1: 1, 2: 2}),
        ("absolute", DatasetInfo(fps=10), 0, {0: 0, 1: 1, 2: 2}),
        ("absolute", DatasetInfo(fps=10), 2, {}),
        ("absolute", TURNED, 0, {}),
        ("relative", NAMED, 0, {}),
        ("relative", DatasetInfo(fps=10), 0, {}),
    ],
)
def test_what_actions_ask_for(kind, info, extra, expected):
    assert absolute_targets(recorded(kind, info, extra=extra)) == expected


def test_a_dimension_that_stands_still_is_no_target():
    data = recorded("absolute", NAMED)
    data.actions[:, 1] = 3.0
    assert absolute_targets(data) == {0: 0, 2: 2}
    assert absolute_targets(data.subset([0])).keys() <= {0, 2} and not torch.isnan(data.actions).any()


def test_relative_targets_there_and_back():
    """By hand: pan is learned as 5 - 4 = 1 and 9 - 2 = 7; the gripper, which has two values, as it is."""
    scaling = ActionScaling((1, 0), (7, 1), relative_to=(1, -1))
    actions, state = torch.tensor([[5.0, 0], [9, 1], [6, 1]]), torch.tensor([[8.0, 4], [8, 2], [8, 2]])
    assert scaling.learned(actions, state).tolist() == [[1, 0], [7, 1], [4, 1]]
    inside = scaling.to_unit(actions, state)
    assert inside.tolist() == [[-1, -1], [1, 1], [0, 1]]
    assert torch.equal(scaling.to_data(inside, state), actions)
    with pytest.raises(InputError, match="need the state"):
        scaling.to_data(inside)


def test_continuous_targets_are_relative_and_grippers_are_not():
    data = recorded("absolute", NAMED)
    closed = (torch.arange(data.num_frames) // 10 % 2).float()
    data.actions[:, 2], data.observations[STATE][:, 2] = closed, closed.roll(1)
    assert absolute_targets(data) == {0: 0, 1: 1, 2: 2}
    scaling = relative_scaling(data)
    assert scaling.relative_to == (0, 1, -1) and scaling.kinds == ("continuous", "continuous", "binary")
    way = data.actions[:, :2] - data.observations[STATE][:, :2]
    assert scaling.low[:2] == pytest.approx(way.amin(0).tolist(), abs=1e-4)
    assert scaling.low[2:] == (0,) and scaling.high[2:] == (1,)
    # Half the range of the targets: the same learning tells finer differences.
    assert max(high - low for high, low in zip(scaling.high, scaling.low, strict=True)) < 0.7 * float(
        data.actions[:, 0].max() - data.actions[:, 0].min()
    )
    seen = data.scaled(scaling)
    assert float(seen.actions.abs().max()) <= 1
    torch.testing.assert_close(scaling.to_data(seen.actions, data.observations[STATE]), data.actions)


def test_changes_are_refused_as_targets():
    with pytest.raises(InputError, match="found no action that is a target"):
        relative_scaling(recorded("relative", NAMED))
