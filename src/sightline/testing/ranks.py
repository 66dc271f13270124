"""Processes that run a function together, as ranks of one gloo group: for tests and benchmarks.

They are started once and kept: a test costs a message, not a start of torch. A rank that raises,
dies or does not answer ends them all, and the next run starts anew.
"""

from __future__ import annotations

import multiprocessing
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["RankFailed", "RankPool", "preload"]

# What the process imports from which ranks are forked, once for all pools.
_preloaded = ["torch", "torch.distributed", "sightline.engines.attend"]


def preload(*modules: str) -> None:
    """Have ranks find these modules imported, rather than import them in each process.

    For pools to come: what is named after the first rank of any pool started has no effect.
    Modules that are not installed are passed over.
    """
    _preloaded.extend(each for each in modules if each not in _preloaded)


class RankFailed(AssertionError):
    """A rank raised, died, or did not answer in time.

    Attributes:
        failures: for each rank that failed, its traceback or what is known.
        answers: for each rank that did not, what it returned.
    """

    def __init__(self, failures: dict[int, str], answers: dict[int, Any]) -> None:
        self.failures, self.answers = failures, answers
        super().__init__("\n".join(f"rank {rank}: {text}" for rank, text in failures.items()))


class RankPool:
    """``size`` processes on this machine, in one gloo group of one thread each.

    A function that they run is imported there by its name, so it stands at the top of a module;
    arguments and results are pickled. Keep a pool for all tests, as a fixture of the session:

    >>> import torch.distributed
    >>> with RankPool(2) as ranks:  # doctest: +SKIP
    ...     ranks.run(torch.distributed.get_rank)
    [0, 1]

    Args:
        size: how many.
        timeout: seconds that one run may take, and a communication of torch within it.
    """

    def __init__(self, size: int, *, timeout: float = 60.0) -> None:
        self.size, self.timeout = size, timeout
        self._workers: list[Any] = []
        self._pipes: list[Any] = []
        self._folder = ""

    def run(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> list[Any]:
        """Call a function of a module on every rank, with the same arguments; return the results.

        Raises:
            RankFailed: a rank raised, died, or did not answer in time.
        """
        if not self._workers or not all(worker.is_alive() for worker in self._workers):
            self.close()
            self._start()
        try:
            for pipe in self._pipes:
                pipe.send(_folder_of(function))  # first: what follows is read by its name
                pipe.send((function, arguments, named))
            answers, failures = self._collect()
        except BaseException:  # interrupted, or what cannot be sent: the ranks are out of step
            self.close()
            raise
        if failures:
            self.close()
            raise RankFailed(failures, answers)
        return [answers[rank] for rank in range(self.size)]

    def close(self) -> None:
        """End the processes and remove their folder."""
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.join()
            worker.close()
        for pipe in self._pipes:
            pipe.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._workers, self._pipes, self._folder = [], [], ""

    def __enter__(self) -> RankPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _collect(self) -> tuple[dict[int, Any], dict[int, str]]:
        """Return the ranks' results, and what is known of those that have none."""
        answers: dict[int, Any] = {}
        failures: dict[int, str] = {}
        waiting = dict(enumerate(self._pipes))
        until = time.monotonic() + self.timeout
        while waiting:
            ready = wait(list(waiting.values()), max(0.0, until - time.monotonic()))
            if not ready:
                failures.update(dict.fromkeys(waiting, f"no answer in {self.timeout:g} s"))
                break
            for rank, pipe in list(waiting.items()):
                if pipe not in ready:
                    continue
                del waiting[rank]
                try:
                    fine, answer = pipe.recv()
                except (EOFError, ConnectionError):
                    self._workers[rank].join(5)
                    fine, answer = False, f"died, exit code {self._workers[rank].exitcode}"
                (answers if fine else failures)[rank] = answer
        return answers, failures

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_preloaded)
        self._folder = tempfile.mkdtemp(prefix="sightline-ranks-")
        store = str(Path(self._folder) / "store")
        for rank in range(self.size):
            ours, theirs = context.Pipe()
            told = (rank, self.size, store, self.timeout, theirs, sys.path)
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
    try:
        _serve(pipe)
    finally:  # the process that would remove it was killed
        shutil.rmtree(Path(store).parent, ignore_errors=True)


def _serve(pipe: Any) -> None:
    """Run what is sent until nobody is there to send it."""
    while True:
        try:
            folder = pipe.recv()
            if folder not in sys.path:
                sys.path.append(folder)
            function, arguments, named = pipe.recv()
        except EOFError:
            return
        except BaseException:  # what was sent cannot be read here
            pipe.send((False, traceback.format_exc()))
            continue
        try:
            answer = True, function(*arguments, **named)
        except BaseException:
            answer = False, traceback.format_exc()
        try:
            pipe.send(answer)
        except ConnectionError:
            return
        except Exception:  # a result that cannot be pickled
            pipe.send((False, traceback.format_exc()))
