"""The studio's server: its page, small questions about runs and data, and the socket by which one drives."""

import asyncio
import contextlib
import functools
import json
from collections.abc import Awaitable, Callable
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from burnish.errors import BurnishError, InputError
from burnish.studio.engine import Engine, Viewer
from burnish.studio.folders import SERVED, served_file
from burnish.studio.listing import Listing
from burnish.studio.plain import read_plain
from burnish.studio.protocol import read_command
from burnish.studio.security import FOREIGN, PAGE

BODY = 2 * 2**20
"""Bytes of a request: labels of some ten thousand episodes."""
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PATIENCE = 50
"""Messages without sense after which a page is shown the door."""
_STARTS = 64

Handler = Callable[[Request], Awaitable[Response]]


class Studio:
    """The application; `engine` does whatever takes PyTorch or reads data.

    Args:
        engine: already knows the folders.
        listing: the table of runs.
        data: data sets to look at beside those of the runs.
        view: what the page shows first, as its address says it after `#`.
    """

    def __init__(self, engine: Engine, listing: Listing, data: tuple[Path, ...], view: str) -> None:
        self.engine, self.listing, self._given = engine, listing, data
        self._static = {each.name: each.read_bytes() for each in (files("burnish.studio") / "static").iterdir()}
        self._view = view
        self._index = self._static["index.html"].replace(b"{view}", escape(view).encode())
        self._sets: Any = None

    def application(self, cookie: str, token: str) -> Starlette:
        """All routes; `cookie` is set to `token` where the page is asked for with it."""
        run, data = "/api/runs/{run}", "/api/sets/{data}"
        return Starlette(
            routes=[
                Route("/", functools.partial(self._page, cookie, token)),
                Route("/static/{name}", self._file),
                Route("/healthz", self._health),
                Route("/runs/{run}/{name}", _told(self._report)),
                Route("/api/runs", _told(self._runs)),
                Route(run, _told(self._run)),
                Route(run + "/outcomes", _told(self._outcomes)),
                Route(run + "/episode", _told(self._episode)),
                Route(run + "/glimpse", _told(self._glimpse)),
                Route(run + "/starts", _told(self._starts)),
                Route(run + "/states", _told(self._states)),
                Route("/api/sets", _told(self._listed)),
                Route(data, _told(self._summary)),
                Route(data + "/episodes/{number:int}", _told(self._numbers)),
                Route(data + "/episodes/{number:int}/{frame:int}", _told(self._picture)),
                Route(data + "/labels/{name}", _told(self._labels), methods=["GET", "POST"]),
                WebSocketRoute("/drive", self._drive),
            ]
        )

    # The page.

    async def _page(self, cookie: str, token: str, request: Request) -> Response:
        response = Response(self._index, media_type="text/html", headers=PAGE)
        if "token" in request.query_params:
            response.set_cookie(cookie, token, httponly=True, samesite="strict", path="/")
        return response

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._static:
            return Response("there is no such file", 404, headers=PAGE)
        kind = _KINDS.get(Path(name).suffix, "application/octet-stream")
        return Response(self._static[name], media_type=kind, headers=PAGE)

    async def _health(self, request: Request) -> Response:
        engine = self.engine
        return _json(
            {"ready": engine.ready, "doing": engine.doing, "error": engine.error}, 200 if engine.ready else 503
        )

    # Runs.

    async def _runs(self, request: Request) -> Response:
        rows = await run_in_threadpool(self.listing.rows)
        if not self._view:  # else it shows a start first
            self.engine.shown.set()
        return _json({"runs": rows, "folders": [str(path) for path in self.listing.folders.given]})

    async def _run(self, request: Request) -> Response:
        path = self._path(request)
        report = await run_in_threadpool(lambda: read_plain(path / "report.json"))
        settings = await self.engine.call(lambda: _settings(path))
        return _json({"report": report, "settings": settings, "folder": str(path)})

    async def _report(self, request: Request) -> Response:
        name = request.path_params["name"]
        content = await run_in_threadpool(served_file, self._path(request), name)
        return Response(content, media_type=SERVED[name], headers=FOREIGN)

    async def _outcomes(self, request: Request) -> Response:
        path = self._path(request)

        def look() -> Any:
            from burnish.studio.episodes import table_of

            return table_of(path)

        return _json(await self.engine.call(look))

    async def _episode(self, request: Request) -> Response:
        key, asked = request.path_params["run"], request.query_params
        policy, seed, camera = asked.get("policy", ""), _whole(asked.get("seed")), asked.get("camera") == "1"

        def play() -> bytes:
            from burnish.studio.episodes import played_again

            return played_again(self.engine.opened(key), policy, seed, camera)

        return Response(await self.engine.call(play), media_type="application/octet-stream", headers=PAGE)

    async def _glimpse(self, request: Request) -> Response:
        try:
            found = await run_in_threadpool(self.engine.glimpses.of, self._path(request))
        finally:
            self.engine.shown.set()
        return Response(found, media_type="application/octet-stream", headers=PAGE)

    async def _starts(self, request: Request) -> Response:
        key = request.path_params["run"]
        frames = [_whole(each) for each in request.query_params.get("frames", "").split(",")[:_STARTS]]

        def look() -> bytes:
            from burnish.studio.starts import starts_of

            return starts_of(self.engine.opened(key), frames)

        return Response(await self.engine.call(look), media_type="application/octet-stream", headers=PAGE)

    async def _states(self, request: Request) -> Response:
        key = request.path_params["run"]
        return _json(await self.engine.call(lambda: self.engine.opened(key).states()))

    # Data.

    async def _listed(self, request: Request) -> Response:
        run = request.query_params.get("run")
        return _json({"sets": await self._of_data(lambda data: data.listed(run))})

    async def _summary(self, request: Request) -> Response:
        key = request.path_params["data"]
        return _json(await self._of_data(lambda data: data.summary(key)))

    async def _numbers(self, request: Request) -> Response:
        key, number = request.path_params["data"], request.path_params["number"]
        return _json(await self._of_data(lambda data: data.episode(key, number)))

    async def _picture(self, request: Request) -> Response:
        asked, camera = request.path_params, request.query_params.get("camera", "")
        content, kind = await self._of_data(
            lambda data: data.picture(asked["data"], asked["number"], asked["frame"], camera)
        )
        return Response(content, media_type=kind, headers=PAGE)

    async def _labels(self, request: Request) -> Response:
        key, name = request.path_params["data"], request.path_params["name"]
        if request.method == "GET":
            return _json(await self._of_data(lambda data: data.labels(key, name)))
        body = await _body(request)
        return _json(await self._of_data(lambda data: data.save_labels(key, name, body)))

    async def _of_data(self, look: Callable[[Any], Any]) -> Any:
        def job() -> Any:
            if self._sets is None:
                from burnish.studio.datasets import DataSets

                self._sets = DataSets(self._given, self.listing.folders, self.engine.out)
            return look(self._sets)

        return await self.engine.call(job)

    # Driving.

    async def _drive(self, socket: WebSocket) -> None:
        await socket.accept()
        viewer = Viewer()
        self.engine.join(viewer)
        sending = asyncio.create_task(_send(socket, viewer))
        nonsense = 0
        try:
            while nonsense < _PATIENCE:
                message = await socket.receive()
                if message["type"] != "websocket.receive":
                    break
                try:
                    self.engine.command(viewer, read_command(message.get("text")))
                except InputError as error:
                    nonsense += 1
                    viewer.tell({"type": "error", "do": "?", "text": str(error)})
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            self.engine.leave(viewer)
            sending.cancel()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await socket.close(1008)

    def _path(self, request: Request) -> Path:
        return self.listing.folders.run(request.path_params["run"])


