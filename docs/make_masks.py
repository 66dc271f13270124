"""Makes docs/masks.md and docs/pictures/: every mask with its definition, an example, a picture.

Definitions are the docstrings of the constructors, pictures are drawn by Sightline itself, so
the page cannot say anything else than the code does. Only the examples are chosen here.

    python docs/make_masks.py            write the page and the pictures
    python docs/make_masks.py --check    exit 1 if they are not what would be written
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from settled import settle

import sightline as sl
from sightline.masks.names import NAMES
from sightline.views.picture import picture_from
from sightline.views.survey import survey
from sightline.views.svg.render import render_svg, render_svg_row

DOCS = Path(__file__).parent
CELL, SMALL_CELL = 16, 10
MANY = 24


@dataclass(frozen=True)
class Example:
    """An expression, and the queries and keys at which it is drawn."""

    expression: str
    q_len: int
    kv_len: int | None = None
    q_offset: int = 0


def every_third(b: Any, h: Any, q: Any, k: Any) -> Any:
    """Return where query and key add up to a multiple of three."""
    return (q + k) % 3 == 0


EXAMPLES = {
    "everything": Example("everything()", 4, 6),
    "nothing": Example("nothing()", 4, 6),
    "causal": Example("causal()", 8),
    "window": Example("window(left=3, right=1)", 10),
    "prefix": Example("prefix(3)", 8),
    "sinks": Example("causal() & (sinks(2) | window(left=2))", 10),
    "keys": Example("keys([0, 3, 4])", 6, 8),
    "queries": Example("queries(range(2, 5))", 8, 6),
    "chunks": Example("chunks(3)", 8),
    "block_causal": Example("block_causal(3)", 9),
    "dilated": Example("causal() & dilated(3)", 10),
    "strided": Example("strided(4)", 16),
    "fixed": Example("fixed(4, summary=1)", 16),
    "log_sparse": Example("log_sparse(local=2)", 20),
    "log_sparse_row_mask": Example("log_sparse_row_mask(sub_len=16, win_len=32)", 32),
    "random_blocks": Example("random_blocks(2, per_row=2, seed=1)", 16),
    "block_diffusion": Example("block_diffusion(length=6, block=2)", 12),
    "shifted_window": Example("shifted_window((4, 4), window=2, shift=1)", 16),
    "neighborhood": Example("neighborhood((4, 4), kernel=3)", 16),
    "axial": Example("axial((4, 4), axis=0)", 16),
    "padding": Example("padding(lengths=[5, 3])", 5),
    "documents": Example("documents(lengths=[[3, 2, 3], [5, 2]])", 8),
    "spans": Example("causal() | spans([-1, 0, 0, 0, -1, -1, 1, 1])", 8),
    "prefix_lm": Example("prefix_lm([2, 4])", 6),
    "seq2seq": Example("seq2seq(3) & padding(lengths=7)", 8),
    "permutation": Example("permutation([2, 0, 3, 1], stream='query')", 4),
    "tree": Example("tree([-1, 0, 0, 1, 1, 2])", 6),
    "per_batch": Example("per_batch([causal(), everything()])", 5),
    "per_head": Example("per_head([window(left=1, right=1), causal() & dilated(2), causal()])", 6),
    "dense": Example("dense([[0, 1, 1], [0, 0, 1], [0, 1, 0]], means='ignore')", 3),
    "intervals": Example("intervals(start=[0, 0, 2, 3], end=[2, 3, 5, 3])", 4, 6),
    "predicate": Example("predicate(every_third)", 6, 8),
}

COMBINED = {
    "padded_causal": (
        "A padded batch of a language model",
        "Padded keys are forbidden in every row of the batch; `.T` would name padded queries.",
        Example("causal() & padding(lengths=[6, 4])", 6),
    ),
    "packed_causal": (
        "Several documents in one row",
        "Each token sees its own document up to itself.",
        Example("causal() & documents(lengths=[3, 4, 2])", 9),
    ),
    "decode_step": (
        "One step of decoding with a sliding window",
        "Positions are absolute: the query at position 9 is row 9 of the same mask, "
        "`mask.dense(1, 10, q_offset=9)`.",
        Example("causal() & window(left=4)", 1, 10, q_offset=9),
    ),
    "long_context": (
        "A long context, seen whole",
        "A mask too big for a cell a pair is drawn in cells of many pairs; the color says how "
        "much of a cell is allowed.",
        Example(
            "causal() & (window(left=511) | sinks(64)) & documents(lengths=[1500, 2596])", 4096
        ),
    ),
}

# Heading -> the files of sightline.masks whose constructors stand under it.
GROUPS = {
    "By position": {"positional", "periodic"},
    "Sparse patterns": {"sparse", "block_sparse"},
    "On a grid": {"grid"},
    "Carried by data": {"padding", "data"},
    "Orders and trees": {"orders"},
    "Case by case": {"explicit", "key_intervals", "opaque"},
}

INTRODUCTION = """\
# The masks

<!-- Made by docs/make_masks.py from the docstrings; `make docs` makes it again. -->

A mask says for every query (row) and key (column) whether the query may attend to the key: blue
may, gray may not. A query that may see nothing is framed in orange. Positions q and k are
absolute and begin at 0. Every expression below, but for a Python function, can be drawn with
`sightline show 'EXPR'`.

