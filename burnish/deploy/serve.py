"""A policy over a websocket, by openpi's protocol: an observation in, actions out, each one message."""

import asyncio
import contextlib
import http
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from burnish.data import is_image_key
from burnish.deploy.outside import frames_alone
from burnish.errors import InputError
from burnish.policies import Agent, RobotPolicy
from burnish.policies.given.served import ACTIONS, BATCHED
from burnish.policies.given.wire import library, pack, unpack

RESET = "reset"
"""In a request, true: an episode begins with it, as with every connection."""
LARGEST = 64 * 2**20
"""Bytes of a request."""
_WARM_UP, _MEASURED = 20, 200


class PolicyServer:
    """Serves a policy to any number of connections.

    A policy that decides from the present observation alone answers its whole chunk, (T_a, A), and takes batches of
    observations, (B, D), too. Any other one has a memory for each connection, wants every observation, and answers one
    action at a time, (1, A); a request may hold `reset`.
    """

    def __init__(self, agent: Agent) -> None:
        # What is relative to the state at its own frame cannot be answered before that frame is seen.
        relative = agent.scaling is not None and bool(agent.scaling.relative_to)
        self.agent, self.remembers = agent.eval(), frames_alone(agent) != 1 or relative
        self.metadata = {
            "task": agent.task,
            "observations": {key: list(shape) for key, shape in RobotPolicy(agent).observation_shapes.items()},
            "action_dim": agent.policy.action_dim,
            "chunk": 1 if self.remembers else agent.policy.config.chunk,
            BATCHED: not self.remembers,
        }

    def memory(self) -> RobotPolicy:
        """The policy with a memory of its own and the same weights."""
        return RobotPolicy(self.agent.with_policy(self.agent.policy))

    def infer(self, memory: RobotPolicy, request: Any) -> dict[str, Any]:
        """The answer to one request; InputError where it is no observation."""
        if not isinstance(request, dict):
            raise InputError(f"a request: found a {type(request).__name__}, expected a dict of observations")
        if request.pop(RESET, False):
            memory.reset()
        if self.remembers:
            return {ACTIONS: memory.act(request)[None]}
        observation, single = memory.checked(request)
        agent, rows = memory.agent, len(next(iter(observation.values())))
        with torch.no_grad():
            state = agent.observer.observe(agent.observer.initial(rows), None, observation)
            chunk = agent.decide(state, True, None)
        chunk = chunk if agent.scaling is None else agent.scaling.to_data(chunk)
        return {ACTIONS: chunk[0].numpy() if single else chunk.numpy()}

    def latency(self) -> tuple[float, float]:
        """Seconds of a decision on this machine: the median, and what 99 of 100 stay below."""
        memory, took = self.memory(), []
        request = {
            key: np.zeros(shape, np.uint8 if is_image_key(key) else np.float32)
            for key, shape in memory.observation_shapes.items()
        }
        for number in range(_WARM_UP + _MEASURED):
            began = time.perf_counter()
            pack(self.infer(memory, unpack(pack({**request, RESET: True}))))
            if number >= _WARM_UP:
                took.append(time.perf_counter() - began)
        return float(np.median(took)), float(np.quantile(took, 0.99))

    async def run(self, host: str, port: int, ready: Callable[[int], None] | None = None) -> None:
        """Serve until the process is told to end (SIGINT, SIGTERM); `ready` gets the port once it is open."""
        serve, ended = library("websockets.asyncio.server").serve, asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            # Not outside of the main thread, and not on every system: there who started it ends it.
            with contextlib.suppress(NotImplementedError, RuntimeError):
                loop.add_signal_handler(number, ended.set)
        try:
            async with serve(
                self._talk, host, port, compression=None, max_size=LARGEST, process_request=_health
            ) as server:
                if ready is not None:
                    ready(server.sockets[0].getsockname()[1])
                await ended.wait()
        except OSError as error:
            raise InputError(f"{host}:{port}: {error}; choose another --port or --host") from error

    async def _talk(self, socket: Any) -> None:
        """One connection: the metadata, then an answer to each request; an error's text and the end."""
        closed = library("websockets.exceptions").ConnectionClosed
        memory, total = self.memory(), None
        try:
            await socket.send(pack(self.metadata))
            while True:
                request = await socket.recv()
                began = time.perf_counter()
                try:
                    answer = self.infer(memory, unpack(request) if isinstance(request, bytes) else request)
                except InputError as error:
                    await socket.send(str(error))
                    await socket.close(code=1011, reason="the previous message says why")
                    return
                timing = {"infer_ms": 1000 * (time.perf_counter() - began)}
                if total is not None:
                    timing["prev_total_ms"] = 1000 * total
                await socket.send(pack({**answer, "server_timing": timing}))
                total = time.perf_counter() - began
        except closed:
            return


def _health(connection: Any, request: Any) -> Any:
    """`/healthz`, as openpi's server has it."""
    return connection.respond(http.HTTPStatus.OK, "OK\n") if request.path == "/healthz" else None
