"""The run folder: a graph of stages that are done once, resume after any interruption, and say what they do."""

from burnish.pipeline.execute import SCALING, execute, placed, planned, read_result
from burnish.pipeline.executors import ExecutorConfig
from burnish.pipeline.graph import Absent, External, Reading, Stage, naming, ordered, stage
from burnish.pipeline.progress import Progress
from burnish.pipeline.run import Run
from burnish.pipeline.run_folder import RunFolder
from burnish.pipeline.shared import SharedRun
from burnish.pipeline.stages import StageContext

__all__ = [
    "SCALING",
    "Absent",
    "ExecutorConfig",
    "External",
    "Progress",
    "Reading",
    "Run",
    "RunFolder",
    "SharedRun",
    "Stage",
    "StageContext",
    "execute",
    "naming",
    "ordered",
    "placed",
    "planned",
    "read_result",
    "stage",
]
