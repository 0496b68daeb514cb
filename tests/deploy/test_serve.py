"""A policy over a websocket: openpi's messages, a real server, and a policy that asks it."""

import asyncio
import contextlib
import re
import threading

import numpy as np
import pytest
import torch
from agents import gaussian, given, recurrent

from burnish.data import STATE
from burnish.deploy import PolicyServer
from burnish.errors import InputError
from burnish.policies import RobotPolicy
from burnish.policies.given import ServedPolicy, allow
from burnish.policies.given.wire import pack, unpack

pytest.importorskip("msgpack")
client = pytest.importorskip("websockets.sync.client")

ROW = np.array([1.5, -2.1, 0.0, 42.0], np.float32)


class Served:
    """A server in a thread of its own."""

    def __init__(self, agent):
        self.server, self.loop, opened = PolicyServer(agent), asyncio.new_event_loop(), threading.Event()

        def ready(port):
            self.url = f"ws://127.0.0.1:{port}"
            opened.set()

        def work():
            asyncio.set_event_loop(self.loop)
            self.task = self.loop.create_task(self.server.run("127.0.0.1", 0, ready))
            with contextlib.suppress(asyncio.CancelledError):
                self.loop.run_until_complete(self.task)

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()
        assert opened.wait(20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.task.cancel)
        self.thread.join(20)


def test_messages_are_openpis():
    """As openpi-client packs them, byte for byte: maps of bytes, dtype and shape."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    import msgpack

    raw = msgpack.unpackb(pack({"x": array, "n": np.float32(2.5)}))
    assert raw["x"] == {b"__ndarray__": True, b"data": array.tobytes(), b"dtype": "<f4", b"shape": [2, 3]}
    assert raw["n"] == {b"__npgeneric__": True, b"data": 2.5, b"dtype": "<f4"}
    again = unpack(pack({"x": array, "n": np.float32(2.5), "text": "öffne"}))
    assert np.array_equal(again["x"], array) and again["n"] == np.float32(2.5) and again["text"] == "öffne"


@pytest.mark.parametrize(
    "message",
    [
        b"\xc1",
        b"",
        pack({b"__ndarray__": True, b"data": b"12", b"dtype": "<f4", b"shape": [7]}),
        pack({b"__ndarray__": True, b"data": b"12345678", b"dtype": "|O", b"shape": [1]}),
        pack({b"__ndarray__": True, b"data": b"12345678", b"dtype": "nonsense", b"shape": [1]}),
        pack({b"__ndarray__": True}),
    ],
)
def test_messages_that_are_none(message):
    with pytest.raises(InputError, match="a message"):
        unpack(message)


@pytest.mark.parametrize("make", [gaussian, lambda: given("act")])
def test_a_policy_of_the_present_answers_its_chunk(make):
    agent = make()
    with Served(agent) as served, client.connect(served.url) as socket:
        assert unpack(socket.recv())["batched"] is True
        socket.send(pack({STATE: ROW, "prompt": "reach"}))
        answer = unpack(socket.recv())
        robot = RobotPolicy(agent)
        expected = np.stack([robot.act({STATE: ROW}) for _ in range(2)])
        np.testing.assert_allclose(answer["actions"], expected, atol=1e-4)
        assert answer["server_timing"]["infer_ms"] > 0
        socket.send(pack({STATE: np.stack([ROW, ROW + 1, ROW])}))
        assert unpack(socket.recv())["actions"].shape == (3, 2, 2)


@pytest.mark.parametrize("make", [recurrent, lambda: gaussian(frames=2), lambda: given("diffusion", 2)])
def test_a_policy_with_a_memory_answers_every_observation(make):
    """Each connection has its own, and `reset` begins an episode."""
    agent = make()
    rows = [ROW + 0.1 * step for step in range(4)]
    robot = RobotPolicy(agent)
    expected = [robot.act({STATE: row}) for row in rows]
    with Served(agent) as served, client.connect(served.url) as one, client.connect(served.url) as two:
        assert unpack(one.recv())["batched"] is False and unpack(two.recv())["chunk"] == 1
        for turn in range(2):
            for step, row in enumerate(rows):
                for socket in (one, two):
                    socket.send(pack({STATE: row, **({"reset": True} if turn and step == 0 else {})}))
                    found = unpack(socket.recv())["actions"]
                    np.testing.assert_allclose(found, expected[step][None], atol=1e-4)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"state": ROW}, "expected 'observation.state'"),
        ({STATE: ROW[:3]}, r"of shape \(3,\)"),
        ({STATE: ROW * np.nan}, "not finite"),
        ([1, 2], "expected a dict of observations"),
    ],
)
def test_bad_requests_are_answered_in_words(request_, said):
    with Served(gaussian()) as served, client.connect(served.url) as socket:
        socket.recv()
        socket.send(pack(request_))
        answer = socket.recv()
        assert isinstance(answer, str) and re.search(said, answer)


def test_a_served_policy_is_a_given_one():
    """In one process it is served, in this one it plans; the same actions."""
    agent = gaussian()
    with Served(agent) as served:
        with pytest.raises(InputError, match="--trust-code"):
            ServedPolicy.asked(served.url, {STATE: torch.from_numpy(ROW).view(1, 1, 4)})
        allow(served.url)
        states = torch.from_numpy(ROW) + torch.randn(7, 1, 4)
        policy = ServedPolicy.asked(served.url, {STATE: states})
        assert (policy.chunk, policy.action_dim) == (2, 2)
        features = agent.observer.normaliser.normalise(states[:, 0])
        expected = agent.scaling.to_data(agent.policy.act(features, True, None).action_chunk.detach())
        torch.testing.assert_close(policy.plan({STATE: states}), expected, atol=1e-3, rtol=1e-5)


def test_nobody_is_there():
    allow("ws://127.0.0.1:9")
    with pytest.raises(InputError, match="expected a policy server"):
        ServedPolicy.asked("ws://127.0.0.1:9", {STATE: torch.zeros(1, 1, 4)})


def test_latency_is_measured():
    median, most = PolicyServer(gaussian()).latency()
    assert 0 < median <= most < 1
