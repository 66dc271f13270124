"""The server of the pages: bokeh's, behind a gate that says who may ask it for what.

What a page shows is its function's matter (``pages.py`` of the atlas, of the playground); who may
see it is ``gate.py``'s. The browser gets all of its JavaScript from here, none from elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sightline.errors import InvalidArgument, MissingExtra
from sightline.views.atlas.gate import Access, gate_before, headers_for, is_loopback

__all__ = ["DEFAULT_PORT", "ServedPage", "Server", "serve"]

DEFAULT_PORT = 5006
# A visitor is one open page; each has a document of its own here.
MOST_VISITORS = 32
# What a browser may send at once; an expression is shorter.
_LONGEST_MESSAGE = 1 << 18
# A closed page is forgotten after that; a fresh one must open its socket before.
_UNUSED_MS = 10_000


@dataclass(frozen=True)
class ServedPage:
    """One page of the server.

    Attributes:
        path: where it stands, ``/`` or ``/playground``.
        title: what links to it say, in English.
        build: fills the bokeh document of one visitor; runs on the server's thread, so it must
            return at once and hand longer work to another process or thread.
        title_zh: the same in Chinese.
        components: the parts of BokehJS that it needs, ``bokeh`` and perhaps ``bokeh-widgets``.
        close: is called once when the server stops.
    """

    path: str
    title: str
    build: Callable[[Any], None]
    title_zh: str = ""
    components: tuple[str, ...] = ("bokeh",)
    close: Callable[[], object] | None = None


class Server:
    """Pages at an address; the port is taken when this is made, answers come while it runs.

    Args:
        pages: the pages; each path once.
        host: the address to listen at. Anything but this machine's own (loopback) needs a token,
            which ``address`` then holds.
        port: 0 for any that is free.

    Raises:
        InvalidArgument: a host or port that cannot be had.
        MissingExtra: bokeh is not installed.
    """

    def __init__(
        self, pages: Sequence[ServedPage], *, host: str = "127.0.0.1", port: int = DEFAULT_PORT
    ) -> None:
        _require_bokeh()
        if len({page.path for page in pages}) < len(pages):
            raise InvalidArgument("two pages stand at the same path; give each its own.")
        self.pages = tuple(pages)
        self._socket = _listen(host, port)
        self.port = int(self._socket.getsockname()[1])
        token = None if is_loopback(host) else secrets.token_urlsafe(24)
        self.access = Access(host=host, port=self.port, token=token)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._running = threading.Event()

    def address(self, path: str = "/", query: str = "") -> str:
        """Return where a page is to be seen, with the token where one is needed."""
        return self.access.address(path, query)

    def run(self) -> None:
        """Answer until ``stop`` is called, or the process is interrupted or asked to end."""
        try:
            asyncio.run(self._serve())
        except KeyboardInterrupt:  # where signals cannot be handled, as on Windows
            return
        finally:
            self._running.clear()
            self._loop = None
            for page in self.pages:
                if page.close is not None:
                    page.close()

    def wait_until_running(self, seconds: float = 10) -> bool:
        """Wait until it answers (it runs in another thread); whether it does."""
        return self._running.wait(seconds)

    def stop(self) -> None:
        """Make ``run`` return; from any thread."""
        loop, stopping = self._loop, self._stopping
        if loop is not None and stopping is not None:
            loop.call_soon_threadsafe(stopping.set)

    async def _serve(self) -> None:
        from tornado.httpserver import HTTPServer
        from tornado.ioloop import IOLoop

        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        _on_signals(self._loop, self._stopping.set)
        application = _application(self.pages, self.access)
        application.initialize(IOLoop.current())
        # Nothing is ever sent here but questions: no body is waited for, or kept.
        http = HTTPServer(
            gate_before(application, self.access, _paths(self.pages)),
            max_body_size=0,
            max_header_size=1 << 16,
            idle_connection_timeout=120,
        )
        http.add_socket(self._socket)
        application.start()
        self._running.set()
        try:
            await self._stopping.wait()
        finally:
            http.stop()
            application.stop(wait=False)
            await http.close_all_connections()


def serve(
    pages: Sequence[ServedPage],
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    ready: Callable[[Server], object] | None = None,
) -> None:
    """Serve ``pages`` until the process is interrupted.

    ``ready`` is called with the server once its address is known.

    Raises:
        InvalidArgument: a host or port that cannot be had.
        MissingExtra: bokeh is not installed.
    """
    server = Server(pages, host=host, port=port)
    if ready is not None:
        ready(server)
    server.run()


def _require_bokeh() -> None:
    try:
        import bokeh
        import tornado

        _ = bokeh, tornado
    except ImportError as error:
        raise MissingExtra(what="the atlas", package="bokeh", extra="views") from error


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there, the host's first address."""
    if not 0 <= port < 1 << 16:
        raise InvalidArgument(f"port {port} is none; give one of 1-65535, or 0 for any free one.")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # a port that was just given up may be taken at once
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setblocking(False)
            listening.bind(address)
            listening.listen(128)
        except BaseException:
            listening.close()
            raise
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidArgument(
            f"cannot listen at {host}, port {port}: {reason}. "
            "Give another port (0 is any free one) or host."
        ) from error
    return listening


