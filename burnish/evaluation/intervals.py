"""Success rates and their differences, with intervals that hold for few episodes and for rates near 0 and 1."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from burnish.errors import InputError


@dataclass(frozen=True)
class PairedDifference:
    """How the success rate changed between two policies that were run from the same start states.

    `difference` is after − before, in rate units (−1 to 1); `low` and `high` bound it at `confidence`. The four
    counts add up to `episodes`: `improved` failed before and succeeded after, `worsened` the reverse. `p_value` is
    that of McNemar's exact two-sided test of "no change".
    """

    difference: float
    low: float
    high: float
    confidence: float
    improved: int
    worsened: int
    both: int
    neither: int
    p_value: float

    @property
    def episodes(self) -> int:
        """The number of pairs."""
        return self.improved + self.worsened + self.both + self.neither


def wilson_interval(successes: float, episodes: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a success rate: (low, high), both within [0, 1].

    `successes` may have halves, where a tie counts half.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    Raises InputError unless 0 <= successes <= episodes, episodes > 0 and 0 < confidence < 1.
    """
    if episodes <= 0:
        raise InputError(f"a success rate needs at least one episode, found episodes={episodes}")
    if not 0 <= successes <= episodes:
        raise InputError(f"successes must lie between 0 and episodes={episodes}, found {successes}")
    z = _two_sided_quantile(confidence)
    rate = successes / episodes
    scale = 1 + z * z / episodes
    centre = (rate + z * z / (2 * episodes)) / scale
    half = z * math.sqrt(rate * (1 - rate) / episodes + z * z / (4 * episodes**2)) / scale
    # At the ends the formula gives 0 and 1 up to rounding; say so exactly.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == episodes else min(1.0, centre + half)
    return low, high


def paired_difference(before: Sequence[bool], after: Sequence[bool], confidence: float = 0.95) -> PairedDifference:
    """Compare two policies episode by episode; `before[i]` and `after[i]` must share their start state.

    The interval is method 10 (score intervals of both rates, combined with their correlation) of R. G. Newcombe,
    "Improved confidence intervals for the difference between binomial proportions based on paired data",
    Statistics in Medicine 17 (1998), 2635-2650. Raises InputError for empty sequences or unequal lengths.
    """
    if len(before) != len(after):
        raise InputError(f"paired episodes must be equally many: {len(before)} before, {len(after)} after")
    if len(before) == 0:
        raise InputError("a paired difference needs at least one episode, found none")
    pairs = [(bool(old), bool(new)) for old, new in zip(before, after, strict=True)]
    both = pairs.count((True, True))
    improved = pairs.count((False, True))
    worsened = pairs.count((True, False))
    neither = pairs.count((False, False))
    low, high = _newcombe_method_10(both, improved, worsened, neither, confidence)
    return PairedDifference(
        difference=(improved - worsened) / len(pairs),
        low=low,
        high=high,
        confidence=confidence,
        improved=improved,
        worsened=worsened,
        both=both,
        neither=neither,
        p_value=mcnemar_exact(improved, worsened),
    )


def mcnemar_exact(improved: int, worsened: int) -> float:
    """Two-sided p-value of McNemar's exact test: are changes for the better and for the worse equally likely?

    Under "no change" the improved among the discordant pairs are Binomial(improved + worsened, 1/2).
    """
    discordant = improved + worsened
    if discordant == 0:
        return 1.0
    tail = sum(math.comb(discordant, k) for k in range(min(improved, worsened) + 1))
    # Integers until the last step: exact, and no overflow for thousands of pairs.
    return min(1.0, 2 * tail / 2**discordant)


def discordant_interval(improved: int, worsened: int, episodes: int, confidence: float = 0.95) -> tuple[float, float]:
    """An interval for a paired difference (improved − worsened) / episodes of which no more than these is known.

    Source: A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched proportions",
    Statistics in Medicine 24 (2005), 729-740: Wald's interval after half an episode more in each of the four cells.
    Raises InputError for counts below 0, no episode, or more discordant pairs than episodes.
    """
    if improved < 0 or worsened < 0 or episodes <= 0 or improved + worsened > episodes:
        raise InputError(
            f"improved={improved} and worsened={worsened} must not be negative nor exceed episodes={episodes} together"
        )
    b, c, n = improved + 0.5, worsened + 0.5, episodes + 2
    half = _two_sided_quantile(confidence) * math.sqrt(b + c - (b - c) ** 2 / n) / n
    return max(-1.0, (b - c) / n - half), min(1.0, (b - c) / n + half)


def _newcombe_method_10(
    both: int, improved: int, worsened: int, neither: int, confidence: float
) -> tuple[float, float]:
    episodes = both + improved + worsened + neither
    after, before = both + improved, both + worsened
    rate_after, rate_before = after / episodes, before / episodes
    low_after, high_after = wilson_interval(after, episodes, confidence)
    low_before, high_before = wilson_interval(before, episodes, confidence)
    phi = _corrected_phi(both, improved, worsened, neither)
    difference = rate_after - rate_before
    below = _correlated_norm(rate_after - low_after, high_before - rate_before, phi)
    above = _correlated_norm(high_after - rate_after, rate_before - low_before, phi)
    return max(-1.0, difference - below), min(1.0, difference + above)


def _corrected_phi(both: int, improved: int, worsened: int, neither: int) -> float:
    """Correlation of the two outcomes, shrunk by Newcombe's continuity correction where it is positive."""
    episodes = both + improved + worsened + neither
    margins = (both + improved) * (worsened + neither) * (both + worsened) * (improved + neither)
    if margins == 0:
        return 0.0
    covariance = both * neither - improved * worsened
    if covariance > 0:
        covariance = max(covariance - episodes / 2, 0)
    return covariance / math.sqrt(margins)


def _correlated_norm(first: float, second: float, correlation: float) -> float:
    square = first * first - 2 * correlation * first * second + second * second
    return math.sqrt(max(0.0, square))


def _two_sided_quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise InputError(f"confidence must lie strictly between 0 and 1, found {confidence}")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """The mean of independent values with Student's two-sided interval: (mean, low, high).

    One value bounds nothing: its interval is the value alone. Raises InputError where there is none.
    """
    if len(values) == 0:
        raise InputError("a mean needs at least one episode, found none")
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    if len(array) == 1:
        return mean, mean, mean
    error = float(array.std(ddof=1)) / math.sqrt(len(array))
    half = student_quantile((1 + confidence) / 2, len(array) - 1) * error if error else 0.0
    return mean, mean - half, mean + half


def student_quantile(probability: float, freedom: float) -> float:
    """The quantile of Student's t distribution with `freedom` > 0 degrees of freedom (need not be an integer).

    With x = √ν tan θ the density is proportional to cos^(ν−1) θ, so the distribution function is an integral over a
    bounded interval; it is taken with Simpson's rule and inverted by bisection, to about nine digits for ν ≥ 1.
    """
    if not (0 < probability < 1 and freedom >= 1):
        raise InputError(f"expected 0 < probability < 1 and freedom >= 1, found {probability} and {freedom}")
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)

    def above_half(angle: float, pieces: int = 2000) -> float:
        density = np.cos(np.linspace(0, angle, pieces + 1)) ** (freedom - 1)
        total = density[0] + 4 * density[1::2].sum() + 2 * density[2:-1:2].sum() + density[-1]
        return scale * angle / pieces / 3 * float(total)

    low, high, wanted = 0.0, math.pi / 2, abs(probability - 0.5)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if above_half(middle) < wanted else (low, middle)
    return math.copysign(math.sqrt(freedom) * math.tan((low + high) / 2), probability - 0.5)
