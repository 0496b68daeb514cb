"""Pictures per second: drawing alone in one process, and whole recording with one and more worker processes.

    LP_NUM_THREADS=0 python benchmarks/rendering.py --task push-v3

Drawing, and recording in this process (0 workers), are counted by CPU time, which other programs disturb less than the
clock; recording by workers by the clock. Recording is random motion, physics, drawing and moving the episodes between
processes, resets included, workers warm.
"""

import argparse
import os
import time
from collections.abc import Callable

from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.experts import RandomActor
from burnish.simulators.metaworld import MetaWorldEnv
from burnish.simulators.parallel import WorkerPool, default_workers
from burnish.simulators.rendering import MetaWorldPainter, MetaWorldRenderer
from burnish.simulators.settings import SimulatorConfig


def drawn_per_second(draw: Callable[[], object], seconds: float) -> float:
    """Calls per second of CPU time."""
    for _ in range(5):
        draw()
    count, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        draw()
        count += 1
    return count / (time.process_time() - start)


def drawing(task: str, camera: str, size: int, seconds: float) -> tuple[float, float]:
    """Pictures per CPU-second with the full and with the light meshes."""
    env = MetaWorldEnv(task)
    env.reset(0)
    with MetaWorldRenderer(env, size, camera) as renderer:
        full = drawn_per_second(renderer.render, seconds)
    painter = MetaWorldPainter(env, size)
    light = drawn_per_second(lambda: painter.draw(env, camera), seconds)
    painter.close()
    return full, light


def recording(task: str, cameras: tuple[str, ...], size: int, workers: int, frames: int) -> float:
    """Frames per second of recording: by the clock with worker processes, by CPU time with none."""
    clock = time.perf_counter if workers else time.process_time
    with WorkerPool(workers) as pool:

        def record(first: int, steps: int) -> int:
            job = CollectJob("random", RandomActor, range(first, first + 10 * max(1, workers)))
            episodes = collect(task, [job], SimulatorConfig(2, steps, cameras, size), workers=pool)
            return sum(map(len, episodes))

        # The workers import and build everything before the run that counts.
        record(0, 5)
        start = clock()
        return record(1000, frames // 10) / (clock() - start)


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="push-v3")
    parser.add_argument("--camera", default="corner2")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--frames", type=int, default=500, help="of each worker")
    args = parser.parse_args()
    print(f"{args.task}, {args.camera}, {default_workers()} cores, load average {os.getloadavg()[0]:.1f}\n")
    print("| size | full meshes, pictures per CPU-second | light meshes | ratio |\n|---|---|---|---|")
    for size in args.sizes:
        full, light = drawing(args.task, args.camera, size, args.seconds)
        print(f"| {size} | {full:.0f} | {light:.0f} | {light / full:.1f}× |", flush=True)
    print("\n| workers | cameras | frames/s recorded |\n|---|---|---|")
    for workers in dict.fromkeys((0, 1, default_workers())):
        for cameras, size in [((), 64)] + [((args.camera,), size) for size in args.sizes]:
            rate = recording(args.task, cameras, size, workers, args.frames)
            print(f"| {workers} | {f'{len(cameras)}, {size} px' if cameras else 'none'} | {rate:.0f} |", flush=True)
    print(f"\nLoad average afterwards: {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
