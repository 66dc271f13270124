"""UniLM: one BERT that is an encoder, a reader from either side, or a translator, by its mask.

The weights, the heads and the losses are models/bert.py's; the four masks and the segments that
name them are unilm_masks.py's. Here both come together, and a text is written token by token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sightline.errors import InvalidArgument
from sightline.masks.mask import Mask
from sightline.masks.positional import causal, everything
from sightline.models.bert import BERTConfig
from sightline.models.bert_heads import BERTForPreTraining, PreTrainingLogits
from sightline.models.unilm_masks import SEGMENTS, Mode, segment_ids, unilm_mask
from sightline.nn.batch import Batch
from sightline.nn.kv_cache import KVCache

__all__ = ["UniLM", "UniLMConfig", "UniLMWriter"]

_SEGMENTS = 1 + max(max(pair) for pair in SEGMENTS.values())


@dataclass(frozen=True)
class UniLMConfig(BERTConfig):
    """The sizes of a UniLM: a BERT's, with a segment for each part of each mode.

    Raises:
        InvalidArgument: sizes that do not fit.

    >>> UniLMConfig(vocab=11, layers=2, heads=4, width=32, context=16).segments
    6
    """

    segments: int = _SEGMENTS


class UniLM(BERTForPreTraining):
    """One set of weights for four ways of reading, told apart by the mask and the segments.

    Called as ``BERTForPreTraining``; ``read`` makes mask, segments and positions from a batch.

    Args:
        config: the sizes.

    Raises:
        InvalidArgument: fewer segments than the four modes have.

    Source: Dong et al. 2019, "Unified Language Model Pre-training for Natural Language
    Understanding and Generation", section 2.

    >>> import sightline as sl, torch
    >>> from sightline.models.unilm import UniLM, UniLMConfig
    >>> model = UniLM(UniLMConfig(vocab=11, layers=2, heads=4, width=32, context=16))
    >>> batch = sl.Batch.from_sequences([[1, 2, 3, 4], [5, 6]]).packed()
    >>> model.read(batch, ["seq2seq", "right_to_left"], [2, 2]).mlm.shape
    torch.Size([1, 6, 11])
    """

    def __init__(self, config: BERTConfig) -> None:
        if config.segments < _SEGMENTS:
            raise InvalidArgument(
                f"got segments={config.segments}; wanted {_SEGMENTS}, by which the four modes are "
                "told apart; make the model with UniLMConfig."
            )
        super().__init__(config)

    def read(
        self,
        batch: Batch,
        modes: Mode | Sequence[Mode],
        source_lengths: Sequence[int] | None = None,
        *,
        places: torch.Tensor | None = None,
    ) -> PreTrainingLogits:
        """Return the logits of a batch, each of its sequences read in its own mode.

        Args:
            batch: the sequences with their tokens, padded on either side or packed.
            modes: one of ``MODES`` for all sequences, or one for each.
            source_lengths: how many tokens of each sequence are its first part.
            places: where logits of tokens are wanted, as row * length + column; None for all.

        Returns:
            ``mlm`` [rows, length, vocab] or [places, vocab], ``nsp`` [sequences, 2].

        Raises:
            InvalidArgument: a batch without tokens, an unknown mode, or numbers that do not fit.
        """
        if batch.tokens is None:
            raise InvalidArgument(
                "got a batch of lengths only; wanted one with tokens; make it with "
                "sl.Batch.from_sequences."
            )
        return self(
            batch.tokens,
            segments=segment_ids(batch, modes, source_lengths).to(batch.tokens.device),
            positions=batch.positions.to(batch.tokens.device),
            mask=unilm_mask(batch, modes, source_lengths),
            places=places,
            first=begins(batch).to(batch.tokens.device),
        )

    def writer(self, mask_token: int) -> UniLMWriter:
        """Return this model as ``sl.nn.generate`` takes one; its prompts are sources.

        Args:
            mask_token: the number of [MASK].
        """
        return UniLMWriter(self, mask_token)


class UniLMWriter(nn.Module):
    """A UniLM that writes: a prompt is a source, what is generated is its target.

    A cloze network says what stands at a [MASK], not what follows a token. So behind what is
    written a [MASK] is appended; what it says is taken, the [MASK] goes, and the next one stands
    behind the token that took its place. Source and written tokens never see a [MASK] behind them,
    so their keys and values stay as they are and are kept in the cache; the [MASK] alone is run
    anew at each step and dropped again.

    The whole source has to come in one pass, since it sees itself from either side: leave
    ``generate``'s ``prefill_chunk`` out.

    Args:
        model: the network.
        mask_token: the number of [MASK].

    Source: Dong et al. 2019, section 2.5.

    >>> import sightline as sl, torch
    >>> from sightline.models.unilm import UniLM, UniLMConfig
    >>> config = UniLMConfig(vocab=11, layers=2, heads=4, width=32, context=16)
    >>> writer = UniLM(config).eval().writer(mask_token=3)
    >>> sl.nn.generate(writer, [[1, 7, 2], [1, 8, 9, 2]], max_new_tokens=5, eos=2).passes > 0
    True
    """

    def __init__(self, model: UniLM, mask_token: int) -> None:
        super().__init__()
        self.model = model
        self.mask_token = mask_token

    @property
    def config(self) -> BERTConfig:
        """The sizes."""
        return self.model.config

    @property
    def context(self) -> int:
        """The most positions of a source and what is written, the [MASK] behind it included."""
        return self.config.context

    def new_cache(self, batch: int, max_len: int) -> KVCache:
        """Return an empty cache for ``batch`` rows of up to ``max_len`` tokens and a [MASK]."""
        config, weight = self.config, self.model.bert.token_embedding.weight
        return KVCache(
            config.layers,
            batch,
            config.heads,
            min(max_len + 1, self.context),
            config.width // config.heads,
            dtype=weight.dtype,
            device=weight.device,
        )

    def forward(self, tokens: torch.Tensor, *, cache: Any, logits_at: torch.Tensor) -> torch.Tensor:
        """Feed new tokens; return the logits of what comes behind each row's last one.

        Args:
            tokens: [batch, n] int64: sources where the cache is empty, else what was written.
            cache: what ``KVCache.extend`` returned.
            logits_at: [batch, 1], each row's last token.

        Returns:
            [batch, 1, vocab].

        Raises:
            InvalidArgument: logits of other places than each row's last token, or a source that
                comes in pieces.
        """
        last = torch.from_numpy(cache.counts - 1).clamp(min=0)[:, None]
        if not torch.equal(logits_at.cpu(), last):
            raise InvalidArgument(
                "got logits_at of tokens that others follow; wanted each row's last token: a "
                "[MASK] stands nowhere else; speculative decoding asks for more than UniLM has."
            )
        target = bool(cache.starts.any())
        if target and cache.q_len > 1:
            raise InvalidArgument(
                f"got {cache.q_len} tokens behind those in the cache; wanted the whole source in "
                "one pass, since it sees itself from either side; leave prefill_chunk and cache "
                "out."
            )
        self._run(tokens, cache, causal() if target else everything(), target)
        store = cache.cache
        held = store.lengths
        asked = tokens.new_full((len(tokens), 1), self.mask_token)
        hidden = self._run(asked, store.extend(1), causal(), target=True)
        store.crop(held)
        return self.model.mlm(hidden)

    def _run(self, tokens: torch.Tensor, chunk: Any, mask: Mask, target: bool) -> torch.Tensor:
        """Run tokens behind what the cache holds, and keep their keys and values there."""
        segments = torch.full_like(tokens, SEGMENTS["seq2seq"][target])
        positions = chunk.positions.clamp(max=self.context - 1)  # beyond it there is padding only
        x = self.model.bert.embed(tokens, segments, positions)
        for layer, block in enumerate(self.model.bert.blocks):
            x = block(x, mask, cache=chunk.layer(layer))
        return x


def begins(batch: Batch) -> torch.Tensor:
    """Return where each sequence begins, as row * length + column: int64 [sequences].

    >>> import sightline as sl
    >>> begins(sl.Batch.from_lengths([3, 2], side="left")).tolist()
    [0, 4]
    """
    return batch.first(torch.arange(batch.rows * batch.length).view(batch.rows, batch.length))
