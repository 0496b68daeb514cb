"""Who may ask: only who has the token, from the studio's own page, under a name that no stranger can take."""

import hmac
import ipaddress
import secrets
import socket
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from burnish.errors import InputError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
LEAST = 12
"""Letters of a token that somebody chose."""
OPEN_PATHS = ("/healthz",)
PAGE = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
FOREIGN = {
    **PAGE,
    # A report comes from a run folder, and anybody may have written it: nothing in it runs, and it reaches nothing.
    "content-security-policy": (
        "sandbox allow-same-origin; default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"
    ),
}


def chosen_token(host: str, token: str | None) -> str:
    """The token of this studio: a fresh one, or the one that was given.

    Raises:
        InputError: other machines may come and no token was chosen, or it is too short.
    """
    if token is None and host not in LOOPBACK:
        raise InputError(
            f"--host {host} lets other machines in: choose a secret with --token (at least {LEAST} letters)"
        )
    if token is not None and (len(token) < LEAST or not token.isascii() or not token.isprintable()):
        raise InputError(f"--token is too short or has odd letters, expected at least {LEAST}")
    return token or secrets.token_urlsafe(18)


class Guard:
    """An ASGI application around another one: what is not allowed does not reach it.

    - The Host must be this machine by address, `localhost` or the name that was given: under a name of a stranger's,
      which he may point here, his page would be of the same origin.
    - Where a browser says which page asks (Origin), it must be the studio's own; websockets and whatever changes
      something must say so.
    - The token must be there: as a cookie, as `Authorization: Bearer`, or (once, at `/`) as a query.
    """

    def __init__(self, app: Any, token: str, host: str, port: int) -> None:
        self.app, self.token, self.host, self.cookie = app, token, host, f"burnish-studio-{port}"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin1"): value.decode("latin1") for name, value in scope["headers"]}
        status, text = self._refusal(scope, headers)
        if not status:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": text})
        else:
            plain = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            plain += [(name.encode(), value.encode()) for name, value in PAGE.items()]
            await send({"type": "http.response.start", "status": status, "headers": plain})
            await send({"type": "http.response.body", "body": text.encode()})

    def _refusal(self, scope: Any, headers: dict[str, str]) -> tuple[int, str]:
        host = headers.get("host", "")
        if not self._is_ours(host):
            return 421, "this address is not the studio's"
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if (origin is not None or changes) and origin not in (f"http://{host}", f"https://{host}"):
            return 403, "another page asks: refused"
        if scope["path"] in OPEN_PATHS or self._has_token(scope, headers):
            return 0, ""
        return 401, "open the studio by the link that it printed: the token is missing"

    def _is_ours(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        name = name.strip("[]").lower()
        if name in LOOPBACK or name == self.host.lower():
            return True
        if self.host in LOOPBACK:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name == socket.gethostname().lower()
        return True

    def _has_token(self, scope: Any, headers: dict[str, str]) -> bool:
        said = [headers.get("authorization", "").removeprefix("Bearer ")]
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
            said += [cookie.value] if cookie is not None else []
        except CookieError:
            pass
        if scope["type"] == "http" and scope["path"] == "/":
            said += parse_qs(scope["query_string"].decode("latin1")).get("token", [])
        return any(hmac.compare_digest(each.encode(), self.token.encode()) for each in said)
