"""The run folder: stages that are done once, resume after any interruption, and say what they do."""

from burnish.pipeline.progress import Progress
from burnish.pipeline.run import Run
from burnish.pipeline.shared import SharedRun
from burnish.pipeline.stages import StageContext

__all__ = ["Progress", "Run", "SharedRun", "StageContext"]
