"""Driving a run: one or two lanes from one start, their clock, and the frame that shows them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from burnish.data import STATE, is_shown_key
from burnish.errors import InputError
from burnish.studio.lane import YOU, Lane
from burnish.studio.opened import Beginning, OpenedRun
from burnish.studio.protocol import Command, packed
from burnish.studio.saving import read_drive, save_drive

CAMERA = 240
"""Pixels of the simulator's own picture."""
_SMOOTH = 0.1


class Drive:
    """What the page does with an opened run.

    Time runs while `playing`, and while you hold something: between two thoughts the model stands still instead of
    drifting. An input while a policy drives takes over from it.
    """

    def __init__(self, key: str, run: OpenedRun) -> None:
        self.key, self.run = key, run
        self.playing, self.speed, self.camera = False, 1.0, False
        self.seq = 0
        self.step_seconds = run.step_seconds
        self._wanted, self._holding = torch.zeros(run.data.action_dim), False
        self._last = 0.0
        start = int(run.data.starts[0])
        self.lanes = [Lane(run, Beginning(start), 0, YOU, None)]

    @property
    def period(self) -> float:
        """Seconds between two imagined steps."""
        return self.run.world.action_steps / (self.run.data.info.fps * self.speed)

    def due(self) -> float | None:
        """When the next step is due (`time.perf_counter`); None while time stands still."""
        if not (self.playing or self._holding) or any(lane.full for lane in self.lanes):
            return None
        return self._last + self.period

    def tick(self) -> None:
        """One step of every lane."""
        began = time.perf_counter()
        # Late steps are not made up for: the clock goes on from here.
        self._last = max(self._last + self.period, began - self.period)
        self.advance()
        self.step_seconds += _SMOOTH * (time.perf_counter() - began - self.step_seconds)

    def advance(self) -> None:
        """One step of every lane, whatever the clock says."""
        for lane in self.lanes:
            lane.advance(self._wanted)

    def pause(self) -> None:
        """Let time stand still."""
        self.playing, self._holding = False, False

    def replay(self, folder: Path) -> None:
        """Drive what `save_drive` left in a folder once more, and stop there.

        Raises:
            InputError: it is damaged, or of another run.
        """
        noted = read_drive(folder)
        actions = torch.tensor(noted["actions"], dtype=torch.float32)
        if not bool(actions.isfinite().all()) or actions.shape[1] != self.run.data.action_dim:
            found, expected = actions.shape[1], self.run.data.action_dim
            raise InputError(
                f"{folder}: found actions of {found} numbers, expected {expected} finite ones as in this run"
            )
        self._begin(
            Command("begin", frame=noted["frame"], seed=noted["seed"], noise=noted["noise"], beside=noted["beside"])
        )
        for action, driver in zip(actions, noted["drivers"], strict=True):
            self.lanes[0].replay(action[None].clamp(-1, 1), driver)
        self.lanes[0].driver = YOU

    def do(self, command: Command, out: Path) -> dict[str, Any] | None:
        """What a command asks for; `out` is the folder where drives are saved. Returns an answer, if there is one.

        Raises:
            InputError: it cannot be.
        """
        acts: dict[str, Callable[[Command], None]] = {
            "begin": self._begin,
            "input": self._input,
            "driver": self._driver,
            "play": lambda c: setattr(self, "playing", c.on),
            "step": lambda c: self.advance(),
            "rewind": self._rewind,
            "speed": lambda c: setattr(self, "speed", c.factor),
            "camera": lambda c: setattr(self, "camera", c.on),
        }
        if command.do == "save":
            return {"type": "saved", **save_drive(out, command.name, self.run, self.lanes[0])}
        acts[command.do](command)
        return None

    def hello(self) -> dict[str, Any]:
        """All that the page has to know when it comes."""
        return {"type": "opened", "run": self.key, **self.run.described(), **self.began()}

    def began(self) -> dict[str, Any]:
        """How the present episode began, and all its steps."""
        first = self.lanes[0]
        start = first.beginning
        episode = None if start.frame is None else self.run.place(start.frame)
        return {
            "begin": {
                "frame": start.frame,
                "seed": start.seed,
                "noise": first.noise,
                "beside": first.reality is not None,
                "episode": None if episode is None else episode[0],
                "at": None if episode is None else episode[1],
            },
            "playing": self.playing,
            "speed": self.speed,
            "lanes": [{"driver": lane.driver, "history": lane.history()} for lane in self.lanes],
        }

    def frame(self) -> bytes:
        """What is shown now."""
        pictures: list[np.ndarray] = []
        lanes = [self._lane(lane, pictures) for lane in self.lanes]
        header = {
            "type": "frame",
            "run": self.key,
            "seq": self.seq,
            "playing": self.playing,
            "step": self.lanes[0].cursor,
            "earliest": max(lane.earliest for lane in self.lanes),
            "length": self.lanes[0].length,
            "step_ms": round(1000 * self.step_seconds, 2),
            "lanes": lanes,
        }
        return packed(header, pictures)

    def _lane(self, lane: Lane, pictures: list[np.ndarray]) -> dict[str, Any]:
        seen, real = {k: v.numpy() for k, v in lane.seen().items()}, lane.now.real
        shown: dict[str, Any] = {"driver": lane.driver, **lane.told()}
        for where, observation in (("imagined", seen), ("real", real)):
            if observation is None:
                continue
            keys = [key for key in observation if is_shown_key(key)] if self.run.shows_pictures else []
            shown[where] = {"pictures": list(range(len(pictures), len(pictures) + len(keys)))}
            pictures += [observation[key] for key in keys]
            if STATE in observation:
                shown[where]["state"] = [round(float(value), 5) for value in observation[STATE]]
        reality = lane.reality
        if reality is not None:
            shown["real"]["over"] = reality.over
            if self.camera and reality.steps == lane.cursor * self.run.world.action_steps:
                picture = reality.photograph(CAMERA)
                if picture is not None:
                    shown["real"]["camera"] = len(pictures)
                    pictures.append(picture)
        return shown

    def _begin(self, command: Command) -> None:
        for name in command.drivers:
            self._check_driver(name)
        start = Beginning(command.frame, command.seed)
        if start.frame is None and start.seed < 0:
            raise InputError("begin: expected a frame of the data, or the seed of a simulator's start")
        self.pause()
        self._wanted = torch.zeros_like(self._wanted)
        self.lanes = [
            Lane(self.run, start, max(0, command.noise), driver, self.run.reality(number) if command.beside else None)
            for number, driver in enumerate(command.drivers)
        ]

    def _input(self, command: Command) -> None:
        if len(command.action) != self.run.data.action_dim:
            raise InputError(f"action: found {len(command.action)} numbers, expected {self.run.data.action_dim}")
        waking = self.due() is None
        self.seq, self._wanted, self._holding = command.seq, torch.tensor(command.action), command.on
        if command.on and self.lanes[0].driver != YOU:
            # From now on time runs while you hold something.
            self.lanes[0].driver, self.playing = YOU, False
        if waking and self.due() is not None:
            self._last = time.perf_counter() - self.period  # the first step is due at once

    def _driver(self, command: Command) -> None:
        self._check_driver(command.driver)
        if not 0 <= command.lane < len(self.lanes):
            raise InputError(f"lane {command.lane}: there are {len(self.lanes)}")
        self.lanes[command.lane].driver = command.driver

    def _rewind(self, command: Command) -> None:
        self.pause()
        for lane in self.lanes:
            lane.rewind(command.to)

    def _check_driver(self, name: str) -> None:
        if name != YOU:
            self.run.agent(name)
