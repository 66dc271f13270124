"""A trained UniLM that is given a German caption and writes an English one.

Appending [MASK] and the cache are models/unilm.py's matter, drawing is ``sl.nn.generate``'s.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sightline.errors import DataError, InvalidArgument, MissingExtra
from sightline.models.unilm import UniLM
from sightline.nn.generation.generate import generate
from sightline.recipes.training.checkpoint import load_weights
from sightline.recipes.training.run_folder import read_run
from sightline.recipes.unilm.cloze import CLS, MASK, SEP
from sightline.recipes.unilm.task import TOKENIZER, model_of

__all__ = ["CaptionWriter", "open_writer"]


class CaptionWriter:
    """A model that writes the target of a source.

    Args:
        model: the network.
        tokenizer: its subwords.
    """

    # What to write from where nobody says.
    start = "Ein Hund läuft am Strand."

    def __init__(self, model: UniLM, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer

    def write(
        self,
        prompt: str,
        *,
        tokens: int,
        temperature: float = 0.0,
        top_k: int | None = None,
        seed: int = 0,
        on_text: Callable[[str], object] = lambda text: None,
    ) -> str:
        """Return what the model writes from a caption, behind a new line.

        Args:
            prompt: the source; "" takes ``start``.
            tokens: subwords at most; the text ends by itself before.
            temperature: above 1 is more random, below 1 less; 0 takes the most probable.
            top_k: draw from the most probable so many; None for all; nothing to temperature 0.
            seed: of the draws.
            on_text: called with each new piece.

        Raises:
            InvalidArgument: a source that leaves no room in the context, or a number out of range.
        """
        if tokens < 1:
            raise InvalidArgument(f"got tokens={tokens}; wanted at least 1.")
        source = [CLS, *self.tokenizer.encode(prompt or self.start).ids, SEP]
        room = self.model.config.context - len(source) - 1
        if room < 1:
            raise InvalidArgument(
                f"got a source of {len(source)} tokens; wanted at most "
                f"{self.model.config.context - 2}, so that a target has room; give a shorter one."
            )
        options: dict[str, Any] = {"strategy": "greedy"}
        if temperature:
            options = {"strategy": "sample", "temperature": temperature, "top_k": top_k}
            options["seed"] = seed
        written: list[int] = []
        shown = ["\n"]
        on_text(shown[0])

        def take(_: int, newest: list[int]) -> None:
            written.extend(newest)
            text = "\n" + self.tokenizer.decode(written)
            on_text(text[len(shown[0]) :])
            shown[0] = text

        device = next(self.model.parameters()).device
        generate(
            self.model.writer(MASK),
            [torch.tensor(source, device=device)],
            max_new_tokens=min(tokens, room),
            eos=SEP,
            on_token=take,
            **options,
        )
        return shown[0]


def open_writer(folder: Path) -> CaptionWriter:
    """Return the best model of a run of this recipe, ready to write.

    Raises:
        DataError: no such run there, or one that is damaged or has not been evaluated yet.
        MissingExtra: tokenizers is not installed.
    """
    from sightline.recipes.unilm import RECIPE

    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtra(what="reading subwords", package="tokenizers", extra="train") from error
    run = read_run(folder, RECIPE)
    path = run.folder / TOKENIZER
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises nothing narrower
        raise DataError(
            f"got no subwords that can be read ({error}); wanted those that `sightline train` "
            "wrote; train again with --fresh.",
            path=str(path),
        ) from error
    model = model_of(run.settings, tokenizer.get_vocab_size())  # type: ignore[arg-type]
    load_weights(run.best, model)
    return CaptionWriter(model.eval(), tokenizer)
