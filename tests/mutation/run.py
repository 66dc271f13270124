"""Plants faults in masks/, one at a time, and counts those that the tests notice.

First every test runs once, and it is noted which functions of masks/ it enters. Then each fault
is planted in a forked process, which runs the tests that enter its function, the quickest first,
until one fails. Results are kept in a file: a run that is stopped goes on where it was. What
faults there are is faults.py; README.md beside this file says how to run it.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from faults import Fault, faults_of, functions_of, planted

ROOT = Path(__file__).parents[2]
MASKS = ROOT / "src" / "sightline" / "masks"
TESTS = ["tests/unit/test_parse.py", "tests/unit/test_masks_against_oracle.py"]
TESTS += sorted(str(p.relative_to(ROOT)) for p in (ROOT / "tests" / "unit").glob("test_mask_*.py"))
TESTS += [
    "tests/unit/test_plan.py",
    "tests/unit/test_plan_compare.py",
    "tests/conformance/test_plan.py",
]
PYTEST = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "--tb=no"]
PYTEST += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis is loaded before

Touched = dict[str, tuple[float, set[tuple[str, int]]]]  # test -> (seconds, lines of masks/)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class FewExamples:
    """A pytest plugin: hypothesis draws ``count`` examples and does not look for simpler ones."""

    def __init__(self, count: int) -> None:
        self.count = count

    def pytest_collection(self) -> None:  # after tests/conftest.py has chosen its own profile
        from hypothesis import HealthCheck, Phase, settings

        settings.register_profile(
            "mutation",
            max_examples=self.count,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        settings.load_profile("mutation")


def load_beforehand() -> None:
    """Import what the forked children share; never sightline itself, which each loads anew."""
    from importlib import import_module

    for name in ("numpy", "hypothesis.strategies"):
        import_module(name)
    try:
        import_module("torch").set_num_threads(1)  # threads do not survive a fork
    except ImportError:
        say("without torch: the tests that need it are skipped")


# -- which test enters which function ----------------------------------------------------------


class Watcher:
    """A pytest plugin that notes the seconds of every test and the lines of masks/ it enters."""

    def __init__(self) -> None:
        self.touched: Touched = {}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: Any) -> Iterator[None]:
        lines: set[tuple[str, int]] = set()
        folder = str(MASKS) + os.sep

        def on_call(frame: FrameType, event: str, _: object) -> None:
            code = frame.f_code
            if code.co_filename.startswith(folder):
                lines.add((code.co_filename[len(folder) :], code.co_firstlineno))

        started = time.perf_counter()
        sys.setprofile(on_call)
        yield
        sys.setprofile(None)
        self.touched[item.nodeid] = (time.perf_counter() - started, lines)


def watch(examples: int) -> Touched:
    watcher = Watcher()
    if pytest.main([*PYTEST, *TESTS], plugins=[watcher, FewExamples(examples)]) != 0:
        raise SystemExit("the tests fail without any fault; mend them first")
    return watcher.touched


def tests_for(file: str, line: int, touched: Touched, seconds: float) -> list[str]:
    """Return the tests that enter the function around a line, or its file, the quickest first.

    Only as many as take ``seconds`` together, but always one.
    """
    source = (MASKS / file).read_text(encoding="utf-8")
    around = [(a, b) for a, b in functions_of(source) if a <= line <= b]
    names = {n for n, (_, lines) in touched.items() if any(f == file for f, _ in lines)}
    if around:
        first, last = max(around)  # the innermost
        inside = {
            n for n in names if any(f == file and first <= at <= last for f, at in touched[n][1])
        }
        names = inside or names
    chosen: list[str] = []
    for name in sorted(names, key=lambda name: touched[name][0]):
        seconds -= touched[name][0]
        if chosen and seconds < 0:
            break
        chosen.append(name)
    return chosen


# -- one fault ---------------------------------------------------------------------------------


class Faulty(MetaPathFinder, SourceFileLoader):
    """Loads one module from a syntax tree with a fault in it."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        SourceFileLoader.__init__(self, name, str(path))
        self.tree = tree

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        return spec_from_file_location(fullname, self.path, loader=self)

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.tree, str(self.path), "exec")


class Chosen:
    """A pytest plugin that runs the chosen tests only, in their order."""

    def __init__(self, names: list[str]) -> None:
        self.place = {name: at for at, name in enumerate(names)}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self.place),
            key=lambda item: self.place[item.nodeid],
        )


