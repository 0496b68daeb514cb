"""Splits of a dataset in which every episode is held out exactly once."""

import torch

from burnish.data.dataset import Dataset
from burnish.errors import InputError


def folds(dataset: Dataset, count: int, seed: int) -> list[tuple[Dataset, Dataset]]:
    """`count` splits by episode into (training, held out); each fold has its share of every group (`Dataset.groups`).

    Raises:
        InputError: fewer than two folds, or fewer episodes than folds.
    """
    if not 2 <= count <= dataset.num_episodes:
        raise InputError(
            f"{count} folds were asked for, expected at least 2 and at most the {dataset.num_episodes} episodes of the "
            "data set"
        )
    generator = torch.Generator().manual_seed(seed)
    # Dealt out like cards, group after group without a gap, so that no fold is more than one episode larger.
    dealt: list[int] = []
    for group in dataset.groups():
        order = torch.randperm(len(group), generator=generator).tolist()
        dealt += [group[position] for position in order]
    fold_of = {episode: place % count for place, episode in enumerate(dealt)}
    return [
        (
            dataset.subset([episode for episode in range(dataset.num_episodes) if fold_of[episode] != fold]),
            dataset.subset([episode for episode in range(dataset.num_episodes) if fold_of[episode] == fold]),
        )
        for fold in range(count)
    ]
