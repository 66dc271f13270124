"""`sightline atlas`: a map of a mask of any size in the browser, served from this machine.

Reads the arguments, prints where to look; the pages and their server are sightline.views.atlas.
"""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Callable
from typing import Annotated, Any

import typer

from sightline.cli.asking import QOffset, expression_from
from sightline.cli.output import write_line
from sightline.cli.sizes import read_size

__all__ = ["atlas"]

_Expression = Annotated[str, typer.Argument(metavar="EXPR", help="A mask expression.")]
_Size = Annotated[
    str, typer.Option(metavar="N|QxK", help="Queries and keys, such as 4k, 1m or 16x4k.")
]
_Compare = Annotated[
    str, typer.Option(metavar="EXPR", help="A second mask: draw where the two differ.")
]
_Port = Annotated[
    int, typer.Option(min=0, max=65535, metavar="N", help="The port; 0 is any free one.")
]
_Host = Annotated[
    str,
    typer.Option(
        metavar="H", help="Where to listen; anything but this machine itself needs a token."
    ),
]
_Open = Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")]
_Lang = Annotated[str, typer.Option(metavar="en|zh", help="The language of the page.")]


def atlas(
    expression: _Expression = "causal()",
    size: _Size = "1m",
    q_offset: QOffset = 0,
    compare: _Compare = "",
    port: _Port = 5006,
    host: _Host = "127.0.0.1",
    open_page: _Open = True,
    lang: _Lang = "en",
) -> None:
    """Open a map of a mask in the browser, to zoom from the whole into single cells.

    Examples:
      sightline atlas 'causal() & documents(lengths=[300000, 700000])' --size 1m
      sightline atlas 'window(left=3)' --compare 'window(left=4)' --size 64
      sightline atlas --no-open --port 8000
    """
    from sightline.views.atlas.asked import Asked
    from sightline.views.atlas.pages import atlas_page
    from sightline.views.atlas.server import serve
    from sightline.views.playground.page import PLAYGROUND

    q_len, kv_len = read_size(size)
    asked = Asked(q_len=q_len, kv_len=kv_len, offset=q_offset)
    asked = asked.with_fields({"expr": expression, "compare": compare, "lang": lang})
    expression_from(expression, "EXPR")
    if compare:
        expression_from(compare, "--compare")
    pages = [atlas_page(asked), PLAYGROUND]
    serve(pages, host=host, port=port, ready=lambda server: _tell(server, asked.query(), open_page))


def _tell(server: Any, query: str, open_page: bool) -> None:
    """Print the address, before anything is asked of it; what is printed may be read by a pipe."""
    # A long expression stays out of the line: the page opens with it all the same.
    address = server.address("/", query if len(query) <= 2000 else "")
    write_line(f"{server.pages[0].title}: {address}")
    for page in server.pages[1:]:
        write_line(f"{page.title}: {server.address(page.path)}")
    write_line("Ctrl-C ends it.")
    sys.stdout.flush()
    if open_page:
        _open_soon(lambda: webbrowser.open(address))


def _open_soon(open_it: Callable[[], object]) -> None:
    """Open the page from another thread: a browser in a terminal would keep the server waiting."""
    from threading import Timer

    timer = Timer(0.3, open_it)
    timer.daemon = True
    timer.start()
