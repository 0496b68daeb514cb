"""Absolute targets are told from changes, dimension by dimension."""

import numpy as np
import pytest
import torch

from burnish.data import STATE, Dataset, DatasetInfo, Episode
from burnish.data.targets import absolute_targets

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
