"""Makes docs/huggingface_table.md: which transformers architectures Sightline takes over.

Each is a tiny model with random weights, run with its own attention and patched; takes a minute.

    python docs/make_hf.py            write the page
    python docs/make_hf.py --check    exit 1 if it is not what would be written
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from sightline.hf.requirements import require_transformers
from sightline.testing.hf_architectures import ARCHITECTURES, Architecture, compare, refusal
from sightline.views.files import write_atomically

PAGE = Path(__file__).parent / "huggingface_table.md"
INTRODUCTION = """\
# Transformers architectures under `sl.hf.patch`

Tiny models with random weights, run in float32 with their own attention (sdpa) and patched. The
differences are the largest ones of the outputs at real positions, rounded up to a power of ten:
without padding, padded on the left, padded on the right; *cached* is the scores of greedy
generation from left-padded prompts, where the tokens must be equal too. The masks are what
`sl.hf.explain(model)` says without padding. This page is made by `python docs/make_hf.py`
(transformers {version}); `tests/parity/test_hf_architectures.py` asserts the same.
"""
COLUMNS = ("none", "left", "right", "cached")


def page() -> Iterator[str]:
    """Yield the page, line by line."""
    version = require_transformers("docs/make_hf.py").__version__
    yield INTRODUCTION.format(version=version)
    yield f"| architecture | kind | modules | masks | {' | '.join(COLUMNS)} |"
    yield f"|---|---|---:|---|{'---|' * len(COLUMNS)}"
    refused = [each for each in ARCHITECTURES.values() if each.refused]
    for each in ARCHITECTURES.values():
        if not each.refused:
            yield row(each)
    yield ""
    yield "## Refused\n"
    yield (
        "`patch` refuses these as a whole rather than patch a part of them; nothing is changed. "
        'With `others="keep"` modules that attend in their own code stay as they are.\n'
    )
    yield "| architecture | kind | why |"
    yield "|---|---|---|"
    for each in refused:
        yield f"| {each.name} | {each.kind} | {refusal(each)} |"


def row(architecture: Architecture) -> str:
    """Return one architecture's row."""
    found = compare(architecture)
    masks = ", ".join(f"`{mask}`" for mask in found.masks)
    gaps = " | ".join(rounded(found.gaps.get(column)) for column in COLUMNS)
    return f"| {architecture.name} | {architecture.kind} | {found.modules} | {masks} | {gaps} |"


def rounded(gap: float | None) -> str:
    """Return a bound that another machine's rounding does not change."""
    if gap is None:
        return ""
    return next((f"≤ {bound:.0e}" for bound in (1e-5, 1e-4) if gap <= bound), f"{gap:.0e}")


def main(arguments: list[str]) -> int:
    text = "\n".join(page()) + "\n"
    if "--check" in arguments:
        same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        print(f"{PAGE.name} is up to date" if same else f"{PAGE.name} is out of date")
        return int(not same)
    write_atomically(PAGE, text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
