"""One supervised loop for everything that has a `loss`."""

from burnish.training.ema import ExponentialMovingAverage
from burnish.training.loop import TrainingConfig, fit

__all__ = ["ExponentialMovingAverage", "TrainingConfig", "fit"]
