"""What holds for every episode of a data set, and the words for where an episode comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from burnish.data.episodes import Episode
from burnish.data.mapped import MappedRows
from burnish.data.scaling import ActionScaling

UNLABELLED = "unlabelled"
"""The source of episodes of which nobody knows how they went: only world models learn from them."""
IMAGINED = "imagined"
"""The source of episodes that a world model made up: nothing learns from them as if they had happened."""


@dataclass(frozen=True)
class DatasetInfo:
    """What holds for every episode of a dataset.

    Attributes:
        fps: frames per second.
        robot_type: the robot's name, when known.
        simulator: the simulator that the data comes from (`metaworld`), or None.
        action_repeat: control steps of the simulator per frame.
        max_steps: the time limit of an episode in frames, when there is one.
        state_names: the names of the state's dimensions, when known.
        action_names: the names of the action's dimensions, when known.
        scaling: by which the actions were brought into [-1, 1]; None where they are as they were recorded.
        notes: what was left out or repaired when it was read, in words.
    """

    fps: float
    robot_type: str | None = None
    simulator: str | None = None
    action_repeat: int = 1
    max_steps: int | None = None
    state_names: tuple[str, ...] | None = None
    action_names: tuple[str, ...] | None = None
    scaling: ActionScaling | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recording:
    """Episodes on their way to disk, and what holds for all of them.

    Attributes:
        episodes: without what is in `stored`.
        info: what holds for all.
        stored: pictures that lie in the stage's folder already, of all episodes, by LeRobot's keys.
    """

    episodes: Iterable[Episode]
    info: DatasetInfo
    stored: Mapping[str, MappedRows] = field(default_factory=dict)


def imagined_task(task: str) -> str:
    """What the task of an imagined episode is called: readers that know no sources see it as another one."""
    return f"{IMAGINED}: {task}"
