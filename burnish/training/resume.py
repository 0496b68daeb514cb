"""The resume state of unfinished work: one file name, and one answer to a file that is damaged."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from burnish.errors import InputError, RunError
from burnish.training.processes import Processes, is_lost

RESUME_FILE = "resume.safetensors"


class DamagedResume(RunError):
    """The resume state cannot be taken up; a run folder's stage then starts its work again."""


@contextmanager
def taking_up(path: Path, processes: Processes) -> Iterator[None]:
    """Turn whatever a damaged resume state raises in here into DamagedResume, on all processes alike.

    What was partly restored is of no use afterwards: the work must begin again from new objects.
    """
    problem: Exception | None = None
    try:
        yield
    except (InputError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError) or is_lost(error):
            raise
        problem = error
    if processes.gather(torch.tensor([problem is not None])).any():
        reason = " ".join(str(problem).split())[:200] if problem else "another process cannot read it"
        reason = f"field {reason} is missing" if isinstance(problem, KeyError) else reason
        reason = reason.removeprefix(f"{path}: ")
        raise DamagedResume(f"{path}: the resume state is damaged ({reason}); without this file the work starts again")
