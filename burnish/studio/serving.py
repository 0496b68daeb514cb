"""The command `burnish studio`: a port, the engine, a browser, and the end of all of them."""

import contextlib
import os
import socket
import sys
import threading
import webbrowser
from pathlib import Path

from burnish.errors import InputError
from burnish.options import StudioOptions
from burnish.studio.folders import Folders

try:
    import uvicorn
except ImportError as error:
    raise InputError(f"the studio needs the extra 'studio' (starlette, uvicorn, websockets): {error}") from error


def serve(paths: tuple[Path, ...], options: StudioOptions) -> None:
    """Serve until the process is told to end.

    Args:
        paths: run folders, or folders with runs below them.
        options: what else is shown, and to whom.

    Raises:
        InputError: a path or the address is wrong, or the token is missing.
    """
    from burnish.studio.engine import Engine
    from burnish.studio.listing import Listing
    from burnish.studio.protocol import LARGEST
    from burnish.studio.security import Guard, chosen_token
    from burnish.studio.server import Studio

    token = chosen_token(options.host, options.token)
    folders = Folders(paths)
    for path in (*options.dataset, *([options.drive] if options.drive else [])):
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
    listing = Listing(folders)
    engine = Engine(folders, options.out.absolute(), options.threads, options.drive)
    with contextlib.closing(_bound(options.host, options.port)) as listening:
        port = listening.getsockname()[1]
        named = f"[{options.host}]" if ":" in options.host else options.host
        link = f"http://{named}:{port}/?token={token}"
        first = _first(folders, options.drive is not None)
        view = "" if first is None else f"drive?run={first}" + ("&replay=1" if options.drive else "")
        studio = Studio(engine, listing, options.dataset, view)
        guarded = Guard(studio.application(f"burnish-studio-{port}", token), token, options.host, port)
        server = uvicorn.Server(
            uvicorn.Config(
                guarded,
                log_level="warning",
                ws="websockets-sansio",
                ws_max_size=LARGEST,
                ws_per_message_deflate=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=2,
            )
        )

        # Whoever comes now is answered as soon as the server runs, which is sooner than a browser is there.
        print(f"studio: {link}", flush=True)
        if options.browser and _has_screen():
            threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()
        look = listing.rows if first is None else lambda: engine.glimpses.of(folders.run(first))
        engine.start(first, _say_ready, look)
        try:
            # Ctrl-C is how it is meant to end.
            with contextlib.suppress(KeyboardInterrupt):
                server.run(sockets=[listening])
        finally:
            engine.stop()


def _say_ready() -> None:
    with contextlib.suppress(OSError):  # nobody may be reading any more
        print("ready", flush=True)


def _first(folders: Folders, again: bool) -> str | None:
    """The run that is opened at once: the only finished one.

    Raises:
        InputError: a drive is to be driven again, and it is not said in which run.
    """
    runs = folders.runs()
    key, path = next(iter(runs.items()), ("", Path()))
    if len(runs) == 1 and ((path / "report.json").is_file() or again):
        return key
    if again:
        raise InputError(
            f"--drive needs the run that it was driven in, found {len(runs)} runs: burnish studio RUN --drive"
        )
    return None


def _has_screen() -> bool:
    """Without one, a browser of the terminal would take it over."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise InputError(f"{host}:{port}: {error}; choose another --port or --host") from error
    return listening
