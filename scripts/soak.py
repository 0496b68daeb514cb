"""Runs that are disturbed again and again must end with the bits of a run that nothing disturbed.

    python scripts/soak.py --runs 200 --lanes 2 --out runs/soak

Small runs of all recipes take turns; those that learn from data which are there find them in the folder `data`. Each
is hit one to three times, at random moments of its processor time, by one of: kill -9, SIGTERM, SIGINT, SIGSTOP for a
while, a second process on the same folder, a disk that is full (a small tmpfs, where one may mount), a folder that may
not be written (a read-only mount, or without permission where one may not mount), a clock that jumped (files a day
older or younger). Then the same command has to end it. What hits a run, and when, is drawn from the run's number, so it
does not depend on `--lanes`: so many runs go on side by side, each lane on a core of its own. `soak.jsonl` in the
folder has a line for every run, and what is there is not done again; the table comes last.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from burnish.recipes.catalogue import cards  # noqa: E402
from tests.recipes.small_runs import (  # noqa: E402
    ON_DATA,
    RUNS,
    command,
    finish,
    flags,
    own_data_command,
    start,
    weights,
)

RECIPES = tuple(name for name in RUNS if name != "frames")
"""All, World4RL's with pictures that are encoded; on frames it is DWS that runs."""
SHORTER = {"evaluation.episodes": 2, "evaluation.curve-points": 0, "evaluation.videos": 0, "gate.episodes": 4}
"""Of every recipe: what is played at the end proves no more about a resume when it is longer."""
FULL = 0.4
"""Of the size that a run needs: where the disk is full at first."""
DAY = 86_400.0
MOUNTS = os.geteuid() == 0 and sys.platform == "linux"
"""Whether one may mount; who may, also writes where there is no permission."""


@dataclass(frozen=True)
class Reference:
    """A run that nothing disturbed: what it learned, its processor seconds, how large it is (bytes)."""

    weights: dict[str, bytes]
    seconds: float
    size: int


def data_of(name: str, out: Path) -> Path:
    """Where the data of a run lie that learns from data which are there."""
    return out / "data" / ON_DATA[name].__name__


def write_data(name: str, out: Path) -> None:
    """Once, for all runs that learn from the same."""
    if name in ON_DATA and not (data := data_of(name, out)).exists():
        shutil.rmtree(making := data.with_suffix(".making"), ignore_errors=True)
        ON_DATA[name](making)
        making.rename(data)


def arguments(name: str, folder: Path) -> list[str]:
    """The command of a run."""
    shorter = flags(SHORTER)
    if name not in ON_DATA:
        return command(folder, *shorter, name=name)
    return own_data_command(data_of(name, folder.parent), folder, *shorter, name=name)


def reference(name: str, out: Path) -> Reference:
    """Do it once."""
    folder = out / f"reference-{name}"
    kept = folder / "soak-seconds"
    if not kept.exists():
        shutil.rmtree(folder, ignore_errors=True)
        process = start(arguments(name, folder))
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{name}: the undisturbed run failed\n{output[-2000:]}")
        kept.write_text(str(used.ru_utime + used.ru_stime))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Reference(weights(folder), float(kept.read_text()), size)


def spent(session: int) -> float:
    """Processor seconds of a run and of what it has started: unlike the clock's, a busy machine hardly changes them."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            pid, rest = int(path.parent.name), path.read_text().rpartition(")")[2].split()
            # Of the session's processes utime and stime; of the run itself those of its ended children, too.
            if int(rest[3]) == session:
                ticks += sum(map(int, rest[11:15] if pid == session else rest[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def signalled(number: int) -> Callable[..., str]:
    """Send this to the run and all of its processes."""

    def hit(process: subprocess.Popen[str], **_: Any) -> str:
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.killpg(process.pid, number)
        return finish(process)[1]

    return hit


def stopped(process: subprocess.Popen[str], rng: random.Random, **_: Any) -> str:
    """Halt it for a while; it goes on by itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(rng.uniform(0.5, 3))
        os.killpg(process.pid, signal.SIGCONT)
    return finish(process, 3600)[1]


