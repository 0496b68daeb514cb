"""Progress of long steps: a bar with rate and ETA on a terminal, now and then a plain line elsewhere."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, TextIO

import torch
from tqdm import tqdm

LINE_INTERVAL = 10.0  # seconds between two plain lines
_BUSY = 1.5  # times as much to do as there are cores
_warned: list[bool] = []
_METRICS_WIDTH = 100  # characters of a plain line; all metrics are in metrics.jsonl
_BAR_WIDTH = 70  # what a bar and its numbers need beside the metrics
_planned: list[str] = []


class Progress:
    """Progress of one step of a stage.

    Use it as a context manager and call `update` as often as you like; drawing is rate-limited. `metrics` are shown
    beside the bar. `on_update` is called with every update (a stage keeps its clock with it).
    """

    def __init__(
        self,
        total: int | None,
        unit: str = "steps",
        description: str = "",
        initial: int = 0,
        stream: TextIO | None = None,
        on_update: Callable[[], None] | None = None,
    ) -> None:
        self.total = total
        self.done = initial
        self._initial = initial
        self._unit = unit
        self._description = description
        self._stream = stream if stream is not None else sys.stderr
        self._on_update = on_update
        self._started = self._last_line = time.monotonic()
        self._metrics: dict[str, Any] = {}
        self._last_words = ""
        self._bar: Any = None
        self._closed = self._reported = False
        if self._stream.isatty():
            self._bar = tqdm(
                total=total,
                initial=initial,
                desc=description,
                unit=f" {unit}",
                file=self._stream,
                dynamic_ncols=True,
                mininterval=0.2,
                unit_scale=total is not None and total >= 100_000,
            )

    def update(self, amount: int = 1, **metrics: Any) -> None:
        """Go on by `amount`; `metrics` (numbers or 0-dim tensors) replace those shown before."""
        self.done += amount
        self._metrics.update(metrics)
        if self._bar is not None:
            if self._bar.update(amount) and self._metrics:
                self._bar.set_postfix_str(self._format_metrics(_room_beside_a_bar()))
        elif time.monotonic() - self._last_line >= LINE_INTERVAL:
            self._print_line()
        if self._on_update is not None:
            self._on_update()

    def set(self, done: int, **metrics: Any) -> None:
        """Go to `done` (for example after a resume from a checkpoint)."""
        self.update(done - self.done, **metrics)

    def at(self, done: int, metrics: dict[str, float]) -> None:
        """`set`, in the form in which training loops report.

        Rate and ETA count from the first report: what lies before it may be an earlier attempt's.
        """
        if not self._reported:
            self._reported = True
            self._initial, self._started = done, time.monotonic()
            if self._bar is not None:
                self._bar.initial = self._bar.n = self._bar.last_print_n = done
                self._bar.start_t = self._bar.last_print_t = self._bar._time()
            self.done = done
        self.set(done, **metrics)

    def close(self) -> None:
        """Draw the last state; further calls do nothing."""
        if self._closed:
            return
        self._closed = True
        if self._bar is not None:
            if self._metrics:
                self._bar.set_postfix_str(self._format_metrics(_room_beside_a_bar()))
            self._bar.close()
        elif self.line() != self._last_words:
            self._print_line()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def share(self) -> float | None:
        """How much is done, 0 to 1; None where nobody knows how much there is."""
        return self.done / self.total if self.total else None

    def line(self) -> str:
        """The state as one plain line: `world_model 12 % 1200/10000 steps 350 steps/s ETA 0:25 loss 0.12`."""
        seconds = time.monotonic() - self._started
        rate = (self.done - self._initial) / seconds if seconds > 0 else 0.0
        parts = [self._description] if self._description else []
        if self.total:
            parts.append(f"{100 * self.done // self.total} % {self.done}/{self.total} {self._unit}")
        else:
            parts.append(f"{self.done} {self._unit}")
        if rate > 0 or not self._reported:
            parts.append(f"{rate:.3g} {self._unit}/s" if rate < 1000 else f"{rate:.0f} {self._unit}/s")
        if self.total and rate > 0 and self.done < self.total:
            parts.append(f"ETA {format_duration((self.total - self.done) / rate)}")
        if self._metrics:
            parts.append(self._format_metrics(_METRICS_WIDTH))
        return " ".join(part for part in parts if part)

    def _print_line(self) -> None:
        self._last_line, self._last_words = time.monotonic(), self.line()
        print(self._last_words, file=self._stream, flush=True)

    def _format_metrics(self, width: int) -> str:
        """The first metrics, as many as have room."""
        words = ""
        for name, value in self._metrics.items():
            longer = f"{words} {name} {_format_number(value)}".lstrip()
            if len(longer) > width:
                break
            words = longer
        return words


class Overview:
    """Stages that are worked on side by side, in one line: `6 of 18 stages · world_model 43 % · about 4:10 to go`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._shown_at = time.monotonic()
        self._width = 0

    def show(self, words: str) -> None:
        """Draw the line anew on a terminal; elsewhere now and then print it."""
        if self._stream.isatty():
            room = max(20, shutil.get_terminal_size().columns - 1)
            words = words if len(words) <= room else words[: room - 1] + "…"
            print("\r" + words.ljust(self._width), end="", file=self._stream, flush=True)
            self._width = len(words)
        elif time.monotonic() - self._shown_at >= LINE_INTERVAL:
            self._shown_at = time.monotonic()
            print(words, file=self._stream, flush=True)

    def clear(self) -> None:
        """Make room for other lines."""
        if self._width:
            print("\r" + " " * self._width + "\r", end="", file=self._stream, flush=True)
            self._width = 0


