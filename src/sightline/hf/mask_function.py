"""The mask function of patched models: what transformers asks for, said as an expression.

Registered with transformers' AttentionMaskInterface. The model's structure is read from the
closure (closures.py), padding from its 2-D mask; both, and the setting's extra mask, go out as one
Carrier that all layers share. Nothing here is traced by torch.compile.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from sightline.errors import CannotExpress, ShapeMismatch
from sightline.hf.carrier import Carrier
from sightline.hf.closures import Frame, read_closure
from sightline.hf.settings import Wanted, current_rewrite, setting_of
from sightline.hf.shared_calls import refuse, shared_call
from sightline.masks.explicit import dense
from sightline.masks.mask import Mask
from sightline.masks.padding import padding, padding_bits, padding_runs
from sightline.masks.positional import causal

# Runs of real keys that go on are said to end at a power of two beyond this.
_ROOM = 4095
# What transformers tells its mask functions besides, to leave masks out where sdpa can.
_HINTS = {
    "allow_is_causal_skip",
    "allow_torch_fix",
    "allow_is_bidirectional_skip",
    "local_size",
    "dtype",
    "device",
}


@torch.compiler.disable
def make_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: Any = 0,
    kv_offset: Any = 0,
    mask_function: Any = None,
    attention_mask: Any = None,
    config: Any = None,
    use_vmap: bool = False,
    **hints: Any,
) -> Carrier:
    """Return the mask that transformers asks for, as a Carrier; arguments are transformers' own.

    Raises:
        CannotExpress: an argument that this version does not know.
        ShapeMismatch: a 2-D mask without two axes, or a rewritten mask with other batch rows.
    """
    if isinstance(attention_mask, Carrier):  # made in advance, by generate
        return attention_mask
    for name, value in hints.items():
        if name not in _HINTS and value is not None:
            raise CannotExpress(
                destination="sl.hf.patch",
                part=f"{name}={value!r} of a mask function",
                reason="it is not known what that means for the mask",
                alternative="the model with its own attention (sl.hf.unpatch)",
            )
    setting = setting_of(config)
    asked = Frame(int(batch_size), int(q_length), int(kv_length), int(q_offset), int(kv_offset))
    call = shared_call(config)
    frame = asked if call is None else call.frame(asked, attention_mask, mask_function)
    structure = read_closure(mask_function, frame)
    if structure is None and (call is None or call.is_whole(attention_mask)):
        structure = _evaluate(mask_function, frame, use_vmap)
    elif call is not None:
        structure = call.whole(structure)
    assert structure is not None
    local, real = whole_mask(structure, attention_mask, setting.mask, frame)
    rewrite = current_rewrite()
    if rewrite is not None:
        if call is not None:
            refuse("a model without padding", "its tokens are packed anew", "sl.hf.repad(model)")
        structure = _checked_rows(rewrite(Wanted(structure, real, *_numbers(frame))), frame)
        real = None
        local = _combined(structure, real, setting.mask, frame.kv_offset)
    if call is not None and call.made is not None:
        call.made.append((local, structure))
    at_hand = frame.kv_len if call is None else call.share
    return Carrier(
        mask=local,
        q_offset=frame.q_offset - frame.kv_offset,
        shape=(frame.batch, 1, asked.q_len, at_hand),
        kv_offset=frame.kv_offset,
        setting=setting,
        parts=(structure, real, setting.mask),
        sequence=None if call is None else call.sequence,
        keys=frame.kv_len,
    )


def _numbers(frame: Frame) -> tuple[int, ...]:
    return frame.batch, frame.q_len, frame.kv_len, frame.q_offset, frame.kv_offset


def _checked_rows(mask: Mask, frame: Frame) -> Mask:
    if mask.batch not in (1, frame.batch):
        raise ShapeMismatch(
            f"got a rewritten mask for {mask.batch} batch rows and a call with {frame.batch}; "
            "wanted equal numbers, or a mask that is the same for all; check the lengths."
        )
    return mask


def whole_mask(
    structure: Mask, attention_mask: Any, extra: Mask | None, frame: Frame
) -> tuple[Mask, Mask | None]:
    """Return all parts of a mask together, counted from key 0, and which keys are real."""
    real = None if attention_mask is None else _read_padding(attention_mask, frame, structure)
    return _combined(structure, real, extra, frame.kv_offset), real


@lru_cache(maxsize=512)
def _combined(structure: Mask, real: Mask | None, extra: Mask | None, kv_offset: int) -> Mask:
    """Return all of them together, counted from key 0."""
    whole = structure
    for part in (real, extra):
        whole = whole if part is None else whole & part
    return whole.shift(query=-kv_offset, key=-kv_offset) if kv_offset else whole


# -- padding ----------------------------------------------------------------------------------


def _read_padding(attention_mask: Any, frame: Frame, structure: Mask) -> Mask | None:
    """Return which keys are real, or None where all are; beyond the 2-D mask none is.

    What the structure forbids by itself may be said either way. Where all keys from a first real
    one on are real, they are taken to go on beyond the last key, up to a round number, so that
    the mask of a left-padded batch stays the same from one decoding step to the next.
    """
    if attention_mask.ndim != 2:
        raise ShapeMismatch(
            f"got an attention mask of shape {list(attention_mask.shape)}; wanted [batch, keys], "
            "or four axes; add the axis of heads with unsqueeze(1)."
        )
    valid = attention_mask.detach().cpu().numpy()
    if valid.dtype != np.bool_:
        valid = valid != 0
    end = frame.kv_offset + frame.kv_len
    stop = min(valid.shape[1], end)
    # No key beyond the last query is asked for, as in a cache that has room left.
    known = stop == end or (stop >= frame.q_offset + frame.q_len and _looks_back(structure))
    valid = valid[:, :stop]
    if known and valid[:, frame.kv_offset :].all():
        return None
    first = np.argmax(valid, axis=1)
    count = np.count_nonzero(valid, axis=1)
    if known and (count > 0).all() and (first + count == stop).all():
        return padding_runs(first, np.full_like(first, 1 << max(end, _ROOM).bit_length()))
    return padding_bits(valid) if valid.shape[1] else padding(lengths=[0] * len(valid))


@lru_cache(maxsize=256)
def _looks_back(structure: Mask) -> bool:
    """Return whether a mask surely allows no key after the query."""
    return structure & causal() == structure


# -- closures that are not known ---------------------------------------------------------------


def _evaluate(mask_function: Any, frame: Frame, use_vmap: bool) -> Mask:
    """Return what a closure answers for every pair of the frame, over absolute positions."""
    from transformers.masking_utils import sdpa_mask

    answers = sdpa_mask(
        batch_size=frame.batch,
        q_length=frame.q_len,
        kv_length=frame.kv_len,
        q_offset=frame.q_offset,
        kv_offset=frame.kv_offset,
        mask_function=mask_function,
        attention_mask=None,
        allow_is_causal_skip=False,
        use_vmap=use_vmap,
    )
    assert answers is not None
    table = answers.detach().cpu().numpy()
    return dense(table, means="attend").shift(query=frame.q_offset, key=frame.kv_offset)
