"""Writing a target with an encoder-decoder: the decoder as ``sl.nn.generate`` wants a model.

Greedy, drawn and beam search are nn/generation's; here the memory of the source is kept beside
the cache of the target, and goes with its rows when they are moved, repeated and dropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from sightline.masks.mask import Mask
from sightline.masks.padding import padding
from sightline.models.transformer import Transformer
from sightline.nn.batch import Batch
from sightline.nn.generation.generate import generate
from sightline.nn.generation.result import Generated
from sightline.nn.kv_cache import KVCache

__all__ = ["Writer", "write"]


def write(
    model: Transformer, source: Batch, *, begin: int, max_new_tokens: int, **options: Any
) -> Generated:
    """Write a target for each sequence of the source.

    Args:
        model: the encoder-decoder.
        source: what is read, padded on either side or packed.
        begin: the token that every target begins with; not among the new tokens.
        max_new_tokens: a target ends after so many.
        options: of ``sl.nn.generate``: ``strategy``, ``beams``, ``length_penalty``, ``eos``, ...

    Raises:
        InvalidArgument: an option out of range.
        ShapeMismatch: more positions than the model's context.

    >>> import sightline as sl, torch
    >>> from sightline.models.transformer import Transformer, TransformerConfig
    >>> _ = torch.manual_seed(0)
    >>> model = Transformer(TransformerConfig(vocab=11, layers=1, heads=2, width=16, hidden=32))
    >>> source = sl.Batch.from_sequences([[5, 6, 7, 2], [8, 2]])
    >>> both = write(model, source, begin=1, eos=2, max_new_tokens=4)
    >>> alone = write(model, sl.Batch.from_sequences([[8, 2]]), begin=1, eos=2, max_new_tokens=4)
    >>> both.tokens[1].equal(alone.tokens[0])
    True
    """
    training = model.training
    with torch.inference_mode():
        model.eval()
        try:
            memory = model.encode(source.tokens, mask=source.mask, positions=source.positions)
        finally:
            model.train(training)
        # Side by side from the left, whatever the layout was: rows are taken apart later on.
        right = source.padded()
        memory = right.scatter(source.gather(memory))
    prompts = [[begin] for _ in source.lengths]
    writer = Writer(model, memory, source.lengths)
    return generate(writer, prompts, max_new_tokens=max_new_tokens, **options)


class Writer(nn.Module):
    """A decoder that has read its sources: a language model to ``sl.nn.generate``.

    Args:
        model: the encoder-decoder.
        memory: [batch, S, width], what its encoder returned, padded on the right.
        lengths: [batch] how many positions of each row are real.
    """

    def __init__(self, model: Transformer, memory: torch.Tensor, lengths: Any) -> None:
        super().__init__()
        self.model = model
        self.memory = memory
        self.lengths = np.asarray(lengths, dtype=np.int64)

    @property
    def context(self) -> int:
        """The most positions of a target."""
        return self.model.context

    @property
    def mask(self) -> Mask:
        """Who of the target sees whom of it."""
        return self.model.mask

    def forward(
        self, tokens: torch.Tensor, *, cache: Any, logits_at: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the logits [batch, n, vocab] behind new tokens [batch, n].

        Args:
            tokens: the new tokens of each row.
            cache: the chunk of them, of a cache that ``new_cache`` made.
            logits_at: [batch, m] which tokens' logits are wanted; by default those of all.
        """
        held: _Remembering = cache.cache
        return self.model.decode(
            tokens, held.memory, memory_mask=held.memory_mask, cache=cache, logits_at=logits_at
        )

    def new_cache(self, batch: int, max_len: int) -> KVCache:
        """Return an empty cache for targets of up to ``max_len`` tokens, a row for each source."""
        config = self.model.config
        sizes = (config.written_layers, batch, config.heads, max_len, config.head_dim)
        where = {"dtype": self.memory.dtype, "device": self.memory.device}
        return _Remembering(self, sizes, where)


class _Remembering(KVCache):
    """A cache of the target whose rows remember which source they belong to."""

    def __init__(self, writer: Writer, sizes: tuple[int, ...], where: dict[str, Any]) -> None:
        super().__init__(*sizes, **where)
        self._writer = writer
        self._sources = np.arange(self.batch)
        self._look()

    def _take_rows(self, rows: Any) -> None:
        super()._take_rows(rows)
        sources = self._sources[rows]
        # Beams mostly change places within their own sentence, where nothing is to be done.
        if not np.array_equal(sources, self._sources):
            self._sources = sources
            self._look()

    def _look(self) -> None:
        writer = self._writer
        lengths = writer.lengths[self._sources]
        index = torch.from_numpy(self._sources).to(writer.memory.device)
        longest = int(lengths.max())
        self.memory = writer.memory[:, :longest].index_select(0, index)
        self.memory_mask = padding(lengths=lengths, total=longest)
