"""RWM's world model: a recurrent ensemble that learns from its own predictions (arXiv 2501.10100, 2504.16680)."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from burnish.components import Component
from burnish.data import Dataset, Normaliser, WindowBatch
from burnish.networks import EnsembleMLP, GaussianEnsemble, GRUTrunks
from burnish.world_models.base import State
from burnish.world_models.disagreement import spread
from burnish.world_models.forecasts import ForecastBatch, GRUEnsembleConfig
from burnish.world_models.history import STATE_KEY, frames_with_next
from burnish.world_models.named import dimensions_named

_NEVER = 2.0  # no probability reaches it
_NO_END = -20.0  # the logit of an end where nothing has happened yet


@dataclass(frozen=True)
class GRUState(State):
    """The newest frame, and what the recurrent trunks remember of all before it."""

    observation: Float[Tensor, "B D"]
    """Normalised."""
    hidden: Float[Tensor, "B L R H"]
    watching: Float[Tensor, "B L 1 H"]
    """Of the trunk that tells terminations and privileged quantities."""
    told: Float[Tensor, "B told"]
    """Logit of the episode having ended with this frame, then the normalised privileged quantities."""
    begun: Bool[Tensor, " B"]


class GRUEnsemble(Component):
    """E Gaussian forecasts of the next observation from a recurrent memory of observations and actions.

    s' = s + μ_m(h) for member m, where h remembers (s, a) of all steps. `imagine` follows the mean of the members,
    `predict_member` each row's own member; the spread of their means is the epistemic uncertainty, so the world is its
    own ensemble. Features are the normalised observation: on a robot a policy needs no memory.
    """

    action_steps = 1
    name = "disagreement"
    threshold: Tensor
    end_threshold: Tensor
    low: Tensor
    high: Tensor
    commands: Bool[Tensor, " D"] | None
    """Which dimensions of the state are commands; None: none is."""

    def __init__(
        self, observation_dim: int, action_dim: int, config: GRUEnsembleConfig, privileged_dim: int = 0
    ) -> None:
        super().__init__()
        self.config, self.members = config, config.members
        self.observation_dim = self.feature_dim = observation_dim
        self.action_dim = action_dim
        self.normaliser, self.privileged_normaliser = Normaliser(observation_dim), Normaliser(privileged_dim)
        size = (observation_dim + action_dim, config.hidden, config.layers)
        self.trunk = GRUTrunks(1 if config.trunk == "shared" else config.members, *size)
        self.watcher = GRUTrunks(1, *size)
        self.head = GaussianEnsemble(config.members, config.hidden, config.head, observation_dim)
        self.told_head = EnsembleMLP(config.members, config.hidden, config.head, 1 + privileged_dim)
        for name, bound in (("low", -torch.inf), ("high", torch.inf)):
            self.register_buffer(name, torch.full((observation_dim,), bound))
        commands = torch.zeros(observation_dim, dtype=torch.bool) if config.commands else None
        self.register_buffer("commands", commands)
        self.register_buffer("threshold", torch.full((), torch.inf))
        self.register_buffer("end_threshold", torch.full((), _NEVER))
        # What is never asked for is not computed: it would be half of imagination, and a third of training.
        self._learns_to_watch, self._watches = True, config.privileged is not None
        self.register_load_state_dict_post_hook(_look_again)

    # -- the contract of a world model ---------------------------------------------------------------------------------

    def fit(self, dataset: Dataset) -> Self:
        """Compute the normalisation statistics and the range of imagination, once."""
        self.normaliser.fit(dataset.observations[STATE_KEY])
        if self.commands is not None:
            names = dataset.info.state_names
            self.commands[dimensions_named("world_model.commands", self.config.commands, names)] = True
        if self.config.privileged is not None:
            self.privileged_normaliser.fit(dataset.observations[self.config.privileged].flatten(1))
        return self.cover(dataset)

    def cover(self, dataset: Dataset) -> Self:
        """The range of imagination, with the normalisation as it is: what is to be known anew of data that grew."""
        ends = dataset.terminated is not None and bool(dataset.terminated.any())
        self._learns_to_watch = ends or self.config.privileged is not None
        if self.config.slack is not None:
            rows = self.normaliser.normalise(dataset.observations[STATE_KEY])
            low, high = rows.amin(0), rows.amax(0)
            self.low.copy_(low - self.config.slack * (high - low))
            self.high.copy_(high + self.config.slack * (high - low))
        return self

    def end_at(self, threshold: float) -> None:
        """Episodes are over from this chance of an end on."""
        self.end_threshold.fill_(threshold)
        self._look()

    def initial(self, batch_size: int) -> GRUState:
        """States of episodes that have not begun."""
        frame = self.normaliser.mean.new_zeros(batch_size, self.observation_dim)
        told = frame.new_zeros(batch_size, 1 + len(self.privileged_normaliser.mean))
        told[:, 0] = _NO_END
        begun = torch.zeros(batch_size, dtype=torch.bool, device=frame.device)
        return GRUState(frame, self.trunk.initial(batch_size), self.watcher.initial(batch_size), told, begun)

    def observe(self, state: GRUState, action: Tensor | None, observation: dict[str, Tensor]) -> GRUState:
        """Take in a real observation (in the data's units): the memory is of what was, the frame of what is."""
        frame = self.normaliser.normalise(observation[STATE_KEY])
        if action is None:
            action = frame.new_zeros(len(frame), self.action_dim)
        row = torch.cat([state.observation, action], -1)
        hidden, watching = self.trunk.step(row, state.hidden), self.watcher.step(row, state.watching)
        told = self._told(watching)
        begun = state.begun[:, None, None, None]
        return GRUState(
            frame,
            torch.where(begun, hidden, state.hidden),
            torch.where(begun, watching, state.watching),
            torch.where(state.begun[:, None], told, state.told),
            torch.ones_like(state.begun),
        )

    @torch.no_grad()
    def recorded(self, dataset: Dataset) -> GRUState:
        """The state at every frame, in frame order."""
        rows, running = self.initial(dataset.num_frames), self.initial(dataset.num_episodes)
        for t in range(int(dataset.lengths.max())):
            alive = torch.nonzero(dataset.lengths > t).flatten()
            frames = dataset.starts[alive] + t
            seen = {STATE_KEY: dataset.observations[STATE_KEY][frames]}
            state = self.observe(running.rows(alive), dataset.actions[frames - 1], seen)
            for name, values in state.tensors().items():
                running.tensors()[name][alive] = values
                rows.tensors()[name][frames] = values
        return rows

    def imagine(
        self, state: GRUState, action: Float[Tensor, "B A"], generator: torch.Generator | None = None
    ) -> GRUState:
        """The mean of the members' predictions; nothing is drawn."""
        return self._imagined(state, action, None)[1]

    def commanded(self, state: GRUState, observation: dict[str, Tensor]) -> GRUState:
        """The state with the commands of another observation (in the data's units)."""
        if self.commands is None:
            return state
        frame = self.normaliser.normalise(observation[STATE_KEY])
        return replace(state, observation=torch.where(self.commands, frame, state.observation))

    def displaced(self, state: GRUState, change: Float[Tensor, "B D"]) -> GRUState:
        """The state with its newest frame changed by so much (in the data's units), within the range of imagination."""
        frame = self.normaliser.normalise(self.normaliser.denormalise(state.observation) + change)
        return replace(state, observation=self._within_range(frame))

    def features(self, state: GRUState) -> Float[Tensor, "B D"]:
        """The newest observation, normalised."""
        return state.observation

    def decode(self, state: GRUState) -> dict[str, Tensor]:
        """The newest observation in the data's units, and the privileged quantities that go with it."""
        decoded = {STATE_KEY: self.normaliser.denormalise(state.observation)}
        if self.config.privileged is not None:
            decoded[self.config.privileged] = self.privileged_normaliser.denormalise(state.told[:, 1:])
        return decoded

    def ended(self, state: GRUState) -> Bool[Tensor, " B"]:
        """Where the episode is over by itself, by the head that learned it from next.done."""
        return state.told[:, 0].sigmoid() >= self.end_threshold

    # -- the contract of an ensemble -----------------------------------------------------------------------------------

    def forward(self, state: GRUState, action: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
        """The sum over dimensions of the standard deviation of the members' means, in normalised units."""
        return self._imagined(state, action, None)[0]

    def predict_member(
        self,
        state: GRUState,
        action: Float[Tensor, "B A"],
        member: Int[Tensor, " B"],
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, " B"], GRUState]:
        """The spread, and the state that each row's own `member` predicts (its mean); -1: the mean of all."""
        return self._imagined(state, action, member)

    @torch.no_grad()
    def calibrate(self, held_out: Dataset) -> dict[str, float]:
        """Set the threshold of the spread from held-out real transitions."""
        frames = frames_with_next(held_out)
        states = self.recorded(held_out)
        spread = torch.cat([self(states.rows(part), held_out.actions[part]) for part in frames.split(4096)])
        self.threshold.copy_(torch.quantile(spread[: 2**24], self.config.halt_quantile))
        return {"threshold": float(self.threshold), "median": float(spread.median()), "transitions": len(frames)}

    @torch.no_grad()
    def end_chances(self, held_out: Dataset) -> tuple[Float[Tensor, " N"], Bool[Tensor, " N"]] | None:
        """The chance of an end after each recorded transition, and whether there was one; None without any."""
        if held_out.terminated is None or not bool(held_out.terminated.any()):
            return None
        after = frames_with_next(held_out) + 1
        return self.recorded(held_out).told[after, 0].sigmoid(), held_out.terminated[after]

    # -- learning ------------------------------------------------------------------------------------------------------

    def loss(self, batch: ForecastBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Error of N forecast steps after M steps of history, averaged over steps and members (RWM, Eq. 2).

        A batch is shared: its history is remembered once, and each member weighs its rows by its own bootstrap.
        """
        config, windows = self.config, batch.windows
        frames = self.normaliser.normalise(windows.observation[STATE_KEY])
        rows = torch.cat([frames, windows.action], -1)
        present = windows.action.shape[1] - config.forecast - 1
        seen = rows[:, :present], windows.valid[:, :present]
        weight = (batch.copies / batch.copies.sum(0).clamp(min=1)).t()
        regression, squared = self._forecast(frames, windows.action, present, self.trunk.warm(*seen), weight)
        auxiliary = regression.new_zeros(())
        if self._learns_to_watch:
            auxiliary = self._auxiliary(windows, rows, present, self.watcher.warm(*seen), weight)
        bound = self.head.range.mean()
        loss = regression + config.bound_weight * bound + config.auxiliary_weight * auxiliary
        return loss, {"mse": squared.detach(), "auxiliary": auxiliary.detach(), "log_std_range": bound.detach()}

    def _forecast(
        self, frames: Tensor, actions: Tensor, present: int, hidden: Tensor, weight: Float[Tensor, "E B"]
    ) -> tuple[Tensor, Tensor]:
        """The members' regression loss, and the mean squared error of their means; 1 of B rows in the first step, where
        all members see the same, then E times B (member-major) where each goes on from its own sample."""
        config, rows, members = self.config, len(frames), self.members
        losses, errors, frame = [], [], frames[:, present]
        for k in range(config.forecast):
            action, target = actions[:, present + k], frames[:, present + k + 1]
            apart = frame.dim() == 3
            if apart:
                action = action.expand(members, -1, -1)
            hidden = self._step_rows(torch.cat([frame, action], -1), hidden)
            top = self._tops(hidden, rows)
            mean, log_std = frame + self.head.mean(top), self.head.log_std(top)
            noise = torch.randn_like(mean)
            sample = mean + log_std.exp() * noise
            if self.commands is not None:
                # Given, not forecast: as recorded, and of no error.
                mean, sample = (torch.where(self.commands, target, each) for each in (mean, sample))
                log_std = log_std.masked_fill(self.commands, 0.0)
            if config.likelihood == "mse":
                each = (sample - target).square().sum(-1)
            else:
                each = (0.5 * ((target - mean) / log_std.exp()).square() + log_std).sum(-1)
            losses.append((weight * each).sum(1).mean())
            errors.append((mean.detach() - target).square().mean())
            frame = sample if config.feedback == "samples" else target
            if config.feedback == "samples" and not apart:
                hidden = self._for_each_member(hidden)
        return torch.stack(losses).mean(), torch.stack(errors).mean()

    def _auxiliary(
        self, windows: WindowBatch, rows: Tensor, present: int, watching: Tensor, weight: Float[Tensor, "E B"]
    ) -> Tensor:
        """Cross-entropy of termination and squared error of the privileged targets, on recorded frames alone."""
        seen = []
        for k in range(self.config.forecast):
            watching = self.watcher.step(rows[:, present + k], watching)
            seen.append(self.told_head(watching[:, -1, 0]))
        told, after = torch.stack(seen, 2), slice(present + 1, None)
        loss = told.new_zeros(())
        if windows.terminated is not None:
            ended = windows.terminated[:, after].to(told.dtype).expand(told.shape[:-1])
            # Of the N windows around any other frame, only one has an episode's last: where it is over by itself.
            often = 1 + (self.config.forecast - 1) * ended
            entropy = nn.functional.binary_cross_entropy_with_logits(told[..., 0], ended, often, reduction="none")
            loss = loss + (weight * entropy.mean(-1)).sum(1).mean()
        if self.config.privileged is not None:
            values = windows.observation[self.config.privileged].flatten(2)
            target = self.privileged_normaliser.normalise(values)[:, after]
            loss = loss + (weight * (told[..., 1:] - target).square().mean((-2, -1))).sum(1).mean()
        return loss

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _imagined(self, state: GRUState, action: Tensor, member: Tensor | None) -> tuple[Tensor, GRUState]:
        row = torch.cat([state.observation, action], -1)
        hidden, watching, told = self.trunk.step(row, state.hidden), state.watching, state.told
        if self._watches:
            watching = self.watcher.step(row, watching)
            told = self._told(watching)
        means = state.observation + self.head.mean(self._tops(hidden, len(action)))
        if self.commands is not None:
            means = torch.where(self.commands, state.observation, means)
        frame = means.mean(0)
        if member is not None:
            own = means[member.clamp(min=0), torch.arange(len(member), device=member.device)]
            frame = torch.where(member[:, None] >= 0, own, frame)
        following = GRUState(self._within_range(frame), hidden, watching, told, torch.ones_like(state.begun))
        return spread(means).sum(-1), following

    def _within_range(self, frame: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(frame, self.low), self.high)

    def _look(self) -> None:
        self._watches = self.config.privileged is not None or bool(self.end_threshold < _NEVER)

    def _told(self, watching: Tensor) -> Tensor:
        return self.told_head(watching[:, -1, 0]).mean(0)

    def _step_rows(self, row: Tensor, hidden: Tensor) -> Tensor:
        """One step of B rows, or of E times B member-major ones: side by side in a trunk that all share."""
        if row.dim() == 3 and self.trunk.trunks == 1:
            return self.trunk.step(row.flatten(0, 1), hidden)
        return self.trunk.step(row, hidden)

    def _tops(self, hidden: Tensor, rows: int) -> Tensor:
        """What each member's head reads, (E, B, H)."""
        top = hidden.unbind(1)[-1].transpose(0, 1)
        if top.shape[1] != rows:
            return top[0].unflatten(0, (self.members, rows))
        return top.expand(self.members, -1, -1)

    def _for_each_member(self, hidden: Tensor) -> Tensor:
        """The shared trunk's memory, once for each member; trunks of their own have it apart already."""
        return hidden.repeat(self.members, 1, 1, 1) if self.trunk.trunks == 1 else hidden


def _look_again(world: GRUEnsemble, incompatible: object) -> None:
    world._look()