def doubled(process: subprocess.Popen[str], folder: Path, name: str, **_: Any) -> str:
    """A second one on the same folder; it has to be refused, or to wait, and to harm nothing."""
    second = finish(start(arguments(name, folder)), 3600)[1]
    return finish(process, 3600)[1] + second


HITS: dict[str, Callable[..., str]] = {
    "kill -9": signalled(signal.SIGKILL),
    "SIGTERM": signalled(signal.SIGTERM),
    "SIGINT": signalled(signal.SIGINT),
    "SIGSTOP": stopped,
    "two processes": doubled,
}


def disturb(name: str, known: Reference, folder: Path, rng: random.Random) -> list[str]:
    """Start the run and hit it; returns what was done and what it said that it should not have said."""
    done, bad = [], []
    for kind in rng.choices([*HITS, *environment()], k=rng.randint(1, 3)):
        done.append(kind)
        if kind == "full disk":
            bad += on_a_full_disk(name, known, folder)
        elif kind == "read-only":
            bad += read_only(name, folder)
        elif kind == "clock":
            jump(folder, rng)
        else:
            process = start(arguments(name, folder))
            moment = rng.uniform(0.1, 0.9) * known.seconds
            while process.poll() is None and spent(process.pid) < moment:
                time.sleep(0.1)
            bad += faults(HITS[kind](process, folder=folder, name=name, rng=rng))
    return [*done, *(f"! {line}" for line in bad)]


def environment() -> list[str]:
    """What else can be tried on this machine."""
    return ["clock", "read-only", *["full disk"] * MOUNTS]


def on_a_full_disk(name: str, known: Reference, folder: Path) -> list[str]:
    """The folder lies on a disk that is too small until it is made larger; what was done moves along."""
    kept = folder.with_suffix(".kept")
    folder.mkdir(exist_ok=True)
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    folder.rename(kept)
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={used + int(FULL * known.size)}", "none", folder], check=True)
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        output = finish(start(arguments(name, folder)), 3600)[1]
        shutil.rmtree(kept)
        shutil.copytree(folder, kept)
    finally:
        subprocess.run(["umount", folder], check=True)
    folder.rmdir()
    kept.rename(folder)
    return faults(output)


