"""A run that several processes work on: the first one decides and writes, the others help where there is training."""

import contextlib
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from burnish.pipeline.progress import Progress
from burnish.pipeline.run import Run, StageBody
from burnish.pipeline.stages import StageContext, partial_folder
from burnish.training import Processes
from burnish.training.resume import DamagedResume

_FINISHED, _WORK = 0, 1


class SharedRun:
    """The stages of a run, done by all of its processes together, or by the first one while the others wait.

    The first process has the `Run`. It tells the others when a stage is to be worked on; they do the same with the
    same inputs, which they read from the run folder, in a folder of their own that is thrown away. With one process
    this is `Run.stage`.
    """

    def __init__(self, run: Run | None, folder: Path, processes: Processes) -> None:
        """`run` is None on all but the first process; `folder` is the run's."""
        self.run, self.folder, self.processes = run, folder, processes

    def stage(self, name: str, config: Any, inputs: Sequence[str], body: StageBody, alone: bool) -> None:
        """Make sure that a stage is done; `alone` says that only the first process does its work."""
        if self.run is None:
            while self._hear() == _WORK:
                # The first process has the same trouble, and begins again.
                with contextlib.suppress(DamagedResume):
                    self._help(name, inputs, body)
            return

        def announced(stage: StageContext) -> dict[str, Any] | None:
            self._say(_WORK)
            return body(stage)

        self.run.stage(name, config, inputs, body if alone else announced)
        self._say(_FINISHED)

    def _help(self, name: str, inputs: Sequence[str], body: StageBody) -> None:
        with tempfile.TemporaryDirectory(prefix="burnish-") as scratch:
            own = Path(scratch, partial_folder(self.folder, name).name)
            body(_QuietContext(name, own, {key: self.folder / key for key in inputs}, identity=""))

    def _say(self, word: int) -> None:
        self.processes.of_first(torch.tensor(word))

    def _hear(self) -> int:
        return int(self.processes.of_first(torch.tensor(_FINISHED)))


class _QuietContext(StageContext):
    """A stage of a process that helps: nobody looks at its progress."""

    def progress(self, total: int | None, unit: str = "steps", description: str = "", initial: int = 0) -> Progress:
        return Progress(total, unit, description or self.name, initial, stream=io.StringIO())
