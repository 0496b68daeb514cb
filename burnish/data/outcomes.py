"""What a dataset's successes and returns are good for: whether something can be learned, and whom to imitate."""

import torch
from torch import Tensor

from burnish.data.checks import bad_input
from burnish.data.dataset import Dataset
from burnish.data.success import REWARD


def require_successes(dataset: Dataset, where: object = "the dataset") -> None:
    """Check that there is something to learn success from.

    Raises:
        InputError: not a single frame shows success.
    """
    if not bool(dataset.success.any()):
        found = f"{dataset.num_episodes} episodes without a single success"
        raise bad_input(where, found, "at least one successful episode", field="success")


def require_outcomes(dataset: Dataset, where: object = "the dataset") -> None:
    """Check that there is something to learn from what is good: a success, or rewards that vary.

    Raises:
        InputError: neither.
    """
    if dataset.has_success:
        return
    if dataset.reward is None:
        require_successes(dataset, where)
    elif bool((dataset.reward == dataset.reward[0]).all()):
        found = f"a reward of {float(dataset.reward[0]):g} at every frame and not a single success"
        raise bad_input(where, found, "rewards that vary, or at least one successful episode", field=REWARD)


def best_episodes(dataset: Dataset, share: float) -> Dataset:
    """The episodes to imitate: the successful ones, or where there is no success the `share` of the highest return.

    Cloning them alone is the filter "%BC" of Decision Transformer (arXiv 2106.01345, section 5.1).

    Raises:
        InputError: there is no success, and no reward that varies.
    """
    require_outcomes(dataset)
    if dataset.has_success:
        return dataset.subset(torch.nonzero(dataset.episode_success).flatten().tolist())
    count = max(1, round(share * dataset.num_episodes))
    return dataset.subset(sorted(dataset.episode_return.argsort(descending=True, stable=True)[:count].tolist()))


def about_to_succeed(dataset: Dataset, frames: int) -> Tensor:
    """Frames (F,) of failure that success follows within `frames` frames: to call it a moment early is no mistake."""
    soon = torch.zeros_like(dataset.success)
    last = dataset.starts + dataset.lengths - 1
    ahead = dataset.success
    for _ in range(frames):
        ahead = ahead.roll(-1)
        ahead[last] = False
        soon |= ahead
    return soon & ~dataset.success
