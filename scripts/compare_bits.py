"""Whether two commits learn the same: runs the tiny presets at both, and says which stage is the first to differ.

    python scripts/compare_bits.py OLD [NEW]        commits; NEW is by default the working tree

Weights are compared by their values: names and the order of tensors may change.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from burnish.storage import load_tensors

ROOT = Path(__file__).parent.parent
STAGES = ("autoencoder", "policy", "world_model", "ensemble", "support", "classifier", "refined")
RUNS = {
    "world4rl": ("world4rl", "--preset", "tiny"),
    "diwa": ("diwa", "--preset", "tiny"),
    "pixels": ("world4rl", "--preset", "pixels-tiny"),
    "frames": ("world4rl", "--preset", "frames-tiny"),
}


def main() -> int:
    """Exit code 0 where all policies have the same bits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new", nargs="?")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--task", default="drawer-open-v3")
    chosen = parser.parse_args()
    differ = False
    with tempfile.TemporaryDirectory(prefix="burnish-bits-") as scratch:
        trees = [checkout(chosen.old, Path(scratch, "old")), checkout(chosen.new, Path(scratch, "new"))]
        for name in chosen.runs:
            folders = [run(tree, name, chosen.task, Path(scratch, f"{name}-{i}")) for i, tree in enumerate(trees)]
            first = next((stage for stage in STAGES if not same(folders[0] / stage, folders[1] / stage)), None)
            print(f"{name}: {'the same bits' if first is None else f'the first stage that differs is {first}'}")
            differ |= first is not None
    return int(differ)


def checkout(commit: str | None, folder: Path) -> Path:
    """The files of a commit in a folder of their own; None is the working tree."""
    if commit is None:
        return ROOT
    folder.mkdir()
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


def run(tree: Path, name: str, task: str, out: Path) -> Path:
    """One tiny run of the code in `tree`, up to its refined policy."""
    options = ["--task", task, "--seed", "0", "--threads", "1", "--out", str(out), "--config.evaluation.videos", "0"]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    arguments = [sys.executable, "-m", "burnish", "run", *RUNS[name], *options]
    done = subprocess.run(arguments, cwd=tree, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{tree}: burnish run {' '.join(RUNS[name])} failed:\n{done.stderr[-3000:]}")
    return out


def same(old: Path, new: Path) -> bool:
    """Whether all numbers of the old stage are among the new one's; a stage that only one commit has is the same."""
    files = [folder / "model.safetensors" for folder in (old, new)]
    if not all(file.exists() for file in files):
        return True
    left = list(load_tensors(files[1])[0].values())
    for tensor in load_tensors(files[0])[0].values():
        found = next((i for i, other in enumerate(left) if _equal(tensor, other)), None)
        if found is None:
            return False
        left.pop(found)
    return True


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


if __name__ == "__main__":
    sys.exit(main())
