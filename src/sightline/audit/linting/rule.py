"""What a rule is: its name and words, an example of each kind, and the function that looks.

The rules themselves stand in lint_rules/, a file each; ``Code`` is what they look at.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from sightline.audit.linting.attention_calls import AttentionCalls
from sightline.audit.linting.mask_values import MaskValues
from sightline.audit.linting.records import Severity
from sightline.audit.linting.scopes import Scopes
from sightline.audit.linting.scores import Scores
from sightline.audit.linting.source import Source


class Code:
    """One piece of Python as rules look at it; each part is made when a rule first asks for it.

    Attributes:
        source: the parsed text.
        scopes: what names hold.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.scopes = Scopes(source)

    @cached_property
    def masks(self) -> MaskValues:
        """What expressions are worth as masks."""
        return MaskValues(self.source, self.scopes)

    @cached_property
    def attention(self) -> AttentionCalls:
        """The calls of torch's attention."""
        return AttentionCalls(self.source, self.scopes)

    @cached_property
    def scores(self) -> Scores:
        """What goes into softmaxes."""
        return Scores(self.source, self.scopes)


@dataclass(frozen=True)
class Hit:
    """What a rule found.

    Attributes:
        node: where.
        message: what is wrong there.
        fix: what to write instead.
        severity: if it is not the rule's own.
    """

    node: ast.expr | ast.stmt | ast.arg
    message: str
    fix: str
    severity: Severity | None = None


@dataclass(frozen=True)
class LintRule:
    """One rule.

    Attributes:
        name: what it is called, words joined by hyphens.
        meaning: what it finds, in a sentence.
        severity: of its findings, unless one says otherwise.
        why: what goes wrong, and how to write it; a short paragraph.
        wrong: code in which it finds something.
        right: the same written well.
        words: it looks only at text in which one of these occurs.
        check: yields what it finds.
    """

    name: str
    meaning: str
    severity: Severity
    why: str
    wrong: str
    right: str
    words: tuple[str, ...]
    check: Callable[[Code], Iterator[Hit]]

    def concerns(self, text: str) -> bool:
        """Whether a text may have something for this rule."""
        return any(word in text for word in self.words)
