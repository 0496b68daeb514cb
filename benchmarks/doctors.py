"""What `burnish data inspect`, `lerobot-doctor` and `lerobot-lint` say of the same data sets, sound and damaged.

    python -m benchmarks.doctors --tools ENVIRONMENT/bin [--only TOOL …] [--real FOLDER …]

A sound LeRobotDataset, the same with one fault each, and any real ones. A tool has said something of a fault where it
says what it does not say of the sound set (times and numbers left out). Writes `benchmarks/results/doctors.md`.
With `--only` a tool's table is printed instead. ENVIRONMENT has `lerobot-doctor` 0.2.0, and `lerobot-lint` 0.1.1 with
LeRobot 0.4.4; where its torchvision is built for another torch, the two operators that it misses are declared.
"""

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from burnish.data import DatasetInfo, Episode, write_dataset

RESULTS = Path(__file__).parent / "results"
TOOLS = ("burnish data inspect", "lerobot-doctor", "lerobot-lint")
LINT = """
import sys, torch
library = torch.library.Library("torchvision", "DEF")
try:
    for name in ("nms", "qnms"):
        library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
except RuntimeError:
    pass
from lerobot_lint.cli import app
app()
"""
"""Starts lerobot-lint."""
Said = tuple[int, list[str]]


def sound(path: Path, fail: float = 0.3, quaternion: bool = False) -> None:
    """Two joints in degrees that reach for a goal, and a pose; some episodes fail."""
    generator, episodes = np.random.default_rng(0), []
    for _ in range(24):
        joints, goal = generator.uniform(-60, 60, 2), generator.uniform(-40, 40, 2)
        aim, states, actions, success = goal + 30 * (generator.uniform() < fail), [], [], []
        turn = generator.normal(size=4)
        for _ in range(60):
            turn = turn + 0.05 * generator.normal(size=4)
            unit = turn / np.linalg.norm(turn) * (-1 if quaternion and generator.uniform() < 0.3 else 1)
            target = joints + np.clip(aim - joints, -6, 6) + generator.normal(0, 0.5, 2)
            states.append([*joints, *unit])
            actions.append(target)
            joints = joints + 0.8 * (target - joints)
            success.append(np.abs(joints - goal).max() < 6)
        rows = np.array(states, np.float32), np.array(actions, np.float32)
        episodes.append(Episode({"observation.state": rows[0]}, rows[1], np.array(success), "x", -1, "reach"))
    names = ("pan.pos", "lift.pos", "qw", "qx", "qy", "qz")
    write_dataset(path, episodes, DatasetInfo(fps=30, state_names=names, action_names=names[:2]), shard_megabytes=0.05)


