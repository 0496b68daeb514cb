"""The run folder: which stages are done, and how the others are done and resumed.

    with Run.create("runs/drawer", recipe="world4rl", task="drawer-open-v3", seed=0, config=config) as run:
        run.stage("dataset", config.collection, inputs=[], body=collect)
        run.stage("world_model", config.world_model, inputs=["dataset"], body=train)

A stage is done when its folder holds a manifest (stage.json) with the same identity: its name, code version,
configuration, and the content of its inputs.  Otherwise it works in a partial folder that survives a kill, and that
is renamed into place when it is finished.  So running the same program again goes on where the last one stopped.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from burnish.config import config_hash, load_yaml, save_yaml, to_dict
from burnish.errors import BurnishError, InputError, RunError
from burnish.pipeline import progress
from burnish.pipeline.manifest import (
    hash_files,
    invocation,
    list_files,
    now,
    remove_temporaries,
    versions,
)
from burnish.pipeline.stages import (
    PARTIAL,
    STAGE_FILE,
    StageContext,
    finished_manifest,
    put_in_place,
    recover,
    sync_tree,
)
from burnish.storage import TEMPORARY_SUFFIX, is_environment_error, raise_run_error, read_json, write_json

RECIPE_FILE = "recipe.yaml"
MANIFEST_FILE = "manifest.json"
_LOCK_FILE = ".lock"
_IDENTIFYING = ("recipe", "task", "seed")

StageBody = Callable[[StageContext], dict[str, Any] | None]

_held_locks: set[TextIO] = set()


def _release_locks_in_child() -> None:
    """A forked worker that outlives a killed run must not keep the run locked."""
    for lock in _held_locks:
        lock.close()
    _held_locks.clear()


os.register_at_fork(after_in_child=_release_locks_in_child)


class Run:
    """A run folder, locked for this process until `close` (use it as a context manager).

    Attributes: folder; recipe, task and seed, which identify the run; config, the resolved configuration (plain data).
    """

    def __init__(self, folder: Path, lock: TextIO, settings: dict[str, Any]) -> None:
        """Use Run.create or Run.open instead."""
        self.folder = folder
        self.recipe: str = settings["recipe"]
        self.task: str | None = settings["task"]
        self.seed: int = settings["seed"]
        self.config: dict[str, Any] = settings["config"]
        self._lock = lock
        self._external: dict[str, tuple[Path, str]] = {}

    @classmethod
    def create(
        cls, folder: str | Path, recipe: str, task: str | None, seed: int, config: Any, device: str = "cpu"
    ) -> "Run":
        """Make a new run folder, or go on with one of the same recipe, task and seed.

        A changed `config` is fine: the stages that it touches are done again.  Raises InputError where the folder
        holds something else, RunError where another process has it or it cannot be written.
        """
        folder = Path(folder)
        settings = {"recipe": recipe, "task": task, "seed": seed, "config": to_dict(config)}
        _check_is_free_or_run(folder)
        lock = _lock(folder)
        try:
            if (folder / RECIPE_FILE).exists():
                _check_same_run(folder, settings)
            save_yaml(folder / RECIPE_FILE, settings)
            _note_invocation(folder, settings, device)
            recover(folder)
        except BaseException as error:
            _held_locks.discard(lock)
            lock.close()
            if isinstance(error, OSError):
                raise_run_error(error, folder)
            raise
        return cls(folder, lock, settings)

    @classmethod
    def open(cls, folder: str | Path, device: str = "cpu") -> "Run":
        """Go on with an existing run folder, with the configuration that it holds."""
        settings = read_settings(folder)
        return cls.create(folder, settings["recipe"], settings["task"], settings["seed"], settings["config"], device)

    def close(self) -> None:
        """Give the folder free for other processes."""
        _held_locks.discard(self._lock)
        self._lock.close()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def external_input(self, name: str, path: str | Path) -> Path:
        """Make a file or folder from outside (a user's dataset) known as an input, by its content."""
        path = Path(path)
        if name in self._external and self._external[name][0] == path:
            return path
        try:
            self._external[name] = (path, hash_files(path))
        except OSError as error:
            raise_run_error(error, path)
        return path

    def stage(self, name: str, config: Any, inputs: Sequence[str], body: StageBody, version: int = 1) -> Path:
        """Make sure that stage `name` is done, and return its folder.

        config: a dataclass or mapping with everything that the result depends on.
        inputs: names of stages (or external inputs) whose content the result depends on.
        body: does the work in context.folder; a dict that it returns is added to the recorded outputs.
        version: the version of the body's code; a new one makes old results stale.
        """
        identity, fingerprints = self._identity(name, config, inputs, version)
        final, partial = self.folder / name, self.folder / PARTIAL / name
        if _has_identity(final, identity):
            progress.report_stage_skip(name)
            return final
        if final.exists():
            progress.report_stage_redo(name, "its settings or inputs changed, or files are missing")
        try:
            if not _has_identity(partial, identity):
                (partial / STAGE_FILE).unlink(missing_ok=True)
                context = StageContext(name, partial, {key: self._path(key) for key in inputs}, identity)
                self._work(context, body, self._manifest(identity, config, fingerprints, version))
            put_in_place(self.folder, name)
        except OSError as error:
            if is_environment_error(error):
                raise_run_error(error, error.filename or final)
            raise
        return final

    def is_done(self, name: str, config: Any, inputs: Sequence[str], version: int = 1) -> bool:
        """Whether `stage` with these arguments would have nothing to do."""
        return _has_identity(self.folder / name, self._identity(name, config, inputs, version)[0])

    def stage_info(self, name: str) -> dict[str, Any]:
        """The manifest of a finished stage: identity, config, inputs, seconds, outputs, files, versions."""
        manifest = finished_manifest(self.folder / name)
        if manifest is None:
            raise InputError(f"{self.folder / name}: this stage is not done yet; run it first")
        return manifest

    def seconds(self) -> dict[str, float]:
        """Seconds of work of every finished stage, resumed attempts added up."""
        manifests = {path.parent.name: finished_manifest(path.parent) for path in self.folder.glob(f"*/{STAGE_FILE}")}
        done = {name: manifest for name, manifest in manifests.items() if manifest is not None}
        return {name: done[name]["seconds"] for name in sorted(done, key=lambda name: done[name]["finished"])}

    def _path(self, name: str) -> Path:
        return self._external[name][0] if name in self._external else self.folder / name

    def _identity(self, name: str, config: Any, inputs: Sequence[str], version: int) -> tuple[str, dict[str, str]]:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise ValueError(f"a stage name is lower case with underscores, not {name!r}")
        fingerprints = {
            key: self._external[key][1] if key in self._external else self.stage_info(key)["content"] for key in inputs
        }
        # Not as plain data: that would not know any more which fields came later.
        parts = {"name": name, "version": version, "config": config, "inputs": fingerprints}
        return config_hash(parts), fingerprints

    def _manifest(self, identity: str, config: Any, fingerprints: dict[str, str], version: int) -> dict[str, Any]:
        return {"identity": identity, "version": version, "config": to_dict(config), "inputs": fingerprints}

    def _work(self, context: StageContext, body: StageBody, manifest: dict[str, Any]) -> None:
        """Run the body, then complete the partial folder by its manifest."""
        progress.report_stage_start(context.name, context.seconds_before)
        try:
            outputs = body(context)
        except BaseException:
            # Whatever went wrong is what the user must hear of, even if the clock cannot be written either.
            with contextlib.suppress(BurnishError):
                context.save()
            raise
        context.outputs.update(outputs or {})
        context.save()
        remove_temporaries(context.folder)
        sync_tree(context.folder)
        files = list_files(context.folder)
        manifest |= {"seconds": round(context.seconds, 3), "outputs": context.outputs, "finished": now()}
        # The identity is part of the content: a stage of other settings is another input even if its files are alike.
        content = hashlib.sha256(f"{manifest['identity']} {hash_files(context.folder)}".encode()).hexdigest()
        write_json(context.folder / STAGE_FILE, manifest | {"versions": versions(), "content": content, "files": files})
        progress.report_stage_finish(context.name, context.seconds)


def read_settings(folder: str | Path) -> dict[str, Any]:
    """Read a run folder's recipe.yaml: {"recipe": str, "task": str | None, "seed": int, "config": dict}."""
    folder = Path(folder)
    path = folder / RECIPE_FILE
    if not path.exists():
        raise InputError(f"{folder}: not a run folder ({RECIPE_FILE} is missing)")
    settings = load_yaml(path)
    expected = {"recipe": str, "task": (str, type(None)), "seed": int, "config": dict}
    for name, kind in expected.items():
        if name not in settings or not isinstance(settings[name], kind):
            raise InputError(f"{path}: field '{name}' is missing or wrong, found {settings.get(name)!r}")
    return settings


def _has_identity(folder: Path, identity: str) -> bool:
    manifest = finished_manifest(folder)
    return manifest is not None and manifest.get("identity") == identity


def _check_is_free_or_run(folder: Path) -> None:
    """A run goes into a new or empty folder, or into one of its own."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: expected a folder, found a file; use another --out")
    if not folder.exists() or (folder / RECIPE_FILE).exists():
        return
    foreign = sorted(name for name in os.listdir(folder) if name != _LOCK_FILE and not name.endswith(TEMPORARY_SUFFIX))
    if foreign:
        raise InputError(f"{folder}: not a run folder and not empty (it holds '{foreign[0]}'); use another --out")


def _check_same_run(folder: Path, settings: dict[str, Any]) -> None:
    present = read_settings(folder)
    for name in _IDENTIFYING:
        if present[name] != settings[name]:
            raise InputError(
                f"{folder}: this run has {name} {present[name]!r}, the command says {settings[name]!r}; "
                "use another --out"
            )


def _lock(folder: Path) -> TextIO:
    """Take the folder for this process; the system gives it free when the process ends, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / _LOCK_FILE, "a")  # noqa: SIM115  (held open as long as the run)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.EIO):
            raise_run_error(error, folder)
        # Not the machine's fault: another place will do.
        reason = error.strerror or str(error)
        raise InputError(f"{folder}: the run folder cannot be made or written ({reason}); use another --out") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RunError(f"{folder}: another process is working on this run; wait for it or use another --out") from None
    except OSError as error:
        lock.close()
        raise_run_error(error, folder)
    _held_locks.add(lock)
    return lock


def _note_invocation(folder: Path, settings: dict[str, Any], device: str) -> None:
    """Write manifest.json; the history of earlier invocations is kept."""
    path = folder / MANIFEST_FILE
    entry = {**invocation(device), "config_hash": config_hash(settings["config"])}
    history: list[Any] = []
    created = entry["time"]
    if path.exists():
        present = read_json(path)
        if isinstance(present, dict):
            history, created = present.get("invocations", []), present.get("created", created)
    manifest = {name: settings[name] for name in _IDENTIFYING}
    manifest |= {"schema": 1, "created": created, "device": device, "versions": versions()}
    write_json(path, manifest | {"invocations": [*history, entry]})
