"""A transformers cache that appends in place: one preallocated tensor a layer, views handed out.

Transformers' own DynamicCache copies all keys and values at each new token. Here a new token
writes only itself. Which keys count is left to the mask.
"""

from __future__ import annotations

from typing import Any

from sightline.hf.requirements import require_transformers

require_transformers("sl.hf.KVCache")

import torch  # noqa: E402
from transformers.cache_utils import (  # noqa: E402
    Cache,
    CacheLayerMixin,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    EncoderDecoderCache,
)

from sightline.errors import InvalidArgument, ShapeMismatch  # noqa: E402
from sightline.lower.arguments import check_length  # noqa: E402

# The first room of a layer that may grow; it doubles whenever it is full.
_FIRST_ROOM = 64
_ATTENTION = (DynamicLayer, DynamicSlidingWindowLayer)


class InPlaceLayer(CacheLayerMixin):
    """Keys and values of one layer, ``[batch, kv_heads, room, head_dim]``, the first ones filled.

    ``keys`` and ``values`` are views of what is filled. With ``max_len`` the room is that from the
    start, and more tokens are refused before anything is written; without it the room doubles.
    """

    is_sliding = False
    is_compileable = False
    is_croppable = True

    def __init__(self, max_len: int | None = None, batch: int | None = None) -> None:
        super().__init__()
        self.max_len = max_len
        self.batch = batch
        self.length = 0
        self._rooms: list[torch.Tensor] = []

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Take dtype, device and sizes from the first keys and values."""
        room = max(_FIRST_ROOM, 2 * key_states.shape[2]) if self.max_len is None else self.max_len
        self.dtype, self.device = key_states.dtype, key_states.device
        self._rooms = [_new_room(states, room) for states in (key_states, value_states)]
        self.is_initialized = True
        self._show()

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new tokens behind the others; return views of all keys and values.

        Raises:
            ShapeMismatch: more tokens than ``max_len``, or another batch than before.
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        stop = self.length + key_states.shape[2]
        self._check_batch(key_states.shape[0])
        self._make_room(stop)
        if torch.is_grad_enabled() and (key_states.requires_grad or value_states.requires_grad):
            return self._append_with_gradient(key_states, value_states, stop)
        for room, states in zip(self._rooms, (key_states, value_states), strict=True):
            room[:, :, self.length : stop].copy_(states)
        self.length = stop
        return self._show()

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many keys there will be, and the position of the first, 0."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Return how many tokens are filled in."""
        return self.length

    def get_max_length(self) -> int:
        """Return how many tokens fit, -1 for any number."""
        return -1 if self.max_len is None else self.max_len

    get_max_cache_shape = get_max_length  # its name in older releases

    def reset(self) -> None:
        """Forget all tokens, and keep the room."""
        self.length = 0
        if self._rooms:
            self._show()

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens: -3, as transformers counts, forgets three."""
        if tokens_to_remove > 0:
            raise InvalidArgument(
                f"got crop({tokens_to_remove}); wanted a number that is not positive: -3 forgets "
                "the last three tokens."
            )
        self.length = max(0, self.length + tokens_to_remove)
        if self._rooms:
            self._show()

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Let row b hold what row ``beam_idx[b]`` held, in place where the batch stays."""
        self._select(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row ``repeats`` times, side by side."""
        if self._rooms:
            rows = torch.arange(self._rooms[0].shape[0], device=self.device)
            self._select(rows.repeat_interleave(repeats))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep the rows at ``indices`` (numbers, or bools for each row)."""
        rows = torch.as_tensor(indices)
        self._select(rows.nonzero().flatten() if rows.dtype == torch.bool else rows)

    def offload(self) -> None:
        """Move the room to the CPU."""
        self._rooms = [room.to("cpu") for room in self._rooms]
        if self._rooms:
            self._show()

    def prefetch(self) -> None:
        """Move the room back to the device of the keys."""
        self._rooms = [room.to(self.device) for room in self._rooms]
        if self._rooms:
            self._show()

    def _show(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Hand out views of what is filled."""
        keys, values = (room[:, :, : self.length] for room in self._rooms)
        self.keys, self.values = keys, values
        return keys, values

    def _check_batch(self, batch: int) -> None:
        held = self._rooms[0].shape[0] if self.length or self.batch is None else self.batch
        if batch != held:
            raise ShapeMismatch(
                f"got keys of {batch} batch rows for a cache of {held}; wanted equal numbers; "
                "take a new cache for another batch (with beam search each beam is a row)."
            )

    def _make_room(self, stop: int) -> None:
        room = self._rooms[0].shape[2]
        if stop <= room:
            return
        if self.max_len is not None:
            raise ShapeMismatch(
                f"got {stop} tokens for a cache of max_len={self.max_len}; wanted at most that "
                "many; take a larger max_len, or None to let it grow."
            )
        grown = [_new_room(old, max(2 * room, stop)) for old in self._rooms]
        for new, old in zip(grown, self._rooms, strict=True):
            new[:, :, : self.length].copy_(old[:, :, : self.length])
        self._rooms = grown

    def _append_with_gradient(
        self, key_states: torch.Tensor, value_states: torch.Tensor, stop: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append where gradients are wanted: what was handed out before must stay as it is."""
        new = key_states, value_states
        filled = (room[:, :, : self.length] for room in self._rooms)
        self._rooms = [torch.cat(pair, dim=2) for pair in zip(filled, new, strict=True)]
        self.length = stop
        return self._show()

    def _select(self, rows: torch.Tensor) -> None:
        """Copy the filled part of the rows: in place for the same batch, to new room otherwise."""
        if not self._rooms:
            return
        rows = rows.to(self._rooms[0].device)
        for place, room in enumerate(self._rooms):
            picked = room[:, :, : self.length].index_select(0, rows)
            if len(rows) != room.shape[0]:
                self._rooms[place] = room = _new_room(picked, room.shape[2])
            room[:, :, : self.length].copy_(picked)
        self._show()


class KVCache(Cache):
    """A transformers cache that appends in place: ``model.generate(..., past_key_values=cache)``.

    Window layers keep all tokens too: their mask forbids what the window has left behind, and
    attention skips it. Layers that are not attention (state-space, convolution) are transformers'
    own. ``crop``, ``reorder_cache``, ``batch_repeat_interleave``, ``batch_select_indices`` and
    ``reset`` are those of any transformers cache. Where gradients are wanted, tokens are joined to
    new tensors instead, as what an earlier call has seen must not change.

    Args:
        model: the model that it is for (or its decoder).
        max_len: how many tokens fit; None lets each layer grow by doubling.
        batch: how many rows it is for; None takes those of the first call.

    Raises:
        InvalidArgument: not a transformers model.
        ShapeMismatch: ``max_len`` or ``batch`` is no length.

    >>> import sightline as sl, torch, transformers
    >>> config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=8)
    >>> model = sl.hf.patch(transformers.GPT2LMHeadModel(config)).eval()
    >>> cache = sl.hf.KVCache(model, max_len=8)
    >>> _ = model(torch.tensor([[1, 2, 3]]), past_key_values=cache)
    >>> cache.get_seq_length(), cache.layers[0].keys.shape
    (3, torch.Size([1, 2, 3, 4]))
    """

    def __init__(self, model: Any, max_len: int | None = None, batch: int | None = None) -> None:
        config = getattr(model, "config", None)
        if not hasattr(config, "get_text_config"):
            raise InvalidArgument(
                f"got a {type(model).__name__}; wanted a transformers model, whose config says how "
                "many layers it has."
            )
        if max_len is not None:
            max_len = check_length("max_len", max_len)
        if batch is not None:
            batch = check_length("batch", batch)
        # Transformers' own cache says which layers there are; those of attention are replaced.
        layers = [
            InPlaceLayer(max_len, batch) if type(layer) in _ATTENTION else layer
            for layer in DynamicCache(config=config).layers
        ]
        super().__init__(layers=layers)


def static_cache(model: Any, batch: int, max_len: int) -> Cache:
    """Return a cache with room for ``max_len`` tokens of ``batch`` rows, taken at the first call.

    For ``model.generate(..., past_key_values=sl.hf.static_cache(model, batch, max_len))``, with
    ``max_len`` at least the padded prompt and all new tokens; with beam search each beam is a row.
    Encoder-decoder models get one for their decoder, beside transformers' own for the encoder's
    keys, which never grow.

    Raises:
        InvalidArgument: not a transformers model.
        MissingExtra: transformers 5 is not installed.
        ShapeMismatch: a size that is no length.

    >>> import sightline as sl, torch, transformers
    >>> config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=8)
    >>> model = sl.hf.patch(transformers.GPT2LMHeadModel(config)).eval()
    >>> prompt = {"input_ids": torch.tensor([[1, 2, 3]]), "attention_mask": torch.ones(1, 3)}
    >>> cache = sl.hf.static_cache(model, batch=1, max_len=7)
    >>> found = model.generate(
    ...     **prompt, past_key_values=cache, max_new_tokens=4, min_new_tokens=4, pad_token_id=0
    ... )
    >>> found.shape
    torch.Size([1, 7])
    """
    cache = KVCache(model, max_len, batch)
    if getattr(model.config, "is_encoder_decoder", False):
        return EncoderDecoderCache(cache, DynamicCache())
    return cache


def _new_room(like: torch.Tensor, room: int) -> torch.Tensor:
    batch, heads, _, head_dim = like.shape
    return torch.empty(batch, heads, room, head_dim, dtype=like.dtype, device=like.device)
