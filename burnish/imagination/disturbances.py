"""What befalls an imagined episode besides the policy's actions: commands drawn anew, and pushes (RWM, 2501.10100)."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from burnish.config import within
from burnish.errors import InputError
from burnish.imagination.start_states import StartStates
from burnish.world_models.named import dimensions_named


@dataclass(frozen=True)
class DisturbanceConfig:
    """When commands change, and what is pushed; both published for legged robots, where an action is 20 ms."""

    command_steps: tuple[int, int] = within((100, 120), 1)
    """Actions between two commands, drawn from this range. A command is one of a recorded frame's, and there are some
    where the world model knows of them (`world_model.commands`)."""
    pushed: tuple[str, ...] = ()
    """Beginnings of the names of state dimensions that are pushed: velocities, say."""
    push: float = within(0.5, 0)
    """The largest push of each dimension, in the data's units; it is uniform, of either sign."""
    push_steps: tuple[int, int] = within((48, 96), 1)
    """Actions between two pushes, drawn from this range."""

    def __post_init__(self) -> None:
        for name in ("command_steps", "push_steps"):
            low, high = getattr(self, name)
            if low > high:
                raise InputError(f"imagination.disturbances.{name}: found {low} to {high}, expected the lesser first")


@dataclass
class _Countdown:
    """Actions that are left to each of N episodes."""

    steps: tuple[int, int]
    left: Int[Tensor, " N"]

    def due(self, begun: Bool[Tensor, " N"], passed: int, generator: torch.Generator) -> Bool[Tensor, " N"]:
        """Where it is time; the next time is drawn there, and for episodes that begin."""
        self.left = self.left - passed
        due = (self.left <= 0) & ~begun
        low, high = self.steps
        drawn = torch.randint(low, high + 1, self.left.shape, generator=generator, device=self.left.device)
        self.left = torch.where(due | begun, drawn, self.left)
        return due


@dataclass
class Disturbances:
    """The commands and pushes of N imagined episodes; nothing where the world model knows no command and nothing is to
    be pushed."""

    config: DisturbanceConfig
    world: Any
    starts: StartStates
    num_envs: int
    _commands: _Countdown | None = field(init=False, default=None)
    _pushes: _Countdown | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        def countdown(steps: tuple[int, int]) -> _Countdown:
            return _Countdown(steps, torch.zeros(self.num_envs, dtype=torch.long, device=self.starts.first.device))

        if getattr(self.world, "commands", None) is not None:
            self._commands = countdown(self.config.command_steps)
        if self.config.pushed:
            if not hasattr(self.world, "displaced"):
                raise InputError(
                    f"imagination.disturbances.pushed: found {', '.join(self.config.pushed)}, but a state of "
                    f"{type(self.world).__name__} is no observation that could be pushed; expected none"
                )
            names = self.starts.state_names
            self._columns = dimensions_named("imagination.disturbances.pushed", self.config.pushed, names)
            self._pushes = countdown(self.config.push_steps)

    def begin(self, state: Any, begun: Bool[Tensor, " N"], generator: torch.Generator) -> Any:
        """The states of episodes that begin, with commands of their own."""
        return self.befall(state, begun, 0, generator)

    def befall(self, state: Any, begun: Bool[Tensor, " N"], passed: int, generator: torch.Generator) -> Any:
        """The states after `passed` more actions of each episode; those where `begun` have just begun."""
        if self._commands is not None:
            due = self._commands.due(begun, passed, generator) | begun
            drawn = self.starts.states.rows(self.starts.draw(self.num_envs, generator))
            state = state.where(due, self.world.commanded(state, self.world.decode(drawn)))
        if self._pushes is not None:
            due = self._pushes.due(begun, passed, generator)
            shape, device = (self.num_envs, len(self._columns)), due.device
            size = 2 * torch.rand(shape, generator=generator, device=device) - 1
            change = torch.zeros(self.num_envs, self.world.observation_dim, device=device)
            change[:, self._columns] = self.config.push * size
            state = state.where(due, self.world.displaced(state, change))
        return state

    def state_dict(self) -> dict[str, Tensor]:
        """Actions that are left until the next ones."""
        found = {"commands": self._commands, "pushes": self._pushes}
        return {name: each.left for name, each in found.items() if each is not None}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore `state_dict`."""
        for name, each in (("commands", self._commands), ("pushes", self._pushes)):
            if each is not None:
                each.left = state[name].to(each.left.device)
