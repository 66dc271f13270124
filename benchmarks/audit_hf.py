"""Audits every text model of the installed transformers, tiny, under every condition it has.

Run: python benchmarks/audit_hf.py [--only NAME ...] [--again] [--workers 2].  Each class, and each
flag that changes who may see whom, is built with random weights and audited for what it promises
by what it is. The results go to benchmarks/results/audit_hf.json as they come: an interrupted run
goes on where it stopped. docs/make_audit_findings.py makes the page of them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from measure import machine
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sightline.views.files import write_atomically

RESULTS = Path(__file__).parent / "results" / "audit_hf.json"
# Enough to test every forbidden pair under every condition.
PASSES = 150
# Not more rows: the models are so small that more passes cost less than more rows.
ROWS = 11
SECONDS = 300.0
SAVE_EVERY = 15


@dataclass(frozen=True)
class Task:
    """One class to audit, perhaps with a flag turned."""

    name: str
    model_type: str
    table: str
    flag: str = ""
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What it is called in the results."""
        return f"{self.name}[{self.flag}]" if self.flag else self.name


def tasks() -> Iterator[Task]:
    """Yield what is audited: the classes of ``listed``, then their flags."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from sightline.audit.hf.listing import CANNOT, listed
    from sightline.audit.hf.tiny import default_config
    from sightline.audit.hf.variants import variants_of

    for each in listed():
        yield Task(each.name, each.model_type, each.table)
        if each.name not in CANNOT:
            config = default_config(CONFIG_MAPPING[each.model_type])
            for flag, told in variants_of(config).items():
                yield Task(each.name, each.model_type, each.table, flag, told)


# -- one class, in a process of its own ----------------------------------------------------------


def audit_one(task: Task) -> dict[str, Any]:
    """Return what an audit of one class finds."""
    from sightline.audit.hf.listing import CANNOT, UNLIKE

    row: dict[str, Any] = {"table": task.table, "model_type": task.model_type}
    if reason := CANNOT.get(task.name) or UNLIKE.get(task.name):
        return {**row, "cannot": reason}
    started, worked = time.perf_counter(), time.process_time()
    try:
        row |= _audited(task)
    except Exception as error:  # the reason is the result
        text = (str(error).strip().splitlines() or [""])[0]
        row["failed"] = f"{type(error).__name__}: {text[:300]}"
    took = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - worked}
    return {**row, **{name: round(value, 2) for name, value in took.items()}}


def _audited(task: Task) -> dict[str, Any]:
    import transformers

    from sightline.audit.hf.tiny import tiny
    from sightline.audit.probe import audit

    report = audit(tiny(getattr(transformers, task.name), **task.told), passes=PASSES, batch=ROWS)
    return {
        "contract": list(report.contracts),
        "dtype": report.dtype,
        "sizes": {name: list(shape) for name, shape in report.sizes.items()},
        "conditions": list(report.conditions),
        "coverage": round(report.coverage, 4),
        "passes": report.passes,
        "notes": list(report.notes),
        "findings": [_finding(each) for each in report.findings],
    }


def _finding(each: Any) -> dict[str, Any]:
    return {
        "kind": each.kind,
        "contract": each.contract,
        "message": each.message,
        "input": each.input,
        "output": each.output,
        "size": float(f"{each.size:.2g}"),
        "place": _place(each.place) if each.place else "",
        "measured": "" if each.measured is None else repr(each.measured)[:200],
        "conditions": list(each.conditions),
        "held": list(each.held),
    }


def _place(place: Any) -> str:
    """Return a place without the folders of this machine."""
    name = f"{place.module or 'the model itself'} ({place.kind})"
    at = f" at {Path(place.file).name}:{place.line}" if place.file else ""
    return f"{name}, {place.operation}{at}" if place.operation else name


def hush() -> None:
    """Keep transformers off the network, and its warnings of small configs off the screen."""
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
    warnings.filterwarnings("ignore")


def work(channel: Connection) -> None:
    """Audit what comes through the channel until it closes."""
    hush()
    import torch

    torch.set_num_threads(1)
    while True:
        try:
            task = channel.recv()
        except EOFError:
            return
        channel.send(audit_one(task))


# -- the workers ---------------------------------------------------------------------------------


@dataclass
class Worker:
    """A process, and what it is at."""

    process: Any = None
    channel: Any = None
    task: Task | None = None
    started: float = 0.0

    def start(self, task: Task) -> None:
        """Give it a task; begins a process if there is none."""
        if self.process is None or not self.process.is_alive():
            context = multiprocessing.get_context("spawn")
            self.channel, theirs = context.Pipe()
            self.process = context.Process(target=work, args=(theirs,), daemon=True)
            self.process.start()
            theirs.close()
        self.task, self.started = task, time.monotonic()
        self.channel.send(task)

    def result(self) -> dict[str, Any]:
        """Return what it found, or why it found nothing."""
        assert self.task is not None
        row = {"table": self.task.table, "model_type": self.task.model_type}
        try:
            if self.channel.poll(0):
                return self.channel.recv()
            row["failed"] = f"took longer than {SECONDS:.0f} s"
        except EOFError:
            self.process.join()
            row["failed"] = f"the process ended with {self.process.exitcode} (out of memory?)"
        self.process.terminate()
        self.process.join()
        self.process = None
        return {**row, "seconds": round(time.monotonic() - self.started, 2)}

    @property
    def late(self) -> bool:
        """Whether it has taken too long."""
        return self.task is not None and time.monotonic() - self.started > SECONDS


def run(todo: list[Task], workers: int) -> Iterator[tuple[Task, dict[str, Any]]]:
    """Yield each task with what came of it, as they are done."""
    idle, queue = [Worker() for _ in range(workers)], list(reversed(todo))
    busy: list[Worker] = []
    while queue or busy:
        while idle and queue:
            worker = idle.pop()
            worker.start(queue.pop())
            busy.append(worker)
        ready = wait([each.channel for each in busy], timeout=1.0)
        for worker in [each for each in busy if each.channel in ready or each.late]:
            task = worker.task
            assert task is not None
            found = worker.result()
            worker.task = None
            busy.remove(worker)
            idle.append(worker)
            yield task, found
    for worker in idle:
        if worker.channel is not None:
            worker.channel.close()


# -- the results ---------------------------------------------------------------------------------


def versions() -> dict[str, str]:
    """Return what the results hold for."""
    import torch
    import transformers

    return {"transformers": transformers.__version__, "torch": torch.__version__}


def kept(again: bool) -> dict[str, Any]:
    """Return the results there are, of the same versions; what failed is tried again."""
    if again or not RESULTS.exists():
        return {}
    stored = json.loads(RESULTS.read_text(encoding="utf-8"))
    same = stored["versions"] == versions()
    return {k: row for k, row in stored["classes"].items() if same and "failed" not in row}


def save(classes: dict[str, Any], order: list[str]) -> None:
    """Write the results in the order of the list."""
    content = {
        "machine": machine(),
        "versions": versions(),
        "classes": {key: classes[key] for key in order if key in classes},
    }
    write_atomically(RESULTS, json.dumps(content, indent=1) + "\n")


def summary(classes: dict[str, Any]) -> str:
    """Return the outcome in a sentence or two."""
    found = [row for row in classes.values() if row.get("findings")]
    failed = [f"{key}: {row['failed']}" for key, row in classes.items() if row.get("failed")]
    cannot = sum("cannot" in row for row in classes.values())
    passes = sum(row.get("passes", 0) for row in classes.values())
    work = sum(row.get("cpu_seconds", 0.0) for row in classes.values())
    lines = [
        f"{len(classes)} audited or excused, {passes} passes; {cannot} excused, "
        f"{len(found)} with findings, {len(failed)} failed. {work:.0f} s of processor time."
    ]
    return "\n".join([*lines, *failed])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", nargs="+", default=[], help="names of classes or model types")
    parser.add_argument("--again", action="store_true", help="audit anew what is in the results")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    hush()
    listed = list(tasks())
    classes = kept(asked.again and not asked.only)
    chosen = [t for t in listed if not asked.only or {t.name, t.model_type, t.key} & {*asked.only}]
    todo = [t for t in chosen if asked.again or asked.only or t.key not in classes]
    order = [task.key for task in listed]
    columns = (TextColumn("{task.description:40}"), BarColumn(), MofNCompleteColumn())
    console = Console(file=sys.stderr)
    shown = console.is_terminal
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not shown) as progress:
        bar = progress.add_task("", total=len(todo))
        for count, (task, row) in enumerate(run(todo, asked.workers), 1):
            classes[task.key] = row
            progress.update(bar, advance=1, description=task.key[:40])
            if count % SAVE_EVERY == 0 or count == len(todo):
                save(classes, order)
    print(summary(classes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
