"""What a policy needs of the world outside: the observations that it reads, and a folder to be left in."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from burnish.data import STATE, image_key
from burnish.errors import InputError
from burnish.policies import Agent, load_agent
from burnish.policies.given import FunctionPolicy, ServedPolicy, allow
from burnish.policies.given.taking import policy_folder
from burnish.world_models import RSSM, Encoded, ObservationHistory, PixelHistory


@dataclass(frozen=True)
class Seen:
    """The observations that an agent reads.

    Attributes:
        states: sizes of vectors, by key.
        pictures: height and width of uint8 RGB pictures, by key.
        frames: the newest frames of the state from which alone it decides; None where it has a longer memory.
    """

    states: Mapping[str, int]
    pictures: Mapping[str, int]
    frames: int | None

    @classmethod
    def by(cls, agent: Agent) -> "Seen":
        """What this agent reads."""
        observer = agent.observer
        if isinstance(observer, Encoded):
            config = observer.autoencoder.config  # type: ignore[attr-defined]
            return cls({}, {image_key(name): config.image_size for name in config.cameras}, None)
        if isinstance(observer, PixelHistory):
            config = observer.config
            return cls({}, {image_key(name): config.image_size for name in config.cameras}, None)
        assert isinstance(observer, ObservationHistory | RSSM)
        frames = observer.config.feature_frames if isinstance(observer, ObservationHistory) else None
        return cls({STATE: observer.observation_dim}, {}, frames)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of one observation, by key."""
        pictures = {key: (size, size, 3) for key, size in self.pictures.items()}
        return {**{key: (size,) for key, size in self.states.items()}, **pictures}


def handed_out(path: str | Path) -> Agent:
    """The policy that a run has accepted, or the one of a folder.

    Raises:
        InputError: there is none.
    """
    return load_agent(policy_folder(Path(path).absolute()))


def trust(agent: Agent) -> None:
    """Let a policy call what it names outside of its files."""
    for part in agent.policy.modules():
        source = getattr(part, "source", None) or getattr(part, "url", None)
        if isinstance(part, FunctionPolicy | ServedPolicy) and source is not None:
            allow(source)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A new folder that appears under its name when all is in it, or not at all.

    Raises:
        InputError: there is something already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: there is something already, expected a new folder")
    made = out.absolute().with_name(f".{out.name}.{os.getpid()}")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        yield made
        if out.is_dir():
            out.rmdir()
        os.replace(made, out)
    finally:
        shutil.rmtree(made, ignore_errors=True)
