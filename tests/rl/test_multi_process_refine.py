"""Refinement by two real processes: PPO learns from both halves what it learns from the whole."""

import json

import pytest
import torch

from burnish.errors import InputError
from burnish.rl import PPO, PPOConfig
from burnish.storage import load_state
from burnish.training import Processes
from tests.rl import joined_refine
from tests.training import launching


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the two processes worked; "more" was begun by one process and is finished by two."""
    folder = tmp_path_factory.mktemp("joined")
    joined_refine.refined(folder / "more", stop=4)
    code, output = launching.finish(launching.start(joined_refine.__file__, folder))
    assert code == 0, output
    return folder


@pytest.fixture(scope="module")
def two(folder):
    """What each of two processes found."""
    return [load_state(folder / f"{rank}.safetensors") for rank in range(2)]


def same(found, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in found.items())


def steps_of(folder):
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_two_halves_are_the_whole(two):
    """Gradients, weights and metrics, to the rounding of sums that are added in another order."""
    for found in two:
        shared, alone = found["ppo"]["shared"], found["ppo"]["alone"]
        torch.testing.assert_close(shared["gradients"], alone["gradients"], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(shared["weights"], alone["weights"], rtol=1e-4, atol=1e-6)
        assert shared["metrics"] == pytest.approx(alone["metrics"], rel=1e-3, abs=1e-5)
        assert shared["steps"] == alone["steps"] == 6
    for name in ("policy", "critic"):
        assert same(two[0]["ppo"]["shared"]["weights"][name], two[1]["ppo"]["shared"]["weights"][name])
    assert two[0]["ppo"]["shared"]["metrics"] == two[1]["ppo"]["shared"]["metrics"]


def test_dreamer_learns_from_two_halves_what_it_does_from_the_whole(two):
    for found in two:
        shared, alone = found["dreamer"]["shared"], found["dreamer"]["alone"]
        torch.testing.assert_close(shared["weights"], alone["weights"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(shared["range"], alone["range"])
        assert shared["metrics"] == pytest.approx(alone["metrics"], rel=1e-3, abs=1e-5)
    for name in ("policy", "critic", "slow"):
        assert same(*(found["dreamer"]["shared"]["weights"][name] for found in two))


def test_they_stop_together_at_the_mean_kl(two):
    """At every limit after as many epochs as one process with the whole; by its own half, one would stop elsewhere."""
    for found in two:
        assert found["ppo"]["stops_shared"].tolist() == found["ppo"]["stops_alone"].tolist()
    stops = two[0]["ppo"]["stops_alone"]
    assert stops.min() < stops.max(), "the limits matter"
    assert any(found["ppo"]["stops_half"].tolist() != stops.tolist() for found in two)


def test_they_refine_the_same_policy(two, folder):
    """The choice is the first one's, and it alone judges and writes; imagined steps are those of both."""
    assert same(two[0]["refined"]["weights"], two[1]["refined"]["weights"])
    assert two[0]["refined"]["result"] == two[1]["refined"]["result"]
    assert two[0]["refined"]["result"]["imagined_steps"] == 6 * 8 * 32
    assert two[0]["refined"]["judged"] == 4 and two[1]["refined"]["judged"] == 0
    assert not same(joined_refine.make_policy().state_dict(), two[0]["refined"]["weights"])
    assert steps_of(folder / "folder0" / "whole") == list(range(7)) and not (folder / "folder1").exists()


def test_they_imagine_different_things(two):
    mine, others = (found["refined"]["env"]["state"]["position"] for found in two)
    assert mine.shape == others.shape == (16, 1)
    assert len(set(mine.flatten().tolist()) & set(others.flatten().tolist())) < 8, "but for starts from the data"


def test_they_resume_to_the_same_bits(two, folder):
    for found in two:
        assert same(found["refined"]["weights"], found["resumed"]["weights"])
        assert same(found["refined"]["env"]["state"], found["resumed"]["env"]["state"])
        assert found["refined"]["result"] == found["resumed"]["result"]
    assert steps_of(folder / "folder0" / "cut") == list(range(7))


def test_a_resume_may_have_another_number_of_processes(two, folder):
    """The imagined episodes of two go on in one, and those of one in two; no step is counted twice."""
    saved = load_state(folder / "folder0" / "fewer" / "resume.safetensors")
    explored = saved["explored"]
    assert len(explored["experience"]["features"]) == 32 and len(explored["generator"]) == 2
    fewer = joined_refine.refined(folder / "folder0" / "fewer")
    for result in (fewer["result"], two[0]["more"]["result"], two[1]["more"]["result"]):
        assert result["imagined_steps"] == 6 * 8 * 32
    assert same(two[0]["more"]["weights"], two[1]["more"]["weights"])
    assert not torch.equal(two[0]["more"]["env"]["age"], two[1]["more"]["env"]["age"])
    assert steps_of(folder / "more") == steps_of(folder / "folder0" / "fewer") == list(range(7))


def test_a_minibatch_that_cannot_be_shared():
    with pytest.raises(InputError, match=r"ppo.minibatch_size is 7, expected a multiple of 2"):
        PPO(joined_refine.make_policy(), 1, PPOConfig(minibatch_size=7), Processes(rank=0, count=2))
