"""A trained model of characters that goes on writing, through the cache and beyond its context.

Drawing and caching are ``sl.nn.generate``'s part; showing the text is cli/generate.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from sightline.errors import InvalidArgument
from sightline.nn.generation.generate import generate
from sightline.readers.plain_text import Characters
from sightline.recipes.training.seeds import seed_for

__all__ = ["Writer", "write_uncached"]


class Writer:
    """A model that continues a text character by character.

    A model with learned positions ends with its context. When that is full, writing goes on from
    its last three quarters, read anew: as much sight as can be kept, at one pass in a quarter of
    the context.

    Args:
        model: a ``GPT``.
        characters: what its tokens stand for.
    """

    def __init__(self, model: Any, characters: Characters) -> None:
        self.model, self.characters = model, characters

    @property
    def start(self) -> str:
        """What to begin with where nobody says: a new line, or else the first character."""
        return "\n" if "\n" in self.characters.known else self.characters.known[0]

    def write(
        self,
        prompt: str,
        *,
        tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int = 0,
        on_text: Callable[[str], object] = lambda text: None,
    ) -> str:
        """Return what follows the prompt.

        Args:
            prompt: the text so far; "" begins with ``start``, which is not returned.
            tokens: how many characters to write.
            temperature: above 1 is more random, below 1 less; 0 takes the most probable.
            top_k: draw from the most probable so many; None for all; nothing to temperature 0.
            seed: of the draws.
            on_text: called with each new character.

        Raises:
            InvalidArgument: an unknown character, or a number out of range.
        """
        seen = self.characters.numbers(prompt or self.start).tolist()
        if tokens < 1:
            raise InvalidArgument(f"got tokens={tokens}; wanted at least 1.")
        options: dict[str, Any] = {"strategy": "greedy"}
        if temperature:
            options = {"strategy": "sample", "temperature": temperature, "top_k": top_k}
        written: list[int] = []

        def take(_: int, newest: list[int]) -> None:
            on_text(self.characters.text(newest))

        device = next(self.model.parameters()).device
        while len(written) < tokens:
            shown = _in_sight(seen + written, self.model.context)
            if temperature:  # a passage that comes again must not be continued as before
                options["seed"] = seed_for(seed, "written", len(written))
            found = generate(
                self.model,
                [torch.tensor(shown, device=device)],
                max_new_tokens=min(tokens - len(written), self.model.context + 1 - len(shown)),
                on_token=take,
                **options,
            )
            written += found.tokens[0].tolist()
        return self.characters.text(written)


def write_uncached(model: Any, characters: Characters, prompt: str, *, tokens: int) -> str:
    """Return the most probable characters, every step computed anew: what ``Writer`` must equal."""
    seen = characters.numbers(prompt).tolist()
    device = next(model.parameters()).device
    begin = len(seen) - len(_in_sight(seen, model.context))
    for _ in range(tokens):
        if len(seen) - begin > model.context:
            begin = len(seen) - len(_in_sight(seen[begin:], model.context))
        with torch.inference_mode():
            logits = model(torch.tensor([seen[begin:]], device=device))
        seen.append(int(logits[0, -1].argmax()))
    return characters.text(seen[-tokens:])


def _in_sight(tokens: list[int], context: int) -> list[int]:
    """Return all tokens if they fit, or else the last three quarters of a context."""
    return tokens if len(tokens) <= context else tokens[-max(1, 3 * context // 4) :]
