"""Driving without a browser: the same drive is the same, whoever drives; halting, rewinding, saving; the simulator."""

import json
import time

import numpy as np
import pytest
import torch

from burnish.data import STATE, read_dataset
from burnish.errors import InputError
from burnish.recipes.own_data import OwnData
from burnish.studio.drive import Drive
from burnish.studio.lane import Lane
from burnish.studio.opened import Beginning, open_run
from burnish.studio.protocol import Command
from tests.studio.studios import send, unpacked, until

UP = (0.0, 0.0, 1.0, 0.0)


@pytest.fixture(scope="module")
def opened(small_run):
    run = open_run(small_run)
    yield run
    run.close()


@pytest.fixture
def drive(opened):
    return Drive("key", opened)


def held(drive, action, steps, seq=1):
    drive.do(Command("input", seq=seq, action=action, on=True), None)
    for _ in range(steps):
        drive.advance()


def state(lane):
    return lane.seen()[STATE].clone()


def test_an_imagined_step_is_the_world_models(drive, opened):
    """One step by hand: the model's own, with the noise of this step, and what classifier and ensemble say of it."""
    lane, world = drive.lanes[0], opened.world
    before = lane.now.state
    held(drive, UP, 1)
    generator = torch.Generator().manual_seed(0 * 1_000_003 + 0)
    with torch.no_grad():
        following = world.imagine(before, torch.tensor([UP]), generator)
    assert torch.equal(world.decode(following)[STATE][0], state(lane))
    classifier = opened.models.reward.classifier
    assert lane.now.values["probability"] == pytest.approx(float(classifier.probability(world.features(following))))
    for each in opened.models.pessimism.uncertainties:
        expected = float(each(before, torch.tensor([UP])) / each.threshold)
        assert lane.now.values[each.name] == pytest.approx(expected, rel=1e-4)


def test_rewinding_and_driving_on_is_the_same_drive(drive):
    lane = drive.lanes[0]
    held(drive, UP, 7)
    last = state(lane)
    drive.do(Command("rewind", to=3), None)
    middle = state(lane)
    assert lane.cursor == 3 and lane.length == 7 and len(drive.began()["lanes"][0]["history"]) == 8
    held(drive, UP, 4, seq=2)
    assert torch.equal(state(lane), last)
    drive.do(Command("rewind", to=3), None)
    assert torch.equal(state(lane), middle)
    held(drive, (1.0, 0.0, 0.0, 0.0), 1, seq=3)
    assert lane.length == 4 and len(lane.actions) == 4, "what lay ahead is forgotten"


def test_policies_drive_and_are_taken_over(drive, opened):
    lane = drive.lanes[0]
    drive.do(Command("driver", driver="refined"), None)
    for _ in range(3):
        drive.advance()
    with torch.no_grad():
        first = opened.agent("refined").policy.act(opened.world.features(lane.moments()[0].state), True, None)
    assert torch.allclose(lane.actions[0], first.action_chunk[0, 0].clamp(-1, 1))
    held(drive, UP, 2)
    assert lane.driver == "you" and lane.drivers == ["refined"] * 3 + ["you"] * 2
    assert lane.actions[3].tolist() == list(UP)
    with pytest.raises(InputError, match="no policy 'best'"):
        drive.do(Command("driver", driver="best"), None)


def test_time_stands_still_while_nothing_is_held(drive):
    assert drive.due() is None
    drive.do(Command("input", seq=4, action=UP, on=True), None)
    assert drive.due() is not None
    drive.do(Command("input", seq=5, action=UP, on=False), None)
    assert drive.due() is None
    drive.do(Command("play", on=True), None)
    assert drive.due() is not None
    drive.do(Command("rewind", to=0), None)
    assert drive.due() is None


def test_halting_is_shown_and_driven_past(drive, opened):
    held(drive, (1.0, -1.0, -1.0, -1.0), 25)
    lane = drive.lanes[0]
    over = [moment.over for moment in lane.moments()]
    counted = [
        any(moment.values.get(name, 0) > 1 for name in ("disagreement", "distance")) for moment in lane.moments()
    ]
    assert over == counted and True in over, "the data do not go where this leads"
    assert lane.cursor == 25
    shown = unpacked(drive.frame())
    assert shown["lanes"][0]["over"] is over[-1] and shown["step"] == 25


def test_old_steps_are_dropped_before_memory_is_full(opened):
    lane = Lane(opened, Beginning(int(opened.data.starts[1])), 0, "you", None)
    lane._room = 10
    for _ in range(30):
        lane.advance(torch.zeros(4))
    assert lane.cursor == 30 and lane.earliest >= 20 and len(lane.moments()) <= 11
    lane.rewind(0)
    assert lane.cursor == lane.earliest


