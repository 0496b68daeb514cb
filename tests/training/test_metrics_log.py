"""metrics.jsonl: rows, rewinding, and lines that a kill cut short."""

import json

from burnish.training.metrics import MetricsLog


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_rows(tmp_path):
    log = MetricsLog(tmp_path / "new")
    log.rewind(0)
    log.write(1, {"loss": 0.5})
    log.write(2, {"loss": 0.25, "rmse": 1.0})
    log.close()
    assert rows(tmp_path / "new") == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25, "rmse": 1.0}]


def test_rewind_forgets_later_rows(tmp_path):
    log = MetricsLog(tmp_path)
    log.rewind(0)
    for step in range(1, 6):
        log.write(step, {"loss": step / 10})
    log.close()
    again = MetricsLog(tmp_path)
    again.rewind(3)
    again.write(4, {"loss": 9.0})
    again.close()
    assert rows(tmp_path) == [{"step": s, "loss": s / 10} for s in (1, 2, 3)] + [{"step": 4, "loss": 9.0}]


def test_a_line_cut_short_is_dropped(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\n{"step": 2, "los')
    log = MetricsLog(tmp_path)
    log.rewind(5)
    log.write(2, {"loss": 2.0})
    log.close()
    assert rows(tmp_path) == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 2.0}]
