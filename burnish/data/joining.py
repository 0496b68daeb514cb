"""Several data sets as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from burnish.data.dataset import Dataset
from burnish.data.info import DatasetInfo
from burnish.data.mapped import concatenated
from burnish.errors import InputError


def joined(parts: Sequence[tuple[object, Dataset]]) -> Dataset:
    """The episodes of all parts, in their order; each part has a name for messages.

    Rewards and ends that only some of the parts tell are told of none, but where the others' outcome is not known
    (`Dataset.judged`): there they are zero, and nobody looks.

    Raises:
        InputError: parts that differ in what is observed, in the actions, in names, in time, or in where they are from.
    """
    (first, reference), *others = parts
    for name, part in others:
        for what, found, expected in _compared(part, reference):
            if found != expected:
                raise InputError(f"{name}: found {what} {found}, expected {expected} as in {first}")
    if not others:
        return reference
    datasets = [part for _, part in parts]
    lengths = torch.cat([each.lengths for each in datasets])
    return Dataset(
        observations={
            key: concatenated([each.observations[key] for each in datasets]) for key in reference.observations
        },
        actions=concatenated([each.actions for each in datasets]),
        success=torch.cat([each.success for each in datasets]),
        starts=lengths.cumsum(0) - lengths,
        lengths=lengths,
        sources=tuple(source for each in datasets for source in each.sources),
        seeds=tuple(seed for each in datasets for seed in each.seeds),
        tasks=tuple(task for each in datasets for task in each.tasks),
        info=_info([each.info for each in datasets]),
        reward=_told(datasets, [each.reward for each in datasets]),
        terminated=_told(datasets, [each.terminated for each in datasets]),
    )


def _compared(part: Dataset, reference: Dataset) -> list[tuple[str, Any, Any]]:
    """What must be the same, as (in words, here, there); names count where both have them."""
    shapes = [{key: tuple(v.shape[1:]) for key, v in each.observations.items()} for each in (part, reference)]
    here, there = part.info, reference.info
    rows = [
        ("observations", *shapes),
        ("actions of", part.action_dim, reference.action_dim),
        ("frames per second", here.fps, there.fps),
        ("simulator", here.simulator, there.simulator),
        ("action_repeat", here.action_repeat, there.action_repeat),
    ]
    names = ("state_names", "action_names")
    both = [name for name in names if getattr(here, name) and getattr(there, name)]
    return rows + [(name, getattr(here, name), getattr(there, name)) for name in both]


def _info(infos: Sequence[DatasetInfo]) -> DatasetInfo:
    """What holds for all."""
    limits, robots = {each.max_steps for each in infos}, {each.robot_type for each in infos}
    return replace(
        infos[0],
        robot_type=infos[0].robot_type if len(robots) == 1 else None,
        max_steps=infos[0].max_steps if len(limits) == 1 else None,
        state_names=next((each.state_names for each in infos if each.state_names), None),
        action_names=next((each.action_names for each in infos if each.action_names), None),
        notes=tuple(dict.fromkeys(note for each in infos for note in each.notes)),
    )


def _told(datasets: Sequence[Dataset], columns: Sequence[Tensor | None]) -> Tensor | None:
    present = next((column for column in columns if column is not None), None)
    missing = [each for each, column in zip(datasets, columns, strict=True) if column is None]
    if present is None or any(each.num_judged for each in missing):
        return None
    zeros = [present.new_zeros(each.num_frames) for each in datasets]
    return torch.cat([zero if column is None else column for column, zero in zip(columns, zeros, strict=True)])
