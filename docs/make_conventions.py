"""Makes docs/conventions.md and .zh.md: one small mask in the form of every library, side by side.

The forms are made by sl.lower, the readings by the sources of sl.recognize, so that the pages show
what the code does today. A new destination gets its row by itself. Only the examples are chosen
here; the words of both languages are in conventions_words.py.

    python docs/make_conventions.py            write the pages
    python docs/make_conventions.py --check    exit 1 if they are not what would be written

A row whose library is not installed is kept as it stands, and named.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from conventions_words import CHINESE, ENGLISH, Language, Section
from filled import unbroken
from settled import settle

import sightline as sl
from sightline.errors import SightlineError
from sightline.lower.destinations import Destination
from sightline.recognize.sources.table import read
from sightline.recognize.sources.table import rows as source_rows
from sightline.views.parts import Part, parts_of

DOCS = Path(__file__).parent


@dataclass(frozen=True)
class Example:
    """A mask, and the shape that it is written out at.

    Attributes:
        expression: the mask.
        q_len, kv_len, q_offset: the shape.
        options: what the destination is told besides.
    """

    expression: str
    q_len: int = 3
    kv_len: int = 3
    q_offset: int = 0
    options: dict[str, Any] = field(default_factory=dict)


# The first that a destination can say is shown.
EXAMPLES = (
    Example("causal() & padding(lengths=[3, 2])"),
    Example("causal() & padding(lengths=[3, 2]) & padding(lengths=[3, 2]).T"),
    Example("causal() & padding(lengths=[2])"),
    Example("causal() & documents(lengths=[2, 1])"),
    Example("causal()"),
    Example("permutation([2, 0, 1], stream='content')", options={"stream": "content"}),
    Example("shifted_window((1, 4), (1, 2), (0, 1))", q_len=4, kv_len=4),
    Example("padding(valid=[[1, 0, 1]])", q_len=1, q_offset=2),
    Example(
        "causal() & documents(lengths=[100, 28])", q_len=128, kv_len=128, options={"num_heads": 1}
    ),
    Example("everything()"),
)
# Masks whose first query may see nothing; the second is one that padding on the left makes.
EMPTY_ROWS = (
    "causal(strict=True)",
    "causal() & padding(lengths=[2], side='left', total=3)",
    "nothing()",
)
# What True means in forms that cannot be read back, whose source would say it.
TRUE_MEANS = {
    "numpy.bool": "may attend",
    "numpy.additive": "floats are added: 0 may attend",
    "flashmask": "there is no mask; for each key the queries that do not see it",
    "magi": "there is no mask; ranges of queries and of keys that they see",
    "flashinfer": "a bit of 1 may attend",
    "paddle": "floats are added: 0 may attend",
    "onnx": "may attend",
    "xformers": "there is no mask; a bias object says where sequences begin",
    "jax.splash": "may attend, in lazy masks; equal segment ids see each other",
}
# What is told of packed tokens beside the keywords of the call.
PLACES = ("query_index", "key_index", "batch", "q_len", "kv_len", "leading")
# Arrays are written out up to this many numbers.
MOST_NUMBERS = 64


# -- the forms ---------------------------------------------------------------------------------


def made(destination: Destination, example: Example) -> Any:
    """Translate an example; a form of several masks gets the same one for each."""
    mask = sl.parse(example.expression)
    masks = mask if len(destination.takes) == 1 else (mask,) * len(destination.takes)
    shape = example.q_len, example.kv_len, example.q_offset
    return sl.lower(masks, destination.name, *shape, **example.options)


def first_said(destination: Destination) -> tuple[Example, Any] | None:
    """Return the first example that the destination can say, and what it gives; None if none."""
    for example in EXAMPLES:
        try:
            return example, made(destination, example)
        except sl.MissingExtra:
            raise
        except SightlineError:
            continue
    return None


def row(destination: Destination, words: Language) -> str:
    """Return a destination's row of the table."""
    found = first_said(destination)
    means = true_means(destination.name, words)
    if found is None:
        return line(code(destination.name), means, words.tell("none of the examples"), "")
    example, given = found
    shown = "<br>".join(said(part) for part in worth_showing(parts_of(given)))
    if example != EXAMPLES[0]:
        of = words.of.format(expression=code(example.expression), shape=at(example, words))
        shown = f"{of}<br>{shown}"
    return line(code(destination.name), means, shown, words.tell(empty_row(destination, example)))


