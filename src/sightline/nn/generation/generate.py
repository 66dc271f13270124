"""Generating tokens with a language model and a cache: ``sl.nn.generate``.

Here arguments are read and a way is taken; each way is a file beside this one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import torch

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.nn.generation.beam import Beam, search
from sightline.nn.generation.decode import Chooser, Written, decode
from sightline.nn.generation.drafts import DraftModel, Guesses
from sightline.nn.generation.options import Options, read_eos
from sightline.nn.generation.prompts import read_prompts
from sightline.nn.generation.result import Generated, Hypothesis
from sightline.nn.generation.rows import model_is_row_invariant
from sightline.nn.generation.sampling import Streams
from sightline.nn.generation.session import Session, check_model, takes
from sightline.nn.generation.speculative import speculate
from sightline.nn.kv_cache import KVCache


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
    beams: int = 1,
    length_penalty: float = 1.0,
    early_stopping: bool = False,
    eos: Any = None,
    pad: int = 0,
    seed: Any = 0,
    cache: Any = None,
    prefill_chunk: int | None = None,
    draft: Any = None,
    draft_tokens: int = 4,
    draft_branches: int = 1,
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
        strategy: "greedy" takes the most probable token; "sample" draws; "beam" goes on with
            several continuations and takes the one of the best score.
        temperature: of "sample": above 1 is more random, below 1 less.
        top_k: of "sample": draw from the most probable so many.
        top_p: of "sample": draw from the fewest tokens that have this share.
        beams: of "beam": how many continuations of a prompt there are at any time.
        length_penalty: of "beam": a score is the sum of log-probabilities over the number of new
            tokens to this power; above 0 favours long ones.
        early_stopping: of "beam": stop when ``beams`` continuations have ended, even if one that
            goes on has a better score.
        eos: the token, or tokens, that end a row.
        pad: what ``Generated.padded`` fills up with.
        seed: a whole number for all, or one for each row.
        cache: a cache to go on with, one row per prompt; what it holds comes before the prompts,
            and afterwards it holds all but each row's last new token. None makes one.
        prefill_chunk: the most tokens of a prompt in one pass; None for all at once.
        draft: what guesses tokens ahead, to be checked in one pass (speculative decoding): a
            smaller model with the face above, or a function from all tokens of a row to a list of
            tokens, or to several such lists. Greedy tokens are the same as without. So are drawn
            ones with a function; with a model, which then draws its guesses too, they have the
            same distribution.
        draft_tokens: how many tokens are guessed ahead.
        draft_branches: how many guesses are tried side by side, as a tree: of a function its
            first lists, of a model the most probable tokens at each step.
        on_token: called with a row's number and its newest tokens as they are settled; with
            "beam" once for each row.

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
        beams=beams,
        length_penalty=length_penalty,
        early_stopping=early_stopping,
        eos=read_eos(eos),
        prefill_chunk=prefill_chunk,
        draft_tokens=draft_tokens,
        draft_branches=draft_branches,
    )
    check_model(model)
    _check_ways(model, options, cache, draft)
    rows = read_prompts(prompts, lengths, side)
    streams = Streams(seed, rows) if strategy == "sample" else None
    held = _check_room(model, rows, options, cache)
    written = Written(len(rows), options, on_token)
    chooser = Chooser(options, streams)
    with _evaluating(model), _evaluating(draft), torch.inference_mode():
        # Branches lie side by side in the cache until one of them is taken.
        spare = options.draft_tokens * (options.draft_branches - 1)
        own = model.new_cache(len(rows), held + spare) if cache is None else cache
        drafter = None if draft is None else _drafter(draft, len(rows), held, chooser)
        session = Session(model, own)
        ended = _run(session, drafter, rows, chooser, written, may_drop=cache is None)
        exact = _is_exact(model)
    return Generated(
        prompts=rows,
        tokens=[torch.tensor(row, dtype=torch.int64) for row in written.tokens],
        logprobs=[torch.tensor(row) for row in written.logprobs],
        finished=written.finished,
        passes=session.passes,
        exact=exact,
        pad=pad,
        hypotheses=[
            [Hypothesis(torch.tensor(beam.tokens), beam.score) for beam in beams_of_row]
            for beams_of_row in ended
        ],
    )


def _run(
    session: Session,
    drafter: Any,
    rows: list[torch.Tensor],
    chooser: Chooser,
    written: Written,
    *,
    may_drop: bool,
) -> list[list[Beam]]:
    """Write the new tokens of every row; return the ended beams, if there are any."""
    if chooser.options.strategy == "beam":
        ended = search(session, rows, chooser.options)
        for row, best in enumerate(ended):
            written.add(row, best[0].tokens, best[0].logprobs)
        return ended
    if drafter is not None:
        speculate(session, drafter, rows, chooser, written, may_drop=may_drop)
    else:
        decode(session, rows, chooser, written, may_drop=may_drop)
    return []


def _check_ways(model: Any, options: Options, cache: Any, draft: Any) -> None:
    """Refuse arguments that do not go together."""
    own = getattr(model, "mask", None)
    if isinstance(own, Mask) and own.batch > 1:
        raise InvalidArgument(
            f"got a model whose mask is for {own.batch} batch rows; wanted one that is the same "
            "for all; rows are moved and dropped while they are generated."
        )
    if options.strategy == "beam" and (cache is not None or draft is not None):
        given = "cache" if cache is not None else "draft"
        raise InvalidArgument(
            f"got {given}= with strategy='beam'; wanted it with 'greedy' or 'sample'; beams need "
            "a cache of their own, and all of their logits."
        )
    if draft is None:
        if options.draft_branches != 1:
            raise InvalidArgument(
                f"got draft_branches={options.draft_branches} and no draft; wanted both; pass "
                "draft=."
            )
        return
    if options.draft_branches == 1:
        return
    if options.strategy == "sample" and hasattr(draft, "new_cache"):
        raise InvalidArgument(
            f"got draft_branches={options.draft_branches} with strategy='sample' and a draft "
            "model; wanted one branch, whose acceptance is exact; take a function as the draft."
        )
    missing = [name for name in ("mask", "positions") if not takes(model, name)]
    if missing or not (cache is None or isinstance(cache, KVCache)):
        got = f"a model without {' and '.join(missing)}=" if missing else type(cache).__name__
        raise InvalidArgument(
            f"got draft_branches={options.draft_branches} and {got}; wanted a model that takes "
            "mask= and positions=, and a KVCache; draft one branch."
        )


def _drafter(draft: Any, batch: int, held: int, chooser: Chooser) -> Any:
    """Return what makes drafts."""
    branches = chooser.options.draft_branches
    if hasattr(draft, "new_cache"):
        check_model(draft, "draft")
        return DraftModel(Session(draft, draft.new_cache(batch, held)), branches, chooser)
    if not callable(draft):
        raise InvalidArgument(
            f"got a draft of type {type(draft).__name__}; wanted a model with new_cache, or a "
            "function from a row's tokens to a list of tokens."
        )
    return Guesses(draft, branches)


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
