"""Makes docs/lint.md: each rule of `sightline lint`, with a wrong and a right example.

The rules and their examples come from sightline.audit.lint_rules, what is found from running the
lint on them; only the introduction is written here. The figures in it were counted by hand, as it
says.

    python docs/make_lint.py            write the page
    python docs/make_lint.py --check    exit 1 if it is not what would be written
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from sightline.audit.lint import lint_text
from sightline.audit.lint_rules.table import all_rules
from sightline.audit.linting.rule import LintRule
from sightline.views.files import write_atomically

PAGE = Path(__file__).parent / "lint.md"

INTRODUCTION = """\
# Lint

<!-- Made by docs/make_lint.py; `make docs` makes it again. -->

`sightline lint src` reads Python files and notebooks, without importing or running them, and finds
masks that are wrong as they are written: thrown away, the wrong way round, added as 0 and 1, laid
along the wrong axis, applied too late. `sl.lint(paths)` returns the same as records.

```text
sightline lint src                              findings, each with its line and what to write
sightline lint src --notes                      with what works today and may not tomorrow
sightline lint src --sarif --output lint.sarif  for code hosts and editors
sightline lint --explain triangle-sense         one rule, with examples
```

A comment `# sightline: ignore[rule]` on the line, or on the first line of its statement, silences
a rule there; `# sightline: ignore` silences all. A rule that does not exist is reported. The exit
code is 0 without findings, 1 with them, and 2 for bad usage or if no file could be read; notes
alone are not shown and do not count.

## What it follows, and what it cannot know

A name is followed to the one assignment that certainly reaches it, within its function; an
attribute of `self` to the one value that the class gives it; a call to a function of the same file
that returns one expression. `nn.MultiheadAttention` and its kin are known by what the attribute was
made of. Whatever has two possible values is left alone: a mask that a function is given as a
parameter is not judged. So silence is no proof. That is what `sl.audit`, which runs the model, is
for.

## Precision, measured

{measured}
## The rules

{table}
"""

# Counted by hand; `sightline lint FOLDER` on an installation of the packages counts the findings.
MEASURED = """\
The lint was run over 24,446 files of installed packages, and every finding was read by hand.

| Packages | Files | Findings | Right |
| --- | --- | --- | --- |
| transformers 5.23 | 2,860 | 2 | 2 |
| torch 2.13, xformers, Keras, jax, flax, optax, onnx, onnxruntime, ... | 5,339 | 0 | |
| x-transformers, vit-pytorch, speechbrain, espnet, OpenNMT, RecBole, pykt, allennlp, torchtext, \
tsai, darts, neuralforecast, pytorch-forecasting, sentence-transformers | 2,911 | 7 | 7 |
| diffusers, timm, flair, modelscope, paddlenlp, pytorch-tabnet | 5,115 | 15 | 12 |
| everything else that was installed (numpy, scipy, sympy, ...) | 8,221 | 0 | |

Of the 24 findings 7 were `discarded-masked-fill`, all of them faults: twice an attention that is
not masked at all. 17 were `unused-mask-argument`; in all of them a layer accepts a mask, attends,
and ignores it, and in 3 that is harmless (a batch of one text; masks of a self-attention that the
layer does not have). The other rules found nothing: they keep silent on code that is right, which
is all that this says about them. An earlier version found 9 things that were none, since numpy's
`logical_not` takes an array to write into. There were 210 notes; of 50 drawn at random one was
about transitions between tags, the others about masks made of such numbers, and tokenizers that
pad with the end of a text.

A lint takes about three times as long as parsing the files.

"""


def page() -> str:
    """Return the page."""
    rules = all_rules()
    table = ["| Rule | Severity | It finds that |", "| --- | --- | --- |"]
    table += [f"| [`{r.name}`](#{r.name}) | {r.severity} | {r.meaning} |" for r in rules]
    introduction = INTRODUCTION.format(measured=MEASURED, table="\n".join(table))
    return "\n".join([introduction, *(line for rule in rules for line in section(rule))])


def section(rule: LintRule) -> Iterator[str]:
    """Yield the lines about one rule."""
    yield f"### {rule.name}\n"
    yield f"{rule.why}\n"
    yield f"Wrong:\n\n```python\n{rule.wrong}```\n"
    for finding in lint_text(rule.wrong):
        yield f"Line {finding.line}, {finding.severity}: {finding.message}."
        yield f"Instead: {finding.fix}.\n"
    yield f"Right:\n\n```python\n{rule.right}```\n"


def main(words: list[str]) -> int:
    """Write or check, and return the exit code."""
    if words not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    new = page()
    if new == old:
        return 0
    if words:
        print(f"docs/{PAGE.name} is stale: run python docs/make_lint.py")
        return 1
    write_atomically(PAGE, new)
    print(f"wrote docs/{PAGE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
