"""Source ``torch.mha``: keywords of ``torch.nn.MultiheadAttention.forward``, True = ignore."""

from __future__ import annotations

from sightline.recognize.sources.ignoring import Given, read_attention
from sightline.recognize.sources.reading import Read, Source, flag, keywords

SOURCE = Source(
    name="torch.mha",
    reads="attn_mask, or a dict of attn_mask, key_padding_mask, is_causal, need_weights",
    true_means="is ignored; floats are added",
    options=("q_len", "kv_len", "num_heads"),
)


def read(
    given: object,
    q_len: int | None = None,
    kv_len: int | None = None,
    num_heads: int | None = None,
) -> Read:
    """Read the keywords; a mask of three axes needs ``num_heads``, no mask at all the lengths.

    >>> read({"attn_mask": [[False, True], [False, False]]}).allowed[0, 0].astype(int)
    array([[1, 0],
           [1, 1]])
    """
    known = ("attn_mask", "key_padding_mask", "is_causal", "need_weights", "average_attn_weights")
    call = keywords(given, SOURCE.name, known)
    return read_attention(
        Given(
            source=SOURCE.name,
            mask=call.get("attn_mask"),
            padding=call.get("key_padding_mask"),
            causal=flag(call, "is_causal"),
            need_weights=flag(call, "need_weights", default=True),
            q_len=q_len,
            kv_len=kv_len,
            num_heads=num_heads,
        )
    )
