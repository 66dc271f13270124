"""For the site: a notebook as a page, with the outputs that are stored in it; nothing is run.

Cells of text stay as they are; code stands in fences, the text that it gave below; pictures and
HTML are put in as they are. Called by mkdocs; see mkdocs.yml.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from made import made_page
from mkdocs.plugins import event_priority

COLORS = re.compile(r"\x1b\[[0-9;]*m")
# What is shown of an output, the best first.
KINDS = ("text/html", "image/svg+xml", "image/png", "text/markdown", "text/plain")


@event_priority(-200)  # after i18n, which knows files on disk only
def on_files(files: Any, *, config: Any) -> Any:
    """Add a page for each notebook in docs/."""
    docs = Path(config.docs_dir)
    for path in sorted(docs.rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        name = path.relative_to(docs).with_suffix(".md").as_posix()
        if not files.get_file_from_path(name):
            notebook = json.loads(path.read_text(encoding="utf-8"))
            files.append(made_page(config, name, page_of(notebook)))
    return files


def page_of(notebook: Mapping[str, Any]) -> str:
    """Return a notebook as Markdown."""
    return "\n\n".join(part for cell in notebook["cells"] for part in parts_of(cell)) + "\n"


def parts_of(cell: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is shown of a cell."""
    text = "".join(cell["source"]).rstrip()
    if cell["cell_type"] == "markdown":
        yield text
    elif cell["cell_type"] == "code" and text:
        yield fenced(text, "python")
        for output in cell["outputs"]:
            yield from shown(output)


def shown(output: Mapping[str, Any]) -> Iterator[str]:
    """Yield an output: what was printed, what was returned, or an error."""
    if output["output_type"] == "stream":
        yield fenced("".join(output["text"]), "text")
    elif output["output_type"] == "error":
        yield fenced("\n".join(output["traceback"]), "text")
    else:
        data = output["data"]
        kind = next(kind for kind in KINDS if kind in data)
        content = "".join(data[kind])
        if kind == "text/plain":
            yield fenced(content, "text")
        elif kind == "text/markdown":
            yield content
        elif kind == "image/png":
            picture = content.replace("\n", "")
            yield f'<img alt="" src="data:image/png;base64,{picture}">'
        else:
            # In a block of its own, without empty lines, which would end it in Markdown.
            content = re.sub(r"\n\s*\n", "\n", content)
            yield f'<div class="output">\n{content}\n</div>'


def fenced(text: str, language: str) -> str:
    """Return text in a fence that is longer than any in it."""
    text = COLORS.sub("", text).rstrip("\n")
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}{language}\n{text}\n{fence}"