def line(*cells: str) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def worth_showing(parts: list[Part]) -> Iterator[Part]:
    """Yield the keywords of a call; of an object what is data and not None."""
    packed = any(part.name == "query_index" for part in parts)
    for part in parts:
        nothing = "." in part.name and part.array is None and part.value is None
        if part.dtype != "function" and not nothing and not (packed and part.name in PLACES):
            yield part


def said(part: Part) -> str:
    """Return one part in a line of Markdown."""
    name = f"{code(part.name)} " if part.name else ""
    if part.array is None:
        return f"{name}= {code(repr(part.value) if part.plain else str(part.value))}"
    array = part.array
    while array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    if array.size > MOST_NUMBERS:
        return f"{name}{part.dtype} {list(part.array.shape)}"
    return f"{name}{code(numbers(array))} ({part.dtype} {list(part.array.shape)})"


def numbers(array: Any) -> str:
    """Return an array in one line: `100 110 110` for bools, `[0 -inf] [0 0]` for numbers."""
    if array.ndim > 2:
        return "; ".join(numbers(each) for each in array)
    rows = np.atleast_2d(array)
    if array.dtype.kind == "b":
        return " ".join("".join("1" if cell else "0" for cell in line) for line in rows)
    return " ".join("[" + " ".join(f"{cell:g}" for cell in line) + "]" for line in rows)


def code(text: str) -> str:
    """Return text as code in a table, where a bar would end the cell."""
    return f"`{plain(text)}`"


def at(example: Example, words: Language) -> str:
    """Return where an example of another shape stands."""
    if (example.q_len, example.kv_len, example.q_offset) == (3, 3, 0):
        return ""
    start = words.start.format(offset=example.q_offset) if example.q_offset else ""
    return words.shape.format(q_len=example.q_len, kv_len=example.kv_len, start=start)


def true_means(name: str, words: Language) -> str:
    """Return what True means in a form, as its source says it."""
    known = {each.name: each.true_means for each in source_rows()}
    if name not in known and name not in TRUE_MEANS:
        raise SystemExit(f"TRUE_MEANS does not say what True means in {name}")
    return plain(words.tell(known.get(name) or TRUE_MEANS[name]))


def plain(text: str) -> str:
    """Return text for a table, where a bar would end the cell."""
    return text.replace("|", "\\|")


def empty_row(destination: Destination, example: Example) -> str:
    """Return whether a destination can say a query that may see nothing, at an example's shape."""
    for expression in EMPTY_ROWS:
        shape = example.q_len, example.kv_len, example.q_offset
        if not sl.parse(expression).empty_rows(*shape).any():
            continue
        try:
            made(destination, replace(example, expression=expression))
        except sl.MissingExtra:
            raise
        except SightlineError as error:
            if isinstance(error, sl.CannotExpress) and "see nothing" in error.part:
                return "refused"
            continue
        return "can be said"
    return "no such mask can be said"


# -- the facts ---------------------------------------------------------------------------------


def drawn(allowed: Any) -> str:
    """Return bools [rows, columns] as `100 110`."""
    return code(numbers(np.asarray(allowed)))


# Calls that say "causal" for 2 queries and 4 keys, and a window of 1 key to the left for 3.
CAUSAL = {
    "torch.sdpa": {"is_causal": True},
    "keras": {"use_causal_mask": True},
    "jax.dot_product_attention": {"is_causal": True},
    "flash_attn": {"causal": True},
    "torch.varlen": {"cu_seq_q": [0, 2], "cu_seq_k": [0, 4], "window_size": (-1, 0)},
}
WINDOWS = {
    "flash_attn": {"window_size": (1, 0)},
    "torch.varlen": {"cu_seq_q": [0, 3], "window_size": (1, 0)},
    "jax.dot_product_attention": {"local_window_size": (1, 0)},
}
NOTHING_SAID = {
    "torch.sdpa": {"attn_mask": None},
    "torch.mha": {"attn_mask": None, "key_padding_mask": None},
    "keras": {"attention_mask": None},
    "jax.dot_product_attention": {"mask": None},
}


