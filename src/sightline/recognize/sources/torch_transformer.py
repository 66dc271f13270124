"""Source ``torch.transformer``: keywords of ``torch.nn.Transformer.forward``, three attentions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sightline.recognize.sources.ignoring import Given, read_attention
from sightline.recognize.sources.reading import Read, Source, flag, keywords, numbers

SOURCE = Source(
    name="torch.transformer",
    reads="a dict of src_mask, tgt_mask, memory_mask, their key padding masks and is_causal hints",
    true_means="is ignored; floats are added",
    options=("q_len", "kv_len", "num_heads"),
    gives=("source", "target", "memory"),
)
# The three attentions: their prefix, and where their queries and keys stand.
_PARTS = (
    ("src", ("kv_len", "kv_len")),
    ("tgt", ("q_len", "q_len")),
    ("memory", ("q_len", "kv_len")),
)
_KEYWORDS = tuple(
    f"{part}_{what}"
    for what in ("mask", "key_padding_mask", "is_causal")
    for part in ("src", "tgt", "memory")
)


def read(
    given: object,
    q_len: int | None = None,
    kv_len: int | None = None,
    num_heads: int | None = None,
) -> tuple[Read, Read, Read]:
    """Read the masks of source, target and memory.

    ``q_len`` is the length of the target, ``kv_len`` that of the source; each is needed where no
    array tells it.

    >>> source, target, memory = read({"tgt_mask": [[False, True], [False, False]]}, kv_len=3)
    >>> target.allowed[0, 0].astype(int).tolist(), memory.allowed.shape
    ([[1, 0], [1, 1]], (1, 1, 2, 3))
    """
    call = keywords(given, SOURCE.name, _KEYWORDS)
    lengths = {"q_len": q_len, "kv_len": kv_len}
    for part, names in _PARTS:
        shapes = ((f"{part}_mask", names), (f"{part}_key_padding_mask", names[1:]))
        for keyword, axes in shapes:
            if call.get(keyword) is not None:
                found = numbers(call[keyword], keyword, (1, 2, 3)).shape[-len(axes) :]
                # Whether a length agrees with the others is checked with its own attention.
                lengths |= {n: s for n, s in zip(axes, found, strict=False) if lengths[n] is None}
    source, target, memory = (
        read_attention(
            Given(
                source=SOURCE.name,
                mask=call.get(f"{part}_mask"),
                padding=call.get(f"{part}_key_padding_mask"),
                causal=flag(call, f"{part}_is_causal"),
                need_weights=False,
                q_len=lengths[names[0]],
                kv_len=lengths[names[1]],
                num_heads=num_heads,
                mask_name=f"{part}_mask",
                padding_name=f"{part}_key_padding_mask",
                causal_name=f"{part}_is_causal",
                length_names=names,
            )
        )
        for part, names in _PARTS
    )
    return source, target, _warned(source, memory)


def _warned(source: Read, memory: Read) -> Read:
    """Warn of a decoder that reads positions which the encoder ignores as keys."""
    seen = memory.allowed.any(axis=(1, 2))
    hidden = ~source.allowed.any(axis=(1, 2))
    if not (seen & hidden).any():
        return memory
    batch, key = (int(index) for index in np.argwhere(seen & hidden)[0])
    told = (
        f"the target sees source position {key} (batch {batch}), which no source position sees: "
        "memory_key_padding_mask is not made from src_key_padding_mask, give both",
    )
    return replace(memory, warnings=(*memory.warnings, *told))
