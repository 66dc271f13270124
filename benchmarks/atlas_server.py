"""How fast the atlas's server redraws, and what memory it holds: 50 random views of 7 masks.

Run: python benchmarks/atlas_server.py [--views 50] [--json FILE].  A real `sightline atlas` is
started; over its websocket, as a browser does, ranges are sent and cells are waited for. So a time
holds all that happens at the server: messages, the worker's look, cells back. The widest and the
deepest view are always among them. Memory is that of the server and its workers together.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import psutil
from bokeh.document import Document
from bokeh.document.events import ModelChangedEvent
from bokeh.protocol import Protocol
from bokeh.protocol.receiver import Receiver
from measure import machine
from rich.console import Console
from rich.table import Table
from tornado.httpclient import HTTPRequest
from tornado.locks import Lock
from tornado.websocket import websocket_connect

MASKS = {
    "causal": "causal()",
    "causal & documents": "causal() & documents(lengths=[300000, 20000, 500000, 100000])",
    "window | prefix": "causal() & window(left=4095) | prefix(1000)",
    "dilated": "causal() & dilated(64)",
    "strided": "strided(1024)",
    "block_causal & padding": "block_causal(4096) & padding(lengths=[900000, 1000000])",
    "random_blocks": "causal() & random_blocks(block=64, per_row=3, seed=1)",
}
LONGEST_WAIT = 30


class Browser:
    """The half of the protocol that a browser speaks."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.protocol, self.receiver = Protocol(), Receiver(Protocol())
        self.write_lock = Lock()  # bokeh's messages ask for one

    async def open(self) -> None:
        """Take the page's token, connect, and get a copy of the document."""
        with urllib.request.urlopen(self.address) as answer:
            page = answer.read().decode()
        token = re.search(r'"token":"([^"]+)"', page)
        assert token is not None
        parts = urlsplit(self.address)
        request = HTTPRequest(
            f"ws://{parts.netloc}/ws", headers={"Origin": f"http://{parts.netloc}"}
        )
        self.socket = await websocket_connect(request, subprotocols=["bokeh", token[1]])
        self.socket.protocol.set_nodelay(True)  # as browsers do
        await self.message()
        await self.protocol.create("PULL-DOC-REQ").send(self)
        reply = await self.message()
        self.document = Document()
        reply.push_to_document(self.document)

    async def write_message(self, data: Any, binary: bool = False, locked: bool = True) -> int:
        """What bokeh's messages call to be sent."""
        await self.socket.write_message(data, binary)
        return len(data)

    async def message(self) -> Any:
        """Return the next message of the server."""
        while True:
            data = await asyncio.wait_for(self.socket.read_message(), LONGEST_WAIT)
            assert data is not None, "the server has closed the connection"
            message = await self.receiver.consume(data)
            if message is not None:
                return message

    async def tell(self, changes: list[tuple[Any, str, Any]]) -> None:
        """Send new values of properties."""
        events = [ModelChangedEvent(self.document, *change) for change in changes]
        await self.protocol.create("PATCH-DOC", events).send(self)

    async def news(self, kind: str) -> dict[str, Any]:
        """Wait for news of a kind from the atlas."""
        while True:
            message = await self.message()
            for event in message.content.get("events", ()):
                new = event.get("data")
                entries = new.get("entries", ()) if isinstance(new, dict) else ()
                for name, value in entries:
                    if name != "json":
                        continue
                    news = json.loads(value[0])
                    if news["kind"] in (kind, "error"):
                        return news

    async def wish(self, **what: Any) -> None:
        """Send what the page's script would."""
        source = self.document.get_model_by_name("ask")
        await self.tell([(source, "data", {"json": [json.dumps(what)]})])

    async def show(self, top: float, bottom: float, left: float, right: float) -> None:
        """Move the map."""
        figure: Any = self.document.get_model_by_name("map")
        await self.tell(
            [
                (figure.x_range, "start", left), (figure.x_range, "end", right),
                (figure.y_range, "start", bottom), (figure.y_range, "end", top),
            ]
        )  # fmt: skip


def views(length: int, count: int) -> list[tuple[float, float, float, float]]:
    """Return squares of all sizes, half of them on the diagonal; the second is the whole."""
    random = np.random.default_rng(0)
    found = [(99.5, 107.5, 99.5, 107.5), (-0.5, length - 0.5, -0.5, length - 0.5)]
    while len(found) < count:
        side = int(2 ** random.uniform(3, np.log2(length)))
        top = int(random.integers(0, length - side + 1))
        left = top if len(found) % 2 else int(random.integers(0, length - side + 1))
        found.append((top - 0.5, top + side - 0.5, left - 0.5, left + side - 0.5))
    return found


async def measure(address: str, length: int, count: int) -> dict[str, list[float]]:
    """Return the milliseconds of every view of every mask."""
    times: dict[str, list[float]] = {}
    for name, expression in MASKS.items():
        browser = Browser(address)
        await browser.open()
        search = urlencode({"expr": expression, "size": str(length)})
        await browser.wish(do="open", search=f"?{search}", dark=False)
        first = await browser.news("drawn")
        assert first["kind"] == "drawn", first
        await browser.news("facts")  # busy
        times[name] = []
        for place in views(length, count):
            started = time.perf_counter()
            await browser.show(*place)
            news = await browser.news("drawn")
            assert news["kind"] == "drawn", news
            times[name].append((time.perf_counter() - started) * 1e3)
            await asyncio.sleep(0.02)
        browser.socket.close()
    return times


def memory(process: psutil.Process) -> dict[str, float]:
    """Return MiB of the server and of its workers."""
    workers = process.children(recursive=True)
    each = [process.memory_info().rss, sum(worker.memory_info().rss for worker in workers)]
    return dict(zip(("server", "workers"), (size / 2**20 for size in each), strict=True))


def run(count: int) -> dict[str, Any]:
    """Start a server, look at everything, and end it."""
    words = [sys.executable, "-m", "sightline", "atlas", "--no-open", "--port", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split(": ")[1].split("?")[0].strip()
        found: dict[str, Any] = {"machine": machine(), "views": count, "sizes": {}}
        for label, length in (("1m", 1 << 20), ("64m", 1 << 26)):
            times = asyncio.run(measure(address, length, count))
            found["sizes"][label] = {
                name: {"median": statistics.median(took), "worst": max(took)}
                for name, took in times.items()
            }
            every = [one for took in times.values() for one in took]
            found["sizes"][label]["all"] = {
                "median": statistics.median(every), "worst": max(every),
            }  # fmt: skip
            found[f"memory_{label}"] = memory(psutil.Process(process.pid))
        return found
    finally:
        process.terminate()
        process.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=int, default=50)
    parser.add_argument("--json", metavar="FILE")
    asked = parser.parse_args()
    found = run(asked.views)
    table = Table(title=f"a redraw at the server, {found['views']} views a mask, milliseconds")
    for column in ("mask", "1m median", "1m worst", "64m median", "64m worst"):
        table.add_column(column, justify="left" if column == "mask" else "right")
    for name in (*MASKS, "all"):
        both = [found["sizes"][label][name] for label in ("1m", "64m")]
        table.add_row(name, *(f"{one[what]:.0f}" for one in both for what in ("median", "worst")))
    console = Console(width=100)
    console.print(table)
    for label in ("1m", "64m"):
        held = found[f"memory_{label}"]
        total = sum(held.values())
        console.print(
            f"memory after {label}: {total:.0f} MiB (server {held['server']:.0f}, "
            f"workers {held['workers']:.0f})"
        )
    if asked.json:
        with open(asked.json, "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump(found, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
