"""Every run of the pages on recipes and on the first run does all its stages, at the sizes of `small_runs`.

What the pages leave open (`my_data`, `runs/other`) is put in its place; presets are the small ones of the same kind,
and a GPU is this CPU.
"""

import re
import shlex
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from burnish.cli import main
from burnish.data import STATE, DatasetInfo, Episode, write_dataset
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.tasks import resolve
from tests.recipes.small_runs import RUNS, command, flags, write_point_data
from tests.test_docs import blocks

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "docs" / "recipes.md", ROOT / "docs" / "first-run.md")
KINDS = {"contacts": "world4rl", "pixels": "pixels", "frames": "frames"}
"""World4RL's presets on the pages, and the small run of that kind."""
LONGER = {"frames": {"simulator.max-steps": 100, "collect.demonstration-noise": 0.1}}
"""So that the expert hammers in time."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def runs() -> list[str]:
    """Every `burnish run` of the pages, without the words beside it; data with depth are those of `test_gwm`."""
    lines = [line for page in PAGES for block in blocks(page, "") for line in block.splitlines()]
    return [
        re.split(r"\s{2,}", line)[0] for line in lines if line.startswith("burnish run ") and "with_depth" not in line
    ]


def cheetah(path: Path, names: tuple[str, ...] | None = None, episodes: int = 12, length: int = 40) -> Path:
    """HalfCheetah's states and rewards under random pushes, more or less of them."""
    env, generator, made = gymnasium.make("HalfCheetah-v5"), np.random.default_rng(0), []
    for seed in range(episodes):
        state, states, actions, rewards = env.reset(seed=seed)[0], [], [], [0.0]
        for _ in range(length):
            action = generator.uniform(-1, 1, 6).astype(np.float32) * (seed % 3 + 1) / 3
            states.append(state.astype(np.float32))
            actions.append(action)
            state, reward, *_ = env.step(action)
            rewards.append(float(reward))
        earned, never = np.array(rewards[:length], np.float32), np.zeros(length, bool)
        pushes = np.array(actions, np.float32)
        made.append(Episode({STATE: np.array(states)}, pushes, never, "play", seed, "run", earned, never))
    write_dataset(path, made, DatasetInfo(fps=20, simulator="gym", max_steps=length, state_names=names))
    return path


def moving(path: Path) -> Path:
    """The same, and what its numbers are."""
    names = (*(f"position.{index}" for index in range(8)), *(f"velocity.{index}" for index in range(9)))
    return cheetah(path, names)


def tabletop(path: Path) -> Path:
    """What a script does on the table of `benchmarks.tabletop_env`, well and clumsily, with the masks of the truth."""
    from benchmarks.tabletop_script import ScriptActor
    from benchmarks.tpm import TASK, simulator, write

    jobs = [
        CollectJob("expert", ScriptActor, range(8), {"noise": 0.3}),
        CollectJob("noisy_expert", ScriptActor, range(100, 108), {"noise": 0.8}),
    ]
    settings = resolve(TASK, simulator("masks=truth", "skill=bring"))
    write(path, collect(TASK, jobs, settings, frames_after_success=4, workers=0))
    return path


def point(path: Path) -> Path:
    """A point on a plane, seen from the top."""
    return write_point_data(path, camera="top", strays=4)


def another_run(path: Path) -> Path:
    """One of DWS, whose video and whose data the next one has."""
    if not path.exists():
        assert main(command(path, "--config.collect.random-episodes", "20", name="dws")) == 0
    return path


def filled_in(words: list[str], folder: Path) -> list[str]:
    """The command at the small sizes; what the page says wins."""
    recipe, given = words[2], words[3:]
    name = recipe
    if "--preset" in given:
        place = given.index("--preset")
        name = KINDS[given[place + 1]]
        del given[place : place + 2]
    # `point` knows one sentence.
    text = " ".join(given).replace(" cuda", " cpu").replace("open the drawer", "center")
    if "runs/other" in text:
        other = another_run(folder / "other")
        text = text.replace("my_data", str(other / "dataset")).replace("runs/other", str(other))
    written = {"my_data_with_rewards": cheetah, "my_data_with_masks": tabletop, "my_data": point}
    written |= {"my_data": moving} if recipe == "s5wm" else {}
    for word, write in written.items():
        if re.search(rf"\b{word}\b", text):
            text = re.sub(rf"\b{word}\b", str(write(folder / "data")), text)
    _, preset, small = RUNS.get(name, (recipe, "tiny", {}))
    chosen = {**small, **LONGER.get(name, {})}
    if "--dataset" not in text:  # the simulator's own cameras
        chosen = {key: value for key, value in chosen.items() if not key.endswith("cameras")}
    settings = ["--preset", preset, "--threads", "1", *flags(chosen)]
    return ["run", recipe, *settings, *text.split(), "--out", str(folder / "run")]


@pytest.mark.parametrize("line", runs())
def test_every_run_of_the_pages(line, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)  # where `benchmarks` is found
    arguments = filled_in(shlex.split(line), tmp_path)
    assert main(arguments) == 0
    assert "--dry-run" in arguments or (tmp_path / "run" / "report.html").exists()
