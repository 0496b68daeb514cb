"""How imagined outcomes of recorded episodes agree with the real ones: a 2×2 table of successes, a line of returns."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.evaluation.correlation import pearson

LEAST_REPEATABILITY = 0.25
"""A worth is raised at most fourfold for the luck of single replays."""

Measure = Literal["success", "return"]


class Agreement(Protocol):
    """How imagined outcomes of recorded episodes agree with the real ones: successes (`BackTest`) or returns."""

    measure: ClassVar[Measure]

    @property
    def episodes(self) -> int:
        """All that were replayed."""
        ...

    @property
    def unit(self) -> float:
        """The size of a difference that matters, of which the gate's margins are shares."""
        ...

    @property
    def skill(self) -> float:
        """Correlation of imagined and real outcomes; 0 where nothing was shown."""
        ...

    @property
    def transfer(self) -> tuple[float, float]:
        """What an imagined difference is worth in reality, and its standard error."""
        ...

    @property
    def reach(self) -> float | None:
        """The highest real outcome that it can speak of; None where outcomes have an end of their own."""
        ...

    def expected(self, imagined: float) -> float:
        """The real outcome to expect of a policy with this imagined one."""
        ...


@dataclass(frozen=True)
class BackTest:
    """Recorded episodes by their success on the robot (or simulator) and in a held-out world."""

    measure: ClassVar[Measure] = "success"

    both: int
    """Succeeded in both."""
    only_real: int
    only_imagined: int
    neither: int
    repeatability: float = 1.0
    """φ of two replays of the same episodes: 1 where imagination says the same again, 0 where it throws dice."""

    @classmethod
    def of(
        cls, found: Bool[Tensor, " E"], true: Bool[Tensor, " E"], again: Bool[Tensor, " E"] | None = None
    ) -> "BackTest":
        """From imagined and real success of the same episodes, and imagined success of a second replay."""
        both, neither = int((found & true).sum()), int((~found & ~true).sum())
        counts = both, int((~found & true).sum()), int((found & ~true).sum()), neither
        if again is None or torch.equal(found, again):
            return cls(*counts)
        return cls(*counts, repeatability=cls.of(found, again).skill)

    @property
    def reach(self) -> None:
        """Rates end at 1."""

    @property
    def unit(self) -> float:
        """Rates have one of their own."""
        return 1.0

    @property
    def episodes(self) -> int:
        """All of them."""
        return self.both + self.only_real + self.only_imagined + self.neither

    @property
    def skill(self) -> float:
        """Matthews' correlation (φ) of the two outcomes: 1 where they always agree, 0 where imagination knows nothing.

        0, too, where one of the outcomes never varies: then nothing was shown.
        """
        a, b, c, d = self.both, self.only_real, self.only_imagined, self.neither
        margins = (a + b) * (c + d) * (a + c) * (b + d)
        return (a * d - b * c) / math.sqrt(margins) if margins else 0.0

    @property
    def transfer(self) -> tuple[float, float]:
        """How much real success a certain imagined success is worth, and its standard error.

        P(real | imagined success) − P(real | imagined failure), the slope of the regression of one outcome on the
        other, divided by `repeatability`: a single replay is a noisy measurement of how probable an episode's imagined
        success is, which flattens the slope (attenuation: C. Spearman, 1904; R. J. Carroll et al., "Measurement Error
        in Nonlinear Models", 2006, section 3.2). A policy's imagined success is a mean over many episodes, and has
        not this noise. Not more than 1.
        """
        (after_success, first), (after_failure, second) = self._rates()
        slope = after_success - after_failure
        variance = after_success * (1 - after_success) / first + after_failure * (1 - after_failure) / second
        reliability = max(self.repeatability, slope, LEAST_REPEATABILITY)
        return slope / reliability, math.sqrt(variance) / reliability

    def expected(self, imagined: float) -> float:
        """The real success rate to expect of a policy with this imagined one."""
        (after_success, first), (after_failure, second) = self._rates()
        replayed = first / (first + second)
        real = replayed * after_success + (1 - replayed) * after_failure
        return min(1.0, max(0.0, real + self.transfer[0] * (imagined - replayed)))

    def _rates(self) -> tuple[tuple[float, int], tuple[float, int]]:
        """Real success after an imagined success and after an imagined failure, each with its number of episodes.

        One success and one failure are added (Agresti and Caffo 2000), so that few episodes count as few.
        """
        counts = (self.both, self.both + self.only_imagined), (self.only_real, self.only_real + self.neither)
        first, second = (((hits + 1) / (total + 2), total + 2) for hits, total in counts)
        return first, second


@dataclass(frozen=True)
class ReturnTest:
    """Recorded episodes by their return on the robot (or simulator) and in a held-out world, summed up.

    Attributes:
        episodes: all of them.
        skill: Pearson's correlation of imagined and real returns; 0 where one of them never varies.
        slope: of the regression of real returns on imagined ones, and its standard error.
        imagined, real: mean returns.
        unit: standard deviation of the real returns.
        repeatability: Pearson's correlation of two replays of the same episodes.
        reach: the highest recorded return and once more the range of recorded ones. What is imagined beyond lies too
            far from all that was tested; an exploited world promises such returns. None: not known.
    """

    measure: ClassVar[Measure] = "return"

    episodes: int
    skill: float
    slope: float
    slope_error: float
    imagined: float
    real: float
    unit: float
    repeatability: float = 1.0
    reach: float | None = None

    @classmethod
    def of(
        cls, found: Float[Tensor, " E"], true: Float[Tensor, " E"], again: Float[Tensor, " E"] | None = None
    ) -> "ReturnTest":
        """From imagined and real returns of the same episodes, and imagined returns of a second replay."""
        x, y = found.double(), true.double()
        count, dx, dy = len(x), x - x.mean(), y - y.mean()
        spread, slope, error = float(dx.square().sum()), 0.0, 0.0
        if count > 2 and spread > 0:
            slope = float((dx * dy).sum()) / spread
            error = math.sqrt(float((dy - slope * dx).square().sum()) / (count - 2) / spread)
        repeated = 1.0 if again is None or torch.equal(found, again) else pearson(x, again)
        skill = pearson(x, y) if count > 2 else 0.0
        unit = float(y.std()) if count > 1 else 0.0
        reach = float(2 * y.max() - y.min())
        return cls(count, skill, slope, error, float(x.mean()), float(y.mean()), unit, repeated, reach)

    @property
    def transfer(self) -> tuple[float, float]:
        """As `BackTest.transfer`: the slope divided by `repeatability`, and not more than 1."""
        reliability = max(self.repeatability, self.slope, LEAST_REPEATABILITY)
        return self.slope / reliability, self.slope_error / reliability

    def expected(self, imagined: float) -> float:
        """The real return to expect of a policy with this imagined one."""
        return self.real + self.transfer[0] * (imagined - self.imagined)