```python
import sightline as sl
```
"""


def mask_of(expression: str) -> sl.Mask:
    """Build an example; a function has no text form, so that one is built by hand."""
    if expression == "predicate(every_third)":
        return sl.predicate(every_third)
    return sl.parse(expression)


def picture(example: Example) -> str:
    """Draw an example, each batch row and head of it."""
    mask = mask_of(example.expression)
    seen = survey(mask, example.q_len, example.kv_len, q_offset=example.q_offset, fit=64)
    cell = CELL if example.q_len <= MANY else SMALL_CELL
    panels = [
        picture_from(seen, batch=batch, head=head, title=panel_title(mask, batch, head))
        for batch in range(mask.batch)
        for head in range(mask.heads)
    ]
    if len(panels) > 1:
        return render_svg_row(panels, title=example.expression, cell=cell, tooltips=False)
    alone = picture_from(seen, title=example.expression)
    return render_svg(alone, cell=cell, tooltips=False)


def panel_title(mask: sl.Mask, batch: int, head: int) -> str:
    """Return what tells a panel apart from the others."""
    parts = [f"batch row {batch}"] if mask.batch > 1 else []
    return ", ".join(parts + ([f"head {head}"] if mask.heads > 1 else []))


def signature(name: str, function: Callable[..., sl.Mask]) -> str:
    """Return how the constructor is called, without types."""
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(function).parameters.values()
    ]
    return f"{name}{inspect.Signature(parameters)}"


def paragraphs(docstring: str) -> Iterator[str]:
    """Yield a docstring's paragraphs as Markdown, without its doctests."""
    for paragraph in re.split(r"\n\s*\n", docstring):
        if paragraph.startswith(">>>"):
            continue
        text = paragraph.replace("``", "`")
        yield arguments(text) if text.startswith("Args:") else text


def arguments(text: str) -> str:
    """Return an ``Args:`` paragraph as a list."""
    items: list[str] = []
    for line in text.splitlines()[1:]:
        found = re.fullmatch(r" {4}(\w+): (.*)", line)
        if found:
            items.append(f"- `{found[1]}`: {found[2]}")
        else:
            items[-1] += f"\n  {line.strip()}"
    return "\n".join(items)


def example_code(name: str, example: Example) -> str:
    """Return the example as a block of Python that runs."""
    code = re.sub(rf"\b({'|'.join(NAMES)})\(", r"sl.\1(", example.expression)
    if name == "predicate":
        source = inspect.getsource(every_third)
        code = re.sub(r': Any|\n    """.*?"""| -> Any', "", source) + "\n\n" + code
    return f"```python\n{code}\n```"


def section(name: str, function: Callable[..., sl.Mask]) -> str:
    """Return a mask's section of the page."""
    example = EXAMPLES[name]
    return "\n\n".join(
        [
            f"### `{signature(name, function)}`",
            *paragraphs(inspect.getdoc(function) or ""),
            example_code(name, example),
            f"![{alternative(example)}](pictures/{name}.svg)",
        ]
    )


def alternative(example: Example) -> str:
    """Return what a reader who cannot see the picture is told."""
    mask = mask_of(example.expression)
    kv_len = example.q_len if example.kv_len is None else example.kv_len
    count = mask.count(example.q_len, kv_len, q_offset=example.q_offset)
    pairs = example.q_len * kv_len * mask.batch * mask.heads
    drawn = example.expression.replace("[", "\\[").replace("]", "\\]")
    return f"{drawn}: {count} of {pairs} pairs allowed"


def file_of(function: Callable[..., sl.Mask]) -> str:
    """Return the name of the file that a constructor stands in."""
    return function.__module__.rpartition(".")[2]


def page() -> str:
    """Return docs/masks.md."""
    parts = [INTRODUCTION.rstrip()]
    for heading, modules in GROUPS.items():
        parts.append(f"## {heading}")
        parts += [
            section(name, function)
            for name, function in NAMES.items()
            if file_of(function) in modules
        ]
    parts.append("## Combined")
    parts.append(
        "`&` and, `|` or, `~` not, `-` and not, `^` either but not both; `.T` swaps queries and "
        "keys; `.shift(query=, key=)` moves the picture."
    )
    for name, (heading, text, example) in COMBINED.items():
        image = f"![{alternative(example)}](pictures/{name}.svg)"
        parts += [f"### {heading}", text, example_code(name, example), image]
    return "\n\n".join(parts) + "\n"


def files() -> dict[Path, str]:
    """Return everything that is made: path -> content."""
    if missing := NAMES.keys() ^ EXAMPLES.keys():
        raise SystemExit(f"EXAMPLES and the table of masks differ in: {sorted(missing)}")
    if lost := {file_of(function) for function in NAMES.values()} - set().union(*GROUPS.values()):
        raise SystemExit(f"GROUPS has no heading for: {sorted(lost)}")
    examples = EXAMPLES | {name: entry[2] for name, entry in COMBINED.items()}
    drawn = {DOCS / "pictures" / f"{name}.svg": picture(one) for name, one in examples.items()}
    return {DOCS / "masks.md": page(), **drawn}


def main(words: list[str]) -> int:
    """Write or check, and return the exit code."""
    return settle(words, __doc__, "make_masks", DOCS, files, owned=["pictures/*.svg"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
