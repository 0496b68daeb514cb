"""How long it takes to open data sets of thousands of short episodes, and to write them again.

    python benchmarks/opening.py [--episodes 5000 --frames 20]

Generated in a temporary folder: LeRobot v2.1 (a file for each episode) and v3.0, and opened as `burnish data inspect`
and every run do, twice each; then written as the first stage of a run does.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.generated_data import write_v2, write_v3
from burnish.data import write_dataset
from burnish.data.formats import ReadingRule, format_of

Result = TypeVar("Result")


def timed(what: str, work: Callable[[], Result]) -> Result:
    """Do it, and print a row with its seconds."""
    clock, cpu = time.perf_counter(), time.process_time()
    result = work()
    print(f"| {what} | {time.perf_counter() - clock:.1f} s | {time.process_time() - cpu:.1f} s |", flush=True)
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--episodes", type=int, default=5000)
    parser.add_argument("--frames", type=int, default=20)
    options = parser.parse_args()
    rule = ReadingRule(success_last_frames=5)
    print(f"{options.episodes} episodes of {options.frames} frames\n\n| what | clock | CPU |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_v2(root / "v2", options.episodes, options.frames, {})
        write_v3(root / "v3", options.episodes, options.frames, 6, 6)
        for name in ("v2", "v3"):
            for time_ in ("opened", "opened again"):
                path = root / name
                dataset = timed(f"{name}: {time_}", lambda path=path: format_of(path).read(path, rule))
        timed("written as v3", lambda: write_dataset(root / "copy", dataset.to_episodes(), dataset.info))


if __name__ == "__main__":
    main()
