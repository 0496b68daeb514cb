"""A task's name chooses the simulator, here and nowhere else."""

from __future__ import annotations

from burnish.simulators.base import Simulator
from burnish.simulators.metaworld_tasks import metaworld_tasks, task_class

__all__ = ["check_task", "metaworld_tasks", "simulator_of", "task_class"]


def simulator_of(task: str) -> Simulator:
    """The simulator that has a task.

    Args:
        task: a Meta-World task (`drawer-open-v3`), or `calvin:` and one of CALVIN's skills (`calvin:open_drawer`).
    """
    # Imported late, like the simulators themselves.
    if task.startswith("calvin:"):
        from burnish.simulators.calvin.simulator import CALVIN

        return CALVIN
    from burnish.simulators.metaworld import METAWORLD

    return METAWORLD


def check_task(task: str) -> None:
    """Check that a task exists and that its simulator is installed.

    Raises:
        InputError: it does not (the message lists near matches), or it is not.
    """
    simulator_of(task).check_task(task)
