import io

import torch

from burnish.pipeline import progress as module
from burnish.pipeline.progress import Progress, format_duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)


def test_plain_lines_come_every_ten_seconds(monkeypatch):
    clock, stream = Clock(monkeypatch), io.StringIO()
    with Progress(1000, "steps", "world_model", stream=stream) as progress:
        for step in range(25):
            clock.now += 1.0
            progress.update(10, loss=torch.tensor(0.5 / (step + 1)))
    assert stream.getvalue().splitlines() == [
        "world_model 10 % 100/1000 steps 10 steps/s ETA 1:30 loss 0.05",
        "world_model 20 % 200/1000 steps 10 steps/s ETA 1:20 loss 0.025",
        "world_model 25 % 250/1000 steps 10 steps/s ETA 1:15 loss 0.02",
    ]


def test_the_rate_is_that_of_this_attempt(monkeypatch):
    clock = Clock(monkeypatch)
    progress = Progress(100, "episodes", "collect", initial=50, stream=io.StringIO())
    clock.now += 5.0
    progress.set(60)
    assert progress.line() == "collect 60 % 60/100 episodes 2 episodes/s ETA 0:20"


def test_a_loop_that_goes_on_counts_its_own_iterations_only(monkeypatch):
    """From 40 on, one iteration in four seconds: 0.25 a second, not 41 in four seconds."""
    clock = Clock(monkeypatch)
    progress = Progress(60, "iterations", "refined", stream=io.StringIO())
    clock.now += 30.0  # reading what was saved
    progress.at(40, {})
    assert progress.line() == "refined 66 % 40/60 iterations"
    clock.now += 4.0
    progress.at(41, {})
    assert progress.line() == "refined 68 % 41/60 iterations 0.25 iterations/s ETA 1:16"


def test_without_a_total(monkeypatch):
    clock = Clock(monkeypatch)
    progress = Progress(None, "files", "read", stream=io.StringIO())
    clock.now += 2.0
    progress.update(3, kind="new")
    assert progress.line() == "read 3 files 1.5 files/s kind new"


def test_a_bar_on_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with Progress(4, "steps", "refine", stream=stream) as progress:
        for _ in range(4):
            progress.update(success=0.25)
        progress.close()
    assert "refine: 100%" in stream.getvalue() and "4/4" in stream.getvalue() and "success 0.25" in stream.getvalue()


def test_the_last_line_comes_once_and_long_metrics_are_cut(monkeypatch):
    clock, stream = Clock(monkeypatch), io.StringIO()
    with Progress(10, "steps", "refine", stream=stream) as progress:
        clock.now += 10.0
        progress.update(10, **{f"metric_number_{index}": 1 for index in range(20)})
    (line,) = stream.getvalue().splitlines()
    assert "metric_number_0 1 metric_number_1 1 " in line and len(line) < 150


def test_stages_are_counted(capsys):
    module.plan_stages(["dataset", "policy"])
    module.report_stage_start("policy")
    module.report_stage_start("policy", 3.0)
    module.plan_stages([])
    module.report_stage_start("policy")
    assert capsys.readouterr().err.splitlines() == [
        "[burnish] policy (stage 2 of 2): started",
        "[burnish] policy (stage 2 of 2): resuming after 3.0 s",
        "[burnish] policy: started",
    ]


def test_every_update_is_passed_on():
    calls = []
    progress = Progress(2, stream=io.StringIO(), on_update=lambda: calls.append(1))
    progress.update()
    progress.update()
    assert len(calls) == 2


def test_durations():
    assert [format_duration(value) for value in (0.4, 59.6, 3725)] == ["0:00", "1:00", "1:02:05"]
