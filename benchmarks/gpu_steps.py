"""Everything that needs a GPU, in order of worth; each step resumes, and ends within ten minutes a call.

    python benchmarks/gpu_steps.py --out runs/gpu --results gpu_results --minutes 9
    python benchmarks/gpu_steps.py --tiny --device cpu --out runs/gpu-tiny --results gpu-tiny    to try it on a CPU

A step is a command that goes on where it was stopped. What a step has not finished after `--minutes` is stopped and
goes on with the next call. After every step, finished or not, its report, curves and the end of its log are copied to
`--results`, with `steps.json`: command, commit, device, seconds so far, and whether it is done.
"""

import argparse
import json
import platform
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
COPIED = ("report.json", "report.html", "recipe.yaml", "manifest.json")
TABLES = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: of its folder and its log.
        words: after `python`; of a run without its `--out` and `--device`.
        table: the page that a benchmark writes; None for a run.
    """

    name: str
    words: tuple[str, ...]
    table: str | None = None


def run(*words: str) -> tuple[str, ...]:
    """The command `burnish run`."""
    return ("-W", "ignore", "-m", "burnish", "run", *words)


STEPS = (
    Step("frames", run("world4rl", "--task", "drawer-open-v3", "--preset", "frames-paper", "--seed", "0")),
    Step("diwa-paper", run("diwa", "--task", "lever-pull-v3", "--preset", "paper", "--seed", "1")),
    Step("pixels", run("world4rl", "--task", "drawer-open-v3", "--preset", "pixels-contacts", "--seed", "1")),
    Step("s5", ("benchmarks/s5_speed.py",), "s5_speed"),
    Step("rssm", ("benchmarks/rssm_throughput.py",), "rssm_throughput"),
    Step("pixel-throughput", ("benchmarks/pixel_throughput.py", "--compile"), "pixel_throughput"),
)
TINY = (
    Step("frames", run("world4rl", "--task", "drawer-open-v3", "--preset", "frames-tiny", "--seed", "0")),
    Step("diwa", run("diwa", "--task", "lever-pull-v3", "--preset", "tiny", "--seed", "1")),
    Step("rssm", ("benchmarks/rssm_throughput.py", "--presets", "tiny", "--seconds", "0.2"), "rssm_throughput"),
)


def command(step: Step, device: str, out: Path) -> list[str]:
    """As it is typed."""
    place = ["--out", str(out / step.name)] if step.table is None else []
    return [sys.executable, *step.words, "--device", device, *place]


def work(step: Step, device: str, out: Path, seconds: float) -> bool:
    """Go on with a step for at most so long; whether it is finished.

    A run hears Ctrl-C, writes its checkpoint and ends; a benchmark begins anew.
    """
    with (out / f"{step.name}.log").open("a") as log:
        process = subprocess.Popen(command(step, device, out), cwd=ROOT, stdout=log, stderr=log)
        try:
            return process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            return False


def collect(step: Step, out: Path, results: Path) -> None:
    """Copy what is small and tells something."""
    kept = results / step.name
    kept.mkdir(parents=True, exist_ok=True)
    log = (out / f"{step.name}.log").read_text(errors="replace")
    (kept / "log.txt").write_text(log[-20_000:])
    if step.table is not None:
        page = TABLES / f"{step.table}.md"
        if page.exists():
            shutil.copy(page, kept)
        return
    folder = out / step.name
    for path in [folder / name for name in COPIED] + list(folder.glob("*/metrics.jsonl")):
        if path.is_file():
            place = kept / path.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)


def where(device: str) -> dict[str, Any]:
    """Commit and machine."""
    import torch

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    return {"commit": commit.stdout.strip(), "device": name, "torch": torch.__version__}


def main() -> None:
    """Do what is left, in order, as far as the time goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--results", type=Path, default=Path("gpu_results"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0, help="of this call, all steps together")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    # Steps run in the repository, whose benchmarks some of them are.
    out, results = args.out.absolute(), args.results.absolute()
    out.mkdir(parents=True, exist_ok=True)
    results.mkdir(parents=True, exist_ok=True)
    state, ends = out / "steps.json", time.monotonic() + 60 * args.minutes
    done: dict[str, Any] = json.loads(state.read_text()) if state.exists() else {}
    for step in TINY if args.tiny else STEPS:
        found = done.get(step.name, {"seconds": 0.0, "done": False})
        left = ends - time.monotonic()
        if found["done"] or left < 10:
            continue
        begun = time.monotonic()
        found["done"] = work(step, args.device, out, left - 5)
        found["seconds"] = round(found["seconds"] + time.monotonic() - begun, 1)
        words = command(step, args.device, Path("runs"))
        done[step.name] = {**found, "command": " ".join(["python", *words[1:]]), **where(args.device)}
        state.write_text(json.dumps(done, indent=1))
        collect(step, out, results)
        shutil.copy(state, results)
        print(f"{step.name}: {'done' if found['done'] else 'not yet done'}, {found['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
