"""Masks with their pictures, drawn by hand: what every backend has to say, or to refuse.

Rows are queries, columns keys, x may attend. One picture serves every batch row and head; several
serve the batch rows, or the heads where the case is per head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.masks.mask import Mask
from sightline.masks.parser import parse
from sightline.testing.expanders.shape import Shape

CAPABILITIES = {
    "batch": "masks that differ between batch rows",
    "heads": "masks that differ between heads",
    "rectangle": "other numbers of keys than of queries",
    "offset": "queries that start behind position 0",
    "empty rows": "queries that may see nothing: output 0, gradients 0",
    "bidirectional": "keys after the query",
    "window": "keys that are too far back",
    "documents": "several documents in one row",
    "padding": "keys of padding",
    "many queries": "more than one query in a call",
    "scattered": "queries whose keys are more than one interval",
}


@dataclass(frozen=True)
class Case:
    """One mask at one shape, and what it allows.

    Attributes:
        name: what the case is about.
        expression: the mask, as text.
        pictures: one for all, or one for each batch row or head.
        about: capabilities that the picture alone does not show to be needed.
        q_offset: the absolute position of query 0.
        per_head: whether the pictures are those of the heads.
    """

    name: str
    expression: str
    pictures: tuple[str, ...]
    about: frozenset[str]
    q_offset: int = 0
    per_head: bool = False

    @property
    def mask(self) -> Mask:
        """The mask itself."""
        return parse(self.expression)

    @property
    def drawn(self) -> NDArray[np.bool_]:
        """Bools [batch|1, heads|1, q_len, kv_len]."""
        each = np.array([[list(row) for row in picture.split()] for picture in self.pictures])
        return (each == "x")[None, :] if self.per_head else (each == "x")[:, None]

    @property
    def needs(self) -> frozenset[str]:
        """The capabilities that a backend must have for it."""
        drawn = self.drawn
        batch, heads, q_len, kv_len = drawn.shape
        query = np.arange(q_len)[:, None] + self.q_offset
        shown = {
            "batch": batch > 1,
            "heads": heads > 1,
            "rectangle": q_len != kv_len,
            "offset": self.q_offset > 0,
            "many queries": q_len > 1,
            "empty rows": not drawn.any(-1).all(),
            "bidirectional": bool((drawn & (np.arange(kv_len) > query)).any()),
        }
        return self.about | {name for name, needed in shown.items() if needed}

    @property
    def shape(self) -> Shape:
        """The sizes to ask at: batch and heads differ from each other where the mask leaves it."""
        batch, heads, q_len, kv_len = self.drawn.shape
        batch, heads = (2 if batch == 1 else batch, 3 if heads == 1 else heads)
        return Shape(batch, heads, q_len, kv_len, self.q_offset)


def _case(
    name: str,
    expression: str,
    *pictures: str,
    about: str = "",
    q_offset: int = 0,
    per_head: bool = False,
) -> Case:
    asked = frozenset(filter(None, about.split(", ")))
    return Case(name, expression, pictures, asked, q_offset, per_head)


CASES = (
    _case("causal", "causal()", "x... xx.. xxx. xxxx"),
    _case("everything", "everything()", "xxx xxx xxx"),
    _case("cross-attention", "everything()", "xxxxx xxxxx xxxxx"),
    _case("a decode step", "causal()", "xxxxx", q_offset=4),
    _case("a later chunk of a prompt", "causal()", "xxx.. xxxx. xxxxx", q_offset=2),
    _case("a cache with room to spare", "causal()", "xx... xxx..", q_offset=1),
    _case("a window", "causal() & window(left=1)", "x... xx.. .xx. ..xx", about="window"),
    _case("a window both ways", "window(left=1, right=1)", "xx.. xxx. .xxx ..xx",
          about="window"),
    _case("a decode step in a window", "window(left=2, right=0)", "..xxx",
          about="window", q_offset=4),
    _case("padding on the right", "causal() & padding(lengths=[4, 2])",
          "x... xx.. xxx. xxxx", "x... xx.. xx.. xx..", about="padding"),
    _case("padding on the left", "causal() & padding(lengths=[4, 2], side='left', total=4)",
          "x... xx.. xxx. xxxx", ".... .... ..x. ..xx", about="padding"),
    _case("padding of an encoder", "padding(lengths=[3, 1])", "xxx xxx xxx", "x.. x.. x..",
          about="padding"),
    _case("padding with a hole", "causal() & padding(valid=[1, 0, 1, 1])",
          "x... x... x.x. x.xx", about="padding"),
    _case("documents", "causal() & documents(lengths=[2, 1, 2])",
          "x.... xx... ..x.. ...x. ...xx", about="documents"),
    _case("documents of an encoder", "documents(lengths=[[2, 1], [1, 2]])",
          "xx. xx. ..x", "x.. .xx .xx", about="documents"),
    _case("documents in turns", "causal() & documents(ids=[0, 1, 0, 1])",
          "x... .x.. x.x. .x.x", about="documents, scattered"),
    _case("a prefix that all see", "causal() | prefix(2)", "xx.. xx.. xxx. xxxx"),
    _case("prefixes of two lengths", "prefix_lm([1, 3])", "x... xx.. xxx. xxxx",
          "xxx. xxx. xxx. xxxx"),
    _case("sinks and a window", "causal() & (sinks(1) | window(left=1))",
          "x.... xx... xxx.. x.xx. x..xx", about="window, scattered"),
    _case("strictly before", "causal(strict=True)", "... x.. xx."),
    _case("nobody", "nothing()", ".... ....", about="padding"),
    _case("two heads", "per_head([causal(), window(left=1, right=1)])",
          "x.. xx. xxx", "xx. xxx .xx", about="window", per_head=True),
    _case("chunks", "chunks(2)", "xx.. xx.. ..xx ..xx", about="documents"),
    _case("every other key", "causal() & dilated(2)", "x... .x.. x.x. .x.x",
          about="documents, scattered"),
    _case("windows of a grid", "shifted_window((2, 4), window=2, shift=0)",
          "xx..xx.. xx..xx.. ..xx..xx ..xx..xx xx..xx.. xx..xx.. ..xx..xx ..xx..xx",
          about="documents, scattered"),
    _case("a query stream", "permutation([2, 0, 1], stream='query')", "..x x.x ...",
          about="scattered"),
)  # fmt: skip
