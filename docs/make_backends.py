"""Makes docs/backends.md: what each destination could say in principle, and what we say.

The table is what the destinations say of themselves; the counts are those of the last
``python benchmarks/everywhere.py --out benchmarks/results``.

    python docs/make_backends.py            write the page
    python docs/make_backends.py --check    exit 1 if it is not what would be written
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sightline as sl
from sightline.lower.destinations import Destination
from sightline.testing.backends import BACKENDS
from sightline.testing.cases import CAPABILITIES
from sightline.views.files import write_atomically

DOCS = Path(__file__).parent
PAGE = DOCS / "backends.md"
RESULTS = DOCS.parent / "benchmarks" / "results" / "everywhere.json"
INTRODUCTION = """\
# Where a mask can go

`sl.lower(mask, to=..., q_len=...)` translates a mask into another library's form: exactly, or it
raises `CannotExpress`, which names the part that does not fit, why, and the cheapest exact way.
`sl.backends()` lists the destinations; this page is made from that list (`python
docs/make_backends.py`). What each library's True, window and None mean stands side by side in
[conventions.md](conventions.md).

```python
>>> import sightline as sl
>>> sl.lower(sl.causal(strict=True), to="torch.mha", q_len=3)
Traceback (most recent call last):
...
sightline.errors.CannotExpress: torch.mha cannot express rows that may see nothing (1 of 3, first: \
batch 0, head 0, query 0): nn.MultiheadAttention makes NaN of them, in output and gradients, with \
need_weights=True, and in evaluation without gradients even with need_weights=False. Instead: \
sl.attend(query, key, value, mask), which gives 0.

```
"""
SUITE = """\
## Your own backend

The suite that tests these destinations ships with Sightline, and runs on any backend:

```bash
pip install 'sightline[testing]'
pytest --pyargs sightline.testing --backend my_package.masks:BACKEND
```

`BACKEND` is a `sightline.testing.backend.Backend`: a function that computes attention under a mask
(`attend`), one that says what its arguments mean (`allowed`), or both. What it cannot do, it says
in `lacks`; the suite then wants `CannotExpress`, and fails if the backend can do it after all.
"""


def page() -> Iterator[str]:
    """Yield the lines of the page."""
    yield INTRODUCTION
    yield from capabilities()
    yield from counts()
    yield "## What could be said, and what we say\n"
    for row in sl.backends():
        yield from destination(row)
    yield SUITE.rstrip()


def destination(row: Destination) -> Iterator[str]:
    """Yield what a destination says of itself."""
    yield f"### `{row.name}`\n"
    yield f"- gives: {row.gives}"
    yield f"- could say in principle: {row.in_principle}"
    yield f"- we say: {row.expresses}"
    yield f"- we refuse: {row.refuses}"
    if row.options:
        yield f"- options: {', '.join(f'`{option}`' for option in row.options)}"
    if row.needs:
        yield f"- needs: {row.needs} (`pip install 'sightline[{row.extra}]'`)"
    yield ""


def counts() -> Iterator[str]:
    """Yield how many random masks arrived."""
    if not RESULTS.exists():
        return
    results: dict[str, Any] = json.loads(RESULTS.read_text())
    yield f"## {results['count']:,} random expressions\n"
    yield (
        f"Expressions up to {results['depth']} operators deep over all masks, at random lengths "
        "and offsets, sent everywhere (`python benchmarks/everywhere.py`, seed "
        f"{results['seed']}). What came out was expanded by each library's documentation and "
        "compared with the oracle cell by cell; each refusal was held against all that the form "
        "could say, but for those of packed sequences and of splash, which the unit tests hold "
        "against every packing of small masks.\n"
    )
    outcomes = list(next(iter(results["destinations"].values())))
    yield f"| destination | {' | '.join(outcomes)} |"
    yield f"|---|{'---:|' * len(outcomes)}"
    for name, tally in results["destinations"].items():
        cells = ("not judged" if tally[each] is None else f"{tally[each]:,}" for each in outcomes)
        yield f"| `{name}` | {' | '.join(cells)} |"
    yield ""
    yield (
        "Where a form needs more than a mask: `torch.transformer` has the mask on its memory and "
        "nothing forbidden elsewhere, `hf.2d` and `hf.position_ids` mean a causal model, `swin` a "
        "grid that is one window, `jax.splash` has its keys padded to 128.\n"
    )


def capabilities() -> Iterator[str]:
    """Yield what each backend lacks, as the suite tests it."""
    yield "## At a glance\n"
    yield (
        "What the conformance suite expects of each engine and destination: a blank is a promise, "
        "`no` means that it must refuse, and is tested to, as are the masks of the last column "
        "(of `sightline.testing.cases`).\n"
    )
    yield f"| | {' | '.join(CAPABILITIES)} | and these masks |"
    yield f"|---|{'---|' * len(CAPABILITIES)}---|"
    for name, backend in BACKENDS.items():
        cells = ("no" if each in backend.lacks else "" for each in CAPABILITIES)
        besides = ", ".join(sorted(backend.refuses))
        yield f"| `{name}` | {' | '.join(cells)} | {besides} |"
    yield ""
    for name, meaning in CAPABILITIES.items():
        yield f"- *{name}*: {meaning}"
    yield ""


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
