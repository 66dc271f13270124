"""A call of a patched model on some of a sequence's tokens: masks are those of all of them.

``distributed/`` cuts the batch and says here what the whole was; mask_function.py asks. What a
model would work out from the tokens at hand is refused where the whole would give something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from sightline.engines.shared import SharedSequence, shared_sequence
from sightline.errors import CannotExpress, ShapeMismatch
from sightline.hf.closures import Frame, reads_tokens
from sightline.masks.data import documents
from sightline.masks.mask import Mask

__all__ = ["WholeCall", "calling", "check_attended", "refuse", "shared_call"]

_WITHIN = "context parallelism"


@dataclass(frozen=True, eq=False)
class WholeCall:
    """A call of which this process runs a share.

    Attributes:
        sequence: who answers attention meanwhile.
        configs: those of the model that is called, and of its parts.
        batch: the number of batch rows.
        length: how many tokens the whole sequence has.
        share: how many of them are at hand.
        documents: int [batch, length], which document each token belongs to, where transformers
            reads packed documents from ``position_ids``; None where it does not.
        packed: the structures that are then kept inside of documents; not all models do so.
        made: each mask that was made, as a whole and without padding and the extra mask, for
            share_probe.py; None keeps none.
    """

    sequence: SharedSequence
    configs: list[Any]
    batch: int
    length: int
    share: int
    documents: torch.Tensor | None = None
    packed: frozenset[Mask] = frozenset()
    made: list[tuple[Mask, Mask]] | None = None

    def frame(self, asked: Frame, attention_mask: Any, mask_function: Any) -> Frame:
        """Return the frame of the whole, for a mask that is asked for the tokens at hand.

        Raises:
            CannotExpress: a cache, another sequence, or a mask made from the tokens at hand.
            ShapeMismatch: other tokens than the share.
        """
        if asked.q_offset or asked.kv_offset:
            refuse("a cache", "its keys are those of the tokens at hand", "a call without a cache")
        if (asked.batch, asked.q_len) != (self.batch, self.share):
            raise ShapeMismatch(
                f"got {asked.batch} x {asked.q_len} tokens; wanted the share of the batch, "
                f"{self.batch} x {self.share}; call the model with what hf_parallel gave."
            )
        if asked.kv_len != (self.share if attention_mask is None else self.length):
            refuse(
                f"{asked.kv_len} keys",
                f"the sequence has {self.length}, so these are a cache's, or another sequence's",
                "a call without a cache, of a model with one sequence",
            )
        if attention_mask is None and not self.is_whole(attention_mask):
            refuse(
                "a call without attention_mask",
                "the positions of the tokens at hand would be taken for packed documents",
                "model(**share) with what hf_parallel gave",
            )
        if attention_mask is not None and reads_tokens(mask_function):
            refuse(
                "a mask that is made from the tokens at hand",
                "it would be another one for the whole sequence",
                "the mask by sl.hf.patch(model, mask=...)",
            )
        return Frame(self.batch, self.length, self.length, 0, 0)

    def is_whole(self, attention_mask: Any) -> bool:
        """Return whether transformers sees the whole, and reads documents from it by itself."""
        return attention_mask is None and self.share == self.length

    def whole(self, structure: Mask | None) -> Mask:
        """Return a structure kept inside of documents, where the model keeps it so.

        Raises:
            CannotExpress: it is not known, or its meaning inside a document is another.
        """
        if structure is None:
            refuse(
                "a mask function of the model's own",
                "it cannot be asked without making a table of all pairs of the whole sequence",
                "the mask by sl.hf.patch(model, mask=...)",
            )
        if self.documents is None or structure not in self.packed:
            return structure
        if structure.shift(query=-1, key=-1) != structure:
            refuse(
                f"{structure} inside packed documents",
                "it is counted from the beginning of each document",
                "the batch unpacked, a document a row, with attention_mask",
            )
        return structure & documents(ids=self.documents.detach().cpu().numpy())


# Not a context variable: gradients of recomputed layers are worked out in threads of autograd's.
_calls: list[WholeCall] = []


@contextmanager
def calling(call: WholeCall) -> Iterator[None]:
    """Let patched models inside the block run on a share of this call."""
    _calls.append(call)
    try:
        yield
    finally:
        _calls.remove(call)


def shared_call(config: Any) -> WholeCall | None:
    """Return the call of which a share is run now; None where all tokens are here.

    Raises:
        CannotExpress: a sequence is shared, and nobody said what the whole call of the model with
            this config is.
    """
    sequence = shared_sequence()
    if sequence is None:
        return None
    known = _calls and _calls[-1].sequence is sequence
    if not known or all(config is not each for each in _calls[-1].configs):
        refuse(
            "a patched model",
            "padding and packed documents are read from the whole attention_mask and "
            "position_ids, which are not known here",
            "with sl.distributed.hf_parallel(model, batch) as share: model(**share)",
        )
    return _calls[-1]


def check_attended(made_for: Any, asked: dict[str, bool]) -> None:
    """Refuse a call of attention whose mask, or arguments, do not fit who shares a sequence now.

    Args:
        made_for: the shared sequence that the mask was made for; None for tokens all at hand.
        asked: what cannot be had from a share, and whether it is asked for.

    Raises:
        CannotExpress: naming it.
    """
    sequence = shared_sequence()
    if made_for is not sequence:
        refuse(
            "a layer that is run again, or with a mask made elsewhere",
            "its mask belongs to another call: backward() recomputes layers, if their "
            "activations were not kept (gradient checkpointing)",
            "backward() inside the same sl.distributed.hf_parallel block",
        )
    for what, wanted in asked.items():
        if sequence is not None and wanted:
            refuse(what, "it is made for the tokens at hand only", "the same call in one process")


def refuse(part: str, reason: str, alternative: str) -> NoReturn:
    """Raise the refusal of something within a shared sequence."""
    raise CannotExpress(destination=_WITHIN, part=part, reason=reason, alternative=alternative)
