"""What a forecasting ensemble learns from: windows of history and forecast, and a bootstrap for each member."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.config import within
from burnish.data import Dataset, RowSampler, WindowBatch, Windows
from burnish.errors import InputError


@dataclass(frozen=True)
class GRUEnsembleConfig:
    """Size and learning of the ensemble; the published sizes are 2 layers of 256 and heads of 128."""

    members: int = within(5, 2)
    history: int = within(32, 1)
    """Recorded frames that warm the hidden state before a forecast is learned (RWM's M)."""
    forecast: int = within(8, 1)
    """Frames that are forecast in training (RWM's N)."""
    feedback: Literal["samples", "data"] = "samples"
    """What a forecast goes on from. samples: its own previous prediction, sampled (dual-autoregressive, RWM section
    III). data: the recorded frame (teacher forcing), for comparison."""
    likelihood: Literal["mse", "nll"] = "mse"
    """mse: squared error of the sample, as published; its optimum is a standard deviation of zero. nll: the Gaussian's
    negative log-likelihood."""
    trunk: Literal["shared", "own"] = "shared"
    """Whether members share the recurrent trunk, as published, or each has its own, at the price of each."""
    hidden: int = within(128, 1)
    layers: int = within(1, 1)
    head: tuple[int, ...] = within((128,), 1)
    bound_weight: float = within(1.0, 0)
    """Of the distance between the learned bounds of the log standard deviation."""
    auxiliary_weight: float = within(1.0, 0)
    """Of the termination's cross-entropy and the privileged targets' squared error, which are teacher-forced."""
    privileged: str | None = None
    """Observation (`observation.contacts`, say) that is predicted and never read: contacts and other quantities that
    only a simulator knows. Rewards find it under its key."""
    commands: tuple[str, ...] = ()
    """Beginnings of the names of state dimensions that are commands: what a task asks for (a velocity to keep, say).
    They are read and not predicted: an imagined one stays as it is until imagination draws another
    (`imagination.disturbances`)."""
    slack: float | None = within(0.1, 0)
    """How far imagined values may leave the data's range, as a share of it; None: as far as they like."""
    halt_quantile: float = within(0.99, 0, 1, open_low=True)
    """Held-out real transitions whose spread may lie beyond the threshold: 1 - halt_quantile of them."""


@dataclass(frozen=True)
class ForecastBatch:
    """Windows of history and forecast, and how often each member's bootstrap of the episodes has each of them."""

    windows: WindowBatch
    copies: Float[Tensor, "B members"]


class Forecasts(RowSampler[Tensor]):
    """Windows of a dataset for a GRU ensemble, with one bootstrap of the episodes for each member."""

    def __init__(self, dataset: Dataset, config: GRUEnsembleConfig, seed: int) -> None:
        """Raises InputError where no episode is longer than the forecast, or a privileged observation is missing."""
        longest = int(dataset.lengths.max())
        if longest <= config.forecast:
            raise InputError(
                f"world_model.forecast: found {config.forecast} steps, but no episode of the data has more than "
                f"{longest} frames; expected less than that"
            )
        if config.privileged is not None and config.privileged not in dataset.observations:
            found = ", ".join(dataset.observations)
            raise InputError(f"world_model.privileged: found no '{config.privileged}', expected one of: {found}")
        self.windows = Windows(dataset, config.history, config.forecast)
        generator = torch.Generator().manual_seed(seed)
        count = dataset.num_episodes
        drawn = [torch.randint(count, (count,), generator=generator) for _ in range(config.members)]
        copies = torch.stack([torch.bincount(each, minlength=count) for each in drawn], 1)
        self.copies = copies.to(dataset.device, torch.float32)
        self._episode = dataset.episode_of_frame

    def draw(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Presents, uniformly, the same ones for all members."""
        return self.windows.draw(batch_size, generator)

    def gather(self, drawn: Tensor) -> ForecastBatch:
        """The windows of these presents, without pictures."""
        windows = self.windows.gather(drawn)
        keys = {key: values for key, values in windows.observation.items() if values.dtype != torch.uint8}
        return ForecastBatch(replace(windows, observation=keys), self.copies[self._episode[drawn]])
