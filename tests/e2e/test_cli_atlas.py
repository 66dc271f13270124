"""`sightline atlas` as a user meets it: the address, an orderly end, bad input."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "sightline", "atlas", "--no-open", "--port", "0", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_and_ends_in_order(started: Any, number: signal.Signals) -> None:
    pytest.importorskip("bokeh")
    if os.name == "nt":
        pytest.skip("signals are another matter there")
    process = started("causal() & window(left=3)", "--size", "4k", "--lang", "zh")
    line = first_line(process)
    name, _, address = line.partition(": ")
    assert name == "Atlas"
    assert address.startswith("http://127.0.0.1:")
    assert address.endswith("?expr=causal%28%29+%26+window%28left%3D3%29&size=4k&lang=zh")
    with urllib.request.urlopen(address, timeout=20) as answer:
        assert answer.status == 200
        assert '<html lang="zh-Hans">' in answer.read().decode()
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")


def test_another_host_prints_its_token(started: Any) -> None:
    pytest.importorskip("bokeh")
    address = first_line(started("--host", "0.0.0.0")).partition(": ")[2]
    assert "?token=" in address
    keeps_cookies = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with keeps_cookies.open(address, timeout=20) as answer:
        assert answer.status == 200
        assert "token" not in answer.url


def test_a_taken_port_is_one_line(run: Run) -> None:
    pytest.importorskip("bokeh")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = run("atlas", "--no-open", "--port", port)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: cannot listen at 127.0.0.1, port {port}: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["causal("], "error: cannot read the expression: '(' was never closed\n  causal(\n"),
        (["causal()", "--compare", "causl()"], "did you mean 'causal'?\n  causl()\n  ^\n"),
        (["mask.npy"], "'EXPR': got 'mask.npy', the name of a file; wanted an expression"),
        (["causal()", "--compare", "mask.npy"], "'--compare': got 'mask.npy', the name of a file"),
        ([""], "the expression is empty"),
        (["causal()", "--size", "65m"], "at most 64m"),
        (["causal()", "--size", "much"], "got 'much'"),
        (["causal()", "--lang", "fr"], "lang is one of en, zh"),
        (["window(left=" + "1" * 20_000 + ")"], "at most 20000"),
        (["--host", "no.such.host.invalid"], "cannot listen at no.such.host.invalid"),
        (["--port", "70000"], "65535"),
    ],
)
def test_bad_input_is_a_line_and_exit_2(run: Run, words: list[str], message: str) -> None:
    pytest.importorskip("bokeh")
    code, out, err = run("atlas", "--no-open", "--port", "0", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_without_bokeh_it_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bokeh", None)
    code, out, err = run("atlas", "--no-open", "--port", "0")
    assert (code, out) == (2, "")
    assert err == (
        "error: the atlas needs bokeh, which is not installed; run: "
        "pip install 'sightline[views]'\n"
    )


def test_help_has_an_example(run: Run) -> None:
    code, out, _ = run("atlas", "--help")
    assert code == 0
    assert "sightline atlas 'causal() & documents(lengths=[300000, 700000])' --size 1m" in out