def test_the_simulator_beside_it(drive, opened):
    """From a recorded frame it is where the recording was, bit for bit, and takes the same actions."""
    frame = int(opened.data.starts[1]) + 4
    drive.do(Command("begin", frame=frame, beside=True, drivers=("pretrained", "refined")), None)
    first, second = drive.lanes
    assert first.now.values["gap"] == 0.0
    assert np.array_equal(first.now.real[STATE], opened.data.observations[STATE][frame].numpy())
    for _ in range(6):
        drive.advance()
    env = opened.reality(0).suite.make_env("drawer-open-v3", opened.reality(0).settings)
    env.reset(opened.data.seeds[1])
    for action in [*opened.data.actions[frame - 4 : frame], *first.actions]:
        observation, *_ = env.step(action.numpy())
    env.close()
    assert np.array_equal(first.now.real[STATE], observation[STATE])
    assert first.now.values["gap"] > 0 and not torch.equal(first.actions[-1], second.actions[-1])
    before = {key: value.copy() for key, value in first.now.real.items()}
    drive.do(Command("rewind", to=2), None)
    for _ in range(4):
        drive.advance()
    assert np.array_equal(first.now.real[STATE], before[STATE]), "the simulator is taken back, too"
    drive.do(Command("begin", seed=1_000_003, beside=True), None)
    assert drive.lanes[0].now.values["gap"] < 1e-5


def test_saving_and_driving_again(drive, opened, tmp_path):
    drive.do(Command("begin", seed=1_000_005, noise=3, beside=True, drivers=("refined",)), None)
    with pytest.raises(InputError, match="nothing was driven"):
        drive.do(Command("save", name="mine"), tmp_path)
    assert not (tmp_path / "drives").exists()
    for _ in range(4):
        drive.advance()
    held(drive, UP, 3)
    last = state(drive.lanes[0])
    answer = drive.do(Command("save", name="mine"), tmp_path)
    folder = tmp_path / "drives" / "mine"
    assert answer == {"type": "saved", "name": "mine", "path": str(folder), "frames": 8, "real": True}
    with pytest.raises(InputError, match="a drive of this name"):
        drive.do(Command("save", name="mine"), tmp_path)

    imagined, real = read_dataset(folder / "imagined"), read_dataset(folder / "real")
    assert imagined.sources == ("imagined",) and imagined.tasks == ("imagined: drawer-open-v3",)
    assert imagined.info.robot_type == "imagined sawyer" and imagined.info.simulator is None
    assert torch.equal(imagined.observations[STATE][-1], last)
    assert torch.equal(imagined.actions[:-1], drive.lanes[0].actions)
    assert real.sources == ("studio",) and real.seeds == (1_000_005,) and real.info.simulator == "metaworld"
    with pytest.raises(InputError, match=r"field 'source': found an episode that a world model imagined"):
        OwnData.of(folder / "imagined").read()
    assert OwnData.of(folder / "real").read().num_frames == 8

    drive.do(Command("begin", frame=0), None)
    drive.replay(folder)
    assert torch.equal(state(drive.lanes[0]), last) and drive.lanes[0].drivers == ["refined"] * 4 + ["you"] * 3
    noted = json.loads((folder / "drive.json").read_text())
    (folder / "drive.json").write_text(json.dumps({**noted, "actions": [["x"]]}))
    with pytest.raises(InputError, match="expected rows of numbers"):
        drive.replay(folder)


def test_over_the_socket(studio):
    """Open, hold a key, let go, see the newest frame; a second page sees the same."""
    run = next(each["id"] for each in studio.ask("/api/runs")["runs"] if each["name"] == "small")
    with studio.socket() as first, studio.socket() as second:
        for socket in (first, second):
            send(socket, "open", run=run)
            told = until(socket, lambda message: message["type"] == "opened")
        assert told["actions"] == ["delta_x", "delta_y", "delta_z", "gripper_effort"] and told["states"][0] == "hand_x"
        send(first, "begin", frame=0)
        send(first, "input", seq=7, action=list(UP), on=True)
        frame = until(
            second, lambda message: message["type"] == "frame" and message["seq"] == 7 and message["step"] >= 5
        )
        assert frame["lanes"][0]["by"] == "you" and len(frame["lanes"][0]["imagined"]["state"]) == 21
        send(first, "input", seq=8, action=list(UP), on=False)
        send(first, "rewind", to=1)
        assert until(second, lambda message: message["type"] == "frame" and message["step"] == 1)["length"] >= 5
        send(first, "input", seq=7, action=list(UP), on=True)  # comes too late
        time.sleep(0.5)
        send(first, "step")
        assert until(second, lambda message: message["type"] == "frame" and message["step"] != 1)["step"] == 2


def test_an_episode_of_the_evaluation_again(studio):
    run = next(each["id"] for each in studio.ask("/api/runs")["runs"] if each["name"] == "small")
    table = studio.ask(f"/api/runs/{run}/outcomes")
    assert table["seeds"] == [1_000_000 + number for number in range(4)]
    assert set(table["policies"]) == {"pretrained", "filtered", "refined"}
    status, body, _ = studio.request(f"/api/runs/{run}/episode?policy=refined&seed=1000001")
    found = unpacked(body)
    assert status == 200 and found["frames"][-1]["success"] is table["policies"]["refined"][1]
    assert found["frames"][0]["gap"] < 1e-5 < found["frames"][-1]["gap"]
    assert studio.request(f"/api/runs/{run}/episode?policy=refined&seed=5")[0] == 404
