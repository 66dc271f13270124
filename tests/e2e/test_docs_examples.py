"""Runs every ```python block of the READMEs and of docs/*.md, so that no example can rot.

The blocks of one file share a namespace, in order, in an empty working directory. A block with
`>>>` prompts is a doctest: its output is compared. Where torch or transformers is missing, a file
runs up to its first block that needs it, and then says that it was skipped.
"""

from __future__ import annotations

import doctest
import importlib.util
import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sightline.native import why_missing

ROOT = Path(__file__).parents[2]
FENCE = re.compile(
    r"^(?P<indent>[ \t]*)```python[ \t]*\n(?P<code>.*?)^[ \t]*```[ \t]*$",
    re.DOTALL | re.MULTILINE,
)
# Extras that an installation may lack; a file without them runs up to the first block that asks.
NEEDS = {name: re.compile(rf"\b{name}\b") for name in ("torch", "transformers")}
# What the compiled kernels answer otherwise, or alone.
NEEDS_KERNELS = re.compile(r"explain_choice|return_lse|engine=\"cpu\"")


class Block(NamedTuple):
    line: int  # of the block's first line of code, from 1
    code: str


def blocks_of(text: str) -> list[Block]:
    return [
        Block(text.count("\n", 0, found.start("code")) + 1, textwrap.dedent(found["code"]))
        for found in FENCE.finditer(text)
    ]


def run_block(block: Block, name: str, namespace: dict[str, Any]) -> None:
    if re.search(r"^\s*>>> ", block.code, re.MULTILINE):
        test = doctest.DocTestParser().get_doctest(
            block.code, namespace, f"{name}:{block.line}", name, block.line - 1
        )
        report: list[str] = []
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        runner.run(test, out=report.append, clear_globs=False)
        namespace.update(test.globs)  # the doctest ran in a copy
        assert not runner.failures, "".join(report)
    else:
        padded = "\n" * (block.line - 1) + block.code  # tracebacks name the document's own line
        exec(compile(padded, name, "exec"), namespace)


READMES = [ROOT / "README.md", ROOT / "README.zh.md"]
PAGES = [
    page
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if blocks_of(page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("path", READMES + PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = blocks_of(path.read_text(encoding="utf-8"))
    assert blocks, f"{path.name} shows no ```python example"
    monkeypatch.chdir(tmp_path)
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:
        for name in missing:
            if NEEDS[name].search(block.code):
                pytest.skip(f"from line {block.line} on, the examples need {name}")
        if why_missing() and NEEDS_KERNELS.search(block.code):
            pytest.skip(f"from line {block.line} on, the examples need kernels: {why_missing()}")
        run_block(block, str(path), namespace)


def test_the_runner_sees_blocks_and_their_lines() -> None:
    fenced = "```python\nx = 1\n```\n"
    nested = "- item\n  ```python\n  y = x\n  ```\n"
    text = f"Words\n\n{fenced}\n```bash\nmake\n```\n\n{nested}"
    assert blocks_of(text) == [Block(4, "x = 1\n"), Block(13, "y = x\n")]


def test_the_runner_notices_a_wrong_example() -> None:
    namespace: dict[str, Any] = {}
    run_block(Block(1, ">>> x = 1\n>>> x + 1\n2\n"), "good", namespace)
    assert namespace["x"] == 1
    with pytest.raises(AssertionError, match="Expected"):
        run_block(Block(1, ">>> x + 1\n3\n"), "bad doctest", namespace)
    with pytest.raises(NameError):
        run_block(Block(1, "nothing_of_that_name\n"), "bad block", namespace)
