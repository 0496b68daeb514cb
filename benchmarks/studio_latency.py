"""The studio in headless Chromium on this machine: how soon a key changes the picture, and what else was promised.

    python benchmarks/studio_latency.py --runs runs/demo runs/pixels --soak 600

Needs the extras `studio` and `dev` and a Chromium (Debian: apt-get install chromium). Measured are, of each run: the
time from the command to the first picture (the recorded start) and until one can drive; from a key press (the browser's
own time stamp) to the first animation frame in which pixels of the drawing differ; imagined steps a second that reach a
client, as fast as it goes; and memory of server and page while a policy drives. Of copies of the first run: how long
500 run folders take to be listed. Beside wall clock stand the server's processor seconds, and what `python -c "import
torch"` takes here at the same moment: the same work takes several times as long where others use the cores.
"""

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from websockets.sync.client import connect

RESULTS = Path(__file__).parent / "results" / "studio.md"
KEYS = ("ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown")
FOLDERS = 500

# Whether the canvas of `where` shows anything yet.
DRAWN = """(where) => {
  const canvas = document.querySelector(where + ' canvas');
  if (!canvas || !canvas.width || !canvas.height) return false;
  return canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value !== 0);
}"""

# When a key goes down, look in every animation frame whether the drawing's pixels differ from those before.
WATCH = """() => {
  const canvas = document.querySelector('#stage canvas');
  const print = () => {
    const data = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    let sum = 0;
    for (let i = 0; i < data.length; i++) sum = (sum * 31 + data[i]) | 0;
    return sum;
  };
  window.waits = [];
  addEventListener('keydown', (event) => {
    if (event.repeat) return;
    const before = print();
    const look = () => {
      if (print() !== before) window.waits.push(performance.now() - event.timeStamp);
      else if (performance.now() - event.timeStamp < 3000) requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }, true);
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, required=True, help="finished runs")
    parser.add_argument("--presses", type=int, default=100)
    parser.add_argument("--soak", type=float, default=600, help="seconds of driving while memory is watched")
    parser.add_argument("--soak-speed", default="1", help="of the data's own speed; 0.5 leaves more of the processor")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--only", nargs="+", choices=("runs", "listing", "soak"), default=("runs", "listing", "soak"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    before = os.getloadavg()[0]
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=args.chromium, args=["--no-sandbox", "--disable-gpu"])
        found = [measured(run, browser, args.presses) for run in args.runs] if "runs" in args.only else []
        listing = listed(args.runs[0], browser) if "listing" in args.only else None
        soak = soaked(args.runs[0], browser, args.soak, args.soak_speed) if "soak" in args.only else None
        load = before, os.getloadavg()[0]
        chromium = browser.version
        browser.close()
    args.out.write_text(page_of(found, listing, soak, chromium, load))
    print(args.out.read_text())


@contextmanager
def studio(*paths: Path, loaded: bool = True) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its link, once its model is `loaded`, or else as soon as it is told."""
    words = [sys.executable, "-m", "burnish", "studio", *map(str, paths), "--no-browser", "--out", tempfile.mkdtemp()]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        link = next(found[1] for line in process.stdout if (found := re.search(r"studio: (\S+)", line)))
        while loaded and not process.stdout.readline().startswith("ready"):
            pass
        yield process, link
    finally:
        process.terminate()
        process.wait(timeout=60)


def measured(run: Path, browser: Browser, presses: int) -> dict[str, Any]:
    """Everything of one run."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    told: dict[str, Any] = {
        "run": run.name,
        "torch": torch_imported(),
        "step": step_cpu(run),
        "load": os.getloadavg()[0],
    }
    began = time.perf_counter()
    with studio(run, loaded=False) as (process, link):
        page.goto(link, wait_until="commit")
        for name, where in (("first", "main"), ("drivable", "#stage")):
            while not page.evaluate(DRAWN, where):
                page.wait_for_timeout(10)
            told[name] = time.perf_counter() - began, cpu_seconds(process.pid)
        # To look for a simulator is to import it once, in the first pause: not what is measured below.
        page.get_by_text("simulator beside it").wait_for(timeout=120_000)
        told["status"] = page.locator("#status").inner_text()
        shown = page.locator("p.muted.small").first.inner_text().split(" · ")
        told["what"] = f"{run.name}: {shown[0]} · {shown[1]}"
        told |= pressed(page, presses)
        told["steps"], told["frames"] = speed(link, run)
        page.close()
    return told


STEP = """import sys, time, torch
from pathlib import Path
from burnish.studio.drive import Drive
from burnish.studio.opened import open_run
torch.set_num_threads(1)
drive, took, until = Drive("", open_run(Path(sys.argv[1]))), [], time.monotonic() + 20
while time.monotonic() < until and len(took) < 200:
    began = time.process_time()
    drive.advance()
    drive.frame()
    took.append(time.process_time() - began)
