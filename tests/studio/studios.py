"""A studio in a process of its own, and how it is asked things without a browser."""

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

TOKEN = "a token for tests"
SECONDS = 90  # the machine may be very busy


class Served:
    """A running studio."""

    def __init__(self, port: int, out: Path, pid: int) -> None:
        self.port, self.out, self.pid = port, out, pid
        self.host = f"127.0.0.1:{port}"
        self.link = f"http://{self.host}/?token={TOKEN.replace(' ', '%20')}"

    def request(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of one request, with the token unless `authorization` says otherwise."""
        said = {
            "authorization": f"Bearer {TOKEN}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        if method != "GET":
            said.setdefault("origin", f"http://{self.host}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.putrequest(method, path, skip_host="host" in said)
            if body is not None:
                said["content-length"] = str(len(body))
            for name, value in said.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def ask(self, path: str) -> Any:
        """The JSON answer."""
        status, body, _ = self.request(path)
        assert status == 200, (status, body)
        return json.loads(body)

    @contextmanager
    def socket(self, **headers: str) -> Iterator[ClientConnection]:
        """The socket by which one drives."""
        said = {"authorization": f"Bearer {TOKEN}", **headers}
        origin = said.pop("origin", f"http://{self.host}")
        with connect(
            f"ws://{self.host}/drive", origin=origin or None, additional_headers=said, compression=None, proxy=None,
            open_timeout=SECONDS,
        ) as socket:  # fmt: skip
            yield socket


@contextmanager
def serving(out: Path, *arguments: str, loaded: bool = True) -> Iterator[Served]:
    """Start `burnish studio`, wait until PyTorch is `loaded` or only for its link, and end it as Ctrl-C does."""
    words = [sys.executable, "-m", "burnish", "studio", *arguments, "--no-browser", "--token", TOKEN, "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, stdin=subprocess.DEVNULL
    )
    assert process.stdout is not None
    said, found = [], None
    try:
        for line in process.stdout:
            said.append(line)
            found = re.search(r"studio: http://127\.0\.0\.1:(\d+)/", line) or found
            if found and loaded:
                Served(int(found[1]), out, process.pid).ask("/api/runs")  # what waits for a page goes on
            if found and (line.startswith("ready") or not loaded):
                yield Served(int(found[1]), out, process.pid)
                assert process.poll() is None, "the studio ended"
                break
        else:
            raise AssertionError("".join(said))
    finally:
        process.terminate()
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    assert "Traceback" not in rest, rest


def send(socket: ClientConnection, do: str, **more: Any) -> None:
    """One command."""
    socket.send(json.dumps({"do": do, **more}))


def unpacked(message: bytes) -> dict[str, Any]:
    """The header of a packed answer."""
    size = int.from_bytes(message[:4], "little")
    return json.loads(message[4 : 4 + size])


def until(socket: ClientConnection, happened: Any) -> dict[str, Any]:
    """The first message, or frame's header, of which `happened` is true."""
    while True:
        message = socket.recv(timeout=SECONDS)
        found = json.loads(message) if isinstance(message, str) else unpacked(message)
        if happened(found):
            return found
