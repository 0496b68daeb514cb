"""What a worker, here or on another machine, has to have before it does any work of a run."""

import contextlib
import importlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from burnish import lanes
from burnish.components import outside_modules
from burnish.errors import InputError
from burnish.pipeline.executors import ExecutorConfig, here
from burnish.pipeline.manifest import versions


@dataclass(frozen=True)
class Asked:
    """What a worker needs to know of the process that asks.

    Attributes:
        where: with how many threads and GPUs a stage is worked on.
        modules: outside of this package, which define families of components.
        paths: where that process looks for modules.
        versions: of the packages there.
    """

    where: ExecutorConfig
    modules: tuple[str, ...]
    paths: tuple[str, ...]
    versions: Mapping[str, str]

    @classmethod
    def by_this_process(cls, where: ExecutorConfig) -> Self:
        """What it has imported, and from where."""
        return cls(where, outside_modules(), tuple(sys.path), versions())

    def prepare(self, run_folder: Path) -> None:
        """Make this process a worker for a run.

        Raises:
            InputError: this machine does not see the folder, or has other versions than the one that asks.
        """
        _check_machine(run_folder, self.versions)
        sys.path += [path for path in self.paths if path not in sys.path]
        for module in self.modules:
            importlib.import_module(module)
        torch.set_num_threads(self.where.cpus)
        # Lanes never hold up a neighbour, so on this machine they may use what other stages leave.
        offered = lanes.cores() if self.where.kind == "local" else self.where.cpus
        lanes.offer(1 if self.where.gpus else offered)


@contextlib.contextmanager
def words_to(path: Path) -> Iterator[None]:
    """Append what this process prints to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", buffering=1) as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        yield


def _check_machine(run_folder: Path, expected: Mapping[str, str]) -> None:
    if not run_folder.is_dir():
        raise InputError(f"{here()}: does not see {run_folder}; a run folder must lie on a file system that all share")
    found = versions()
    differ = [
        f"{name} {found.get(name)}, expected {value}" for name, value in expected.items() if found.get(name) != value
    ]
    if differ:
        raise InputError(f"{here()}: has other versions than the machine that asks: {'; '.join(differ)}")
