"""Statistics of a dataset's columns as LeRobot 0.4 keeps them: per episode, and merged over all episodes."""

from __future__ import annotations

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}

Statistics = dict[str, np.ndarray]
"""`min`, `max`, `mean`, `std` (population), `count` (1,) and the quantiles, each of the feature's shape."""


def column_statistics(values: np.ndarray) -> Statistics:
    """Statistics over the frames of one episode's column (T, ...); all but `count` have the column's shape.

    The quantiles are values that occur (no interpolation), as LeRobot's are up to the width of its histogram's bins.
    """
    exact = values.astype(np.float64)
    ordered = np.sort(values, axis=0)
    count = len(values)
    ranks = {name: max(int(np.ceil(fraction * count)) - 1, 0) for name, fraction in QUANTILES.items()}
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": exact.mean(0),
        "std": exact.std(0),
        "count": np.array([count]),
    } | {name: ordered[rank].astype(np.float64) for name, rank in ranks.items()}


def picture_statistics(pictures: np.ndarray) -> Statistics:
    """Statistics over all pixels of one episode's pictures, uint8 (T, H, W, 3), as values in [0, 1].

    All but `count`, the number of pictures, have the shape (3, 1, 1): one value a channel, LeRobot's form.
    """
    channels = 256 * np.arange(3)
    histogram = np.zeros((3, 256), np.int64)
    for picture in pictures:  # one at a time: the indices take eight times a picture's room
        histogram += np.bincount((picture + channels).ravel(), minlength=3 * 256).reshape(3, 256)
    values = np.arange(256) / 255
    pixels = histogram[0].sum()
    mean = histogram @ values / pixels
    variance = (histogram * (values - mean[:, None]) ** 2).sum(1) / pixels
    ranks = {name: max(np.ceil(fraction * pixels), 1) for name, fraction in QUANTILES.items()}
    below = histogram.cumsum(1)
    found = {
        "min": values[(below > 0).argmax(1)],
        "max": values[(below == pixels).argmax(1)],
        "mean": mean,
        "std": np.sqrt(variance),
    } | {name: values[(below >= rank).argmax(1)] for name, rank in ranks.items()}
    return {name: each.reshape(3, 1, 1) for name, each in found.items()} | {"count": np.array([len(pictures)])}


class RunningStatistics:
    """Merges the statistics of one column over episodes, in bounded memory.

    Mean and deviation are those of all frames together. The quantiles are the mean of the episodes' quantiles
    weighted by their lengths, which is LeRobot's own definition of a dataset's quantiles.
    """

    def __init__(self) -> None:
        """Start with no frames."""
        self._merged: Statistics | None = None

    def add(self, episode: Statistics) -> None:
        """Merge one episode."""
        if self._merged is None:
            self._merged = dict(episode)
            return
        old = self._merged
        count = old["count"] + episode["count"]
        weight = episode["count"] / count
        merged = {key: old[key] + weight * (episode[key] - old[key]) for key in ("mean", *QUANTILES)}
        # Chan et al. 1979: variances of two parts, and the distance of their means.
        distance = episode["mean"] - old["mean"]
        variance = old["std"] ** 2 + weight * (episode["std"] ** 2 - old["std"] ** 2)
        merged["std"] = np.sqrt(variance + weight * (1 - weight) * distance**2)
        merged["min"] = np.minimum(old["min"], episode["min"])
        merged["max"] = np.maximum(old["max"], episode["max"])
        merged["count"] = count
        self._merged = merged

    def result(self) -> Statistics:
        """The statistics of everything that was added; at least one episode must have been."""
        assert self._merged is not None
        return self._merged
