"""Who may ask the server for anything: checked before bokeh sees a request.

At this machine's own addresses the name asked for must be ours (so that no foreign page reaches us
by a name that it points here); anywhere else a token is needed. Sockets come from our own pages.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

__all__ = ["HEADERS", "Access", "gate_before", "headers_for", "is_foreign", "is_loopback"]

# Sent with every answer; a page's own policy on its content replaces the one here.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_LONGEST_QUERY = 40_000
_SCRIPT = re.compile(r"/static/js/[a-z-]+(\.min)?\.js", re.ASCII)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``.

    >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Access:
    """Where the server listens, and what a request must bring.

    Attributes:
        host: the address it listens at.
        port: its port.
        token: what a visitor must know; None for loopback.
    """

    host: str
    port: int
    token: str | None = None

    @property
    def cookie(self) -> str:
        """The name of the cookie that holds the token; cookies do not tell ports apart."""
        return f"sightline-{self.port}"

    def names(self) -> frozenset[str]:
        """Return the values of the Host header under which loopback is asked."""
        hosts = {"127.0.0.1", "localhost", "[::1]", _in_address(self.host).lower()}
        return frozenset(f"{host}:{self.port}" for host in hosts)

    def origins(self) -> list[str]:
        """Return what bokeh's own check of a socket's origin lets through; ours is stricter."""
        return sorted(self.names()) if self.token is None else ["*"]

    def address(self, path: str, query: str = "") -> str:
        """Return the address of a page."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        token = "" if self.token is None else urlencode({"token": self.token})
        parts = "&".join(part for part in (token, query) if part)
        return f"http://{_in_address(host)}:{self.port}{path}" + (f"?{parts}" if parts else "")

    def refusal(self, request: Any, paths: frozenset[str]) -> tuple[int, str] | None:
        """Return the status and the words with which a request is refused; None: it may pass."""
        host = request.headers.get("Host", "").lower()
        if self.token is None and host not in self.names():
            return 403, f"this server answers at {self.address('/')} only."
        if is_foreign(request.headers):
            return 403, "this server answers its own pages only."
        if not self.knows_token(request):
            return 403, "this server needs the address that it printed when it started."
        if request.path not in paths and not _SCRIPT.fullmatch(request.path):
            return 404, "there is no such page."
        if request.method not in ("GET", "HEAD"):
            return 405, "this server is only read."
        if len(request.query) > _LONGEST_QUERY:
            return 414, "the address is too long."
        if request.path.endswith("/ws"):
            origin = request.headers.get("Origin", "").lower()
            if not host or origin not in (f"http://{host}", f"https://{host}"):
                return 403, "a socket opens from this server's own pages only."
        return None

    def knows_token(self, request: Any) -> bool:
        """Whether a request brings the token, in its address or in the cookie of a first visit."""
        if self.token is None:
            return True
        given = [value for name, value in parse_qsl(request.query) if name == "token"]
        try:
            cookies = SimpleCookie(request.headers.get("Cookie", ""))
        except CookieError:
            cookies = SimpleCookie()
        if self.cookie in cookies:
            given.append(cookies[self.cookie].value)
        right = self.token.encode()
        # Compared in a time that does not tell how much of it was right.
        return any(hmac.compare_digest(each.encode(), right) for each in given)


def is_foreign(headers: Any) -> bool:
    """Whether a browser says that another site's page asks; a link that somebody follows may.

    Each page that is asked for costs some work and one of the places for visitors, so that a
    foreign page could keep the server busy without ever reading an answer.
    """
    if headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return False
    how = headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")
    return how != ("navigate", "document")


def gate_before(application: Any, access: Access, paths: frozenset[str]) -> Any:
    """Return a router that refuses what ``access`` refuses and hands on the rest."""
    from tornado.routing import Router
    from tornado.web import Application, RequestHandler

    class Refused(RequestHandler):
        def initialize(self, *, status: int, words: str) -> None:
            self._status, self._words = status, words

        def prepare(self) -> None:
            self.set_status(self._status)
            self.set_header("Content-Type", "text/plain; charset=UTF-8")
            self.finish(f"{self._status}: {self._words}\n")

    class Admitted(RequestHandler):
        """A first visit: the token moves from the address into a cookie."""

        def prepare(self) -> None:
            # Lax: a link that somebody sent still opens; sockets are checked by their origin.
            self.set_cookie(access.cookie, access.token or "", httponly=True, samesite="Lax")
            rest = [(n, v) for n, v in parse_qsl(self.request.query) if n != "token"]
            self.redirect(self.request.path + (f"?{urlencode(rest)}" if rest else ""))

    outer = Application([], log_function=lambda handler: None)
    outer.transforms.append(headers_for())

    class Gate(Router):
        def find_handler(self, request: Any, **given: Any) -> Any:
            refusal = access.refusal(request, paths)
            if refusal is not None:
                status, words = refusal
                what = {"status": status, "words": words}
                return outer.get_handler_delegate(request, Refused, what)
            if access.token is not None and "token" in dict(parse_qsl(request.query)):
                return outer.get_handler_delegate(request, Admitted)
            return application.find_handler(request, **given)

    return Gate()


def headers_for() -> type[Any]:
    """Return tornado's kind of filter that adds HEADERS to every answer."""
    from tornado.web import OutputTransform

    class Headers(OutputTransform):
        def __init__(self, request: Any) -> None:
            super().__init__(request)
            self._static = request.path.startswith("/static/")

        def transform_first_chunk(
            self, status_code: int, headers: Any, chunk: bytes, finishing: bool
        ) -> tuple[int, Any, bytes]:
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers["Cache-Control"] = "max-age=3600" if self._static else "no-store"
            if "Server" in headers:
                del headers["Server"]
            return status_code, headers, chunk

    return Headers


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host
