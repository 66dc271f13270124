"""Makes docs/claims.md and docs/claims.zh.md: statements in circulation, each with a verdict.

The statements stand in docs/claims_stated/; figures are put in from the recorded runs. A page is
made only if every test that is named is there and every figure is what its verdict says.

    python docs/make_claims.py            write the pages
    python docs/make_claims.py --check    exit 1 if they are not what would be written
    python docs/make_claims.py --open     list the verdicts that wait for a run
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from claims_stated import language, order, padding, sequences, signals
from claims_stated.pages import CHINESE, ENGLISH, VERDICTS, Page
from claims_stated.record import Claim, Group
from claims_stated.sources_zh import SOURCES
from filled import unbroken
from settled import settle

DOCS = Path(__file__).parent
ROOT = DOCS.parent
GROUPS: tuple[Group, ...] = (
    padding.GROUP,
    order.GROUP,
    language.GROUP,
    *sequences.GROUPS,
    *signals.GROUPS,
)


def claims(groups: Iterable[Group] = GROUPS) -> list[Claim]:
    """Return all statements."""
    return [claim for group in groups for claim in group.claims]


def page(language: Page, groups: Iterable[Group] = GROUPS) -> str:
    """Return the page in a language."""
    every = claims(groups)
    counts = Counter(claim.outcome[0] for claim in every)
    told = "".join(
        f"| {language.verdicts[verdict]} | {counts[verdict]} | {language.meanings[verdict]} |\n"
        for verdict in VERDICTS
    )
    parts = [language.introduction.format(count=len(every)), told]
    for group in groups:
        title = getattr(group.title, language.code)
        parts.append(f"\n## {title}\n\n| {language.columns[0]} | {language.columns[1]} |\n")
        parts.append("| --- | --- |\n")
        parts += [row(claim, language) for claim in group.claims]
        parts += [section(claim, language) for claim in group.claims]
    return unbroken("".join([*parts, language.ending]))


def row(claim: Claim, language: Page) -> str:
    """Return a statement's row in the table of its group."""
    said = getattr(claim.said, language.code).replace("|", "\\|")
    return f"| [{said}](#{claim.name}) | {language.verdicts[claim.outcome[0]]} |\n"


def section(claim: Claim, language: Page) -> str:
    """Return what is said of one statement."""
    verdict, more = claim.outcome
    gap = language.gap
    source = SOURCES.get(claim.source, claim.source) if language is CHINESE else claim.source
    why = getattr(claim.why, language.code)
    if more is not None:
        why += gap + getattr(more, language.code)
    lines = [
        f"\n### {claim.name}\n",
        f"\n> {getattr(claim.said, language.code)}\n>\n> — {source}\n",
        f"\n**{language.verdicts[verdict]}**{language.stop}{gap}{why}\n\n",
        *(f"- {language.test}{gap}{test_link(test)}\n" for test in claim.tests),
        *(f"- {language.run}{gap}{each.text()}\n" for each in claim.shown),
    ]
    return "".join(lines)


def test_link(test: str) -> str:
    """Return a link to the file of a test."""
    file, _, name = test.partition("::")
    return f"[`{name}`](../{file})"


@cache
def tests_in(file: Path) -> frozenset[str]:
    """Return the names of the tests that stand in a file."""
    if not file.is_file():
        return frozenset()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = (node.name for node in tree.body if isinstance(node, ast.FunctionDef))
    return frozenset(name for name in found if name.startswith("test_"))


def problems(groups: Iterable[Group] = GROUPS) -> Iterator[str]:
    """Yield what is wrong with the statements: lost tests, figures that say otherwise."""
    names = Counter(claim.name for claim in claims(groups))
    yield from (f"{name}: stands there twice" for name, count in names.items() if count > 1)
    for claim in claims(groups):
        if not claim.tests and not claim.shown:
            yield f"{claim.name}: nothing shows it"
        for test in claim.tests:
            file, _, name = test.partition("::")
            if name not in tests_in(ROOT / file):
                yield f"{claim.name}: there is no test {test}"
        yield from figure_problems(claim)


def figure_problems(claim: Claim) -> Iterator[str]:
    """Yield which figures of a statement are not there, or not what its verdict says."""
    try:
        outcomes = [(figure, figure.outcome) for figure in claim.figures]
        _ = [each.outcome for each in claim.shown]
    except KeyError as error:
        yield f"{claim.name}: {error.args[0]}"
        return
    for figure, outcome in outcomes:
        if outcome is None:
            yield f"{claim.name}: {figure.run} is not recorded; let the runs decide it"
        elif not outcome:
            yield (
                f"{claim.name}: says {claim.outcome[0]!r}, but {figure.figure!r} of "
                f"{figure.run} is {figure.value}, not {figure.sign} {figure.than}"
            )


def files() -> dict[Path, str]:
    """Return the page in both languages."""
    return {DOCS / language.file: page(language) for language in (ENGLISH, CHINESE)}


def main(words: list[str]) -> int:
    """Write, check or list, and return the exit code."""
    if words not in ([], ["--check"], ["--open"]):
        print(__doc__, file=sys.stderr)
        return 2
    wrong = list(problems())
    for line in wrong:
        print(line)
    if words == ["--open"]:
        for claim in claims():
            if claim.outcome[0] == "open":
                print(claim.name, *(f"  {each.text()}" for each in claim.shown), sep="\n")
        return 0
    if wrong:
        return 1
    return settle(words, __doc__, "make_claims", DOCS, files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
