"""Pictures of cameras on their way into a run: speed against PyAV's own, memory, disk; all in one run.

    python benchmarks/pictures_speed.py [--episodes 20 --frames 300 --cameras 2 --size 64]

Makes a data set of 480 x 640 videos in a temporary folder and lets a run's first stage take it in, in a process of its
own: everything that this does counts, the hashes of what it reads and writes, too. PyAV's own speed is that of a loop
over the same files: `frame.to_ndarray(format="rgb24")`, and without it, with one thread. Both are counted by CPU time,
which other programs disturb less than the clock: PyAV before and after, the mean of both. Disk is extrapolated exactly:
a picture is height x width x 3 bytes, and nothing else grows with them.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import av

from benchmarks.generated_data import write_clip, write_v2
from burnish.data.formats import ReadingRule
from burnish.pipeline import Run, SharedRun, execute
from burnish.recipes.own_data import OwnData
from burnish.recipes.stages.data import own_data
from burnish.training import current

HEIGHT, WIDTH = 480, 640
CLIPS = 3


def pyav(files: Sequence[Path], pictures: bool) -> float:
    """Pictures per CPU-second of PyAV's own decoding."""
    count, start = 0, time.process_time()
    for file in files:
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for frame in container.decode(stream):
                if pictures:
                    frame.to_ndarray(format="rgb24")
                count += 1
    return count / (time.process_time() - start)


def take_in(data: Path, run_folder: Path, cameras: Sequence[str], size: int) -> dict[str, float]:
    """What it takes: seconds of CPU and of the clock, and the largest resident set in bytes."""
    own = OwnData.of(data, ReadingRule(success_last_frames=10))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    cpu, clock = time.process_time(), time.perf_counter()
    with Run.create(run_folder, "pictures_speed", "move", 0, {}) as run:
        execute([own_data(own, "move", tuple(cameras), None, size)], SharedRun(run, run_folder, current()))
    return {
        "cpu": time.process_time() - cpu,
        "clock": time.perf_counter() - clock,
        "before": before,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def in_its_own_process(*arguments: object) -> dict[str, float]:
    """`take_in` in a new process, whose memory is nobody else's."""
    command = [sys.executable, "-m", "benchmarks.pictures_speed", "--take-in", json.dumps(arguments, default=str)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, value in (("episodes", 20), ("frames", 300), ("cameras", 2), ("size", 64)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--take-in", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.take_in:
        data, run_folder, cameras, size = options.take_in
        print(json.dumps(take_in(Path(data), Path(run_folder), cameras, size)))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        clips = [root / f"clip-{number}.mp4" for number in range(CLIPS)]
        for number, clip in enumerate(clips):
            write_clip(clip, options.frames, HEIGHT, WIDTH, number)
        names = [f"camera_{number}" for number in range(options.cameras)]
        keys = {f"observation.images.{name}": clips[n % CLIPS :] + clips[: n % CLIPS] for n, name in enumerate(names)}
        write_v2(root / "data", options.episodes, options.frames, keys)
        before = [pyav(clips, pictures) for pictures in (True, False)]
        found = in_its_own_process(root / "data", root / "run", names, options.size)
        after = [pyav(clips, pictures) for pictures in (True, False)]
        stored = sum(file.stat().st_size for file in (root / "run").rglob("*.u8"))
        disk = sum(file.stat().st_blocks * 512 for file in (root / "run").rglob("*") if file.is_file())
    pictures = options.episodes * options.frames * options.cameras
    speed = pictures / found["cpu"]
    rgb, bare = ((a + b) / 2 for a, b in zip(before, after, strict=True))
    print(f"{options.episodes} x {options.frames} x {options.cameras} of {HEIGHT} x {WIDTH} to {options.size}\n")
    print("| what | pictures per CPU-second | of PyAV's |\n|---|---|---|")
    print(f"| PyAV: decoded, to RGB | {rgb:.0f} | 1 |")
    print(f"| PyAV: decoded alone | {bare:.0f} | {bare / rgb:.2f} |")
    print(
        f"| Burnish: into the run folder | {speed:.0f} | {speed / rgb:.2f} (of decoding alone {speed / bare:.2f}) |\n"
    )
    print(f"By the clock {pictures / found['clock']:.0f} pictures a second, {found['cpu'] / found['clock']:.2f} cores.")
    print(
        f"Largest resident set {found['peak'] / 1e6:.0f} MB, of which before it began {found['before'] / 1e6:.0f} MB."
    )
    print(f"Disk: pictures {stored / 1e6:.1f} MB ({stored / pictures:.0f} bytes each), run folder {disk / 1e6:.1f} MB.")
    print(f"500 x 300 x 2: {500 * 300 * 2 * stored / pictures / 1e9:.2f} GB.")


if __name__ == "__main__":
    main()
