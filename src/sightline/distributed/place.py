"""Where a process runs, so that others on its machine can see at once whether it still does."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Place"]


@dataclass(frozen=True)
class Place:
    """A process, as others can find it.

    Attributes:
        host: the machine's name, for messages.
        process: its number there.
        space: names the machine and the numbering of its processes; empty where not known.
        started: when it started, in ticks of that machine: numbers are given out again.
    """

    host: str
    process: int
    space: str
    started: str

    @classmethod
    def here(cls) -> Place:
        """Return where this process runs."""
        process = os.getpid()
        return cls(socket.gethostname(), process, _space(), _state(process)[1])

    def gone(self) -> bool | None:
        """Return whether the process has ended; None where that cannot be seen from here."""
        if not self.space or self.space != _space():
            return None
        state, started = _state(self.process)
        return state in ("", "Z", "X") or started != self.started

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


def _space() -> str:
    """Return what two processes share that see each other under the same numbers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux, or hidden
        return ""


def _state(process: int) -> tuple[str, str]:
    """Return the state of a process (R, S, Z, ...; empty if there is none) and when it started."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return "", ""
    words = text.rpartition(")")[2].split()  # the name in front may hold anything
    return words[0], words[19]