async def _send(socket: WebSocket, viewer: Viewer) -> None:
    """The newest frame, whenever the last one is on its way, and everything that is told."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
        while True:
            told, frame = await viewer.next()
            for each in told:
                await socket.send_text(json.dumps(each, allow_nan=False))
            if frame is not None:
                await socket.send_bytes(frame)


def _told(handler: Handler) -> Handler:
    """A handler whose errors for people become an answer."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except BurnishError as error:
            return _json({"error": str(error)}, 404 if request.method == "GET" else 400)
        except asyncio.CancelledError:  # the server was told to end while the engine was at work
            return _json({"error": "the studio ends"}, 503)

    return answer


def _json(content: Any, status: int = 200) -> Response:
    return JSONResponse(content, status, headers=PAGE)


async def _body(request: Request) -> bytes:
    """A request's body; InputError where it is too large, before it is all there."""
    found = b""
    async for part in request.stream():
        found += part
        if len(found) > BODY:
            raise InputError(f"more than {BODY} bytes were sent")
    return found


def _settings(run: Path) -> dict[str, Any]:
    """A run's settings, flat, for comparison; as text."""
    from burnish.pipeline.run_folder import read_settings

    flat: dict[str, Any] = {}

    def visit(prefix: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for name, each in value.items():
                visit(f"{prefix}.{name}" if prefix else str(name), each)
        else:
            flat[prefix] = value if isinstance(value, str) else json.dumps(value, default=str)

    visit("", read_settings(run)["config"])
    return flat


def _whole(text: str | None) -> int:
    if text is None or not text.isdecimal() or len(text) > 15:
        raise InputError("expected a whole number")
    return int(text)
