"""Distances between bodies: whether a hand touches an object is a matter of a centimetre between two coordinates that
each range over a metre, so models see the difference besides, magnified near zero."""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.data import STATE, Dataset

MANY_BODIES = 5
RELATED = 0.45
LEAST_SUCCESSES = 12
"""Episodes of which fewer may agree by chance."""
MOST_RELATIONS = 12


def position_differences(dataset: Dataset, ignored: tuple[str, ...] = ()) -> tuple[tuple[int, int], ...]:
    """Pairs of dimensions that are coordinates of two bodies along one axis, by their names (`hand_x`, `goal_x`, …).

    Bodies that are absent (zero throughout), or whose names begin with one of `ignored`, are left out. From
    `MANY_BODIES` on only the first one, the hand, is compared with each of the others: all pairs would drown the rest
    of the state. Where no name tells of a body, success may tell (`relations`).
    """
    return _named(dataset, ignored) or relations(dataset, ignored)


def relations(dataset: Dataset, ignored: tuple[str, ...] = ()) -> tuple[tuple[int, int], ...]:
    """Pairs of dimensions that every success brings together, wherever it happens: a gripper and what it is to reach.

    Where episodes first succeed, the difference of the two varies less than `RELATED` as much as either of them, and
    less than half as much as it does elsewhere. Looked for where dimensions have names, but none of a body, and
    `LEAST_SUCCESSES` episodes succeed; the closest `MOST_RELATIONS` are returned.
    """
    dataset, names = dataset.thinned(), dataset.info.state_names or ()
    if not names or _named(dataset) or int(dataset.episode_success.sum()) < LEAST_SUCCESSES:
        return ()
    frames = dataset.observations[STATE].double().cpu()
    reached = torch.stack([frames[b : b + n][s][0] for b, n, s in _episodes(dataset) if bool(s.any())])
    together, apart = _spread_of_differences(reached), _spread_of_differences(frames)
    either = torch.minimum(reached.std(0)[:, None], reached.std(0))
    related = (together < RELATED * either) & (together < apart / 2)
    for dim, name in enumerate(names):
        if name.startswith(ignored):
            related[dim] = related[:, dim] = False
    found = related.triu(1).nonzero().tolist()
    found.sort(key=lambda pair: float(together[pair[0], pair[1]] / either[pair[0], pair[1]]))
    return tuple(sorted((i, j) for i, j in found[:MOST_RELATIONS]))


def _spread_of_differences(rows: Tensor) -> Float[Tensor, "D D"]:
    """The standard deviation of x_i - x_j over rows, for every pair."""
    covariance = torch.atleast_2d(torch.cov(rows.T))
    variance = covariance.diagonal()
    return (variance[:, None] + variance[None] - 2 * covariance).clamp(min=0).sqrt()


def _episodes(dataset: Dataset) -> list[tuple[int, int, Tensor]]:
    """Each episode's first frame, its length, and where it shows success."""
    starts, lengths = dataset.starts.tolist(), dataset.lengths.tolist()
    success = dataset.success.cpu()
    return [(begin, length, success[begin : begin + length]) for begin, length in zip(starts, lengths, strict=True)]


def _named(dataset: Dataset, ignored: tuple[str, ...] = ()) -> tuple[tuple[int, int], ...]:
    names = dataset.info.state_names or ()
    present = dataset.observations[STATE].abs().amax(0) > 0
    index = {name: i for i, name in enumerate(names)}
    bodies = [name[:-2] for name in names if name.endswith("_x") and not name.startswith(ignored)]
    bodies = [body for body in bodies if all(f"{body}_{axis}" in index for axis in "xyz")]
    bodies = [body for body in bodies if any(present[index[f"{body}_{axis}"]] for axis in "xyz")]
    pairs = itertools.combinations(bodies, 2) if len(bodies) < MANY_BODIES else [(bodies[0], b) for b in bodies[1:]]
    return tuple((index[f"{a}_{axis}"], index[f"{b}_{axis}"]) for a, b in pairs for axis in "xyz")
