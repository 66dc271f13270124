"""The table of destinations: a new one is a new file beside this and a new row here.

The rows are data, so that listing them imports no framework; lower.py looks them up.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Destination:
    """A form that a mask can be translated into.

    Attributes:
        name: what to pass as ``to``.
        gives: what comes out.
        expresses: which masks it can say exactly.
        refuses: what makes it raise CannotExpress.
        options: the keyword options of ``lower`` that it takes.
        needs: the package that must be installed; None if none beyond Sightline's own.
        module: where its ``translate(asked, **options)`` lives.
    """

    name: str
    gives: str
    expresses: str
    refuses: str
    options: tuple[str, ...]
    needs: str | None
    module: str


_ROWS = (
    Destination(
        name="numpy.bool",
        gives="a bool array [batch|1, heads|1, q_len, kv_len]; True may attend",
        expresses="every mask",
        refuses="nothing",
        options=(),
        needs=None,
        module="sightline.lower.numpy_bool",
    ),
    Destination(
        name="numpy.additive",
        gives="a float array [batch|1, heads|1, q_len, kv_len] to add to the scores: 0 or -inf "
        '(constant="min": the most negative finite number)',
        expresses='every mask; with constant="min" every mask without empty rows',
        refuses='empty rows with constant="min": softmax would make them the mean of all values',
        options=("dtype", "constant"),
        needs=None,
        module="sightline.lower.numpy_additive",
    ),
    Destination(
        name="torch.sdpa",
        gives="the keywords attn_mask and is_causal of scaled_dot_product_attention",
        expresses="every mask",
        refuses="empty rows where the installed torch, tried out on the spot, does not give 0 for "
        "output and gradients, and on devices other than the CPU",
        options=("device",),
        needs="torch",
        module="sightline.lower.torch_sdpa",
    ),
    Destination(
        name="torch.mha",
        gives="the keywords attn_mask, key_padding_mask, need_weights and is_causal of "
        "nn.MultiheadAttention's forward, where True means ignore",
        expresses="every mask without empty rows; the batch needs num_heads= unless the mask "
        "splits into one part for (query, key) and one for (batch, key)",
        refuses="empty rows: nn.MultiheadAttention makes NaN of them with need_weights=True and "
        "on its inference path",
        options=("num_heads", "batch", "device"),
        needs="torch",
        module="sightline.lower.torch_mha",
    ),
    Destination(
        name="torch.flex",
        gives="the keyword block_mask of flex_attention: a BlockMask whose full and mixed blocks, "
        "forwards and backwards, take the memory that the mask needs, not that of a grid",
        expresses="every mask whose predicates can be recorded: operators on b, h, q and k",
        refuses="other predicates; no queries or no keys; on the CPU, a block_kv that is no "
        "multiple of 16, and a single query that may see nothing in any batch row and head",
        options=("block_q", "block_kv", "device"),
        needs="torch",
        module="sightline.lower.torch_flex",
    ),
)

DESTINATIONS: dict[str, Destination] = {row.name: row for row in _ROWS}
