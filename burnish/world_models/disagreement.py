"""A bootstrapped ensemble beside the world model: where its members disagree, imagination is not to be trusted."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from burnish.components import Component
from burnish.config import within
from burnish.data import Dataset, RowSampler, WindowBatch, Windows
from burnish.networks import EnsembleMLP
from burnish.world_models.history import STATE_KEY, HistoryState, TransitionSpace


@dataclass(frozen=True)
class EnsembleConfig:
    """Size of the ensemble, and the quantile of held-out disagreement beyond which imagination halts."""

    members: int = within(5, 2)
    hidden: tuple[int, ...] = within((192, 192), 1)
    halt_quantile: float = within(0.999, 0, 1, open_low=True)
    """Held-out real windows that may lie beyond the threshold: 1 - halt_quantile of them."""


class DisagreementEnsemble(Component):
    """E networks that predict the mean of what inertia leaves; each learns from its own bootstrap of the episodes.

    `forward` is a robust spread: each dimension's standard deviation over members is divided by that dimension's own
    held-out 90 % quantile, compressed by log(1 + x) and averaged. The heavy tail that contacts give to one dimension
    can so neither set the threshold alone nor hide the others, and yet no disagreement is too large to be told apart.
    """

    name = "disagreement"
    draws = False
    scale: Tensor
    threshold: Tensor

    def __init__(self, space: TransitionSpace, config: EnsembleConfig) -> None:
        super().__init__()
        self.space, self.config, self.members = space, config, config.members
        dims = len(space.learned_dims)
        self.network = EnsembleMLP(config.members, space.context_dim, config.hidden, dims)
        self.register_buffer("scale", torch.ones(dims))
        self.register_buffer("threshold", torch.full((), torch.inf))

    def predict(self, state: HistoryState, action: Float[Tensor, "B A"]) -> Float[Tensor, "members B d"]:
        """What each member predicts beyond inertia (`TransitionSpace.delta`)."""
        return self.network(self.space.context(state, action))

    def forward(self, state: HistoryState, action: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
        """Robust disagreement about what `action` does; above `threshold` it is out of the data's support."""
        return self.robust(spread(self.predict(state, action)))

    def predict_member(
        self,
        state: HistoryState,
        action: Float[Tensor, "B A"],
        member: Int[Tensor, " B"],
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, " B"], HistoryState]:
        """Disagreement, and the state that each row's own `member` predicts (its mean, so the generator is unused)."""
        predictions = self.predict(state, action)
        chosen = predictions[member, torch.arange(len(action), device=action.device)]
        return self.robust(spread(predictions)), self.space.advance(state, action, chosen)

    def robust(self, spread: Float[Tensor, "B d"]) -> Float[Tensor, " B"]:
        """Mean over dimensions of the scaled, log-compressed spread."""
        return (spread / self.scale).log1p().mean(-1)

    def loss(self, batch: WindowBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Robust error of each member on its own share of the batch (rows of member 0 first, then of member 1, …)."""
        frames = self.space.config.frames
        state = self.space.window_state(batch)
        action = batch.action[:, frames - 1]
        context = self.space.context(state, action)
        following = self.space.normaliser.normalise(batch.observation[STATE_KEY][:, frames])
        target = self.space.delta(state, action, following)
        shares = (self.config.members, -1)
        error = self.network(context.unflatten(0, shares)) - target.unflatten(0, shares)
        # Contact forces give the targets heavy tails; a pseudo-Huber loss keeps rare jumps from ruling the fit.
        loss = 2 * ((1 + error.square()).sqrt() - 1)
        return loss.mean(), {"mse": error.detach().square().mean()}

    def bootstrap(self, dataset: Dataset, seed: int) -> "BootstrapWindows":
        """Windows of `dataset`, resampled by episode for each member."""
        return BootstrapWindows(dataset, self.space.config.frames, self.config.members, seed)

    @torch.no_grad()
    def calibrate(self, held_out: Dataset, batch_size: int = 4096) -> dict[str, float]:
        """Set the scale of each dimension and the halting threshold from held-out real windows."""
        spreads = []
        windows = Windows(held_out, history=self.space.config.frames, horizon=1)
        # torch.quantile takes at most 2**24 numbers; evenly spaced windows are as good as all of them.
        present = windows.present_frames[:: 1 + len(windows) * len(self.scale) // 2**24]
        for frames in present.split(batch_size):
            batch = windows.gather(frames)
            state = self.space.window_state(batch)
            spreads.append(spread(self.predict(state, batch.action[:, self.space.config.frames - 1])))
        found = torch.cat(spreads)
        self.scale.copy_(torch.quantile(found, 0.9, dim=0).clamp(min=1e-6))
        robust = self.robust(found)
        self.threshold.copy_(torch.quantile(robust, self.config.halt_quantile))
        return {
            "threshold": float(self.threshold),
            "median": float(robust.median()),
            "maximum": float(robust.max()),
            "windows": float(len(robust)),
        }


def spread(predictions: Float[Tensor, "members B d"]) -> Float[Tensor, "B d"]:
    """The standard deviation over members; `Tensor.std` takes fifteen times as long for numbers that lie far apart."""
    apart = predictions - predictions.mean(0)
    return (apart.square().sum(0) / (len(predictions) - 1)).sqrt()


class BootstrapWindows(RowSampler[Tensor]):
    """One bootstrap of the episodes per member: frames of an episode stand or fall together."""

    def __init__(self, dataset: Dataset, history: int, members: int, seed: int) -> None:
        self.windows = Windows(dataset, history=history, horizon=1)
        generator = torch.Generator().manual_seed(seed)
        present = self.windows.present_frames
        episode = torch.bucketize(present, dataset.starts, right=True) - 1
        self.pools = []
        for _ in range(members):
            drawn = torch.randint(dataset.num_episodes, (dataset.num_episodes,), generator=generator)
            copies = torch.bincount(drawn, minlength=dataset.num_episodes).to(present.device)
            self.pools.append(present.repeat_interleave(copies[episode]))

    def draw(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Presents, `batch_size` for each member, member-major."""
        device = self.pools[0].device
        drawn = [
            pool[torch.randint(len(pool), (batch_size,), generator=generator, device=device)] for pool in self.pools
        ]
        return torch.cat(drawn)

    def gather(self, drawn: Tensor) -> WindowBatch:
        """The windows of these presents."""
        return self.windows.gather(drawn)
