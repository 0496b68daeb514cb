"""The one thread that does everything with PyTorch and simulators: it opens runs, drives them, and reads data sets."""

import asyncio
import contextlib
import queue
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from burnish.errors import BurnishError, InputError
from burnish.studio.folders import Folders
from burnish.studio.glimpse import Glimpses
from burnish.studio.protocol import Command

if TYPE_CHECKING:  # the page is there before PyTorch is
    from burnish.studio.drive import Drive

WARM = 3
"""Runs that are kept open; the one that was not driven for the longest time goes first."""
_PATIENCE = 2.0
"""Seconds that PyTorch waits for a page to show something first."""
_IDLE = 1.0
"""Seconds without a wish or a step after which what can wait is done."""
Answer = TypeVar("Answer")


class Viewer:
    """One page that looks on: its newest frame, and what else is to be told; an older frame is dropped.

    Everything but `show` and `tell` is the event loop's.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._there = asyncio.Event()
        self._frame: bytes | None = None
        self._told: list[dict[str, Any]] = []
        self.run: str | None = None
        self.seq = 0

    def show(self, frame: bytes) -> None:
        """A frame, from the engine's thread."""
        with contextlib.suppress(RuntimeError):  # the loop ended
            self._loop.call_soon_threadsafe(self._set, frame)

    def tell(self, message: dict[str, Any]) -> None:
        """Something that is not dropped, from any thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._add, message)

    async def next(self) -> tuple[list[dict[str, Any]], bytes | None]:
        """What came since the last time; waits for something."""
        await self._there.wait()
        self._there.clear()
        told, frame = self._told, self._frame
        self._told, self._frame = [], None
        return told, frame

    def _set(self, frame: bytes) -> None:
        self._frame = frame
        self._there.set()

    def _add(self, message: dict[str, Any]) -> None:
        if message["type"] == "opened":
            self._frame = None  # one of what was shown before
        self._told.append(message)
        self._there.set()


class Engine:
    """Opened runs and the thread that they live in.

    Attributes:
        ready: whether PyTorch is there (and the first run, where one was to be opened).
        doing: in words, for `/healthz`.
        glimpses: what is shown before that.
        shown: set when a page has been answered what it shows first.
    """

    def __init__(self, folders: Folders, out: Path, threads: int, drive: Path | None = None) -> None:
        self.folders, self.out, self._threads, self._given = folders, out, threads, drive
        self.ready, self.doing, self.error = False, "loading PyTorch", ""
        self.glimpses, self.shown = Glimpses(), threading.Event()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle: list[Callable[[], None]] = []
        self._warm: OrderedDict[str, Drive] = OrderedDict()
        self._active: str | None = None
        self._viewers: list[Viewer] = []
        self._thread = threading.Thread(target=self._work, name="studio-engine", daemon=True)

    def start(
        self,
        first: str | None = None,
        ready: Callable[[], None] | None = None,
        look: Callable[[], Any] | None = None,
    ) -> None:
        """Begin to work: `look` at what the page will ask for soonest, import PyTorch, open `first`, call `ready`."""

        def warm_up() -> None:
            if look is not None:
                with contextlib.suppress(BurnishError):  # of what is damaged the page hears when it asks
                    look()
            # Modules that are imported keep the page's answers waiting: it comes first, if it comes at once.
            self.shown.wait(_PATIENCE)
            import torch

            torch.set_num_threads(self._threads)
            import burnish.studio.drive  # noqa: F401

            if first is not None:
                self.doing = "opening the first run"
                self._open(first)

        def begin() -> None:
            try:
                warm_up()
            except BurnishError as error:
                self.error = str(error)
            finally:
                self.ready, self.doing = True, "waiting"
                if ready is not None:
                    ready()

        self._jobs.put(begin)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait for it."""
        self.shown.set()
        self._jobs.put(None)
        self._thread.join(timeout=30)

    async def call(self, function: Callable[[], Answer]) -> Answer:
        """What `function` returns, called in the engine's thread; its errors are the caller's."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if not answer.done():
                answer.set_result(result) if error is None else answer.set_exception(error)

        def job() -> None:
            try:
                found, error = function(), None
            except Exception as raised:
                found, error = None, raised
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, found, error)

        self._jobs.put(job)
        return await answer

    def join(self, viewer: Viewer) -> None:
        """A page comes."""
        self._jobs.put(lambda: self._viewers.append(viewer))

    def leave(self, viewer: Viewer) -> None:
        """A page goes; nothing runs on that nobody sees."""

        def job() -> None:
            self._viewers.remove(viewer)
            if self._active is not None and not self._audience():
                self._warm[self._active].pause()

        self._jobs.put(job)

    def command(self, viewer: Viewer, command: Command) -> None:
        """What a page wants; it is told where that cannot be."""

        def job() -> None:
            try:
                self._command(viewer, command)
            except BurnishError as error:
                viewer.tell({"type": "error", "do": command.do, "text": str(error)})
            except Exception as error:  # a mistake, or a damaged run: this page hears of it, the others go on
                traceback.print_exc()
                viewer.tell({"type": "error", "do": command.do, "text": f"{type(error).__name__}: {error}"})

        self._jobs.put(job)

    def _command(self, viewer: Viewer, command: Command) -> None:
        if command.do == "open":
            drive = self._open(command.run)
            viewer.run = command.run
            for other in self._viewers:
                if other.run != command.run and other.run is not None:
                    other.tell({"type": "parked"})
            viewer.tell(drive.hello())
            viewer.show(drive.frame())
            # To look for a simulator is to import it, for seconds: not while somebody begins to drive.
            run = drive.run
            self._idle.append(lambda: viewer.tell({"type": "simulator", "missing": run.missing_simulator}))
            return
        if viewer.run is None or viewer.run not in self._warm:
            raise InputError("open a run first")
        if self._active != viewer.run:
            self._open(viewer.run)
        drive = self._warm[viewer.run]
        if command.do == "input":
            if command.seq < viewer.seq:
                return  # a later one was there first
            viewer.seq = command.seq
        if command.do == "replay":
            if self._given is None:
                raise InputError("there is no saved drive to replay: name one with --drive")
            drive.replay(self._given)
        answer = None if command.do == "replay" else drive.do(command, self.out)
        if answer is not None:
            viewer.tell(answer)
        if command.do in ("begin", "replay"):
            for each in self._audience():
                each.tell({"type": "began", "run": viewer.run, **drive.began()})
        if command.do not in ("input", "save", "speed"):
            self._show(drive)

    def _open(self, key: str) -> "Drive":
        if key not in self._warm:
            from burnish.studio.drive import Drive
            from burnish.studio.opened import open_run

            path, self.doing = self.folders.run(key), "opening a run"
            for viewer in self._viewers:
                viewer.tell({"type": "opening", "run": key})
            self._warm[key] = Drive(key, open_run(path))
            while len(self._warm) > WARM:
                _, gone = self._warm.popitem(last=False)
                gone.run.close()
            self.doing = "waiting"
        if self._active not in (None, key) and self._active in self._warm:
            self._warm[self._active].pause()
        self._warm.move_to_end(key)
        self._active = key
        return self._warm[key]

    def opened(self, key: str) -> Any:
        """An open run, for reading from within the engine's thread; who drives another one goes on."""
        if key in self._warm:
            return self._warm[key].run
        active = self._active
        drive = self._open(key)
        self._active = active if active in self._warm else key
        return drive.run

    def _audience(self) -> list[Viewer]:
        return [viewer for viewer in self._viewers if viewer.run == self._active]

    def _show(self, drive: "Drive") -> None:
        audience = self._audience()
        frame = drive.frame() if audience else b""
        for viewer in audience:
            viewer.show(frame)

    def _work(self) -> None:
        while True:
            drive = self._warm.get(self._active) if self._active else None
            due = drive.due() if drive is not None else None
            try:
                wait = (_IDLE if self._idle else None) if due is None else max(0.0, due - time.perf_counter())
                job = self._jobs.get(timeout=wait) if wait is None or wait > 0 else self._jobs.get_nowait()
            except queue.Empty:
                if drive is not None and due is not None:
                    self._tick(drive)
                    continue
                job = self._idle.pop(0)
            if job is None:
                break
            try:
                job()
            except Exception:  # a mistake: whoever asked gets no answer, the others go on
                traceback.print_exc()
        for each in self._warm.values():
            each.run.close()

    def _tick(self, drive: "Drive") -> None:
        try:
            drive.tick()
            self._show(drive)
        except Exception as error:
            drive.pause()
            if not isinstance(error, BurnishError):
                traceback.print_exc()
            for viewer in self._audience():
                viewer.tell({"type": "error", "do": "tick", "text": str(error)})
