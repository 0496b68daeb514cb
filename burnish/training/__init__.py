"""One supervised loop for everything that has a `loss`."""

from burnish.training.ema import ExponentialMovingAverage
from burnish.training.loop import Sampler, TrainingConfig, fit
from burnish.training.processes import ALONE, Processes, current, join
from burnish.training.validation import Validate

__all__ = [
    "ALONE",
    "ExponentialMovingAverage",
    "Processes",
    "Sampler",
    "TrainingConfig",
    "Validate",
    "current",
    "fit",
    "join",
]
