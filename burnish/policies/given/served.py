"""A policy that another process serves over a websocket, by openpi's protocol."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from burnish.components import check_allowed
from burnish.errors import InputError, RunError
from burnish.policies.given.base import Given
from burnish.policies.given.function import as_chunks
from burnish.policies.given.wire import library, pack, unpack

ACTIONS = "actions"
"""Where answers hold (T, A)."""
BATCHED = "batched"
"""In a server's metadata: it takes (B, D) for every observation, too, and answers (B, T, A)."""
_OPEN: dict[str, "_Connection"] = {}


class ServedPolicy(Given):
    """Asks `ws://HOST:PORT` for each decision; the server must decide from the observation alone.

    Args:
        url: of the server.
        action_dim: A.
        chunk: the actions of one decision.
    """

    inputs, frames, learns = None, 1, False

    def __init__(self, url: str, action_dim: int, chunk: int) -> None:
        super().__init__()
        self.url, self.action_dim, self.chunk = url, action_dim, chunk

    @classmethod
    def asked(cls, url: str, observation: Mapping[str, Tensor]) -> "ServedPolicy":
        """With the sizes of what it answers to `observation` (B, 1, …)."""
        found = connection(url).decide(observation)
        return cls(url, found.shape[2], found.shape[1])

    def plan(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "B T_a A"]:
        """What the server answers."""
        found = connection(self.url).decide(observation)
        if tuple(found.shape[1:]) != (self.chunk, self.action_dim):
            shape = tuple(found.shape[1:])
            raise InputError(
                f"{self.url}: found actions {shape}, expected {(self.chunk, self.action_dim)}, as at first"
            )
        return found.to(next(iter(observation.values())).device)


class _Connection:
    """One websocket; a broken one is opened again, once a decision."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._open()

    def decide(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "B T A"]:
        """Actions in the server's units, for the newest of each observation (B, frames, …)."""
        batch = {key: values[:, -1].detach().cpu().numpy() for key, values in observation.items()}
        rows = len(next(iter(batch.values())))
        if self.metadata.get(BATCHED):
            return as_chunks(self._ask(batch), rows, self.url)
        return as_chunks([self._ask({k: v[row] for k, v in batch.items()}) for row in range(rows)], rows, self.url)

    def _open(self) -> None:
        client = library("websockets.sync.client")
        try:
            self.socket = client.connect(self.url, compression=None, max_size=None)
            said = unpack(self.socket.recv())
        except (OSError, library("websockets.exceptions").WebSocketException) as error:
            raise InputError(f"{self.url}: {error}; expected a policy server (burnish serve, or openpi's)") from error
        self.metadata: Mapping[str, Any] = said if isinstance(said, dict) else {}

    def _ask(self, observation: Mapping[str, np.ndarray]) -> Any:
        closed = library("websockets.exceptions").ConnectionClosed
        try:
            answer = self._answer(observation)
        except closed:
            self._open()
            try:
                answer = self._answer(observation)
            except closed as error:
                raise RunError(f"{self.url}: the policy server closed the connection: {error}") from error
        if isinstance(answer, str):
            raise InputError(f"{self.url}: the policy server says: {answer.strip().splitlines()[-1]}")
        found = unpack(answer)
        if not isinstance(found, dict) or ACTIONS not in found:
            raise InputError(f"{self.url}: found an answer without '{ACTIONS}', expected them")
        return found[ACTIONS]

    def _answer(self, observation: Mapping[str, np.ndarray]) -> str | bytes:
        self.socket.send(pack(dict(observation)))
        return self.socket.recv()


def connection(url: str) -> _Connection:
    """The open connection to a server; InputError where nobody allowed it, or nobody is there."""
    check_allowed(url)
    if url not in _OPEN:
        _OPEN[url] = _Connection(url)
    return _OPEN[url]
