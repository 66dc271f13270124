"""Runs the notebooks in docs/notebooks and stores what they put out, to be read as pages.

    python docs/make_notebooks.py                    # all of them, in place
    python docs/make_notebooks.py -o FOLDER NAME...  # some of them, into a folder

A cell whose output is another one every time (a duration, the path of a file) is tagged "varies".
The test runs this program and compares what the other cells say with what is stored.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NOTEBOOKS = Path(__file__).parent / "notebooks"
_SECONDS = 120  # for a cell, on a busy machine


def main() -> int:
    """Run the notebooks; the exit code is 1 if one of them fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="without .ipynb; none is all")
    parser.add_argument("-o", "--output", type=Path, default=NOTEBOOKS, metavar="FOLDER")
    options = parser.parse_args()
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if options.names and path.stem not in options.names:
            continue
        from nbclient.exceptions import CellExecutionError

        try:
            notebook = executed(path)
        except CellExecutionError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            return 1
        write(notebook, options.output / path.name)
        print(f"wrote {options.output / path.name}")
    return 0


def executed(path: Path) -> Any:
    """Return a notebook with the outputs of a fresh run in this interpreter."""
    os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")  # where jupyter is going to keep its files
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # a bar that would be drawn nicer
    import nbformat
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    # No installed kernel is looked for: the one that is left is this interpreter's own.
    specs = KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True)
    with TemporaryDirectory() as folder:
        kernel = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=specs,
            transport="ipc",  # nothing listens on the network
            ip=str(Path(folder) / "kernel"),
        )
        client = NotebookClient(
            notebook,
            km=kernel,
            timeout=_SECONDS,
            resources={"metadata": {"path": str(NOTEBOOKS)}},
            record_timing=False,
            coalesce_streams=True,  # what is printed is one output, however it arrives
        )
        client.owns_km = True  # so that the kernel is ended
        client.execute()
    return notebook


def write(notebook: Any, path: Path) -> None:
    """Store a notebook as one that was run from top to bottom, and nothing of the machine."""
    import nbformat

    language = notebook.metadata["language_info"]["name"]
    notebook.metadata["language_info"] = {"name": language}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    sys.exit(main())
