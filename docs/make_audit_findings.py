"""Makes docs/audit-findings.md: what audits of transformers' models found, and why it is so.

From benchmarks/results/audit_hf.json (made by benchmarks/audit_hf.py) and the explanations in
audit_findings_explained.py, each of which was checked by reading the model's code.

    python docs/make_audit_findings.py            write the page
    python docs/make_audit_findings.py --check    exit 1 if it is not what would be written, or if
                                                  a finding has no explanation or the reverse
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audit_findings_explained import EXPLAINED, Explained

from sightline.views.files import write_atomically

PAGE = Path(__file__).parent / "audit-findings.md"
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "audit_hf.json"
INTRODUCTION = """\
# What audits of transformers' models found

`python benchmarks/audit_hf.py` builds every text model that transformers {transformers} lists from
a tiny config with random weights, and audits it (torch {torch}, CPU) for what it promises by what
it is: a decoder reads forward only, and no real position reads padding. {audited} models were
audited, flags such as windows turned on and off included, each with and without a mask, with a
mask of ones, padded on the left and on the right, with a 4-D mask, under every attention
implementation that it has, in training and evaluation, with and without its cache, and with its
attention weights asked for: {passes} forward passes, {minutes:.1f} minutes of processor time.
**{silent} of them are silent.** What was found in the other {loud} is below; each cause was
confirmed by reading the model's code.

This page is made by `python docs/make_audit_findings.py`. *By design*: the model means it, though
its place in the tables of transformers suggests otherwise. *Limit*: the model cannot do better,
and should not be given such inputs. *Bug*: the code does not do what it is meant to do.

Each implementation is given the kind of 4-D mask that it takes: sdpa booleans, eager attention
numbers. The other way round nothing warns, and eager attention adds the booleans to the scores, so
that a causal model reads the future; that is a mistake of the call, not of the model.
"""


def explained_by(key: str, finding: dict[str, Any]) -> Explained | None:
    """Return what explains a finding of a class."""
    return next((each for each in EXPLAINED if each.covers(key, finding)), None)


def page(results: dict[str, Any]) -> Iterator[str]:
    """Yield the page, line by line."""
    classes = results["classes"]
    done = {key: row for key, row in classes.items() if "findings" in row}
    loud = {key: row for key, row in done.items() if row["findings"]}
    yield INTRODUCTION.format(
        **results["versions"],
        audited=len(done),
        passes=f"{sum(row['passes'] for row in done.values()):,}",
        minutes=sum(row["cpu_seconds"] for row in done.values()) / 60,
        silent=len(done) - len(loud),
        loud=len(loud),
    )
    yield "## Findings"
    yield ""
    yield "| what | verdict | models |"
    yield "|---|---|---|"
    for each in EXPLAINED:
        names = ", ".join(f"`{key}`" for key, _ in found_by(each, loud))
        yield f"| [{each.title}](#{anchor(each.title)}) | {each.verdict} | {names} |"
    for each in EXPLAINED:
        yield from section(each, found_by(each, loud))
    yield from unexplained(loud)
    yield from excused(classes)
    yield from not_run(done)


def found_by(each: Explained, loud: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the findings that something explains, with their classes."""
    return [
        (key, finding)
        for key, row in loud.items()
        for finding in row["findings"]
        if explained_by(key, finding) is each
    ]


def anchor(title: str) -> str:
    """Return what a page's heading is linked by."""
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


def section(each: Explained, found: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    """Yield the account of one cause."""
    yield ""
    yield f"### {each.title}"
    yield ""
    yield f"*{each.verdict.capitalize()}.* {each.text}"
    yield ""
    yield f"In the code: {'; '.join(f'`{place}`' for place in each.places)}."
    yield ""
    yield "| model | found | first in | under | not under |"
    yield "|---|---|---|---|---|"
    for key, finding in found:
        yield (
            f"| `{key}` | {finding['message']} | {finding['place']} "
            f"| {listed(finding['conditions'])} | {listed(finding['held'])} |"
        )


def listed(conditions: list[str], most: int = 4) -> str:
    """Return names of conditions, shortened if there are many."""
    if not conditions:
        return "every condition fails"
    names = [f"`{each}`" for each in conditions]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def unexplained(loud: dict[str, Any]) -> Iterator[str]:
    """Yield the findings that nothing explains, of which there should be none."""
    rows = [
        f"- `{key}`: {finding['message']}"
        for key, row in loud.items()
        for finding in row["findings"]
        if explained_by(key, finding) is None
    ]
    if rows:
        yield from ["", "## Not explained", "", *rows]


def excused(classes: dict[str, Any]) -> Iterator[str]:
    """Yield the classes that could not be audited, with the reasons."""
    yield ""
    yield "## Not audited"
    yield ""
    yield "| model | why |"
    yield "|---|---|"
    for key, row in classes.items():
        if reason := row.get("cannot") or row.get("failed"):
            yield f"| `{key}` | {reason} |"


def not_run(done: dict[str, Any]) -> Iterator[str]:
    """Yield the conditions that some models refused, with how many did."""
    counts: dict[str, list[str]] = {}
    for key, row in done.items():
        for note in row["notes"]:
            if note.startswith("not run under "):
                name, _, _ = note.removeprefix("not run under ").partition(": ")
                counts.setdefault(name.split("attention_mask=")[-1], []).append(key)
    if not counts:
        return
    yield ""
    yield "## Refused conditions"
    yield ""
    yield "Some models raise an error under a condition; nothing is said of them there."
    yield ""
    yield "| condition | models |"
    yield "|---|---|"
    for name, keys in sorted(counts.items()):
        names = dict.fromkeys(keys)
        yield f"| {name} | {', '.join(f'`{key}`' for key in names)} |"


def problems(results: dict[str, Any]) -> list[str]:
    """Return what does not fit: findings without an explanation, and the reverse."""
    classes = results["classes"]
    loud = {key: row for key, row in classes.items() if row.get("findings")}
    found = [line for line in unexplained(loud) if line.startswith("- ")]
    idle = [f"- nothing found: {each.title}" for each in EXPLAINED if not found_by(each, loud)]
    failed = [f"- {key}: {row['failed']}" for key, row in classes.items() if row.get("failed")]
    return [*found, *idle, *failed]


def main(arguments: list[str]) -> int:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = "\n".join(page(results)) + "\n"
    wrong = problems(results)
    print("\n".join(wrong) if wrong else "every finding is explained")
    if "--check" in arguments:
        same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        print(f"{PAGE.name} is up to date" if same else f"{PAGE.name} is out of date")
        return int(bool(wrong) or not same)
    write_atomically(PAGE, text)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
