"""The list of recipes: which published system, what it needs, and how far it is."""

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.errors import InputError

if TYPE_CHECKING:  # the list itself must come quickly, without PyTorch
    from burnish.recipes.steps import Step


@dataclass(frozen=True)
class Entry:
    """One recipe as `burnish recipes` lists it.

    The method is in `burnish.recipes.NAME` (with _ for -), which has `steps(config, task, seed, recorder, own)`; its
    settings are in `burnish.recipes.NAME_config`, which has `CONFIG`, their dataclass, `PRESETS` and `OBSERVATIONS`
    (what to look at, the default first).
    """

    name: str
    system: str
    paper: str
    needs: str
    status: str
    variants: Mapping[str, str] = field(default_factory=dict)
    """Observations that another recipe of the list is for, and its name."""
    gpu: bool = False
    """Whether its `steps` take a `device`."""

    @property
    def config_class(self) -> type[Any]:
        """The dataclass of all its settings."""
        return self._settings.CONFIG

    @property
    def presets(self) -> Mapping[str, Callable[[Any], Any]]:
        """What each preset makes of the default configuration."""
        return self._settings.PRESETS

    @property
    def steps(self) -> "Callable[..., list[Step]]":
        """The method as a list of stages."""
        return self._method.steps

    def external_inputs(self, config: Any) -> dict[str, Path]:
        """What a run of this configuration reads from outside its folder, by the names of stages' inputs."""
        found = getattr(self._method, "external_inputs", None)
        return found(config) if found is not None else {}

    def looking_at(self, observation: str | None) -> "Entry":
        """The recipe that an observation selects: this one, or its variant."""
        return entry(self.variants[observation]) if observation is not None and observation in self.variants else self

    def preset(self, name: str, observation: str | None = None) -> Any:
        """The configuration that a preset names, for `observation` (None: the default); InputError where there is none.

        For a variant's observation it is the variant's.
        """
        if observation in self.variants:
            return self.looking_at(observation).preset(name, observation)
        if name not in self.presets:
            raise InputError(f"unknown preset '{name}' of {self.name}, expected one of: {', '.join(self.presets)}")
        observations = self._settings.OBSERVATIONS
        if observation is None:
            observation = next(iter(observations))
        if observation not in observations:
            expected = ", ".join([*observations, *self.variants])
            raise InputError(f"unknown observation '{observation}' of {self.name}, expected one of: {expected}")
        return observations[observation](self.presets[name](self.config_class()))

    @property
    def _method(self) -> Any:
        return importlib.import_module(f"burnish.recipes.{self.name.replace('-', '_')}")

    @property
    def settings_module(self) -> str:
        """The module of its settings and presets."""
        return f"burnish.recipes.{self.name.replace('-', '_')}_config"

    @property
    def _settings(self) -> Any:
        return importlib.import_module(self.settings_module)


CATALOGUE = (
    Entry(
        name="world4rl",
        system="World4RL, on states or a compact latent of pictures",
        paper="arXiv 2509.19080",
        needs="a Meta-World task, or your own LeRobotDataset",
        status="works",
        variants={"frames": "world4rl-frames"},
    ),
    Entry(
        name="world4rl-frames",
        system="World4RL as published, on frames: world4rl --observation frames",
        paper="arXiv 2509.19080",
        needs="a Meta-World task, or your own LeRobotDataset with pictures; for good policies a GPU",
        status="works",
        gpu=True,
    ),
    Entry(
        name="diwa",
        system="DiWA, on states or a compact latent of pictures",
        paper="arXiv 2508.03645",
        needs="a Meta-World or CALVIN task, or your own LeRobotDataset; for the published size a GPU",
        status="works",
        gpu=True,
    ),
)


def entry(name: str) -> Entry:
    """The recipe of this name.

    Raises:
        InputError: there is none; the message names near matches.
    """
    for found in CATALOGUE:
        if found.name == name:
            return found
    names = [found.name for found in CATALOGUE]
    close = difflib.get_close_matches(name, names, cutoff=0.4) or names
    raise InputError(f"unknown recipe '{name}'; did you mean {' or '.join(close)}?")


def as_table() -> str:
    """The catalogue as plain text."""
    header = ("RECIPE", "SYSTEM", "PAPER", "NEEDS", "STATUS")
    rows = [header, *((e.name, e.system, e.paper, e.needs, e.status) for e in CATALOGUE)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