def run_with_fault(file: str, fault: Fault, names: list[str], examples: int) -> None:
    """In a child: plant the fault, run the tests, leave with 0 if none of them fails."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    path = MASKS / file
    tree = planted(path.read_text(encoding="utf-8"), fault.number)
    sys.meta_path.insert(0, Faulty(f"sightline.masks.{path.stem}", path, tree))
    files = sorted({name.split("::")[0] for name in names})
    plugins = [Chosen(names), FewExamples(examples)]
    os._exit(min(int(pytest.main([*PYTEST, *files], plugins=plugins)), 100))


def judged(
    work: list[tuple[str, Fault, list[str], float]], examples: int, jobs: int
) -> Iterator[tuple[str, Fault, str]]:
    """Yield (file, fault, verdict) as the children come back, ``jobs`` at a time."""
    running: dict[int, tuple[str, Fault, float]] = {}
    waiting = list(reversed(work))
    while waiting or running:
        while waiting and len(running) < jobs:
            file, fault, names, limit = waiting.pop()
            child = os.fork()
            if not child:
                run_with_fault(file, fault, names, examples)
            running[child] = (file, fault, time.monotonic() + limit)
        time.sleep(0.02)
        for child, (file, fault, end) in list(running.items()):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                del running[child]
                yield file, fault, "survived" if status == 0 else "killed"
            elif time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                del running[child]
                yield file, fault, "timeout"


# -- all of them -------------------------------------------------------------------------------


def key_of(file: str, fault: Fault) -> str:
    digest = hashlib.sha256((MASKS / file).read_bytes()).hexdigest()[:12]
    return f"{file}:{digest}:{fault.number}"


def report(results: list[dict[str, Any]]) -> None:
    files = sorted({r["file"] for r in results})
    say(f"\n{'file':16} {'faults':>7} {'killed':>7} {'timeout':>8} {'survived':>9} {'score':>7}")
    for name in [*files, "all"]:
        verdicts = Counter(r["verdict"] for r in results if name in (r["file"], "all"))
        total, alive = verdicts.total(), verdicts["survived"]
        row = f"{verdicts['killed']:7} {verdicts['timeout']:8} {alive:9} {1 - alive / total:7.1%}"
        say(f"{name:16} {total:7} {row}")
    for r in sorted(results, key=lambda r: (r["file"], r["line"])):
        if r["verdict"] == "survived":
            say(f"survived: {r['file']}:{r['line']}  {r['before']}  ->  {r['after']}")


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parse.add_argument("files", nargs="*", help="files of masks/, such as grid.py (all)")
    parse.add_argument("--jobs", type=int, default=2)
    parse.add_argument("--examples", type=int, default=25, help="hypothesis examples per test")
    parse.add_argument("--seconds", type=float, default=60, help="of tests per fault, at most")
    parse.add_argument("--every", type=int, default=1, help="plant every n-th fault only")
    parse.add_argument("--again", action="store_true", help="try the survivors of the file again")
    parse.add_argument("--results", type=Path, default=ROOT / ".mutation.jsonl")
    asked = parse.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT / "src"))
    known: dict[str, dict[str, Any]] = {}
    if asked.results.exists():
        for line in asked.results.read_text(encoding="utf-8").splitlines():
            known[json.loads(line)["key"]] = json.loads(line)
    load_beforehand()
    say("running all tests once, without a fault ...")
    touched = in_child(lambda: watch(asked.examples))
    files = asked.files or sorted(p.name for p in MASKS.glob("*.py"))
    wanted, work = [], []
    for file in files:
        for fault in faults_of((MASKS / file).read_text(encoding="utf-8"))[:: asked.every]:
            key = key_of(file, fault)
            wanted.append(key)
            if key not in known or (asked.again and known[key]["verdict"] == "survived"):
                names = tests_for(file, fault.line, touched, asked.seconds)
                limit = 20 + 6 * sum(touched[name][0] for name in names)
                work.append((file, fault, names, limit))
    started = time.monotonic()
    with asked.results.open("a", encoding="utf-8") as out:
        for at, (file, fault, verdict) in enumerate(judged(work, asked.examples, asked.jobs), 1):
            record = {"key": key_of(file, fault), "file": file, "verdict": verdict, **vars(fault)}
            known[record["key"]] = record
            out.write(json.dumps(record) + "\n")
            out.flush()
            if at % 50 == 0 or verdict == "survived":
                seconds = f"{at}/{len(work)} {time.monotonic() - started:.0f}s"
                say(f"{seconds} {verdict} {file}:{fault.line} {fault.before} -> {fault.after}")
    report([known[key] for key in wanted if key in known])


def in_child(call: Any) -> Any:
    """Return what ``call`` returns in a process of its own, so that nothing is imported here."""
    import pickle

    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        with os.fdopen(write, "wb") as out:
            pickle.dump(call(), out)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as back:
        content = back.read()
    if os.waitpid(child, 0)[1]:
        raise SystemExit("the run without a fault failed")
    return pickle.loads(content)  # noqa: S301 - our own child's words


if __name__ == "__main__":
    main()
