"""Who does the work that visitors of the atlas ask for, and what of it is done.

Work is done by the offices' processes; of several wishes of a kind only the newest is worked out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from sightline.views.atlas.office import Office, Reply

__all__ = ["Desk", "Newest"]


@dataclass
class Desk:
    """What all visitors share: a process for what is quick, one for what may take long."""

    quick: Office = field(default_factory=Office)
    slow: Office = field(default_factory=lambda: Office(patient=True))

    def __post_init__(self) -> None:
        self._threads = {
            id(office): ThreadPoolExecutor(1, thread_name_prefix="sightline-atlas")
            for office in (self.quick, self.slow)
        }

    def start(self) -> None:
        """Start the processes ahead of the first question; returns at once."""
        for office in (self.quick, self.slow):
            self._threads[id(office)].submit(office.start)

    async def ask(self, office: Office, request: Mapping[str, Any], seconds: float) -> Reply:
        """Ask an office from the server's loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads[id(office)], lambda: office.ask(request, seconds=seconds)
        )

    def close(self) -> None:
        """End the processes."""
        for office in (self.quick, self.slow):
            office.close()
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)


class Newest:
    """Does work that is asked for, one at a time; of what waits, only the newest."""

    def __init__(self, work: Callable[..., Awaitable[None]]) -> None:
        self._work = work
        self._waiting: tuple[Any, ...] | None = None
        self._task: asyncio.Task[None] | None = None

    def ask(self, *given: Any) -> None:
        """Have the work done with ``given``, unless something newer comes before its turn."""
        self._waiting = given
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._waiting is not None:
            given, self._waiting = self._waiting, None
            await self._work(*given)
