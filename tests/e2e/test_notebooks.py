"""The notebooks run from top to bottom and say what is stored in them, without a warning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

for module in ("nbclient", "ipykernel", "torch"):
    pytest.importorskip(module, reason="needs pip install 'sightline[notebook,torch]'")
nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
LARGEST = 400_000  # bytes, so that it reads well on a page
MADE_BY = "python docs/make_notebooks.py"


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def texts(cell: Any) -> list[str]:
    """Return what a cell put out, as text; what it drew has a summary there."""
    if "varies" in cell.metadata.get("tags", []):
        return []
    streams = [o.text for o in cell.outputs if o.output_type == "stream"]
    return ["".join(streams), *(o.data["text/plain"] for o in cell.outputs if "data" in o)]


def codes(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_three() -> None:
    assert len(NOTEBOOKS) == 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_what_is_stored(path: Path, tmp_path: Path) -> None:
    if "hugging-face" in path.stem:
        pytest.importorskip("transformers", reason="needs pip install 'sightline[hf]'")
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_notebooks.py", "-o", tmp_path, path.stem],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    again = read(tmp_path / path.name)
    for stored, found in zip(codes(read(path)), codes(again), strict=True):
        assert not [o for o in found.outputs if o.get("name") == "stderr"], found.source
        assert texts(found) == texts(stored), f"{found.source}\n{MADE_BY} {path.stem}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_was_run_whole_and_is_small(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    notebook = read(path)
    nbformat.validate(notebook)
    cells = codes(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), MADE_BY
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    pictures = [o for o in outputs if {"text/html", "image/svg+xml"} & set(o.get("data", ()))]
    assert len(pictures) >= 4
    # Nothing of the machine that made it.
    assert str(Path.home()) not in path.read_text(encoding="utf-8")
