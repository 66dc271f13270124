"""Processes that run a function together, as ranks of one gloo group: for tests and benchmarks.

They are started once and kept: a test costs a message, not a start of torch. A rank that dies or
does not answer ends them all, and the next test starts anew.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

__all__ = ["RankFailed", "RankPool"]


class RankFailed(AssertionError):
    """A rank raised, died, or did not answer in time.

    Attributes:
        failures: for each rank that failed, its traceback or what is known.
    """

    def __init__(self, failures: dict[int, str]) -> None:
        self.failures = failures
        super().__init__("\n".join(f"rank {rank}: {text}" for rank, text in failures.items()))


class RankPool:
    """``size`` processes of one gloo group on this machine.

    >>> pool = RankPool(2)  # doctest: +SKIP
    >>> pool.run(torch.distributed.get_rank)  # doctest: +SKIP
    [0, 1]
    """

    def __init__(self, size: int, *, timeout: float = 60.0) -> None:
        self.size, self.timeout = size, timeout
        self._workers: list[Any] = []
        self._pipes: list[Any] = []

    def run(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> list[Any]:
        """Call a function of a module on every rank, with the same arguments; return the results.

        Raises:
            RankFailed: a rank raised, died, or did not answer in time.
        """
        if not self._workers or not all(worker.is_alive() for worker in self._workers):
            self.close()
            self._start()
        for pipe in self._pipes:
            pipe.send(_folder_of(function))  # first: what follows is read by its name
            pipe.send((function, arguments, named))
        answers: dict[int, Any] = {}
        failures: dict[int, str] = {}
        waiting = dict(enumerate(self._pipes))
        while waiting:
            ready = wait(list(waiting.values()), self.timeout)
            if not ready:
                failures.update(dict.fromkeys(waiting, f"no answer in {self.timeout} s"))
                break
            for rank, pipe in list(waiting.items()):
                if pipe not in ready:
                    continue
                del waiting[rank]
                try:
                    fine, answer = pipe.recv()
                except EOFError:
                    self._workers[rank].join(5)
                    fine, answer = False, f"died, exit code {self._workers[rank].exitcode}"
                (answers if fine else failures)[rank] = answer
        if failures:
            self.close()
            raise RankFailed(failures)
        return [answers[rank] for rank in range(self.size)]

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.kill()
            worker.join()
        for pipe in self._pipes:
            pipe.close()
        self._workers, self._pipes = [], []

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch", "torch.distributed", "sightline.engines.attend"])
        folder = tempfile.mkdtemp(prefix="sightline-ranks-")
        for rank in range(self.size):
            ours, theirs = context.Pipe()
            told = (rank, self.size, str(Path(folder) / "store"), self.timeout, theirs, sys.path)
            worker = context.Process(target=_work, args=told, daemon=True)
            worker.start()
            theirs.close()
            self._workers.append(worker)
            self._pipes.append(ours)


def _folder_of(function: Callable[..., Any]) -> str:
    """Return the folder from which a function's module is imported by its name."""
    module = sys.modules[function.__module__]
    depth = module.__name__.count(".")
    return str(Path(str(module.__file__)).resolve().parents[depth])


def _work(rank: int, size: int, store: str, timeout: float, pipe: Any, path: list[str]) -> None:
    sys.path[:] = path
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=timeout),
    )
    while True:
        try:
            folder = pipe.recv()
            if folder not in sys.path:
                sys.path.append(folder)
            function, arguments, named = pipe.recv()
        except EOFError:
            return
        try:
            answer = True, function(*arguments, **named)
        except BaseException:
            answer = False, traceback.format_exc()
        pipe.send(answer)
