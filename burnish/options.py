"""What one can say to the commands that have no configuration (`burnish.flags` reads it)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class DemoOptions:
    """What one can say about the demonstration."""

    out: Path = Path("runs/demo")
    seed: int = 0
    threads: int | None = None
    """PyTorch's threads, one stage after the other."""
    jobs: int | None = None
    """Stages side by side with one thread each; by default as many as there are cores, up to four."""


@dataclass(frozen=True)
class StageOptions:
    """What one can say about a single stage; everything else is in the run folder."""

    threads: int | None = None
    processes: int | None = None
    device: str = "cpu"
    verify: bool = False
    jobs: int | None = None
    executor: Literal["local", "slurm", "ray"] = "local"
    cpus: int = 1
    gpus: float = 0.0
    executor_options: tuple[str, ...] = ()
    track: Literal["wandb", "mlflow"] | None = None
    trust_code: bool = False


@dataclass(frozen=True)
class ExportOptions:
    """What a policy becomes."""

    to: Literal["onnx", "lerobot"] | None = None


@dataclass(frozen=True)
class ServeOptions:
    """Where a policy is served."""

    host: str = "127.0.0.1"
    port: int = 8000
    trust_code: bool = False


@dataclass(frozen=True)
class StudioOptions:
    """What the studio shows, and to whom."""

    dataset: tuple[Path, ...] = ()
    """Data sets to look at beside those of the runs."""
    out: Path = Path("studio")
    """Where drives and labels are saved."""
    drive: Path | None = None
    """A drive that was saved, to be driven again."""
    host: str = "127.0.0.1"
    """Another address than this machine's own needs a --token."""
    port: int = 0
    """0 for any free one."""
    token: str | None = None
    """The secret in the link; by default a fresh one."""
    browser: bool = True
    """Open a browser, where there is a screen."""
    threads: int = 1
    """PyTorch's."""
