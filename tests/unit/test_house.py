"""The rules of the house: what `import sightline` may load and cost, and how files are kept.

Who may import whom inside the package is import-linter's part (`make lint`).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))

IMPORT_LIMIT = 0.15  # seconds
IMPORT_TRIES = 15  # processes; the quickest counts, since only load makes one slower
LINE_LIMIT = 450
UNWANTED = ("torch", "jax", "jaxlib", "transformers", "keras", "tensorflow", "typer", "rich")

REPORT_LOADED = f"""
import sys
import sightline
print(*[name for name in {UNWANTED!r} if name in sys.modules])
"""
REPORT_SECONDS = """
import time
started = time.perf_counter()
import sightline
print(time.perf_counter() - started)
"""


def fresh_process(code: str) -> str:
    # As for a user from the second time on: modules are compiled, and stay so.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_neither_frameworks_nor_the_command_line() -> None:
    assert fresh_process(REPORT_LOADED) == ""


def test_the_check_above_can_see() -> None:
    code = REPORT_LOADED.replace("import sightline", "import sightline, rich")
    assert fresh_process(code) == "rich"


@pytest.mark.alone
def test_without_torch_each_name_says_what_to_install() -> None:
    # What needs torch as soon as it is loaded, too.
    code = """
import sys
sys.modules["torch"] = None
import sightline as sl
for name in ("nn.MultiheadAttention", "nn.KVCache", "nn.generate"):
    try:
        getattr(sl.nn, name.partition(".")[2])
    except sl.MissingExtra as missing:
        print(missing)
"""
    told = fresh_process(code).splitlines()
    assert len(told) == 3
    assert told[0].startswith("sl.nn.MultiheadAttention needs torch, which is not installed")


def test_import_is_quick() -> None:
    """A promise of the project, numpy's own share included; hence a time in a test, this once."""
    fresh_process(REPORT_SECONDS)  # compiles what has changed
    quickest = float("inf")
    for _ in range(IMPORT_TRIES):
        quickest = min(quickest, float(fresh_process(REPORT_SECONDS)))
        if quickest < IMPORT_LIMIT:
            return
    pytest.fail(
        f"import sightline took {quickest:.3f} s at best of {IMPORT_TRIES}, wanted {IMPORT_LIMIT}; "
        "`python -X importtime -c 'import sightline'` shows what is slow"
    )


def test_there_are_sources() -> None:
    assert len(SOURCES) > 5


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_file(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= LINE_LIMIT, f"{len(lines)} lines; split the file by idea"
    unfinished = [
        f"line {number}: {line.strip()}"
        for number, line in enumerate(lines, 1)
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line)
    ]
    assert not unfinished
    if text.strip():
        assert text.startswith(('"""', 'r"""')), "a file opens by saying what it is for"
