"""Validation on held-out data while a model trains: what is measured, the best weights, and when it is enough."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from burnish.errors import InputError
from burnish.training.ema import ExponentialMovingAverage
from burnish.training.processes import Processes

Validate = Callable[[], dict[str, float]]
"""Numbers by name, of the module as it is when it is called.

Weights are compared by the first one, or by the one that `stop_by` names: less is better."""


class Validation:
    """Calls `validate` every `every` steps and at the last one, and keeps the best weights where there is a `patience`.

    Only the first of several processes validates; the others learn the number that weights are compared by.
    """

    def __init__(
        self,
        model: nn.Module,
        ema: ExponentialMovingAverage | None,
        validate: Validate,
        every: int,
        patience: int | None,
        processes: Processes,
        stop_by: str | None = None,
    ) -> None:
        self.model, self.ema, self.validate, self.processes = model, ema, validate, processes
        self.every, self.patience, self.stop_by = every, patience, stop_by
        self.best, self.since = math.inf, 0
        self.weights: dict[str, Tensor] | None = None

    @property
    def over(self) -> bool:
        """Whether the number has not improved for as many validations as patience allows."""
        return self.patience is not None and self.since >= self.patience

    def measure(self) -> dict[str, float]:
        """The numbers of the present weights, under "validation/…"; of further processes nothing."""
        with _evaluated(self.model, self.ema):
            found = self.validate() if self.processes.first else {}
            judged = torch.tensor(self._deciding(found), dtype=torch.float64)
            self._compare(float(self.processes.of_first(judged)))
        return {f"validation/{name}": value for name, value in found.items()}

    def _deciding(self, found: dict[str, float]) -> float:
        if not self.processes.first:
            return math.nan
        name = self.stop_by or next(iter(found))
        if name not in found:
            raise InputError(f"stop_by: found '{name}', expected one that is validated here: {', '.join(found)}")
        return found[name]

    def _compare(self, number: float) -> None:
        # A number that is not finite is never better.
        if number < self.best:
            self.best, self.since = number, 0
            if self.patience is not None:
                self.weights = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        else:
            self.since += 1

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"best": self.best, "since": self.since, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.best, self.since, self.weights = float(state["best"]), int(state["since"]), state["weights"]


@contextmanager
def _evaluated(model: nn.Module, ema: ExponentialMovingAverage | None) -> Iterator[None]:
    """The module as it would be kept now: averaged, in evaluation mode; afterwards everything is as it was."""
    parameters = list(model.parameters())
    trained = [parameter.detach().clone() for parameter in parameters] if ema else []
    device = parameters[0].device
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
        if ema:
            ema.copy_to_module()
        model.eval()
        try:
            yield
        finally:
            model.train()
            for parameter, value in zip(parameters, trained, strict=False):
                parameter.copy_(value)
