#!/bin/sh
# Build the wheel and the sdist, and try the wheel alone: no extras, no repository beside it.
#   sh scripts/check_package.sh [PYTHON]
set -eu
cd "$(dirname "$0")/.."
repository=$PWD
python=${1:-.venv/bin/python}
case $python in */*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;; esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { printf 'package: %s\n' "$*"; }

say "building"
"$python" -m venv "$work/build"
"$work/build/bin/pip" install --quiet --disable-pip-version-check build
"$work/build/bin/python" -m build --quiet --outdir "$work/dist" .

say "what is in them"
"$python" - "$work"/dist/*.whl "$work"/dist/*.tar.gz <<'PYTHON'
import sys, tarfile, zipfile

wheel = zipfile.ZipFile(sys.argv[1]).namelist()
sdist = [name.split("/", 1)[-1] for name in tarfile.open(sys.argv[2]).getnames()]
for name in ("burnish/py.typed", "burnish/report/page.css", "burnish/studio/static/index.html"):
    assert name in wheel, f"{name} is not in the wheel"
assert not [name for name in wheel if name.startswith(("tests/", "benchmarks/", "runs/"))], "more than the package"
assert "README.md" in sdist and not [name for name in sdist if name.startswith((".venv/", "runs/", "site/"))]
print(f"package: {len(wheel)} files in the wheel, {len(sdist)} in the sdist")
PYTHON

say "installing the wheel alone"
"$python" -m venv "$work/alone"
"$work/alone/bin/pip" install --quiet --disable-pip-version-check -c constraints.txt "$work"/dist/*.whl
cd "$work"
burnish=$work/alone/bin/burnish
"$burnish" --version
"$burnish" --help >help.txt
"$burnish" recipes >recipes.txt
grep -q world4rl recipes.txt
"$burnish" run world4rl --help >help.txt

say "a run on own data, without any extra"
"$work/alone/bin/python" - <<'PYTHON'
from pathlib import Path

import numpy as np

Path("data").mkdir()
rng = np.random.default_rng(0)
for episode in range(16):
    states, actions, position = [], [], rng.uniform(-1, 1, 2)
    goal = np.zeros(2) if episode % 2 else rng.uniform(-1, 1, 2)
    for _ in range(20):
        action = np.clip(goal - position + rng.normal(0, 0.1, 2), -1, 1)
        states.append(position)
        actions.append(action)
        position = position + 0.3 * action
    success = np.linalg.norm(states, axis=1) < 0.15
    np.savez(f"data/{episode:03d}.npz", state=np.float32(states), action=np.float32(actions), success=success)
PYTHON
"$burnish" data inspect data
short="--config.world-model-training.steps 50 --config.pretraining.steps 50 --config.ensemble-training.steps 20"
short="$short --config.classifier-training.steps 20 --config.refine.iterations 2 --config.gate.worlds 0"
# shellcheck disable=SC2086  # the options are meant to be split
"$burnish" run world4rl --dataset data --success-column success --preset tiny --out run $short
"$work/alone/bin/python" -c 'import burnish; policy = burnish.load("run").policy; policy.reset()
print(policy.act({"observation.state": [0.5, -0.5]}))'
cd "$repository"
say "all passed"
