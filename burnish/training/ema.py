"""Exponential moving average of a module's parameters."""

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """Keeps θ_ema ← d θ_ema + (1 - d) θ, with d warmed up as (1 + n) / (10 + n) so that the start is forgotten."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.parameters = list(module.parameters())
        self.average = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the present parameters."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for average, parameter in zip(self.average, self.parameters, strict=True):
            average.lerp_(parameter.detach(), 1 - decay)

    @torch.no_grad()
    def copy_to_module(self) -> None:
        """Overwrite the module's parameters with the average."""
        for parameter, average in zip(self.parameters, self.average, strict=True):
            parameter.copy_(average)

    def state_dict(self) -> dict[str, int | dict[str, Tensor]]:
        """What a resumed run needs."""
        return {"updates": self.updates, "average": {str(i): tensor for i, tensor in enumerate(self.average)}}

    def load_state_dict(self, state: dict) -> None:
        """Restore `state_dict`."""
        self.updates = int(state["updates"])
        for i, tensor in enumerate(self.average):
            tensor.copy_(state["average"][str(i)])
