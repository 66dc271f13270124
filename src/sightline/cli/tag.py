"""`sightline tag`: the part of speech of each word, by a tagger that `sightline train` made.

Reads sentences and prints; how words are split, and the model, are models/tagger_words.py's and
recipes/tagger's matter.
"""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.cli.output import (
    output_encoding,
    progress_bar,
    use_color,
    working,
    write_line,
)
from sightline.errors import DataError
from sightline.lower.arguments import require_torch
from sightline.readers.lines import read_lines
from sightline.views.table import render_table

__all__ = ["tag"]

_STDIN = "-"
_WORTH_A_BAR = 500  # sentences

_Sentences = Annotated[
    list[str] | None,
    typer.Argument(metavar="SENTENCE", help="One sentence each; - reads standard input."),
]
_Run = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="The folder of a trained tagger.")
]
_File = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Sentences, one a line; may be gzipped.")
]
_Split = Annotated[
    bool, typer.Option("--presplit", help="Words are what stands between spaces, and no more.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print words, tags and probabilities as JSON.")]


def tag(
    sentences: _Sentences = None,
    run: _Run = None,
    file: _File = None,
    presplit: _Split = False,
    json: _Json = False,
) -> None:
    """Tag the words of sentences with their parts of speech.

    Words are split at spaces, punctuation is split off, and don't is do n't, by a simple rule; with
    --presplit, at spaces alone. The tags are those of Universal Dependencies.

    Examples:
      sightline train tagger --out runs/tagger
      sightline tag --run runs/tagger "I saw a saw"
      sightline tag --run runs/tagger --file sentences.txt --json
    """
    if run is None:
        raise typer.BadParameter(
            "give the folder of a trained tagger; make one with `sightline train tagger --out "
            "FOLDER`.",
            param_hint="'--run'",
        )
    texts = _texts(sentences or [], file)
    words = [_words(text, presplit) for text in texts]
    require_torch("sightline tag")
    with working("loading the model"):
        tagger = _load(run)
    found = _tagged(tagger, words)
    if json:
        write_line(json_module.dumps(_facts(run, texts, words, found), indent=2))
        return
    for index, (text, own, tags) in enumerate(zip(texts, words, found, strict=True)):
        if index:
            write_line()
        _print(text, own, tags, alone=len(texts) == 1)


def _load(folder: Path) -> Any:
    from sightline.recipes.tagger import RECIPE
    from sightline.recipes.tagger.tagging import load_tagger

    return load_tagger(folder, RECIPE)


def _tagged(tagger: Any, words: list[list[str]]) -> list[list[tuple[str, float]]]:
    with progress_bar("tagging", len(words), wanted=len(words) > _WORTH_A_BAR) as advance:
        before = 0

        def tell(what: str, done: int, total: int) -> None:
            nonlocal before
            advance(done - before)
            before = done

        return tagger.tag(words, tell)


def _texts(given: list[str], file: Path | None) -> list[str]:
    """Return the sentences, wherever they come from; there is at least one."""
    if given and file is not None:
        raise typer.BadParameter("give sentences or --file, not both.", param_hint="'--file'")
    if file is not None:
        return _lines(str(file), read_lines(file))
    if given == [_STDIN] or (not given and not sys.stdin.isatty()):
        return _lines("standard input", _standard_input())
    if not given:
        raise typer.BadParameter(
            "give sentences, --file FILE, or sentences on standard input, one a line.",
            param_hint="'SENTENCE'",
        )
    for text in given:
        if not text.strip():
            raise typer.BadParameter(
                f"got {text!r}, which has no words; give sentences of at least one word.",
                param_hint="'SENTENCE'",
            )
    return given


def _standard_input() -> Iterator[tuple[int, str]]:
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                "got bytes that are not UTF-8; wanted text in UTF-8, one sentence a line.",
                path="standard input",
                line=number,
            ) from error


def _lines(name: str, lines: Iterator[tuple[int, str]]) -> list[str]:
    """Return the lines that have words; blank ones stand between sentences."""
    texts = [text for _, line in lines if (text := line.strip())]
    if not texts:
        raise DataError("got no words; wanted sentences, one a line.", path=name)
    return texts


def _words(text: str, presplit: bool) -> list[str]:
    from sightline.models.tagger_words import split_words

    return text.split() if presplit else split_words(text)


def _print(text: str, words: list[str], tags: list[tuple[str, float]], *, alone: bool) -> None:
    if not alone:
        write_line(text)
    rows = [(word, name, f"{sure:.2f}") for word, (name, sure) in zip(words, tags, strict=True)]
    header = ("word", "tag", "probability")
    shown = render_table(header, rows, numeric=[2], color=use_color(), encoding=output_encoding())
    write_line(shown)


def _facts(
    run: Path, texts: list[str], words: list[list[str]], found: list[list[tuple[str, float]]]
) -> dict[str, Any]:
    return {
        "run": str(run),
        "sentences": [
            {
                "text": text,
                "words": own,
                "tags": [name for name, _ in tags],
                "probabilities": [sure for _, sure in tags],
            }
            for text, own, tags in zip(texts, words, found, strict=True)
        ],
    }
