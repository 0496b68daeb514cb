"""The run folder: which stages are done, and how the others are done and resumed.

    with Run.create("runs/drawer", recipe="world4rl", task="drawer-open-v3", seed=0, config=config) as run:
        run.stage("dataset", config.collection, inputs=[], body=collect)
        run.stage("world_model", config.world_model, inputs=["dataset"], body=train)

A stage is done when its folder holds a manifest (stage.json) with the same identity (its name, code version,
configuration, and the content of its inputs) and all files as they were written. Otherwise it works in a partial
folder that survives a kill, and that is renamed into place when it is finished. So running the same program again goes
on where the last one stopped. A folder may come from anywhere: no link is followed out of it, and what its files say
is checked.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from burnish.config import config_hash, save_yaml, to_dict
from burnish.errors import BurnishError, InputError, RunError
from burnish.pipeline import progress
from burnish.pipeline.finished import STAGE_FILE, complete
from burnish.pipeline.manifest import invocation, now, versions
from burnish.pipeline.run_folder import (
    LOCK_FILE,
    MANIFEST_FILE,
    RECIPE_FILE,
    RunFolder,
    identity,
    read_settings,
)
from burnish.pipeline.stages import StageContext, free_name, partial_folder, put_in_place, recover, sync_tree
from burnish.storage import TEMPORARY_SUFFIX, is_environment_error, raise_run_error, read_json, write_json
from burnish.training.resume import DamagedResume

_IDENTIFYING = ("recipe", "task", "seed")
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)

StageBody = Callable[[StageContext], dict[str, Any] | None]

_held_locks: set[TextIO] = set()


def _release_locks_in_child() -> None:
    """A forked worker that outlives a killed run must not keep the run locked."""
    for lock in _held_locks:
        lock.close()
    _held_locks.clear()


os.register_at_fork(after_in_child=_release_locks_in_child)


@dataclass(frozen=True)
class Due:
    """A stage's work: where it is done, the folders of its inputs, and what the result depends on, as a hash."""

    folder: Path
    inputs: dict[str, Path]
    identity: str


class Run(RunFolder):
    """A run folder, locked for this process until `close` (use it as a context manager).

    Attributes:
        folder: The folder.
        recipe, task, seed: What identifies the run.
        config: The resolved configuration (plain data).
    """

    def __init__(self, folder: Path, lock: TextIO, settings: dict[str, Any], verify: bool = False) -> None:
        """Use Run.create or Run.open instead."""
        super().__init__(folder, verify)
        self.recipe: str = settings["recipe"]
        self.task: str | None = settings["task"]
        self.seed: int = settings["seed"]
        self.config: dict[str, Any] = settings["config"]
        self._lock = lock

    @classmethod
    def create(
        cls,
        folder: str | Path,
        recipe: str,
        task: str | None,
        seed: int,
        config: Any,
        device: str = "cpu",
        verify: bool = False,
    ) -> "Run":
        """Make a new run folder, or go on with one of the same recipe, task and seed.

        A changed `config` is fine: the stages that it touches are done again. With `verify` the hash of every file of a
        finished stage is checked, also where size and time are as they were.

        Raises:
            InputError: Where the folder holds something else, or a link in the place of something of Burnish's.
            RunError: Where another process has it or it cannot be written.
        """
        folder = Path(folder)
        settings = {"recipe": recipe, "task": task, "seed": seed, "config": to_dict(config)}
        _check_is_free_or_run(folder)
        try:
            RunFolder(folder).check_links()
        except OSError as error:
            raise_run_error(error, error.filename or folder)
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
        return cls(folder, lock, settings, verify)

    @classmethod
    def open(cls, folder: str | Path, device: str = "cpu", verify: bool = False) -> "Run":
        """Go on with an existing run folder, with the configuration that it holds."""
        found = read_settings(folder)
        return cls.create(folder, found["recipe"], found["task"], found["seed"], found["config"], device, verify)

    def close(self) -> None:
        """Give the folder free for other processes."""
        _held_locks.discard(self._lock)
        self._lock.close()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def external_input(self, name: str, path: str | Path) -> Path:
        """As of every run folder; what was hashed is remembered."""
        found = super().external_input(name, path)
        self._outside.remember()
        return found

    def stage(
        self, name: str, config: Any, inputs: Sequence[str], body: StageBody, version: int = 1, announce: bool = True
    ) -> Path:
        """Make sure that stage `name` is done, and return its folder.

        Args:
            name: Its folder in the run folder; a nested one has slashes.
            config: A dataclass or mapping with everything that the result depends on.
            inputs: Names of stages (or external inputs) whose content the result depends on.
            body: Does the work in context.folder; a dict that it returns is added to the recorded outputs. It may be
                called again with an empty folder, where its resume state turns out to be damaged.
            version: The version of the body's code; a new one makes old results stale.
            announce: Say that the work begins.
        """
        final, partial = self.folder / name, partial_folder(self.folder, name)
        try:
            # Its inputs must be done, whatever it looks like itself.
            contents = {key: self._content(key) or self.stage_info(key)["content"] for key in inputs}
            due = self._reason(name, config, contents, version)
            if due is None:
                self._note_times(name)
                progress.report_stage_skip(name)
                return final
            if final.exists():
                progress.report_stage_redo(name, due)
            wanted = identity(name, config, contents, version)
            finding = self._inspector.look(partial)
            if finding.manifest is None or finding.manifest["identity"] != wanted:
                (partial / STAGE_FILE).unlink(missing_ok=True)
                manifest = {"identity": wanted, "version": version, "config": to_dict(config), "inputs": contents}
                self._work(name, partial, {key: self._path(key) for key in inputs}, body, manifest, announce)
            kept = put_in_place(self.folder, name)
            if kept is not None:
                progress.say(f"{name}: the earlier folder holds files of somebody else's; it is kept as {kept}")
        except OSError as error:
            if is_environment_error(error):
                raise_run_error(error, error.filename or final)
            raise
        return final

    def due(self, name: str, config: Any, inputs: Sequence[str], version: int = 1) -> Due | None:
        """What another process needs to do a stage's work; None where it is up to date, or only to be completed."""
        contents = {key: self._content(key) or self.stage_info(key)["content"] for key in inputs}
        if self._reason(name, config, contents, version) is None:
            return None
        partial, wanted = partial_folder(self.folder, name), identity(name, config, contents, version)
        finding = self._inspector.look(partial)
        if finding.manifest is not None and finding.manifest["identity"] == wanted:
            return None
        (partial / STAGE_FILE).unlink(missing_ok=True)
        return Due(partial, {key: self._path(key) for key in inputs}, wanted)

    def _path(self, name: str) -> Path:
        return self._external[name][0] if name in self._external else self.folder / name

    def _note_times(self, name: str) -> None:
        finding = self._look(name)
        if finding.moved:
            with contextlib.suppress(BurnishError):  # only saves time at the next look
                self._inspector.note_times(self.folder / name, finding)

    def _work(
        self,
        name: str,
        partial: Path,
        inputs: dict[str, Path],
        body: StageBody,
        manifest: dict[str, Any],
        announce: bool,
    ) -> None:
        """Run the body, then complete the partial folder by its manifest."""
        context = StageContext(name, partial, inputs, manifest["identity"])
        if announce:
            progress.warn_if_busy()
            progress.report_stage_start(name, context.seconds_before)
        try:
            outputs = _call(body, context)
        except DamagedResume as error:
            progress.say(f"{name}: {error}; so this stage's work starts again")
            context.discard()
            context = StageContext(name, partial, inputs, manifest["identity"])
            outputs = _call(body, context)
        context.outputs.update(outputs or {})
        context.save()
        sync_tree(partial)
        manifest |= {"seconds": round(context.seconds, 3), "outputs": context.outputs, "finished": now()}
        complete(partial, manifest | {"versions": versions()})
        progress.report_stage_finish(name, context.seconds)


