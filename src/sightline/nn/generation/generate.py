"""Generating tokens with a language model and a cache: ``sl.nn.generate``.

Here arguments are read and a way is taken; each way is a file beside this one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import torch

from sightline.errors import ShapeMismatch
from sightline.nn.generation.decode import Chooser, Written, decode
from sightline.nn.generation.options import Options, read_eos
from sightline.nn.generation.prompts import read_prompts
from sightline.nn.generation.result import Generated
from sightline.nn.generation.rows import model_is_row_invariant
from sightline.nn.generation.sampling import Streams
from sightline.nn.generation.session import Session, check_model


def generate(
    model: Any,
    prompts: Any,
    *,
    max_new_tokens: int,
    lengths: Any = None,
    side: str = "right",
    strategy: str = "greedy",
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    eos: Any = None,
    pad: int = 0,
    seed: Any = 0,
    cache: Any = None,
    prefill_chunk: int | None = None,
    on_token: Callable[[int, list[int]], Any] | None = None,
) -> Generated:
    """Continue each prompt, token by token.

    Rows end independently, and a row that has ended costs no more attention. A prompt gives the
    same tokens alone and in any batch: drawn ones follow from the seed and the row's own prompt,
    and the model's rows have the same bits whatever the batch, where ``Generated.exact`` says so.

    Args:
        model: called as ``model(tokens [batch, n], cache=chunk) -> logits [batch, n, vocab]``,
            with the chunk of ``KVCache.extend``; ``model.new_cache(batch, max_len)`` makes its
            cache. If it takes ``logits_at`` [batch, 1], it returns those logits only. It runs in
            evaluation mode and without gradients.
        prompts: a list of rows of tokens, or a tensor [batch, length], or an object with
            ``sequences()``.
        max_new_tokens: a row ends after so many.
        lengths: [batch] how many tokens of each row of a tensor are real; None for all.
        side: where a tensor's padding is, "right" or "left".
        strategy: "greedy" takes the most probable token; "sample" draws.
        temperature: of "sample": above 1 is more random, below 1 less.
        top_k: of "sample": draw from the most probable so many.
        top_p: of "sample": draw from the fewest tokens that have this share.
        eos: the token, or tokens, that end a row.
        pad: what ``Generated.padded`` fills up with.
        seed: a whole number for all, or one for each row.
        cache: a cache to go on with, one row per prompt; what it holds comes before the prompts,
            and afterwards it holds all but each row's last new token. None makes one.
        prefill_chunk: the most tokens of a prompt in one pass; None for all at once.
        on_token: called with a row's number and its newest tokens as they are settled.

    Raises:
        InvalidArgument: an option out of range, one that the strategy would not read, no prompt
            or an empty one, a model without the face above.
        ShapeMismatch: a cache of another batch or too small, or more positions than the model
            has.

    >>> import sightline as sl, torch
    >>> from sightline.models.gpt import GPT, GPTConfig
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch...>
    >>> model = GPT(GPTConfig(vocab=11, layers=1, heads=2, width=16, context=16))
    >>> both = sl.nn.generate(model, [[1, 2, 3], [4]], max_new_tokens=5)
    >>> alone = sl.nn.generate(model, [[4]], max_new_tokens=5)
    >>> both.tokens[1].equal(alone.tokens[0]), both.lengths
    (True, array([5, 5]))
    """
    options = Options(
        max_new_tokens=max_new_tokens,
        strategy=strategy,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        eos=read_eos(eos),
        prefill_chunk=prefill_chunk,
    )
    check_model(model)
    rows = read_prompts(prompts, lengths, side)
    streams = Streams(seed, rows) if strategy == "sample" else None
    held = _check_room(model, rows, options, cache)
    written = Written(len(rows), options, on_token)
    with _evaluating(model), torch.inference_mode():
        session = Session(model, cache or model.new_cache(len(rows), held))
        decode(session, rows, Chooser(options, streams), written, may_drop=cache is None)
        exact = _is_exact(model)
    return Generated(
        prompts=rows,
        tokens=[torch.tensor(row, dtype=torch.int64) for row in written.tokens],
        logprobs=[torch.tensor(row) for row in written.logprobs],
        finished=written.finished,
        passes=session.passes,
        exact=exact,
        pad=pad,
    )


def _check_room(model: Any, rows: list[torch.Tensor], options: Options, cache: Any) -> int:
    """Return how many tokens the longest row will hold; refuse what does not fit."""
    before = [0] * len(rows)
    if cache is not None:
        if cache.batch != len(rows):
            raise ShapeMismatch(
                f"got {len(rows)} prompts and a cache of {cache.batch} rows; wanted equal numbers; "
                f"make it with model.new_cache({len(rows)}, max_len)."
            )
        before = cache.lengths.tolist()
    # The last new token is never fed.
    sizes = [start + len(row) for start, row in zip(before, rows, strict=True)]
    held = max(sizes) + options.max_new_tokens - 1
    context = getattr(model, "context", None)
    for what, limit in (("a context", context), ("a cache", getattr(cache, "max_len", None))):
        if limit is not None and held > limit:
            raise ShapeMismatch(
                f"got {max(sizes)} tokens, prompt included, and max_new_tokens="
                f"{options.max_new_tokens} for {what} of {limit}; wanted at most "
                f"{max(limit - max(sizes) + 1, 0)} new ones; cut the prompt or ask for fewer."
            )
    return held


@contextmanager
def _evaluating(model: Any) -> Any:
    """Run with the model in evaluation mode; leave it as it was."""
    modules = [m for m in model.modules() if m.training] if hasattr(model, "modules") else []
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module in modules:
            module.training = True


def _is_exact(model: Any) -> bool:
    """Say whether the model's rows have the same bits in any batch."""
    step = getattr(model, "row_step", None)
    return step is not None and model_is_row_invariant(model, step=step)


__all__ = ["Generated", "generate"]