def read_only(name: str, folder: Path) -> list[str]:
    """One sentence, and nothing is done."""
    folder.mkdir(exist_ok=True)
    over = (folder / "report.json").exists()
    if MOUNTS:
        subprocess.run(["mount", "--bind", folder, folder], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
    else:
        folder.chmod(0o555)
    try:
        code, output = finish(start(arguments(name, folder)), 3600)
    finally:
        if MOUNTS:
            subprocess.run(["umount", folder], check=True)
        else:
            folder.chmod(0o755)
    return faults(output) + ["it did not mind that nothing may be written"] * (code == 0 and not over)


def jump(folder: Path, rng: random.Random) -> None:
    """As if the clock had been wrong: some files are a day older or younger than they are."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and rng.random() < 0.5:
            stamp = path.stat().st_mtime + rng.choice([-DAY, DAY])
            os.utime(path, (stamp, stamp))


def faults(output: str) -> list[str]:
    """A traceback is never the answer."""
    where = output.find("Traceback")
    return [] if where < 0 else [f"traceback: {output[where : where + 3000]}"]


def clear(folder: Path) -> None:
    """Whatever a soak left there that was itself ended."""
    for path in (folder, folder.with_suffix(".kept")):
        if path.is_mount():
            subprocess.run(["umount", path], check=True)
        shutil.rmtree(path, ignore_errors=True)


def one(number: int, name: str, known: Reference, out: Path, seed: int) -> dict[str, Any]:
    """One run to its end, and whether it ended as it should."""
    rng, folder, begun = random.Random(f"{seed}-{number}"), out / f"{number:03d}-{name}", time.monotonic()
    clear(folder)
    try:
        done = disturb(name, known, folder, rng)
        code, output = finish(start(arguments(name, folder)), 3600)
    except subprocess.TimeoutExpired as error:
        done, code, output = [f"! {error}"], -1, ""
    same = code == 0 and weights(folder) == known.weights and not (folder / ".partial").exists()
    good = same and not any(each.startswith("!") for each in done)
    if good:
        shutil.rmtree(folder)
    found = {"number": number, "run": name, "hits": done, "same": same, "good": good}
    return {**found, "seconds": round(time.monotonic() - begun), "last": "" if good else output[-500:]}


def table(rows: list[dict[str, Any]]) -> str:
    """By what hit them and by recipe; a run that was hit by several things counts for each."""
    lines = ["| | runs | ended with the same bits |", "|---|---|---|"]
    total, same = Counter[str](), Counter[str]()
    for row in rows:
        for kind in ("all", row["run"], *{each for each in row["hits"] if not each.startswith("!")}):
            total[kind] += 1
            same[kind] += row["good"]
    order = ["all", *RECIPES, *HITS, "clock", "full disk", "read-only"]
    return "\n".join([*lines, *(f"| {kind} | {total[kind]} | {same[kind]} |" for kind in order if total[kind])])


def kept(log: Path) -> list[dict[str, Any]]:
    """The results that are there; a last line that was not written to its end is taken away."""
    if not log.exists():
        return []
    text = log.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        log.write_text(whole)
    return [json.loads(line) for line in whole.splitlines()]


@contextlib.contextmanager
def opened_lanes(count: int) -> Iterator[ThreadPoolExecutor]:
    """So many runs side by side; a lane and all that it starts have one core, where there are several lanes."""
    cores = itertools.cycle(sorted(os.sched_getaffinity(0)))

    def keep_to_a_core() -> None:
        os.sched_setaffinity(0, {next(cores)})  # of this thread, and of what it starts

    pool = ThreadPoolExecutor(count, initializer=keep_to_a_core if count > 1 else None)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def soak(args: argparse.Namespace) -> list[dict[str, Any]]:
    """All runs that are not there yet; returns the results of all, by number."""
    log, out = args.out / "soak.jsonl", args.out
    rows = {row["number"]: row for row in kept(log)}
    left = {number: args.recipes[number % len(args.recipes)] for number in range(args.runs) if number not in rows}
    begun, before = time.monotonic(), len(rows)
    with opened_lanes(args.lanes) as lanes:
        recipes = list(dict.fromkeys(left.values()))
        for name in recipes:
            write_data(name, out)
        known = dict(zip(recipes, lanes.map(lambda name: reference(name, out), recipes), strict=True))
        print(f"the undisturbed runs: {time.monotonic() - begun:.0f} s", flush=True)
        begun, used = time.monotonic(), processor_seconds()
        waiting = [lanes.submit(one, number, name, known[name], out, args.seed) for number, name in left.items()]
        for future in as_completed(waiting):
            row = future.result()
            rows[row["number"]] = row
            with log.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)
            each = (processor_seconds() - used) / (len(rows) - before)
            print(f"{len(rows)} runs; {time.monotonic() - begun:.0f} s, {each:.0f} processor seconds a run", flush=True)
    return [rows[number] for number in sorted(rows)]


def end(*_: Any) -> None:
    """Leave at once, and nothing running; the next soak clears what this one was at."""
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(pid), signal.SIGKILL)
    os._exit(1)


def processor_seconds() -> float:
    """Of everything that was started and has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Exit code 0 where all ended as they should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    args = parser.parse_args()
    (args.out / "data").mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    rows = soak(args)
    print(table(rows))
    if missing := {card.name for card in cards()} - {RUNS[name][0] for name in args.recipes}:
        print(f"Not among them: {', '.join(sorted(missing))}")
    return int(not all(row["good"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