def _call(body: StageBody, context: StageContext) -> dict[str, Any] | None:
    try:
        return body(context)
    except BaseException:
        # Whatever went wrong is what the user must hear of, even if the clock cannot be written either.
        with contextlib.suppress(BurnishError):
            context.save()
        raise


def _check_is_free_or_run(folder: Path) -> None:
    """A run goes into a new or empty folder, or into one of its own."""
    if folder.is_symlink() and not folder.exists():
        raise InputError(f"{folder}: a link to nowhere; make the folder that it points to, or use another --out")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: expected a folder, found a file; use another --out")
    if not folder.exists() or (folder / RECIPE_FILE).exists():
        return
    foreign = sorted(name for name in os.listdir(folder) if name != LOCK_FILE and not name.endswith(TEMPORARY_SUFFIX))
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
        # No link is followed; held open as long as the run.
        lock = os.fdopen(os.open(folder / LOCK_FILE, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666), "w")
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
        if error.errno in _NO_LOCKS:
            raise RunError(
                f"{folder}: this file system cannot lock files ({error.strerror}), so nothing would keep a second "
                "process from spoiling the run; use --out on another disk"
            ) from None
        raise_run_error(error, folder)
    _held_locks.add(lock)
    return lock


def _note_invocation(folder: Path, settings: dict[str, Any], device: str) -> None:
    """Write manifest.json; the history of earlier invocations is kept."""
    path = folder / MANIFEST_FILE
    entry = {**invocation(device), "config_hash": config_hash(settings["config"])}
    history, created = _history(path, entry["time"])
    manifest = {name: settings[name] for name in _IDENTIFYING}
    manifest |= {"schema": 1, "created": created, "device": device, "versions": versions()}
    write_json(path, manifest | {"invocations": [*history, entry]})


def _history(path: Path, created: str) -> tuple[list[Any], str]:
    """Earlier invocations, and when the first was; a file that cannot be read is kept aside."""
    if not path.exists():
        return [], created
    try:
        present = read_json(path)
        if isinstance(present, dict) and isinstance(present.get("invocations"), list):
            return present["invocations"], str(present.get("created", created))
    except InputError:
        pass
    kept = free_name(path)
    os.replace(path, kept)
    progress.say(f"{path}: this history of the run cannot be read; it is kept as {kept}, and a new one begins")
    return [], created