# Forms that say padding in a way of their own, and what they are told besides.
PADDING: dict[str, dict[str, Any]] = {
    "torch.sdpa": {},
    "torch.mha": {},
    "hf.2d": {"own": sl.everything()},
    "keras": {},
    "jax.dot_product_attention": {},
    "xlnet": {},
}


def head(columns: tuple[str, ...]) -> str:
    """Return the head of a table."""
    return f"{line(*columns)}\n|{' --- |' * len(columns)}"


def opening(section: Section, words: Language) -> Iterator[str]:
    """Yield what stands above the rows of a section."""
    yield f"\n## {section.title}\n"
    if section.text:
        yield words.paragraph(section.text)
    yield head(section.columns)


def paddings(words: Language, old: str) -> Iterator[str]:
    """Yield a row for each form of padding; one whose library is missing is kept."""
    for name, options in PADDING.items():
        try:
            given = sl.lower(sl.padding(lengths=[3, 2]), name, 3, 3, **options)
        except sl.MissingExtra:
            yield from old_row(old.partition(f"## {words.padding.title}")[2], name)
        else:
            arrays = [said(part) for part in parts_of(given) if part.array is not None]
            yield line(code(name), true_means(name, words), "<br>".join(arrays))


def calls(table: dict[str, dict[str, Any]], q_len: int, kv_len: int) -> Iterator[str]:
    """Yield rows of calls and what they let be seen."""
    for name, call in table.items():
        options = {"q_len": q_len, "kv_len": kv_len} if name != "torch.varlen" else {}
        (found,) = read(call, name, options)
        shown = ", ".join(f"{key}={value!r}" for key, value in call.items())
        yield line(code(name), code(shown), drawn(found.allowed[0, 0]))


def sources(words: Language) -> Iterator[str]:
    """Yield a row for each form that can be read back."""
    for each in source_rows():
        options = ", ".join(code(option) for option in each.options) or words.none
        means = plain(words.tell(each.true_means))
        yield line(code(each.name), plain(words.tell(each.reads)), means, options)


def facts(words: Language, old: str) -> Iterator[str]:
    """Yield the sections below the table of forms."""
    yield from opening(words.causal, words)
    yield from calls(CAUSAL, 2, 4)
    yield from opening(words.windows, words)
    yield from calls(WINDOWS, 3, 3)
    yield from opening(words.padding, words)
    yield from paddings(words, old)
    yield from opening(words.nothing, words)
    yield from calls(NOTHING_SAID, 2, 2)
    yield from opening(words.sources, words)
    yield from sources(words)


# -- the page ----------------------------------------------------------------------------------


def page(old: str, words: Language = ENGLISH) -> tuple[str, list[str]]:
    """Return the page, and the forms whose rows were kept from the old one."""
    kept: list[str] = []
    rows = []
    for destination in sl.backends():
        try:
            rows.append(row(destination, words))
        except sl.MissingExtra:
            kept.append(destination.name)
            rows += old_row(old, destination.name)
    example = EXAMPLES[0]
    pictures = sl.parse(example.expression).dense(example.q_len)[:, 0]
    lines = ["     ".join(drawing(line) for line in side) for side in zip(*pictures, strict=True)]
    introduction = words.introduction.format(
        example=example.expression, drawing="\n".join(lines), empty=EMPTY_ROWS[0]
    )
    table = "\n".join([head(words.forms), *rows])
    return f"{unbroken(introduction)}\n{table}\n" + "\n".join(facts(words, old)) + "\n", kept


def drawing(line: Any) -> str:
    """Return a row of bools as it is drawn."""
    return " ".join("x" if cell else "." for cell in line)


def old_row(old: str, name: str) -> list[str]:
    """Return a form's row of the page as it stands, or nothing."""
    return [line for line in old.splitlines() if line.startswith(f"| {code(name)} | ")][:1]


def files() -> dict[Path, str]:
    """Return both pages, and say what of them could not be looked at."""
    made: dict[Path, str] = {}
    for language in (ENGLISH, CHINESE):
        path = DOCS / language.file
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        made[path], kept = page(old, language)
    for name in kept:
        print(f"not looked at, since its library is not installed: {name}")
    return made


def main(words: list[str]) -> int:
    """Write or check, and return the exit code."""
    return settle(words, __doc__, "make_conventions", DOCS, files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
