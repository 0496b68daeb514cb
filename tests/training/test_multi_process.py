"""Two real processes: what they train together is what one trains alone, and none waits for one that has failed."""

import json

import pytest
import torch

from burnish.errors import InputError
from burnish.storage import load_state
from burnish.training import ALONE, Processes, current, join
from tests.training import joined, launching

# Not the same bits: a mean over 16 rows and the mean of two means over 8 add in another order, which float32 rounds
# differently, and Adam divides small gradients by their own size.
GRADIENTS = {"rtol": 1e-5, "atol": 1e-6}
WEIGHTS = {"rtol": 1e-4, "atol": 5e-6}
CASES = ("policy", "classifier", "contrastive", "ensemble", "world_model")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the two processes worked; "more" was begun by one process and is finished by two."""
    folder = tmp_path_factory.mktemp("joined")
    assert joined.train_recurrent(folder / "more", stop=4) == {}
    code, output = launching.finish(launching.start(joined.__file__, "train", folder, 2))
    assert code == 0, output
    return folder


@pytest.fixture(scope="module")
def two(folder):
    """What each of two processes found."""
    return [load_state(folder / f"{rank}.safetensors") for rank in range(2)]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """What this process finds alone."""
    return joined.trained(tmp_path_factory.mktemp("alone"))


def same(found, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in found.items())


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_one_process(one, two, name):
    expected, found = one[name]["gradients"], two[0]["trained"][name]["gradients"]
    torch.testing.assert_close(found, expected, **GRADIENTS)
    assert max(gradient.abs().max() for gradient in expected.values()) > 1e-2


@pytest.mark.parametrize("name", CASES)
def test_weights_and_metrics_are_those_of_one_process(one, two, name):
    expected, found = one[name], two[0]["trained"][name]
    torch.testing.assert_close(found["weights"], expected["weights"], **WEIGHTS)
    # A root of a mean is not a mean of roots: of the metrics, only means over rows agree.
    means = [key for key in expected["metrics"] if key != "rmse"]
    assert {key: found["metrics"][key] for key in means} == pytest.approx(
        {key: expected["metrics"][key] for key in means}, rel=1e-3
    )
    before = dict(joined.cases()[name][0].named_parameters())
    moved = max((found["weights"][key] - parameter).abs().max() for key, parameter in before.items())
    assert moved > 1e-3, "something was learned at all"


def test_all_processes_have_the_same_weights(two):
    for name in CASES:
        assert same(two[0]["trained"][name]["weights"], two[1]["trained"][name]["weights"])
        assert two[0]["trained"][name]["metrics"] == two[1]["trained"][name]["metrics"]
    assert same(two[0]["whole"]["weights"], two[1]["whole"]["weights"])


def test_rows_are_shared_and_noise_is_not(two):
    """Each process has its half of the batch that one process would draw, and random numbers of its own."""
    rows = torch.cat([found["noise"]["rows"] for found in two], dim=1)
    generator = torch.Generator().manual_seed(5)
    assert torch.equal(rows[0], joined.Pairs().sample(16, generator)[0])
    assert torch.equal(rows[1], joined.Pairs().sample(16, generator)[0])
    mine, others = (found["noise"]["noise"].flatten() for found in two)
    assert len(set(mine.tolist()) | set(others.tolist())) == 16
    torch.manual_seed(5)
    assert torch.equal(two[0]["noise"]["noise"][0], torch.randn(4)), "the first one's are those of one process"


@pytest.mark.parametrize("name", joined.GATHERED)
def test_each_process_gathers_its_own_rows_and_no_bit_changes(two, name):
    for found in two:
        own, whole = (found["divided"][f"{name}_{way}"] for way in ("own", "whole"))
        assert own["rows"] == [joined.GATHERED[name] // 2] * 5 and whole["rows"] == [joined.GATHERED[name]] * 5
        assert same(own["weights"], whole["weights"])
    start = (joined.recurrent() if name == "recurrent" else joined.cases()[name])[0].state_dict()
    assert not same(own["weights"], start), "something was learned at all"


def test_only_the_first_process_writes(folder):
    assert not (folder / "folder1").exists()
    log = folder / "folder0" / "trained" / "policy" / "often" / "metrics.jsonl"
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [10, 20]


def test_they_stop_together_at_the_first_ones_error(two):
    """Only the first process validates; both end with the weights that it found best."""
    assert two[0]["validated"]["asked"] == 4 and two[1]["validated"]["asked"] == 0
    (best,) = two[0]["validated"]["best"]
    for found in two:
        assert same(best, found["validated"]["weights"])


def test_two_processes_resume_to_the_same_bits(two):
    """The recurrent model's streams and every process's random numbers go on where they were."""
    for found in two:
        assert same(found["whole"]["weights"], found["resumed"]["weights"])
        assert same(found["whole"]["streams"]["carry"], found["resumed"]["streams"]["carry"])
    assert not same(two[0]["whole"]["streams"]["carry"], two[1]["whole"]["streams"]["carry"])


def test_a_resume_may_have_another_number_of_processes(folder, two):
    """From two to one: the one reads all eight streams on. From one to two: each reads half of them on."""
    saved = load_state(folder / "folder0" / "fewer" / "resume.safetensors")
    assert saved["step"] == 3 and len(saved["global_rng"]) == 2 and len(saved["sampler"]["carry"]["h"]) == 8
    fewer = joined.train_recurrent(folder / "folder0" / "fewer")
    assert len(fewer["streams"]["carry"]["h"]) == 8
    assert fewer["streams"]["position"] == two[0]["whole"]["streams"]["position"]
    assert all(tensor.isfinite().all() for tensor in fewer["weights"].values())
    for found in two:
        assert len(found["more"]["streams"]["carry"]["h"]) == 4
        assert found["more"]["streams"]["position"] == two[0]["whole"]["streams"]["position"]
    assert same(two[0]["more"]["weights"], two[1]["more"]["weights"])
    assert not same(two[0]["more"]["streams"]["carry"], two[1]["more"]["streams"]["carry"])
    steps = [json.loads(line)["step"] for line in (folder / "more" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6], "the log goes on, too"


def test_a_failing_process_ends_them_all(tmp_path):
    """Whichever fails: its message is there, the other one says what happened, and nothing hangs."""
    started = [launching.start(joined.__file__, f"break{rank}", tmp_path / str(rank), 2) for rank in range(2)]
    for rank, process in enumerate(started):
        code, output = launching.finish(process, seconds=180)
        assert code != 0
        assert f"RunError: process {rank} breaks" in output
        other = 2 - rank  # counted from 1, as people do
        assert f"process {other} of 2 lost touch with another one, which has ended" in output


def test_alone_everything_stays_as_it_is():
    tensor = torch.rand(3)
    assert current() is ALONE and ALONE.first and join() is ALONE and join(1) is ALONE
    assert ALONE.mean(tensor) is tensor and ALONE.gather(tensor) is tensor and ALONE.of_first(tensor) is tensor
    assert ALONE.rows(tensor, 3) is tensor and ALONE.seed(7) == 7 and ALONE.agree(True) and not ALONE.agree(False)


def test_shares_by_hand():
    """The second of two: the second half of a batch of 4, and of each of two batches of 2 one after another."""
    second = Processes(rank=1, count=2)
    batch = {"x": torch.arange(4), "y": (torch.arange(8).view(4, 2), "label")}
    assert second.rows(batch, 4)["x"].tolist() == [2, 3]
    assert second.rows(batch, 4)["y"][0].tolist() == [[4, 5], [6, 7]] and second.rows(batch, 4)["y"][1] == "label"
    assert second.rows(torch.arange(4), 2).tolist() == [1, 3]
    assert second.share(6, "batch_size") == 3
    with pytest.raises(InputError, match="batch_size is 5, expected a multiple of 2"):
        second.share(5, "batch_size")
    with pytest.raises(InputError, match="a batch of 4 came with 6 rows"):
        second.rows(torch.arange(6), 4)


def test_impossible_numbers_of_processes():
    with pytest.raises(InputError, match="processes is 0, expected 1 or more"):
        join(0)


def test_more_processes_than_torchrun_started(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="processes is 2, expected 4, as torchrun says"):
        join(2)
