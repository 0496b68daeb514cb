"""The six-task experiment's own parts; its pieces are tested with the recipe."""

import importlib.util
import sys
import time
from pathlib import Path

import pytest

FILE = Path(__file__).parent.parent.parent / "benchmarks" / "six_tasks.py"


@pytest.fixture(scope="module")
def six_tasks():
    spec = importlib.util.spec_from_file_location("six_tasks", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["six_tasks"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["six_tasks"]


def outcome(seed, pretrained, refined, model=20.0):
    moving = {"model": model, "hold_last": 15.0} if model else {}
    return {
        "seed": seed,
        "pretrained": pretrained,
        "refined": refined,
        "imagined": {"refined": 90.0},
        "moving_psnr": moving,
    }


def test_the_table_by_hand(six_tasks):
    """Means of 40, 50, 60 and of 60, 70, 80: 50 ± 10 and 70 ± 10; a task that is not done counts nowhere."""
    soccer = [outcome(0, 40.0, 60.0), outcome(1, 50.0, 70.0, None), outcome(2, 60.0, 80.0, 22.0)]
    lines = six_tasks.table({"soccer-v3": soccer, "hammer-v3": [], "push-v3": [outcome(0, 10.0, 30.0)]})
    assert lines[2] == (
        "| soccer-v3 | 50.0 ± 10.0 (40, 50, 60) | 70.0 ± 10.0 (60, 70, 80) | 18±2 | 31±4 "
        "| 90.0 ± 0.0 (90, 90, 90) | 21.0 (15.0) |"
    )
    assert lines[3] == "| hammer-v3 | – | – | 79±5 | 91±4 | – | – |"
    assert lines[4] == "| push-v3 | 10 (1 seed) | 30 (1 seed) | – | – | 90 (1 seed) | 20.0 (15.0) |"
    assert lines[5] == "| mean of 2 | 30.0 | 50.0 | 18.0 | 31.0 | | |"


def test_the_papers_table_adds_up(six_tasks):
    before, after = zip(*six_tasks.PAPER.values(), strict=True)
    assert sum(mean for mean, _ in before) / 6 == 51.5 and sum(mean for mean, _ in after) / 6 == 67.5


def test_time_ends_the_work_and_the_tables_are_written(six_tasks, tmp_path, monkeypatch):
    args = six_tasks.parsed(["--preset", "frames-tiny", "--tasks", "soccer-v3", "--seeds", "0", "--out", str(tmp_path)])
    args.minutes = 0.005
    experiment = six_tasks.Experiment(args)
    monkeypatch.setattr(six_tasks.Experiment, "run", lambda *_: time.sleep(30))
    started = time.monotonic()
    assert six_tasks.work(experiment) is False and time.monotonic() - started < 10
    assert "NOT complete" in (tmp_path / "six_tasks.md").read_text()
    time.sleep(0.5)  # the alarm is off


def test_the_order_of_the_pieces(six_tasks, tmp_path):
    def names(*more):
        args = six_tasks.parsed(["--tasks", "a", "b", "--seeds", "0", "1", "--out", str(tmp_path), *more])
        return [name for name, _ in six_tasks.Experiment(args).pieces()]

    data, refined = "data of {}, seed {}", "refinement of {}, seed {}"
    first = [data.format("a", 0), data.format("b", 0), "world model of seed 0"]
    first += [refined.format("a", 0), refined.format("b", 0)]
    second = [data.format("a", 1), data.format("b", 1), refined.format("a", 1), refined.format("b", 1)]
    assert names() == first + second
    assert names("--world-models", "each") == first + [*second[:2], "world model of seed 1", *second[2:]]


def test_the_command_line_changes_the_preset(six_tasks):
    args = six_tasks.parsed(["--network", "medium", "--steps", "7", "--batch", "8", "--envs", "16"])
    config = six_tasks.configuration(args)
    assert (config.world_model.preset, config.world_model_training.steps) == ("medium", 7)
    assert (config.world_model_training.batch_size, config.imagination.num_envs) == (8, 16)
    assert config.collect.demonstrations == 50 and not config.world_model.speed.compile
    on_gpu = six_tasks.configuration(six_tasks.parsed(["--device", "cuda"]))
    assert on_gpu.world_model.speed.compile and on_gpu.world_model.speed.precision == "bfloat16"


def test_the_prediction_names_every_part(six_tasks):
    args = six_tasks.parsed(["--preset", "frames-tiny", "--tasks", "a", "--seeds", "0", "1", "--predict"])
    lines = six_tasks.prediction(six_tasks.Experiment(args))
    assert [line.split(" | ")[0] for line in lines[4:]] == [
        "| 1 world model(s)",
        "| refinement of 2 runs",
        "| imagined pictures of 2 evaluations",
        "| all",
    ]