def plan_stages(names: Iterable[str]) -> None:
    """Say which stages come, in their order, so that what is said of each of them counts it."""
    _planned[:] = names


def report_stage_start(name: str, seconds_before: float = 0.0) -> None:
    """Say that a stage starts, or goes on after `seconds_before` seconds of earlier work."""
    number = f" (stage {_planned.index(name) + 1} of {len(_planned)})" if name in _planned else ""
    say(f"{name}{number}: " + (f"resuming after {seconds_before:.1f} s" if seconds_before > 0 else "started"))


def report_stage_finish(name: str, seconds: float) -> None:
    """Say that a stage is finished and how long it took in all."""
    say(f"{name}: finished in {seconds:.1f} s")


def report_outlook(words: str) -> None:
    """Say how long the rest will take, where anything is known of it."""
    if words:
        say(words)


def report_stage_skip(name: str) -> None:
    """Say that a stage's earlier result is used."""
    say(f"{name}: up to date")


def report_stage_redo(name: str, reason: str) -> None:
    """Say why an earlier result is not used."""
    say(f"{name}: {reason}; doing it again, and the earlier result stays until the new one is complete")


def warn_if_busy() -> None:
    """Say once that threads which wait for each other are slow on a machine that has more to do than it has cores."""
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    load = os.getloadavg()[0]
    if not _warned and threads > 1 and load > _BUSY * cores:
        _warned.append(True)
        say(
            f"this machine is busy (load {load:.1f} on {cores} cores), and {threads} threads that wait for each other "
            "may be many times slower than one; --threads 1 helps"
        )


def format_duration(seconds: float) -> str:
    """Seconds as 0:25 or 1:02:05."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _format_number(value: Any) -> str:
    if isinstance(value, str):
        return value
    number = float(value)
    return f"{number:.0f}" if number.is_integer() and abs(number) < 1e9 else f"{number:.3g}"


def say(message: str) -> None:
    """Tell the user something in one line."""
    print(f"[burnish] {message}", file=sys.stderr, flush=True)


def _room_beside_a_bar() -> int:
    return max(0, shutil.get_terminal_size().columns - _BAR_WIDTH)