def changed(column: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """A fault in a column of the first data file."""

    def damage(path: Path) -> None:
        file = sorted(path.glob("data/**/*.parquet"))[0]
        table = pq.read_table(file)
        values = np.stack(table[column].to_pylist())
        kept = pa.array(change(values.copy()).tolist(), table.schema.field(column).type)
        pq.write_table(table.set_column(table.schema.get_field_index(column), table.schema.field(column), kept), file)

    return damage


def put(place: tuple[int, ...], value: float) -> Callable[[np.ndarray], np.ndarray]:
    """A value somewhere else than it was."""

    def change(values: np.ndarray) -> np.ndarray:
        values[place] = value
        return values

    return change


def dead(values: np.ndarray) -> np.ndarray:
    """The second dimension stands still."""
    values[:, 1] = 3.0
    return values


def late(values: np.ndarray) -> np.ndarray:
    """A gap of three frames in the first episode, as of frames that were dropped."""
    values[30:60] += 0.1
    return values


def stale(path: Path) -> None:
    """The first episode of every further file points to the file before, as LeRobot's converter left it."""
    file = sorted(path.glob("meta/episodes/**/*.parquet"))[0]
    rows = pq.read_table(file).to_pylist()
    for a, b in reversed(list(itertools.pairwise(rows))):
        b["data/file_index"] = a["data/file_index"]
    pq.write_table(pa.Table.from_pylist(rows), file)


def fps(path: Path) -> None:
    """A rate that is not that of the timestamps."""
    file = path / "meta/info.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "fps": 50}))


def unlabelled(path: Path) -> None:
    """Nothing tells success."""
    info = json.loads((path / "meta/info.json").read_text())
    for name in ("next.success", "next.reward", "next.done"):
        info["features"].pop(name)
        for file in path.glob("data/**/*.parquet"):
            pq.write_table(pq.read_table(file).drop_columns([name]), file)
    (path / "meta/info.json").write_text(json.dumps(info))


FAULTS: dict[str, Callable[[Path], None]] = {
    "a NaN in an action": changed("action", put((40, 0), np.nan)),
    "a joint that jumps by 90° for one frame": changed("observation.state", put((40, 0), 150.0)),
    "a dimension of the action that stands still (first file)": changed("action", dead),
    "dropped frames (timestamps with a gap)": changed("timestamp", late),
    "fps that are not the timestamps'": fps,
    "stale data/file_index": stale,
    "a data file that is missing": lambda path: sorted(path.glob("data/**/*.parquet"))[-1].unlink(),
    "a data file that is cut": lambda path: cut(sorted(path.glob("data/**/*.parquet"))[-1]),
    "no word of success": unlabelled,
    "only successes": lambda path: remade(path, fail=0.0),
    "a quaternion that flips its sign": lambda path: remade(path, quaternion=True),
}


def cut(file: Path) -> None:
    """Half of a file."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def remade(path: Path, **how: object) -> None:
    """Another set in its place."""
    shutil.rmtree(path)
    sound(path, **how)  # type: ignore[arg-type]


def ask(tool: str, path: Path, tools: Path) -> Said:
    """A tool's exit code, and what it complains of."""
    commands = {
        TOOLS[0]: [sys.executable, "-m", "burnish", "data", "inspect", str(path), "--json"],
        TOOLS[1]: [str(tools / "lerobot-doctor"), "check", str(path), "--json"],
        TOOLS[2]: [str(tools / "python"), "-c", LINT, "check", str(path), "--no-video", "--json", "/dev/stdout"],
    }
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(commands[tool], capture_output=True, text=True, env=environment)
    return done.returncode, told(tool, done.stdout, done.stderr)


def told(tool: str, out: str, error: str) -> list[str]:
    """The complaints in what a tool wrote: warnings and worse, and where it could not go on, its last line."""
    try:
        if tool == TOOLS[0]:
            return [each["text"] for each in json.loads(out)["findings"] if each["level"] != "note"]
        if tool == TOOLS[2]:
            found, _ = json.JSONDecoder().raw_decode(out[out.index("{\n") :])
            told = [each for each in found["findings"] if each["severity"] in ("error", "warning")]
            return [f"{each['check']}: {each['message']}" for each in told]
        checks = json.loads(out[out.index("{") :])["checks"]
        said = [each for check in checks for each in check["messages"]]
        return [each["message"] for each in said if each["severity"] in ("WARN", "FAIL")]
    except (ValueError, KeyError):
        lines = [line for line in (error or out).splitlines() if line.strip()]
        return [lines[-1] if lines else "nothing"]


def words(text: str) -> str:
    """A complaint without its numbers."""
    return re.sub(r"[-+±]?\d[\d.,%]*", "#", text)


def compare(tools: Path, asked: tuple[str, ...], real: list[Path]) -> list[str]:
    """The rows of both tables."""
    rule = "|---" * (1 + len(asked)) + "|"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set"
        sound(path)
        usual = {tool: ask(tool, path, tools) for tool in asked}
        rows = ["| fault | " + " | ".join(asked) + " |", rule, row("none", usual)]
        for fault, damage in FAULTS.items():
            remade(path)
            damage(path)
            found = {tool: ask(tool, path, tools) for tool in asked}
            known = {tool: {words(text) for text in usual[tool][1]} for tool in asked}
            new = {t: (code, [x for x in said if words(x) not in known[t]]) for t, (code, said) in found.items()}
            rows.append(row(fault, new))
    rows += ["", "| real data set | " + " | ".join(asked) + " |", rule]
    return rows + [row(f"`{each.name}`", {tool: ask(tool, each, tools) for tool in asked}) for each in real]


def row(what: str, said: dict[str, Said]) -> str:
    """Exit codes, how many complaints there are, and the first."""
    cells = []
    for code, texts in said.values():
        first = texts[0].replace("|", "/")[:110] + ("…" if len(texts[0]) > 110 else "") if texts else "nothing"
        cells.append(f"exit {code}; {len(texts)}: {first}" if texts else f"exit {code}; nothing")
    return f"| {what} | {' | '.join(cells)} |"


def main() -> None:
    """Make the sets, ask all tools, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", type=Path, required=True)
    parser.add_argument("--real", type=Path, nargs="*", default=[])
    parser.add_argument("--only", nargs="*", choices=TOOLS)
    args = parser.parse_args()
    if args.only:
        print("\n".join(compare(args.tools, tuple(args.only), args.real)))
        return
    lines = [
        "# Three tools on the same data sets",
        "",
        "`python -m benchmarks.doctors`. Complaints (warnings and worse)",
    ]
    lines += ["that are not made of the sound set, and the first of them.", "", *compare(args.tools, TOOLS, args.real)]
    (RESULTS / "doctors.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
