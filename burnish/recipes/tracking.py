"""A run's curves in an experiment tracker (Weights & Biases, MLflow), read from the metrics.jsonl of its stages.

Nothing that trains knows of it: a thread reads what the stages have written, wherever they are worked on, and hands it
on; a tracker that fails is said, and does not stop the run that it looks at.
`tracking.json` in the run folder keeps how far it came, so that a run that goes on is the same one in the tracker, too.
"""

import contextlib
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from burnish.errors import InputError
from burnish.pipeline.progress import say
from burnish.storage import read_json, write_json

TrackerKind = Literal["wandb", "mlflow"]
STATE = "tracking.json"
METRICS = "metrics.jsonl"
EVERY = 5.0
"""Seconds between two looks."""


class Tracker(ABC):
    """What stands between a run and one tracker; `id` names the run there."""

    id: str

    @abstractmethod
    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """One row of a stage's metrics."""

    @abstractmethod
    def finish(self, summary: Mapping[str, float]) -> None:
        """The last numbers, and the end of this process's part."""


class WandB(Tracker):
    """Weights & Biases; `WANDB_MODE=offline` keeps everything here."""

    def __init__(self, name: str, settings: Mapping[str, Any], known: str | None) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        self.run = wandb.init(project="burnish", name=name, config=dict(settings), id=known, resume="allow")
        self.id = self.run.id
        self._stages = set[str]()

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Every stage has steps of its own."""
        if stage not in self._stages:
            self.run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
            self._stages.add(stage)
        self.run.log({f"{stage}/step": step, **{f"{stage}/{name}": value for name, value in values.items()}})

    def finish(self, summary: Mapping[str, float]) -> None:
        """The summary is what tables of runs show."""
        self.run.summary.update(dict(summary))
        self.run.finish()


class MLflow(Tracker):
    """MLflow; where `MLFLOW_TRACKING_URI` says."""

    def __init__(self, name: str, settings: Mapping[str, Any], known: str | None) -> None:
        from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]

        self.client = MlflowClient()
        found = self.client.get_experiment_by_name("burnish")
        experiment = found.experiment_id if found is not None else self.client.create_experiment("burnish")
        self.id = known or self.client.create_run(experiment, run_name=name).info.run_id
        if known is None:
            for key, value in flat(settings):
                self.client.log_param(self.id, key, str(value)[:500])

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """One value at a time."""
        for name, value in values.items():
            self.client.log_metric(self.id, f"{stage}/{name}", value, step=step)

    def finish(self, summary: Mapping[str, float]) -> None:
        """Marks the run as finished."""
        for name, value in summary.items():
            self.client.log_metric(self.id, name, value)
        self.client.set_terminated(self.id)


TRACKERS: dict[str, type[Any]] = {"wandb": WandB, "mlflow": MLflow}


@contextlib.contextmanager
def tracked(kind: TrackerKind | None, folder: Path, settings: Mapping[str, Any]) -> Iterator[None]:
    """Hand on what the stages of the run in `folder` log meanwhile, and at the end what its report says.

    Raises:
        InputError: the tracker is not installed.
    """
    if kind is None:
        yield
        return
    state = _state(folder, kind)
    try:
        tracker = TRACKERS[kind](folder.name, settings, state.get("id"))
    except ImportError as error:
        raise InputError(f"--track {kind} needs the extra '{kind}': pip install -e '.[{kind}]' ({error})") from error
    follower = Follower(tracker, folder, {str(k): int(v) for k, v in state.get("seen", {}).items()})
    follower.start()
    try:
        yield
    finally:
        follower.stop()
        write_json(folder / STATE, {"kind": kind, "id": tracker.id, "seen": follower.seen})
        with said():
            tracker.finish(summary(folder))


@contextlib.contextmanager
def said() -> Iterator[None]:
    """What goes wrong is a warning."""
    try:
        yield
    except Exception as error:
        say(f"warning: the tracker gave up: {error}")


class Follower(threading.Thread):
    """Looks every few seconds for rows that are new; `seen` is the last step of each stage."""

    def __init__(self, tracker: Tracker, folder: Path, seen: dict[str, int]) -> None:
        super().__init__(daemon=True)
        self.tracker, self.folder, self.seen = tracker, folder, seen
        self._ended = threading.Event()

    def run(self) -> None:
        """Until it is stopped, or the tracker fails."""
        with said():
            while not self._ended.wait(EVERY):
                self.look()

    def look(self) -> None:
        """Hand on all new rows."""
        for path in sorted(path for path in self.folder.rglob(METRICS) if not path.is_symlink()):
            stage = path.parent.relative_to(self.folder).as_posix().removeprefix(".partial/")
            last = self.seen.get(stage, -1)
            for step, values in rows(path):
                if step > last:
                    self.tracker.log(stage, step, values)
                    self.seen[stage] = step

    def stop(self) -> None:
        """One last look."""
        running = self.is_alive()
        self._ended.set()
        self.join()
        if running:
            with said():
                self.look()


def rows(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Steps and values; a line that is being written, or is damaged, is left out."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:  # a stage was just finished, and its folder has moved
        return
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, LookupError, AttributeError):
            row = json.loads(line)
            yield int(row.pop("step")), {str(name): float(value) for name, value in row.items()}


def summary(folder: Path) -> dict[str, float]:
    """Success or return of each policy, and whether the gate accepted; nothing without a report."""
    path = folder / "report.json"
    if not path.is_file():
        return {}
    report = read_json(path)
    found: dict[str, float] = {"accepted": float(report["accepted"])}
    for name, policy in report["policies"].items():
        for measure, key in (("success", "rate"), ("return", "mean")):
            if measure in policy:
                found[f"{name}/{measure}"] = float(policy[measure][key])
    return found


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by their dotted names."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _state(folder: Path, kind: str) -> dict[str, Any]:
    path = folder / STATE
    found = read_json(path) if path.is_file() and not path.is_symlink() else {}
    return found if isinstance(found, dict) and found.get("kind") == kind else {}