def _on_signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    """Stop in order when interrupted; signals belong to the main thread, and not to Windows."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:
            return


def _paths(pages: Sequence[ServedPage]) -> frozenset[str]:
    """Return what may be asked for beside static files: each page, and its socket."""
    stems = [page.path.rstrip("/") for page in pages]
    return frozenset(path for stem in stems for path in (stem or "/", f"{stem}/", f"{stem}/ws"))


def _application(pages: Sequence[ServedPage], access: Access) -> Any:
    """Return bokeh's application, its handler of pages replaced by one that is stricter."""
    from bokeh.application import Application
    from bokeh.application.handlers.function import FunctionHandler
    from bokeh.server.tornado import BokehTornado

    application = BokehTornado(
        {
            page.path: Application(FunctionHandler(page.build, trap_exceptions=False))
            for page in pages
        },
        extra_websocket_origins=access.origins(),
        # Only we make sessions: nobody can open one under a name of his own.
        sign_sessions=True,
        secret_key=secrets.token_bytes(32),
        websocket_max_message_size_bytes=_LONGEST_MESSAGE,
        unused_session_lifetime_milliseconds=_UNUSED_MS,
        check_unused_sessions_milliseconds=_UNUSED_MS // 3,
        use_index=False,
        redirect_root=False,
        include_headers=[],
        include_cookies=[],
        log_function=lambda handler: None,
    )
    application.transforms.append(headers_for())
    shown, heard = _page_handler(), _socket_handler()
    for page in pages:
        stem = page.path.rstrip("/")
        given = {
            "application_context": application.applications[page.path],
            "bokeh_websocket_path": f"{stem}/ws",
        }
        more = {"page": page, "pages": pages}
        handlers = [(f"{stem}/?", shown, {**given, **more}), (f"{stem}/ws", heard, given)]
        application.add_handlers(".*", handlers)
    return application


def _socket_handler() -> type[Any]:
    """Return the handler of a page's socket: bokeh's, which sends each frame at once."""
    from bokeh.server.views.ws import WSHandler

    class SocketHandler(WSHandler):
        def open(self) -> None:
            # A message is several frames; each would wait (40 ms) until the last one was received.
            self.set_nodelay(True)
            super().open()

    return SocketHandler


def _page_handler() -> type[Any]:
    """Return the handler of a page's HTML; a class made here, since bokeh is imported late."""
    from bokeh.embed.server import server_html_page_for_session
    from bokeh.server.views.doc_handler import DocHandler
    from tornado.web import HTTPError

    class PageHandler(DocHandler):
        """One visit: a session of its own, and scripts that only this answer's nonce allows."""

        def initialize(
            self, *, page: ServedPage, pages: Sequence[ServedPage], **given: Any
        ) -> None:
            super().initialize(**given)
            self._page, self._pages = page, pages

        async def get(self, *_args: Any, **_named: Any) -> None:
            this: Any = self  # bokeh says of a session that it may be None; here it never is
            contexts = this.application.applications.values()
            if sum(len(list(context.sessions)) for context in contexts) >= MOST_VISITORS:
                raise HTTPError(503, reason=f"more than {MOST_VISITORS} pages are open; close some")
            # Of the address a page needs its language here; the rest its script sends later.
            kept = {k: v for k, v in this.request.arguments.items() if k == "lang"}
            this.request.arguments = this.request.query_arguments = kept
            session = await this.get_session()
            resources = this.application.resources()
            resources.components = list(self._page.components)
            nonce = secrets.token_urlsafe(16)
            document = session.document
            template: Any = _Allowed(document.template, nonce, self._pages)
            self.set_header("Content-Type", "text/html; charset=UTF-8")
            self.set_header("Content-Security-Policy", page_policy(nonce))
            self.write(
                server_html_page_for_session(
                    session,
                    resources=resources,
                    title=document.title,
                    template=template,
                    template_variables=document.template_variables,
                )
            )

    return PageHandler


def page_policy(nonce: str) -> str:
    """Return the content security policy of a page: this server's own, and this answer's scripts.

    BokehJS puts style sheets into its elements, so styles may stand in the page.
    """
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class _Allowed:
    """A page's template; the scripts that bokeh writes into it get the nonce.

    The page's own scripts take it as ``{{ nonce }}``; ``pages`` holds all pages for links.
    """

    def __init__(self, template: Any, nonce: str, pages: Sequence[ServedPage]) -> None:
        self._template, self._nonce, self._pages = template, nonce, pages

    def render(self, context: dict[str, Any]) -> str:
        allowed = {
            name: context[name].replace("<script", f'<script nonce="{self._nonce}"')
            for name in ("bokeh_js", "plot_script")
        }
        more = {"nonce": self._nonce, "pages": self._pages}
        return self._template.render({**context, **allowed, **more})
