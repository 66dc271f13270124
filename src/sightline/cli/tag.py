"""`sightline tag`: the part of speech of each word, by a tagger that `sightline train` made.

Reads sentences and prints; how words are split, and the model, are models/tagger_words.py's and
recipes/tagger's matter.
"""

from __future__ import annotations

import json as json_module
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
from sightline.cli.sentences import SentenceFile, Sentences, read_sentences
from sightline.lower.arguments import require_torch
from sightline.views.text.table import render_table

__all__ = ["tag"]

_WORTH_A_BAR = 500  # sentences

_Run = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="The folder of a trained tagger.")
]
_Split = Annotated[
    bool, typer.Option("--presplit", help="Words are what stands between spaces, and no more.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print words, tags and probabilities as JSON.")]


def tag(
    sentences: Sentences = None,
    run: _Run = None,
    file: SentenceFile = None,
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
    texts = read_sentences(sentences, file)
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
