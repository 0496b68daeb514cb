"""Whether an ensemble's disagreement is calibrated: does it rank errors, and what factor makes it a bound on them?

An ensemble is often right about where its errors are larger and wrong about how large (rwm-reproduction on RWM-U: a
standard deviation 33 times too small), by another factor at each horizon; and one whose members agree where they are
wrong does not even rank. Both are measured here on held-out episodes.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.errors import InputError
from burnish.evaluation.correlation import spearman
from burnish.evaluation.prediction import OpenLoop

TARGET = 0.9
MIN_EPISODES = 4
MIN_CORRELATION = 0.2
MIN_SPREAD = 1.3
_FLOOR_QUANTILE = 0.1


@dataclass(frozen=True)
class Uncertainty:
    """By horizon (H of them), how far disagreement tells the error of open-loop predictions.

    The bound on the error after h steps is factor_h · (disagreement + floor), where disagreement is the mean of those
    before steps 1 … h: every step's doubt has its share in the drift, while a maximum would be that of one contact; how
    errors grow with h is left to the factor. Windows of one episode depend on each other, so that the coverage has
    the luck of `episodes` draws rather than of `test_windows`.
    """

    correlation: Float[Tensor, " H"]
    """Spearman's, of disagreement and error, over all windows; NaN where one of them is constant."""
    spread: float
    """The 90 % quantile of one-step disagreement over its 10 % quantile."""
    floor: float
    """What keeps a bound above zero where the members agree: the 10 % quantile of one-step disagreement."""
    factor: Float[Tensor, " H"]
    """From the calibrating half of the episodes."""
    coverage: Float[Tensor, " H"]
    """Windows of the other half whose error the bound holds: with each horizon's factor."""
    coverage_one_step: Float[Tensor, " H"]
    """With the factor of one step at every horizon: without recalibration."""
    coverage_low: Float[Tensor, " H"]
    """With each horizon's factor, where disagreement is no more than its median; NaN where there is no such window."""
    coverage_high: Float[Tensor, " H"]
    """Where it is more."""
    episodes: int
    calibration_windows: int
    test_windows: int

    @property
    def warning(self) -> str | None:
        """Why disagreement is not to be trusted at all; None where it tells large errors from small ones."""
        found = []
        correlation = float(self.correlation.nan_to_num(0).quantile(0.5))
        if correlation < MIN_CORRELATION:
            found.append(
                f"its rank correlation with the error is {correlation:.2f} at the median horizon "
                f"(wanted: {MIN_CORRELATION} or more)"
            )
        if self.spread < MIN_SPREAD:
            found.append(
                f"its 90 % quantile is only {self.spread:.2f} times its 10 % quantile (wanted: {MIN_SPREAD} or more)"
            )
        if not found:
            return None
        return (
            f"The ensemble's disagreement does not tell large errors from small ones: {' and '.join(found)}. Its "
            "members seem to agree where they are wrong, so that halting by disagreement protects little."
        )

    def summary(self) -> dict[str, Any]:
        """Plain numbers, as the report wants them; None where a number is not defined."""
        return {
            "horizon": list(range(1, len(self.factor) + 1)),
            "target": TARGET,
            "rank_correlation": _numbers(self.correlation),
            "disagreement_spread": self.spread,
            "floor": self.floor,
            "factor": _numbers(self.factor),
            "coverage": {
                "recalibrated": _numbers(self.coverage),
                "one_step_factor": _numbers(self.coverage_one_step),
                "low_disagreement": _numbers(self.coverage_low),
                "high_disagreement": _numbers(self.coverage_high),
            },
            "episodes": self.episodes,
            "windows": {"calibration": self.calibration_windows, "test": self.test_windows},
            "warning": self.warning,
        }


def uncertainty(result: OpenLoop, seed: int) -> Uncertainty:
    """Calibrate on a random half of the episodes and count on the other; `result` holds disagreement and episodes.

    Raises InputError where there are too few episodes, or too few windows for the quantile.
    """
    assert result.disagreement is not None and result.episode is not None
    one_step, error = result.disagreement[:, 0], result.model_error
    steps = torch.arange(1, error.shape[1] + 1, device=error.device)
    doubt = result.disagreement.cumsum(1) / steps
    calibrating = _half_of_episodes(result.episode, seed)
    # Of both halves, but of no error: windows stay exchangeable, as the quantile below needs them.
    low, high = one_step.quantile(_FLOOR_QUANTILE).clamp(min=1e-6), one_step.quantile(1 - _FLOOR_QUANTILE)
    scale = doubt + low
    factor = conformal_quantile((error / scale)[calibrating], TARGET)

    test = ~calibrating
    covered, covered_one_step = (error <= f * scale for f in (factor, factor[:1]))
    below = doubt <= doubt[test].quantile(0.5, dim=0)
    return Uncertainty(
        correlation=torch.tensor([spearman(doubt[:, h], error[:, h]) for h in range(error.shape[1])]),
        spread=float(high / low),
        floor=float(low),
        factor=factor,
        coverage=_share(covered, test[:, None].expand_as(covered)),
        coverage_one_step=_share(covered_one_step, test[:, None].expand_as(covered)),
        coverage_low=_share(covered, test[:, None] & below),
        coverage_high=_share(covered, test[:, None] & ~below),
        episodes=len(result.episode.unique()),
        calibration_windows=int(calibrating.sum()),
        test_windows=int(test.sum()),
    )


def conformal_quantile(scores: Float[Tensor, "n H"], level: float) -> Float[Tensor, " H"]:
    """The ⌈(n + 1) level⌉-th smallest of each column: a further exchangeable score lies below with this probability.

    Source: split-conformal prediction (Lei et al. 2018, arXiv 1604.04173). Raises InputError where n is too small.
    """
    # Rounded first: 0.9 · 70 must not become 63.000000000000007.
    rank = math.ceil(round((len(scores) + 1) * level, 9))
    if rank > len(scores):
        needed = math.ceil(round(level / (1 - level), 9))
        raise InputError(f"found {len(scores)} windows to calibrate on, expected {needed} or more")
    return scores.sort(dim=0).values[rank - 1]


def _half_of_episodes(episode: Tensor, seed: int) -> Bool[Tensor, " N"]:
    """The windows of a random half of the episodes."""
    present = episode.unique()
    if len(present) < MIN_EPISODES:
        raise InputError(f"found {len(present)} held-out episodes that are long enough, expected {MIN_EPISODES}")
    order = torch.randperm(len(present), generator=torch.Generator().manual_seed(seed)).to(present.device)
    return torch.isin(episode, present[order[: len(present) // 2]])


def _share(covered: Bool[Tensor, "N H"], counted: Bool[Tensor, "N H"]) -> Float[Tensor, " H"]:
    return (covered & counted).sum(0) / counted.sum(0)


def _numbers(values: Float[Tensor, " H"]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]
