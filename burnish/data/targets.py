"""What actions ask for: a place where the state is to be (absolute targets), or something else (mostly a change)."""

from __future__ import annotations

from dataclasses import replace

import torch

from burnish.data.dataset import Dataset
from burnish.data.episodes import STATE
from burnish.data.scaling import ActionScaling
from burnish.errors import InputError

ALIKE = 0.9
"""Correlation of an action and the state that follows it from which on one may be the target of the other."""
NEAR = 0.5
"""And how far they are apart at most (root mean square), in standard deviations of the action."""


def absolute_targets(dataset: Dataset) -> dict[int, int]:
    """The dimensions of the action that are targets of a dimension of the state, and of which.

    Dimensions belong together by name; where nothing has a name, and there are as many of both, by place. Actions that
    are changes in the data's units are no targets: they are far from the state, or know nothing of it.
    """
    if STATE not in dataset.observations:
        return {}
    dataset = dataset.thinned()
    inside = torch.ones(dataset.num_frames, dtype=torch.bool, device=dataset.device)
    inside[dataset.starts + dataset.lengths - 1] = False
    frames = torch.nonzero(inside).flatten()
    found = {}
    for index, column in _pairs(dataset).items():
        action = dataset.actions[frames, index].double()
        state = dataset.observations[STATE][frames + 1, column].double()
        spread = float(action.std(correction=0))
        if spread > 0 and float(state.std(correction=0)) > 0:
            alike = float(torch.corrcoef(torch.stack([action, state]))[0, 1])
            if alike >= ALIKE and float((action - state).square().mean().sqrt()) <= NEAR * spread:
                found[index] = column
    return found


def relative_scaling(dataset: Dataset) -> ActionScaling:
    """A scaling by which absolute targets are learned as their difference to the state.

    Only continuous ones: a gripper that is open or closed is a command, wherever it stands.

    Raises:
        InputError: there is none.
    """
    recorded = ActionScaling.of(dataset.actions, dataset.info.action_names)
    targets = require_targets(dataset, "relative")
    column = tuple(targets.get(index, -1) if kind == "continuous" else -1 for index, kind in enumerate(recorded.kinds))
    if max(column) < 0:
        raise InputError("--action-targets relative: all targets are binary or discrete, expected a continuous one")
    differences = replace(recorded, relative_to=column)
    found = ActionScaling.of(differences.learned(dataset.actions, dataset.observations[STATE]), recorded.names)
    return replace(found, relative_to=column)


def require_targets(dataset: Dataset, wanted: str) -> dict[int, int]:
    """`absolute_targets`, where somebody said that there are some; `wanted` is what was said.

    Raises:
        InputError: there is none.
    """
    targets = absolute_targets(dataset)
    if not targets:
        raise InputError(
            f"--action-targets {wanted}: found no action that is a target of the state, expected one whose dimension "
            "of the same name (or of the same place, where nothing has names) goes where it says; actions that are "
            "changes already are learned as they were recorded, without this option"
        )
    return targets


def _pairs(dataset: Dataset) -> dict[int, int]:
    states, actions = dataset.info.state_names, dataset.info.action_names
    if states and actions:
        return {index: states.index(name) for index, name in enumerate(actions) if name in states}
    same = dataset.action_dim == dataset.observation_dim
    return dict(zip(range(dataset.action_dim), range(dataset.action_dim), strict=True)) if same else {}