print(sorted(took)[len(took) // 2])"""


def step_cpu(run: Path) -> float:
    """Processor seconds of an imagined step and its frame, the median: what a key waits for on a core of its own."""
    done = subprocess.run([sys.executable, "-c", STEP, str(run)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def torch_imported() -> tuple[float, float]:
    """Wall clock and processor seconds of `python -c "import torch"`: how much of this machine there is just now."""
    began, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, cpu


def pressed(page: Page, count: int) -> dict[str, Any]:
    """Milliseconds from key press to changed pixels."""
    page.evaluate(WATCH)
    for number in range(count):
        page.keyboard.down(KEYS[number % len(KEYS)])
        page.wait_for_timeout(70)
        page.keyboard.up(KEYS[number % len(KEYS)])
        page.wait_for_timeout(130)
    waits = sorted(page.evaluate("window.waits"))
    own = page.locator("#stats").inner_text().split(" · ")[0]
    return {
        "presses": len(waits),
        "p50": statistics.median(waits),
        "p95": waits[int(0.95 * (len(waits) - 1))],
        "own": own,
    }


def speed(link: str, run: Path, seconds: float = 5.0) -> tuple[float, float]:
    """Imagined steps a second, and how many of them reached a client that takes all it gets."""
    host, token = re.findall(r"//([^/]+)/\?token=(\S+)", link)[0]
    headers = {"Authorization": f"Bearer {token}"}
    with connect(f"ws://{host}/drive", origin=f"http://{host}", additional_headers=headers, proxy=None) as socket:  # type: ignore[arg-type]
        runs = json.loads(fetch(link, "/api/runs"))["runs"]
        socket.send(json.dumps({"do": "open", "run": runs[0]["id"]}))
        for each in ({"do": "begin", "frame": 0, "drivers": ["pretrained"]}, {"do": "speed", "factor": 10}):
            socket.send(json.dumps(each))
        socket.send(json.dumps({"do": "play", "on": True}))
        began, frames, steps, fresh = 0.0, 0, [0, 0], False
        while not began or time.perf_counter() - began < seconds:
            message = socket.recv(timeout=60)
            fresh = fresh or '"began"' in str(message[:40])
            if isinstance(message, bytes) and fresh:
                size = int.from_bytes(message[:4], "little")
                step = json.loads(message[4 : 4 + size])["step"]
                if step >= 10 and not began:
                    began, steps[0] = time.perf_counter(), step
                frames, steps[1] = frames + bool(began), step
        took = time.perf_counter() - began
        socket.send(json.dumps({"do": "speed", "factor": 1}))
        socket.send(json.dumps({"do": "play", "on": False}))
    return (steps[1] - steps[0]) / took, frames / took


def soaked(run: Path, browser: Browser, seconds: float, speed: str) -> dict[str, Any]:
    """Memory of server and page in MiB while a policy drives."""
    with studio(run) as (process, link):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(link)
        page.get_by_label("Speed").select_option(speed)
        page.get_by_role("button", name="pretrained").click()
        began, samples = time.perf_counter(), []
        while time.perf_counter() - began < seconds:
            page.wait_for_timeout(1000 * min(10.0, seconds / 20))
            heap = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
            samples.append((time.perf_counter() - began, resident(process.pid), heap))
            print(*(f"{value:.1f}" for value in samples[-1]), page.locator("#step").inner_text(), flush=True)
        told = {"seconds": seconds, "samples": samples, "step": page.locator("#step").inner_text()}
        page.close()
    return told


READ = """import sys, time
from pathlib import Path
from burnish.studio.folders import Folders
from burnish.studio.listing import Listing
folders, began, before = Folders([Path(sys.argv[1])]), time.perf_counter(), time.process_time()
rows = Listing(folders).rows()
print(len(rows), time.perf_counter() - began, time.process_time() - before)"""


def listed(run: Path, browser: Browser) -> dict[str, Any]:
    """Seconds in which 500 runs are read, shown on the page after the command, and asked for again."""
    with tempfile.TemporaryDirectory() as parent:
        for number in range(FOLDERS):
            folder = Path(parent) / f"run-{number}"
            folder.mkdir()
            for name in ("recipe.yaml", "manifest.json", "report.json"):
                shutil.copy(run / name, folder / name)
        read = subprocess.run([sys.executable, "-c", READ, parent], check=True, capture_output=True, text=True)
        count, wall, cpu = read.stdout.split()
        assert int(count) == FOLDERS
        page, began = browser.new_page(viewport={"width": 1280, "height": 900}), time.perf_counter()
        with studio(Path(parent), loaded=False) as (process, link):
            page.goto(link, wait_until="commit")
            while page.locator("table.runs tbody tr").count() < FOLDERS:
                page.wait_for_timeout(10)
            shown = time.perf_counter() - began, cpu_seconds(process.pid)
            page.close()
            while not json.loads(fetch(link, "/healthz"))["ready"]:
                time.sleep(0.2)
            took = []
            for _ in range(3):
                began = time.perf_counter()
                assert len(json.loads(fetch(link, "/api/runs"))["runs"]) == FOLDERS
                took.append(time.perf_counter() - began)
    return {"read": (float(wall), float(cpu)), "shown": shown, "again": min(took), "torch": torch_imported()}


def fetch(link: str, path: str) -> bytes:
    import urllib.error
    import urllib.request

    base, token = link.split("/?token=")
    request = urllib.request.Request(base + path, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()
    except urllib.error.HTTPError as answer:  # 503 while it is not ready
        return answer.read()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def page_of(
    found: list[dict[str, Any]],
    listing: dict[str, Any] | None,
    soak: dict[str, Any] | None,
    chromium: str,
    load: tuple[float, float],
) -> str:
    cores, headless = len(os.sched_getaffinity(0)), f"headless Chromium {chromium.split('.')[0]}"
    heads = ("Run", "import torch", "first picture", "one can drive", "a step's processor time")
    heads = (
        *heads,
        "key to changed pixel, p50",
        "p95",
        "presses",
        "imagined steps/s",
        "pictures/s at a client",
        "load",
    )
    lines = [
        "# The studio in a browser",
        "",
        f"`python benchmarks/{Path(__file__).name}`: {headless} and the server on one machine of {cores} cores",
        f"({platform.machine()}). The load average was {load[0]:.1f} before and {load[1]:.1f} after: that much",
        "of other work shared the cores with what is measured here. Seconds are wall clock (processor time).",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
    ]
    for each in found:
        cells = [each["what"], *(both(each[name]) for name in ("torch", "first", "drivable"))]
        cells += [f"{1000 * each['step']:.1f} ms", f"{each['p50']:.0f} ms"]
        cells += [f"{each['p95']:.0f} ms", each["presses"], f"{each['steps']:.0f}", f"{each['frames']:.0f}"]
        lines.append(f"| {' | '.join(map(str, cells))} | {each['load']:.1f} |")
    lines += ["", "What the page itself says in the same minute:", ""]
    lines += [f"- {' · '.join(each['what'].split(' · ')[:2])}: {each['own']}; {each['status']}" for each in found]
    if listing is not None:
        lines += [
            "",
            f"{FOLDERS} run folders are read in {both(listing['read'])}, stand on the page {both(listing['shown'])}",
            f"after the command, and are looked at again in {listing['again']:.2f} s;",
            f"import torch: {both(listing['torch'])}.",
        ]
    if soak is not None:
        samples = soak["samples"]
        at = [samples[int(share * (len(samples) - 1))] for share in (0.1, 0.5, 1.0)]
        words = "; ".join(f"{server:.0f} and {heap:.0f} after {s:.0f} s" for s, server, heap in at)
        head = f"Memory while a policy drives the first run for {soak['seconds']:.0f} s ({soak['step']})"
        lines += [
            "",
            f"{head}, MiB of the server and of the page's heap: {words}. (The server keeps the last 5000 steps.)",
        ]
    return "\n".join(lines) + "\n"


def both(measured: tuple[float, float]) -> str:
    """Wall clock and processor seconds."""
    return f"{measured[0]:.2f} s ({measured[1]:.2f} s)"


if __name__ == "__main__":
    main()
