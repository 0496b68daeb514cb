"""The run folder: stages that are done once, resume after any interruption, and say what they do."""

from burnish.pipeline.exit_codes import run_command
from burnish.pipeline.progress import Progress
from burnish.pipeline.run import Run
from burnish.pipeline.run_folder import RunFolder
from burnish.pipeline.shared import SharedRun
from burnish.pipeline.stages import StageContext

__all__ = ["Progress", "Run", "RunFolder", "SharedRun", "StageContext", "run_command"]
