"""A graph of stages: what a stage depends on is said once."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from burnish.components import Component, load
from burnish.errors import InputError
from burnish.pipeline import (
    Absent,
    External,
    Run,
    RunFolder,
    SharedRun,
    StageContext,
    execute,
    naming,
    ordered,
    planned,
    stage,
)
from burnish.training import ALONE
from tests.pipeline.fakes import snapshot


@dataclass(frozen=True)
class Size:
    width: int = 2


class Weights(Component):
    def __init__(self, width: int, value: float):
        super().__init__()
        self.values = nn.Parameter(torch.full((width,), value))


@dataclass(frozen=True)
class Pair:
    first: object
    others: tuple = ()


CALLS: list[str] = []


def make(context: StageContext, size: Size, value: float) -> Weights:
    CALLS.append(context.name)
    return Weights(size.width, value)


def add(context: StageContext, pair: Pair, scale: float = 1.0) -> Weights:
    CALLS.append(context.name)
    total = pair.first.values + scale * sum(each.values.sum() for each in pair.others)
    return Weights(len(total), float(total[0].detach()))


def count_letters(context: StageContext, text: Path) -> None:
    CALLS.append(context.name)
    (context.folder / "count.txt").write_text(str(len(text.read_text())))


def number(folder: Path, times: int) -> int:
    return times * int((folder / "count.txt").read_text())


def multiplied(context: StageContext, count: int) -> Weights:
    CALLS.append(context.name)
    return Weights(1, float(count))


def nothing(context: StageContext) -> Weights:
    raise Absent("the data have no such thing")


def describe(context: StageContext, found: object) -> None:
    CALLS.append(context.name)
    (context.folder / "found.txt").write_text(str(found))


@pytest.fixture(autouse=True)
def forget():
    CALLS.clear()


def do(folder: Path, *targets) -> list[str]:
    CALLS.clear()
    with Run.create(folder, "toy", "task", 0, {}) as run:
        execute(targets, SharedRun(run, folder, ALONE))
    return list(CALLS)


def graph(value: float = 1.0, scale: float = 2.0):
    one = stage(make, "one", size=Size(), value=value)
    two = stage(make, "two", size=Size(3), value=10.0)
    return stage(add, "total", pair=Pair(one, (two,)), scale=scale)


def test_stages_come_after_their_inputs_and_once():
    total = graph()
    again = stage(add, "again", pair=Pair(total, (total,)))
    assert [each.name for each in ordered([again, total])] == ["one", "two", "total", "again"]


def test_the_body_gets_the_results(tmp_path):
    assert do(tmp_path / "run", graph()) == ["one", "two", "total"]
    assert load(tmp_path / "run/total", Weights).values.tolist() == [61.0, 61.0]


def test_only_what_changed_is_done_again(tmp_path):
    do(tmp_path / "run", graph())
    assert do(tmp_path / "run", graph()) == []
    assert do(tmp_path / "run", graph(scale=3.0)) == ["total"]
    assert do(tmp_path / "run", graph(value=2.0, scale=3.0)) == ["one", "total"]


def test_a_stage_that_comes_out_the_same_does_not_redo_what_follows(tmp_path):
    do(tmp_path / "run", graph())
    one = tmp_path / "run/one/stage.json"
    one.unlink()
    assert do(tmp_path / "run", graph()) == ["one"]


def test_files_from_outside_count_by_content(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("abc")

    def letters():
        return stage(multiplied, count=stage(count_letters, text=External("text", text)).read(number, times=2))

    assert do(tmp_path / "run", letters()) == ["count_letters", "multiplied"]
    assert load(tmp_path / "run/multiplied", Weights).values.tolist() == [6.0]
    assert do(tmp_path / "run", letters()) == []
    text.write_text("abcd")
    assert do(tmp_path / "run", letters()) == ["count_letters", "multiplied"]


def test_how_a_result_is_read_counts(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("abc")
    source = stage(count_letters, text=External("text", text))
    do(tmp_path / "run", stage(multiplied, count=source.read(number, times=2)))
    assert do(tmp_path / "run", stage(multiplied, count=source.read(number, times=3))) == ["multiplied"]


def test_stages_can_lie_in_a_folder(tmp_path):
    worlds = []
    for world in range(2):
        with naming(f"gate/world_{world}"):
            worlds.append(stage(make, "one", size=Size(), value=float(world)))
    total = stage(add, "total", pair=Pair(worlds[0], (worlds[1],)))
    assert do(tmp_path / "run", total) == ["gate/world_0/one", "gate/world_1/one", "total"]
    assert (tmp_path / "run/gate/world_1/one/model.safetensors").exists()


def test_what_is_absent_spreads_until_somebody_can_do_without(tmp_path):
    missing = stage(nothing)
    needs = stage(add, "needs", pair=Pair(missing))
    lenient = stage(describe, "lenient", lenient=True, found=needs)
    assert do(tmp_path / "run", lenient) == ["lenient"]
    assert (tmp_path / "run/lenient/found.txt").read_text() == "the data have no such thing"
    with pytest.raises(InputError, match="no such thing"):
        do(tmp_path / "run", needs)


def missing_for(context: StageContext, reason: str) -> Weights:
    raise Absent(reason)


def test_another_reason_is_another_result(tmp_path):
    """Neither of them has a file."""

    def graph(reason):
        return stage(describe, "lenient", lenient=True, found=stage(missing_for, reason=reason))

    assert do(tmp_path / "run", graph("no data")) == ["lenient"]
    assert do(tmp_path / "run", graph("no success")) == ["lenient"]
    assert (tmp_path / "run/lenient/found.txt").read_text() == "no success"


def test_a_plan_says_what_would_be_done_and_why(tmp_path):
    do(tmp_path / "run", graph())
    (tmp_path / "run/two/model.safetensors").unlink()
    before = snapshot(tmp_path)
    assert planned([graph(value=2.0)], RunFolder(tmp_path / "run")) == {
        "one": "value 1.0 -> 2.0 changed",
        "two": "its file model.safetensors is missing",
        "total": "it follows one, two, done before it, unless that comes out the same",
    }
    assert snapshot(tmp_path) == before


def test_a_circle_is_an_error():
    holder: dict = {}
    first = stage(add, "first", pair=Pair(None), extra=holder)
    holder["second"] = stage(add, "second", pair=Pair(first))
    with pytest.raises(InputError, match="first -> second -> first"):
        ordered([first])


def test_two_stages_of_one_name_are_an_error():
    one, other = stage(make, "one", size=Size(), value=1.0), stage(make, "one", size=Size(), value=2.0)
    with pytest.raises(InputError, match="two different stages are called 'one'"):
        ordered([stage(add, "total", pair=Pair(one, (other,)))])
    same = stage(make, "one", size=Size(), value=1.0)
    assert len(ordered([stage(add, "total", pair=Pair(one, (same,)))])) == 2


@pytest.mark.parametrize(
    "value", [object(), lambda: 0, torch.zeros(2), {1, 2}], ids=["object", "function", "tensor", "set"]
)
def test_what_has_no_hash_is_an_error(value):
    with pytest.raises(InputError, match=r"stage 'one', argument 'value'.*expected configuration"):
        ordered([stage(make, "one", size=Size(), value=value)])


def test_families_with_the_same_settings_are_told_apart():
    @dataclass(frozen=True)
    class Other:
        width: int = 2

    assert stage(make, "a", size=Size(), value=1.0).describe() != stage(make, "a", size=Other(), value=1.0).describe()
