"""With what a run is worked on: threads, processes, a device, stages side by side, a cluster."""

import os
from dataclasses import dataclass, replace
from typing import Any

import torch

from burnish.errors import InputError
from burnish.lanes import cores
from burnish.pipeline import ExecutorConfig
from burnish.recipes.tracking import TrackerKind


@dataclass(frozen=True)
class How:
    """With what a run is worked on; nothing of it is part of the configuration.

    Attributes:
        threads: for PyTorch, default one for each core; on a CPU the weights are the same bit for bit for the same
            number.
        processes: that train together (docs/multi_device.md); every one of them works, and only the first one writes.
        device: cpu or cuda.
        verify: whether the files of finished stages are read again.
        jobs: stages side by side, on a CPU; None: as many as there are cores, up to four, where nothing else is said.
        cluster: where stages are worked on instead of here.
        track: the experiment tracker that gets the curves.
    """

    threads: int | None = None
    processes: int | None = None
    device: str = "cpu"
    verify: bool = False
    jobs: int | None = 1
    cluster: ExecutorConfig | None = None
    track: TrackerKind | None = None

    @classmethod
    def of(cls, options: Any) -> "How":
        """From a command's options."""
        o, cluster = options, None
        if o.executor != "local":
            cluster = ExecutorConfig(o.executor, 1, o.cpus, o.gpus, o.executor_options)
        elif o.cpus != 1 or o.gpus or o.executor_options:
            raise InputError("--cpus, --gpus and --executor-options are for --executor slurm or ray; found 'local'")
        return cls(o.threads, o.processes, o.device, o.verify, o.jobs, cluster, o.track)

    def beside(self) -> ExecutorConfig | None:
        """Where stages are worked on side by side; None: one after the other, in this process.

        Raises:
            InputError: what was said does not go together.
        """
        several = self.processes or int(os.environ.get("WORLD_SIZE", "1"))
        usual = several == 1 and self.threads is None and self.device == "cpu"
        jobs = self.jobs
        if jobs is None:
            jobs = min(cores(), 4) if usual else 1
        if self.cluster is not None:
            if not usual:
                raise InputError(
                    f"--executor {self.cluster.kind}: found --threads, --processes or --device beside it, expected "
                    "--cpus and --gpus of each stage"
                )
            return replace(self.cluster, jobs=jobs)
        if jobs > 1 and (self.device != "cpu" or several > 1 or (self.threads or 1) > 1):
            raise InputError(f"jobs is {jobs}, expected 1 beside --device cuda, --processes or several --threads")
        return ExecutorConfig(jobs=jobs) if jobs > 1 else None


def chosen_device(name: str) -> torch.device:
    """The device of this name (`cpu`, `cuda`), after a look whether the machine has it.

    Raises:
        InputError: no such device, or the machine has none.
    """
    if name not in ("cpu", "cuda"):
        raise InputError(f"unknown device '{name}', expected cpu or cuda")
    if name == "cuda":
        if not torch.cuda.is_available():
            raise InputError("device cuda: PyTorch finds no GPU on this machine; use --device cpu")
        # Batches have one shape for thousands of steps: worth trying which convolution is the fastest.
        torch.backends.cudnn.benchmark = True
    return torch.device(name)
