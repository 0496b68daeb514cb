"""Filtered behaviour cloning: of everything that was recorded, whoever acted, the policy copies what succeeded."""

import torch

from burnish.data import Dataset, require_successes


def successful_episodes(dataset: Dataset) -> Dataset:
    """The successful episodes: demonstrations, and rollouts that got there.

    Cloning them alone is the filter "%BC" of Decision Transformer (arXiv 2106.01345, section 5.1) with success as the
    return.  Raises InputError where no episode succeeded.
    """
    require_successes(dataset)
    return dataset.subset(torch.nonzero(dataset.episode_success).flatten().tolist())
