"""Without the compiled kernels Sightline works, and says what is missing, why and what to do.

Each case runs in a process of its own, where the kernels are hidden or spoilt.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sightline.errors import MissingKernels
from sightline.native import kernels, why_missing

HIDE = """
import sys, warnings
from pathlib import Path
sys.modules["sightline.native._kernels"] = None
from sightline import native
native.RECORD = Path({record!r})
"""


def fresh_process(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def hidden(code: str, record: Path | str = "/nowhere/at all.txt") -> str:
    return fresh_process(HIDE.format(record=str(record)) + code)


TELL = """
from sightline.errors import MissingKernels, SightlineError
try:
    native.kernels()
except MissingKernels as error:
    assert isinstance(error, SightlineError) and isinstance(error, ImportError)
    assert error.reason == native.why_missing()
    print(error)
"""


def test_the_error_says_what_is_missing_and_what_to_do() -> None:
    said = hidden(TELL)
    assert said.startswith("Sightline's compiled kernels are missing: they were not compiled")
    assert "SIGHTLINE_NATIVE=0" in said
    assert "g++ or clang++" in said
    assert "make native" in said
    assert said.endswith("name another engine.")


def test_the_reason_is_the_one_that_the_installation_wrote_down(tmp_path: Path) -> None:
    record = tmp_path / "reason.txt"
    record.write_text("no C++ compiler was found when it was installed\n", encoding="utf-8")
    said = hidden(TELL, record)
    assert said.startswith(
        "Sightline's compiled kernels are missing: no C++ compiler was found when it was installed."
    )


def test_an_empty_record_is_no_reason(tmp_path: Path) -> None:
    record = tmp_path / "reason.txt"
    record.write_text("", encoding="utf-8")
    assert hidden("print(native.why_missing())", record).startswith("they were not compiled")


def test_kernels_that_do_not_load_are_told_from_kernels_that_are_not_there(tmp_path: Path) -> None:
    from importlib.machinery import EXTENSION_SUFFIXES

    (tmp_path / f"_kernels{EXTENSION_SUFFIXES[0]}").write_bytes(b"not a library")
    code = f"""
from sightline import native
native.__path__[:] = [{str(tmp_path)!r}]
print(native.why_missing())
"""
    said = fresh_process(code)
    assert said.startswith("they were compiled, but do not load here (")
    assert f"_kernels{EXTENSION_SUFFIXES[0]}" in said


WARN = """
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        native.warn_once()
print(len(caught), *[f"{w.category.__name__}: {w.message}" for w in caught])
"""


def test_a_process_is_warned_once() -> None:
    said = hidden(WARN)
    assert said.startswith("1 UserWarning: Sightline's compiled kernels are missing: they were not")
    assert "the same results" in said


def test_no_warning_where_there_is_nothing_to_warn_of() -> None:
    present = "native.why_missing = lambda: None\n"
    assert hidden(present + WARN) == "0"


def test_importing_sightline_neither_loads_nor_needs_the_kernels() -> None:
    code = "import sightline, sys; print('sightline.native._kernels' in sys.modules)"
    assert fresh_process(code) == "False"
    assert hidden("import sightline as sl; print(sl.causal())") == "causal()"


def test_kernels_and_why_missing_agree_in_this_process() -> None:
    reason = why_missing()
    if reason is None:
        names = kernels().isas()
        assert names
        assert len(set(names)) == len(names)
    else:
        with pytest.raises(MissingKernels):
            kernels()
