"""The server of the atlas: who may ask it, its headers, and limits that hold for expressions."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.errors import InvalidArgument
from sightline.views.atlas.gate import HEADERS, Access

pytest.importorskip("bokeh")

from sightline.views.atlas import server as server_module
from sightline.views.atlas.asked import LONGEST_EXPRESSION, Asked, read_query
from sightline.views.atlas.desk import Desk, Newest
from sightline.views.atlas.office import Office
from sightline.views.atlas.pages import atlas_page
from sightline.views.atlas.server import ServedPage, Server
from sightline.views.atlas.visit import Visit

Answer = tuple[int, dict[str, str], str]

SOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "bokeh, nothing",
}


@pytest.fixture
def served() -> Iterator[Callable[..., Server]]:
    started: list[tuple[Server, threading.Thread]] = []

    def start(host: str = "127.0.0.1", pages: list[ServedPage] | None = None) -> Server:
        server = Server(pages or [atlas_page(Asked())], host=host, port=0)
        thread = threading.Thread(target=server.run)
        thread.start()
        started.append((server, thread))
        assert server.wait_until_running()
        return server

    yield start
    for server, thread in started:
        server.stop()
        thread.join(10)
        assert not thread.is_alive()


def get(server: Server, path: str = "/", method: str = "GET", **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, headers=sent)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        body = b"" if answer.status == 101 else answer.read()
        return answer.status, found, body.decode("utf-8", "replace")
    finally:
        connection.close()


# -- who may ask


def test_a_page_comes_with_headers_and_scripts_of_its_own(served: Callable[..., Server]) -> None:
    server = served()
    status, headers, body = get(server)
    assert status == 200
    for name in HEADERS:
        assert name.lower() in headers
    policy = headers["content-security-policy"]
    assert "unsafe-eval" not in policy
    nonce = policy.split("'nonce-")[1].split("'")[0]
    scripts = body.count("<script")
    assert scripts == body.count(f'<script nonce="{nonce}"') > 2
    assert headers["cache-control"] == "no-store"
    assert "http://" not in body.replace("http://www.w3.org/", "").replace(
        f"http://127.0.0.1:{server.port}", ""
    )
    assert "https://" not in body
    assert nonce not in get(server)[2], "a nonce serves one answer"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/autoload.js", 404),
        ("/metadata", 404),
        ("/static/../server.py", 404),
        ("/static/js/../../../server.py", 404),
        ("/static/js/%2e%2e/%2e%2e/server.py", 404),
        ("/playground", 404),
        ("/static/js/bokeh.min.js", 200),
        (f"/?expr={'x' * 41_000}", 414),
    ],
)
def test_only_what_is_needed_is_served(
    served: Callable[..., Server], path: str, status: int
) -> None:
    got, headers, _ = get(served(), path)
    assert got == status
    assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    ("site", "mode", "dest", "status"),
    [
        ("cross-site", "no-cors", "image", 403),
        ("same-site", "cors", "empty", 403),
        ("cross-site", "navigate", "iframe", 403),
        ("cross-site", "websocket", "websocket", 403),
        ("cross-site", "navigate", "document", 200),
        ("none", "navigate", "document", 200),
        ("same-origin", "no-cors", "script", 200),
    ],
)
def test_a_foreign_page_cannot_keep_the_server_busy(
    served: Callable[..., Server], site: str, mode: str, dest: str, status: int
) -> None:
    """What each visit costs is spent on links that somebody follows, not on pictures of a page."""
    sent = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
    assert get(served(), **sent)[0] == status


def test_what_is_sent_is_not_kept(served: Callable[..., Server]) -> None:
    """A server that waits for what is announced could be filled."""
    server = served()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        host = f"127.0.0.1:{server.port}"
        connection.sendall(
            f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9999\r\n\r\n".encode()
        )
        assert b"200" not in connection.recv(100).split(b"\r\n")[0]


def test_nothing_can_be_sent(served: Callable[..., Server]) -> None:
    assert get(served(), method="POST")[0] == 405


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", ""])
def test_a_foreign_name_for_this_machine_is_refused(
    served: Callable[..., Server], host: str
) -> None:
    """A page that points its own name at 127.0.0.1 sends its own name as Host."""
    server = served()
    assert get(server, Host=host.format(port=server.port))[0] == 403
    assert get(server, Host=f"localhost:{server.port}")[0] == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example", "null", "http://127.0.0.1:1", "file://127.0.0.1:{port}", None, "http://[",
        "http://a@127.0.0.1:{port}", "http://127.0.0.1:{port}/",
    ],
)  # fmt: skip
def test_a_socket_opens_from_our_own_pages_only(
    served: Callable[..., Server], origin: str | None
) -> None:
    server = served()
    sent = {} if origin is None else {"Origin": origin.format(port=server.port)}
    assert get(server, "/ws", **SOCKET, **sent)[0] == 403
    own = {"Origin": f"http://127.0.0.1:{server.port}"}
    assert get(server, "/ws", **SOCKET, **own)[0] == 101


def test_a_socket_sends_its_frames_at_once(
    served: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bokeh.server.views.ws import WSHandler

    told: list[bool] = []
    monkeypatch.setattr(WSHandler, "set_nodelay", lambda _, at_once: told.append(at_once))
    server = served()
    own = {"Origin": f"http://127.0.0.1:{server.port}"}
    assert get(server, "/ws", **SOCKET, **own)[0] == 101
    for _ in range(100):
        if told:
            break
        time.sleep(0.05)
    assert told == [True]


def test_another_host_needs_the_token(served: Callable[..., Server]) -> None:
    server = served("0.0.0.0")
    token = server.access.token
    assert token is not None
    assert len(token) >= 32
    assert f"token={token}" in server.address()
    for wrong in ("/", "/?token=", "/?token=x", f"/?token={token[:-1]}", "/?token=%C3%A9"):
        assert get(server, wrong)[0] == 403
    assert get(server, "/static/js/bokeh.min.js")[0] == 403
    own = {"Origin": f"http://127.0.0.1:{server.port}"}
    assert get(server, "/ws", **SOCKET, **own)[0] == 403
    status, headers, _ = get(server, f"/?token={token}&size=4k")
    assert (status, headers["location"]) == (302, "/?size=4k"), "the token leaves the address"
    assert "HttpOnly" in headers["set-cookie"]
    cookie = headers["set-cookie"].split(";")[0]
    assert get(server, Cookie=cookie)[0] == 200
    assert get(server, Cookie=cookie[:-1])[0] == 403
    assert get(server, "/ws", Cookie=cookie, **SOCKET, **own)[0] == 101
    foreign = {"Origin": "http://evil.example"}
    assert get(server, "/ws", Cookie=cookie, **SOCKET, **foreign)[0] == 403


def test_loopback_names() -> None:
    assert Access("127.0.0.1", 80).address("/", "a=b") == "http://127.0.0.1:80/?a=b"
    assert Access("::1", 80).address("/") == "http://[::1]:80/"
    assert "token" not in Access("127.0.0.1", 80).address("/")


def test_visitors_are_limited(
    served: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MOST_VISITORS", 2)
    server = served()
    assert [get(server)[0] for _ in range(3)] == [200, 200, 503]


def test_a_taken_port_is_refused_in_a_line(served: Callable[..., Server]) -> None:
    server = served()
    with pytest.raises(InvalidArgument, match=r"cannot listen at 127.0.0.1, port \d+: .*in use"):
        Server([atlas_page(Asked())], port=server.port)


def test_pages_stand_apart_and_are_closed(served: Callable[..., Server]) -> None:
    closed: list[str] = []

    def build(document: Any) -> None:
        document.title = "<b>&"

    def page(path: str) -> ServedPage:
        return ServedPage(path, path, build, close=lambda: closed.append(path))

    server = served(pages=[page("/"), page("/other")])
    status, _, body = get(server, "/other")
    assert status == 200
    assert "<title>&lt;b&gt;&amp;</title>" in body
    server.stop()
    for _ in range(100):
        if closed:
            break
        time.sleep(0.05)
    assert closed == ["/", "/other"]
    with pytest.raises(InvalidArgument, match="same path"):
        Server([page("/"), page("/")], port=0)


# -- what a page may send


@pytest.mark.parametrize(
    "sent",
    [
        '{"do":"open"', "[" * 100_000, "[]", "null", '{"do":["open"]}', '{"do":"__init__"}',
        '{"do":"show","fields":[1]}', '{"do":"show","fields":{"size":"\\ud800"}}',
        '{"do":"go","to":{}}', '{"do":"why","query":"1_0","key":"1"}',
    ],
)  # fmt: skip
def test_nonsense_from_a_page_changes_nothing(sent: str) -> None:
    visit, _ = _visit()
    before = visit.asked
    visit._hear("data", None, {"json": [sent]})
    assert visit.asked == before


def test_a_why_takes_numbers_only() -> None:
    visit, said = _visit()
    for wrong in ("1_0", "\u0663", "9" * 100_000, "1.0", ""):
        visit._hear("data", None, {"json": [json.dumps({"do": "why", "query": wrong, "key": "1"})]})
        assert said()["error"] == visit._words["numbers"]
    visit._hear("data", None, {"json": [json.dumps({"do": "why", "query": "-1", "key": "1,000"})]})
    assert "-1" in said()["error"], "outside of the mask"


@pytest.mark.parametrize("place", [float("nan"), float("inf")])
def test_a_map_without_a_size_shows_the_whole(place: float) -> None:
    visit, _ = _visit()
    visit.plot.figure.x_range.end = place
    assert visit._box() == visit.asked.whole


def _visit() -> tuple[Visit, Callable[[], dict[str, Any]]]:
    from bokeh.document import Document

    visit = Visit(Document(), Desk(), Asked())
    return visit, lambda: json.loads(str(visit._said.data["json"][0]))


# -- what an address may say


def test_an_address_gives_the_state_back() -> None:
    asked = read_query(
        "?expr=causal()&compare=prefix(3)&size=4kx1m&offset=5&batch=1&head=2&lang=zh&view=5-9,0-3",
        Asked(),
    )
    assert (asked.q_len, asked.kv_len, asked.offset, asked.batch, asked.head) == (
        4096, 1 << 20, 5, 1, 2,
    )  # fmt: skip
    assert read_query(asked.query(), Asked()) == asked


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("exp=causal()", "'exp', which is none of expr"),
        ("expr=a&expr=b", "twice"),
        ("size=many", "got 'many'"),
        ("size=0", "at least one"),
        ("size=65m", "at most 64m"),
        ("size=1x65m", "at most 64m"),
        ("offset=99999999", "at most 64m"),
        ("offset=-1", "whole number"),
        ("batch=1.5", "whole number"),
        ("head=٣", "whole number"),
        ("lang=fr", "one of en, zh"),
        ("view=3-1,0-0", "ends before"),
        ("view=all", "got 'all'"),
        (f"expr={'x' * (LONGEST_EXPRESSION + 1)}", "at most 20000"),
        (f"compare={'x' * (LONGEST_EXPRESSION + 1)}", "at most 20000"),
    ],
)
def test_an_address_is_read_strictly(query: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read_query(query, Asked())
    assert words in str(caught.value)


# -- the worker


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    yield made
    made.close()


def look(expr: str, length: int = 8, **more: Any) -> dict[str, Any]:
    view = {"q_start": 0, "q_stop": length, "k_start": 0, "k_stop": length, "rows": 256}
    view |= {"columns": 256, "batch": 0, "head": 0}
    return {"do": "look", "expr": expr, "compare": "", "view": view, "seconds": 0.1, **more}


def test_a_look_comes_back(office: Office) -> None:
    reply, arrays = office.ask(look("causal()", 2), seconds=20)
    assert "error" not in reply
    assert arrays["cells"].tolist() == [[32, 0], [32, 32]]
    reply, arrays = office.ask(look("causal()", 2, compare="everything()"), seconds=20)
    assert arrays["cells"].tolist() == [[32, 34], [32, 32]], "only the second allows 0, 1"
    reply, arrays = office.ask(look("causal()", 2, compare="~causal()"), seconds=20)
    assert arrays["cells"].tolist() == [[33, 34], [33, 33]]
    both_ways = look("causal()", 512, compare="~causal()")["view"] | {"rows": 1, "columns": 1}
    reply, arrays = office.ask(
        {**look("causal()", compare="~causal()"), "view": both_ways}, seconds=20
    )
    assert arrays["cells"].tolist() == [[35]]


def test_a_worker_that_overruns_is_replaced(office: Office) -> None:
    office.ask(look("causal()"), seconds=20)
    first = office.pid
    slow = "^".join(f"window(left={n})" for n in range(900))
    reply, _ = office.ask(look(slow), seconds=0.05)
    assert reply["error"]["kind"] == "Time"
    assert "error" not in office.ask(look("causal()"), seconds=20)[0]
    assert office.pid != first
    assert not _alive(first)


def test_a_large_server_keeps_its_worker(office: Office) -> None:
    held = np.ones(300 << 20, np.uint8)  # what the server holds is not the worker's
    office.ask(look("causal()"), seconds=20)
    first = office.pid
    office.ask(look("causal()"), seconds=20)
    assert first is not None
    assert office.pid == first
    assert held[-1] == 1


def test_a_worker_that_dies_is_replaced(office: Office) -> None:
    office.ask(look("causal()"), seconds=20)
    assert office.pid is not None
    os.kill(office.pid, 9)
    time.sleep(0.2)
    assert "error" not in office.ask(look("causal()"), seconds=20)[0]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_memory_has_an_end() -> None:
    office = Office(most_bytes=300 << 20)
    try:
        # A permutation of so many is a list of so many numbers.
        reply, _ = office.ask(look("permutation(range(16000000))"), seconds=30)
        assert reply["error"]["kind"] in ("Memory", "ParseError")
        assert "error" not in office.ask(look("causal()"), seconds=20)[0]
    finally:
        office.close()


HOSTILE = {
    "ten thousand million keys": "keys(range(10000000000))",
    "every third of them": "keys(range(0, 10000000000, 3))",
    "a tower of xor": "^".join(["causal()", "prefix(3)"] * 450),
    "different windows": "^".join(f"window(left={n})" for n in range(900)),
    "documents": f"documents(lengths=[{','.join(['1'] * 9000)}])",
    "deep": "(" * 5000,
    "long numbers": f"window(left={'9' * 5000})",
    "code": "__import__('os').system('true')",
    "a file": "dense('/etc/passwd', means='attend')",
    "many heads": "per_head([" + ",".join(["causal()"] * 2000) + "])",
    "a grid": "shifted_window((60000, 60000), (7, 7), (3, 3))",
    "a tree": f"tree({[-1, *range(3000)]})",
    "nothing": "",
    "null": "causal()\0",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_expressions_get_an_answer(office: Office, name: str) -> None:
    """Whatever is sent, there is an answer in time, and after it the next one is answered."""
    for request in (
        {"do": "open", "expr": HOSTILE[name], "compare": "", "q_stop": 1 << 20, "kv_len": 1 << 20},
        look(HOSTILE[name], 1 << 20),
    ):
        started = time.monotonic()
        reply, _ = office.ask(request, seconds=5)
        assert time.monotonic() - started < 10
        assert reply.get("error", {}).get("kind") in (None, "ParseError", "InvalidArgument", "Time")
    assert "error" not in office.ask(look("causal()"), seconds=20)[0]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_too_large_is_not_too_deep(office: Office) -> None:
    reply, _ = office.ask(look("permutation(range(100000000))"), seconds=20)
    assert reply["error"]["kind"] == "ParseError"
    assert "needs more memory" in reply["error"]["message"]


def test_expressions_read_no_file(office: Office) -> None:
    reply, _ = office.ask(look("dense('/etc/passwd', means='attend')"), seconds=20)
    assert reply["error"]["kind"] == "ParseError"


def test_a_closed_office_ends_its_worker() -> None:
    office = Office()
    office.start()
    pid = office.pid
    office.close()
    assert not _alive(pid)


def test_a_worker_does_not_outlive_its_server() -> None:
    office = Office()
    office.start()
    process = office._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()  # as when the server dies
    assert process.wait(20) == 0
    office.close()


def test_a_worker_that_cannot_read_ends() -> None:
    """Whatever goes wrong with a question, no worker stays that nobody can ask."""
    office = Office()
    office.start()
    process = office._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.write(b"\0\0\0\1{")
    process.stdin.flush()
    assert process.wait(20) == 0
    office.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals")
def test_a_busy_worker_does_not_outlive_its_server() -> None:
    here = str(Path(__file__).parent)
    program = f"import sys; sys.path.insert(0, {here!r}); import test_atlas_server as t; t.busy()"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        worker = int(server.stdout.readline())
        time.sleep(0.3)  # it works by now
        assert _alive(worker)
        server.kill()
    for _ in range(100):
        if not _alive(worker):
            return
        time.sleep(0.1)
    pytest.fail("the worker is still there after ten seconds")


def busy() -> None:
    """Ask for what takes long, as a server does that is then killed."""
    office = Office()
    office.ask(look("causal()"), seconds=20)
    sys.stdout.write(f"{office.pid}\n")
    sys.stdout.flush()
    many = {"q_len": 1 << 26, "kv_len": 1 << 26, "q_offset": 0, "seconds": 60.0}
    office.ask(
        look("random_blocks(block=1, per_row=3)", do="facts", batch=0, head=0, **many), seconds=60
    )


def test_a_fresh_worker_waits_before_it_is_asked(office: Office) -> None:
    office.ask(look("causal()"), seconds=20)
    first = office.pid
    office.ask(look("^".join(f"keys({n})" for n in range(900))), seconds=0.05)
    assert office.pid is not None
    assert office.pid != first
    assert _alive(office.pid)


def test_only_the_newest_is_worked_out() -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0.01)
        done.append(number)

    async def several() -> None:
        newest = Newest(work)
        newest.ask(0)
        await asyncio.sleep(0)
        for number in range(1, 9):
            newest.ask(number)
        await asyncio.sleep(0.2)
        newest.ask(9)
        await asyncio.sleep(0.1)

    # In a thread: where a browser is driven, this one has a loop already.
    thread = threading.Thread(target=lambda: asyncio.run(several()))
    thread.start()
    thread.join(10)
    assert done == [0, 8, 9]


def _alive(pid: int | None) -> bool:
    assert pid is not None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    # One that has ended, and that nobody has asked after yet, is a zombie.
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")
