"""What sl.draw draws, kept as files to be looked at: tests/unit/golden/*.svg.

    python tests/unit/golden_drawings.py            draw them anew
    python tests/unit/golden_drawings.py --check    exit 1 if they are not what would be drawn

Look at every picture that changes before you commit it.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import sightline as sl

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
DOCS = HERE.parents[1] / "docs"

SENTENCE = ["I", "have", "一个", "梦想", "👩\u200d🚀", "<eos>", "<pad>"]
LONG = "causal() & (window(left=127) | sinks(16)) & documents(lengths=[300, 724])"


@dataclass(frozen=True)
class Case:
    """A mask as text, and the arguments of sl.draw."""

    expression: str
    q_len: int | None = None
    kv_len: int | None = None
    wishes: dict[str, Any] = field(default_factory=dict)

    @property
    def mask(self) -> sl.Mask:
        return examples().mask_of(self.expression)

    @property
    def against(self) -> sl.Mask | None:
        return self.wishes.get("against")

    def draw(self, to: str = "svg", **others: Any) -> str:
        return str(self.drawing(to, **others))

    def drawing(self, to: str, **others: Any) -> Any:
        return sl.draw(self.mask, self.q_len, self.kv_len, to=to, **{**self.wishes, **others})


OPTIONS = {
    "facets_batch": Case("causal() & padding(lengths=[6, 4, 2, 5, 1])", 6),
    "facets_both": Case(
        "per_head([causal(), window(left=1, right=1)]) & padding(lengths=[4, 3, 2])", 5
    ),
    "facets_many": Case("padding(lengths=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14])", 4, 14),
    "facets_chosen": Case("padding(lengths=[1, 2, 3, 4])", 4, wishes={"batch": [2, 0]}),
    "blocks": Case("causal() & documents(lengths=[9, 7])", 16, wishes={"blocks": 4}),
    "blocks_oblong": Case("causal() & sinks(3)", 10, 14, wishes={"blocks": (4, 2)}),
    "blocks_large": Case(LONG, 1024, wishes={"blocks": 64}),
    "blocks_many": Case(LONG, 1024, wishes={"blocks": 8}),
    "difference": Case(
        "causal() & window(left=3)", 10, wishes={"against": sl.causal() & sl.padding(lengths=[7])}
    ),
    "difference_batch": Case(
        "causal()", 6, wishes={"against": sl.causal(strict=True) | sl.padding(lengths=[2, 3])}
    ),
    "difference_large": Case(LONG, 1024, wishes={"against": sl.window(left=200, right=90)}),
    "difference_dark": Case(
        "causal()", 6, wishes={"against": sl.window(left=2, right=1), "theme": "dark"}
    ),
    "tokens": Case("causal() & padding(lengths=[6])", wishes={"tokens": SENTENCE}),
    "tokens_cross": Case(
        "padding(lengths=[3])",
        wishes={"query_tokens": ["我", "有", "梦"], "key_tokens": ["I", "have", "a", "dream"]},
    ),
    "empty_rows": Case("causal() & padding(lengths=[4, 3], side='left')", 5),
    "decode_step": Case("causal() & window(left=4)", 2, 10, wishes={"q_offset": 8}),
    "long": Case(LONG, 1024),
    "sixty_four": Case("causal() & documents(lengths=[20, 30, 14])", 64),
    "light": Case("causal() & documents(lengths=[3, 4])", 7, wishes={"theme": "light"}),
    "dark": Case("queries([0, 1, 2, 5]) & causal()", 6, wishes={"theme": "dark"}),
    "weights": Case(
        "causal()", 4, wishes={"weights": np.tril(np.full((4, 4), 0.25)) + np.eye(4, k=2) / 8}
    ),
    "bare": Case("documents(lengths=[3, 4])", 7, wishes={"marks": False, "title": ""}),
    "marks": Case("prefix(2) | causal() & window(left=2) & chunks(4)", 11),
    "no_pairs": Case("causal()", 0),
}


def examples() -> Any:
    """Return docs/make_masks.py, where the examples of all masks stand."""
    sys.path.insert(0, str(DOCS))  # as when Python runs a script of that folder
    try:
        return importlib.import_module("make_masks")
    finally:
        sys.path.remove(str(DOCS))


def cases() -> dict[str, Case]:
    """Return every drawing that is kept: each mask, then each option."""
    masks = {
        f"mask_{name}": Case(one.expression, one.q_len, one.kv_len, {"q_offset": one.q_offset})
        for name, one in examples().EXAMPLES.items()
    }
    return masks | OPTIONS


def main(words: list[str]) -> int:
    """Write or check, and return the exit code."""
    if words not in ([], ["--check"]):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    drawn = {GOLDEN / f"{name}.svg": case.draw() for name, case in cases().items()}
    stale = [
        path
        for path, svg in drawn.items()
        if not path.exists() or path.read_text(encoding="utf-8") != svg
    ]
    stale += sorted(set(GOLDEN.glob("*.svg")) - drawn.keys())
    for path in stale:
        what = "stale" if words else "drawn anew" if path in drawn else "gone"
        sys.stdout.write(f"{path.name} is {what}\n")
        if not words:
            GOLDEN.mkdir(exist_ok=True)
            if path in drawn:
                path.write_text(drawn[path], encoding="utf-8")
            else:
                path.unlink()
    return 1 if words and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
