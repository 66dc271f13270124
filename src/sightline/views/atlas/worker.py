"""The process that reads expressions and works out what is asked of them, apart from the server.

It has the limits: of memory here, of time by who asks (office.py), who ends it when it overruns.
It takes plain data from a pipe and gives plain data back; it opens no file for an expression.
"""

from __future__ import annotations

import math
import os
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument, ParseError
from sightline.masks.mask import Mask
from sightline.masks.parser import parse
from sightline.views.atlas.cells import compared, shades
from sightline.views.atlas.look import View, look
from sightline.views.atlas.wire import receive, send

__all__ = ["answer", "main"]

Arrays = dict[str, NDArray[Any]]
Reply = tuple[dict[str, Any], Arrays]

# Batch rows times heads of a mask; more have no use in a picker, and each costs.
MOST_MASKS = 1 << 16
# Beyond the time that a request may take, a process that nobody ends ends itself.
_GRACE = 3
# How far a patient process stands back: what is beside the map must not hold up the map.
_NICE = 10


def answer(request: dict[str, Any]) -> Reply:
    """Return the reply to one request; what is refused is a reply too.

    >>> answer({"do": "open", "expr": "causal(", "compare": ""})[0]["error"]["kind"]
    'ParseError'
    """
    which = "expr"
    try:
        first = read(request["expr"])
        which = "compare"
        second = read(request["compare"]) if request["compare"] else None
        which = ""
        return _DO[request["do"]](request, first, second)
    except ParseError as error:
        return _refused(error, which, position=error.position), {}
    except (MemoryError, RecursionError):
        return {"error": {"kind": "Memory", "message": "", "which": which}}, {}
    except Exception as error:  # refused, or a fault of ours: say so, and go on answering
        return _refused(error, which), {}


def _refused(error: Exception, which: str, **more: Any) -> dict[str, Any]:
    return {"error": {"kind": type(error).__name__, "message": str(error), "which": which, **more}}


@lru_cache(maxsize=4)
def read(text: str) -> Mask:
    """Read an expression; the last few are kept."""
    mask = parse(text)
    if mask.batch * mask.heads > MOST_MASKS:
        raise InvalidArgument(
            f"the mask has {mask.batch} batch rows and {mask.heads} heads; the atlas shows at most "
            f"{MOST_MASKS} of them together."
        )
    return mask


def _open(request: dict[str, Any], first: Mask, second: Mask | None) -> Reply:
    """Return how many batch rows and heads there are, and what is refused at these lengths."""
    masks = [first] if second is None else [first, second, first & second]
    batch, heads = masks[-1].batch, masks[-1].heads  # & refuses two that do not go together
    q_stop, k_stop = request["q_stop"], request["kv_len"]
    for mask in masks[:2]:
        mask.check_reach(q_stop, k_stop)
    return {"batch": batch, "heads": heads}, {}


def _look(request: dict[str, Any], first: Mask, second: Mask | None) -> Reply:
    view = View(**request["view"])
    if second is None:
        seen = look(first, view, seconds=request["seconds"])
        cells, sure = shades(seen), seen.sure
    else:
        seen, cells, sure = compared(first, second, view, request["seconds"])
    reply = {"cell": list(seen.cell), "q_first": seen.q_first, "k_first": seen.k_first}
    return reply, {"cells": cells, "unsure": np.argwhere(~sure).astype(np.int64)}


def _facts(request: dict[str, Any], first: Mask, _second: Mask | None) -> Reply:
    from sightline.views.atlas.beside import beside

    told, drawn = beside(first, request)
    return told, dict(drawn)


def _compare(request: dict[str, Any], first: Mask, second: Mask | None) -> Reply:
    from sightline.views.atlas.beside import differences

    return differences(first, first if second is None else second, request), {}


def _why(request: dict[str, Any], first: Mask, second: Mask | None) -> Reply:
    from sightline.views.reasons.why import why_text

    where = {name: request[name] for name in ("query", "key", "batch", "head")}
    texts = [request["expr"]] if second is None else [request["expr"], request["compare"]]
    masks = [first] if second is None else [first, second]
    reasons = []
    for text, mask in zip(texts, masks, strict=True):
        place = {**where, "batch": min(where["batch"], mask.batch - 1)}
        place["head"] = min(where["head"], mask.heads - 1)
        reasons.append(asdict(why_text(text, **place)))
    return {"reasons": reasons, "texts": texts, **where}, {}


_DO: dict[str, Callable[[dict[str, Any], Mask, Mask | None], Reply]] = {
    "open": _open,
    "look": _look,
    "facts": _facts,
    "compare": _compare,
    "why": _why,
}


def main(most_bytes: int, *, patient: bool = False) -> None:
    """Answer requests from standard input until it ends; a patient one lets others go first."""
    if patient and hasattr(os, "nice"):
        os.nice(_NICE)
    stream, out = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # What anything prints must not get into the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _limit_memory(most_bytes)
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read, args=(stream, requests), daemon=True).start()
    while True:
        request = requests.get()
        _end_after(request.get("limit", 0))
        reply, arrays = answer(request)
        _end_after(0)
        try:
            send(out, {**reply, "peak": _peak_bytes()}, arrays)
        except OSError:  # the server is gone
            os._exit(0)


def _read(stream: BinaryIO, requests: queue.Queue[dict[str, Any]]) -> None:
    """Hand requests on; when the server is gone, this process goes too, whatever it does."""
    try:
        while True:
            requests.put(receive(stream)[0])
    finally:  # the end of what comes, or too little memory to read it
        os._exit(0)


def _limit_memory(most_bytes: int) -> None:
    """Refuse memory beyond the limit, where the platform has such a limit (not on Windows)."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = most_bytes if hard == resource.RLIM_INFINITY else min(most_bytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _end_after(seconds: float) -> None:
    """Have the system end this process after that time and some grace; 0: never mind."""
    with suppress(ImportError):
        import signal

        if hasattr(signal, "alarm"):
            signal.alarm(math.ceil(seconds) + _GRACE if seconds else 0)


def _peak_bytes() -> int:
    """Return the most memory that this process has held; 0 where nobody says."""
    # Not getrusage on Linux: what it says begins with what the starting process held.
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
