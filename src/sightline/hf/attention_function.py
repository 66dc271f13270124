"""The attention function of patched models: one call of a module, run by ``sl.attend``.

Registered with transformers' AttentionInterface. What comes in as ``attention_mask`` is a Carrier
of mask_function.py, a tensor that the model or its user made (tensor_masks.py), or None, which
means what it means to transformers' own sdpa function. Arguments that would change the result and
cannot be honoured are refused.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch

from sightline.engines.attend import attend, attention_weights
from sightline.errors import CannotExpress, ShapeMismatch
from sightline.hf.carrier import Carrier
from sightline.hf.settings import Setting, current_rewrite, setting_of
from sightline.hf.shared_calls import check_attended
from sightline.hf.tensor_masks import read_tensor
from sightline.masks.mask import Mask
from sightline.masks.positional import causal, everything

# Arguments that say nothing about the result, or that the mask has said already.
_HARMLESS = {
    "sliding_window",
    "position_ids",
    "position_embeddings",
    "cache_position",
    "use_cache",
    "past_key_value",
    "past_key_values",
    "layer_idx",
    "labels",
    "shift_labels",
    "num_items_in_batch",
    "output_hidden_states",
    "output_router_logits",
    "return_dict",
}
_REFUSED = {
    "softcap": "the scores are squashed before the softmax, which attend does not do",
    "head_mask": "heads are scaled after the softmax",
    "cu_seq_lens_q": "sequences are packed by offsets; only position_ids are read",
    "cu_seq_lens_k": "sequences are packed by offsets; only position_ids are read",
    "cache": "a paged cache, which stores keys where only its own kernels find them",
    "indices": "each query names its own keys",
}


class Attended(NamedTuple):
    """What a module attended to: its Carrier, or its mask, and where."""

    given: Carrier | Mask
    q_len: int
    kv_len: int
    q_offset: int
    engine: str


# The last call of each module, for `explain`.
LAST: WeakKeyDictionary[torch.nn.Module, Attended] = WeakKeyDictionary()


def attend_module(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: torch.Tensor | None = None,
    s_aux: torch.Tensor | None = None,
    output_attentions: bool | None = None,
    **others: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the output [batch, q_len, heads, value_dim] and the weights, or None for them.

    Raises:
        CannotExpress: an argument that changes the result in a way that ``attend`` has not.
        ShapeMismatch: a mask made for other lengths than those of query and key.
    """
    _check_others(others)
    if query.shape[0] == 1 and key.shape[0] > 1:  # queries that are the same for all rows
        query = query.expand(key.shape[0], -1, -1, -1)
    asked_weights = output_attentions or (output_attentions is None and _asked_by_config(module))
    made_for = attention_mask.sequence if isinstance(attention_mask, Carrier) else None
    check_attended(
        made_for, {"output_attentions": asked_weights, "a bias": position_bias is not None}
    )
    setting, mask, q_offset, bias = _meaning(module, query, key, attention_mask, is_causal)
    bias = _sum(bias, position_bias)
    told = {"q_offset": q_offset, "scale": scaling, "bias": bias}
    run = partial(attend, query, key, value, mask, dropout=dropout, engine=setting.engine, **told)
    if s_aux is None:
        output, share = run(), None
    else:
        output, lse = run(return_lse=True)
        share = _share_of_keys(lse, s_aux)
        output = output * share.to(output.dtype)
    weights = None
    if asked_weights:
        weights = attention_weights(query, key, mask, **told)
        weights = weights if share is None else weights * share.to(weights.dtype)
        weights = torch.nn.functional.dropout(weights, dropout)
    if not torch.compiler.is_compiling():
        given = attention_mask if isinstance(attention_mask, Carrier) else mask
        LAST[module] = Attended(given, query.shape[2], key.shape[2], q_offset, setting.engine)
    return output.transpose(1, 2).contiguous(), weights


def _check_others(others: dict[str, Any]) -> None:
    for name, value in others.items():
        if value is None or value is False or name in _HARMLESS:
            continue
        raise CannotExpress(
            destination="sl.hf.patch",
            part=f"the argument {name}= of this model's attention",
            reason=_REFUSED.get(name, "it is not known what that means for the result"),
            alternative="the model with its own attention (sl.hf.unpatch)",
        )


def _meaning(
    module: torch.nn.Module, query: Any, key: Any, given: Any, is_causal: bool | None
) -> tuple[Setting, Mask, int, torch.Tensor | None]:
    """Return the setting, who may see whom, the position of query 0, and what is added to scores.

    None is what transformers' sdpa function makes of it: causal from the upper left corner if the
    module or the call says so and there is more than one query, everything otherwise.
    """
    q_len, kv_len = query.shape[2], key.shape[2]
    if isinstance(given, Carrier):
        if given.shape[2:] != (q_len, kv_len):
            raise ShapeMismatch(
                f"got {q_len} queries and {kv_len} keys and a mask made for {given.shape[2]} and "
                f"{given.shape[3]}; wanted equal lengths; this model changes its keys after "
                "its mask is made: use its own attention (sl.hf.unpatch)."
            )
        return given.setting, given.mask, given.q_offset, None
    setting = setting_of(getattr(module, "config", None))
    if setting.mask is not None or current_rewrite() is not None:
        raise CannotExpress(
            destination="sl.hf.patch",
            part=f"a mask for {type(module).__name__}",
            reason="it was not asked for here but left out or made elsewhere, so the absolute "
            "positions of its queries and keys are not known",
            alternative="sl.hf.patch(model) without mask= (and no unpadding)",
        )
    if given is not None:
        mask, bias = read_tensor(given, q_len, kv_len)
        return setting, mask, 0, bias
    causally = getattr(module, "is_causal", True) if is_causal is None else is_causal
    return setting, causal() if causally and q_len > 1 else everything(), 0, None


def _sum(bias: torch.Tensor | None, position_bias: torch.Tensor | None) -> torch.Tensor | None:
    if bias is None or position_bias is None:
        return position_bias if bias is None else bias
    return bias + position_bias


def _share_of_keys(lse: torch.Tensor, sinks: torch.Tensor) -> torch.Tensor:
    """Return exp(lse) / (exp(lse) + exp(sink)), ``[batch, heads, q_len, 1]``, 0 for empty rows.

    A sink takes part in the softmax as one more key whose value is 0.
    """
    return torch.sigmoid(lse - sinks.reshape(1, -1, 1).to(lse.dtype)).unsqueeze(-1)


def _asked_by_config(module: torch.nn.Module) -> bool:
    return bool(getattr(getattr(module, "config", None), "output_attentions", False))
