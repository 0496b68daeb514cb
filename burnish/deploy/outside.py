"""Which policy leaves for a robot, and the folder that it is left in."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from burnish.errors import InputError
from burnish.policies import Agent, load_agent
from burnish.policies.given.taking import policy_folder
from burnish.world_models import ObservationHistory


def handed_out(path: str | Path) -> Agent:
    """The policy that a run has accepted, or refined in a run without a gate; or the one of a folder.

    Raises:
        InputError: there is none.
    """
    folder = Path(path).absolute()
    ungated = (folder / "recipe.yaml").is_file() and not (folder / "accepted").exists() and (folder / "report").exists()
    return load_agent(folder / "refined" if ungated else policy_folder(folder)).eval()


def frames_alone(agent: Agent) -> int | None:
    """The newest frames of the state from which alone it decides; None where it has a longer memory."""
    observer = agent.observer
    return observer.config.feature_frames if isinstance(observer, ObservationHistory) else None


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
