"""Asking the worker: one question at a time, each with a time that it may take.

A worker that overruns, or dies, is replaced; whoever asked is told why there is no answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from sightline.views.atlas.wire import receive, send

__all__ = ["MOST_BYTES", "Office", "Reply"]

Reply = tuple[dict[str, Any], dict[str, "NDArray[Any]"]]

# Of address space, of which a fresh worker needs about 200 MB.
MOST_BYTES = 1 << 30
# One that has held more than this gives it back by making room for a fresh one.
_RETIRES_AT = 160 << 20
_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from sightline.views.atlas.worker import main
main(int(sys.argv[2]), patient=sys.argv[3] == "patient")
"""
# Libraries that numpy may bring would start a thread for each core; one is enough here.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Office:
    """A worker process and the way to ask it; may be used from several threads.

    Args:
        most_bytes: how much memory the worker may take.
        patient: whether other processes go first, since nobody waits at each answer.

    >>> office = Office()
    >>> office.ask({"do": "open", "expr": "nothing", "compare": ""}, seconds=20)[0]["error"]["kind"]
    'ParseError'
    >>> office.close()
    """

    def __init__(self, *, most_bytes: int = MOST_BYTES, patient: bool = False) -> None:
        self._given = [str(most_bytes), "patient" if patient else "quick"]
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The worker's process, if there is one now."""
        return None if self._process is None else self._process.pid

    def ask(self, request: Mapping[str, Any], *, seconds: float) -> Reply:
        """Return the worker's reply; after ``seconds`` it is ended and the reply says so.

        Where there is no answer, the reply holds ``error`` of the kind ``Time`` or ``Memory``.
        """
        with self._turn:
            process = self._started()
            overrun = threading.Event()

            def end() -> None:
                overrun.set()
                process.kill()

            timer = threading.Timer(seconds, end)
            timer.start()
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                send(process.stdin, {**request, "limit": seconds})
                reply, arrays = receive(process.stdout)
            except (EOFError, OSError):
                self._renew()
                kind = "Time" if overrun.is_set() else "Memory"
                return {"error": {"kind": kind, "message": "", "which": "", "limit": seconds}}, {}
            finally:
                timer.cancel()
            ran_out = reply.get("error", {}).get("kind") == "Memory"
            if ran_out or reply.pop("peak", 0) > _RETIRES_AT:
                self._renew()
            return reply, arrays

    def start(self) -> None:
        """Start the worker ahead of the first question."""
        with self._turn:
            self._started()

    def close(self) -> None:
        """End the worker; nothing can be asked any more."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()  # who waits for an answer is told, and lets go of the turn
        with self._turn:
            self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise EOFError("the office is closed")
        if self._process is None or self._process.poll() is not None:
            self._end()
            environment = {**os.environ, **dict.fromkeys(_THREADS, "1")}
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path), *self._given],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                start_new_session=True,  # an interrupt of the server is not one of the worker
            )
        return self._process

    def _renew(self) -> None:
        """End the worker and start a fresh one, which is ready before the next question comes."""
        self._end()
        if not self._closed:
            self._started()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        process.wait()
