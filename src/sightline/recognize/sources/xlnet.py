"""Source ``xlnet``: perm_mask and input_mask of XLNet, where 1 means masked."""

from __future__ import annotations

import numpy as np

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.recognize.sources.reading import (
    Bools,
    Read,
    Source,
    flags,
    keywords,
    refuse_many_pairs,
    warn_of_empty_rows,
)

SOURCE = Source(
    name="xlnet",
    reads="perm_mask [batch, S, S], or a dict of perm_mask, input_mask (or attention_mask), "
    "target_mapping",
    true_means="1 is masked, in perm_mask and input_mask; 1 is a token in attention_mask",
    options=("stream",),
)


def read(given: object, stream: str = "query") -> Read:
    """Read the mask of one of the two streams; in ``"content"`` every token sees itself too.

    >>> read([[[1, 1], [0, 1]]]).allowed[0, 0].astype(int)
    array([[0, 0],
           [1, 0]])
    """
    if stream not in ("content", "query"):
        raise InvalidArgument(f"got stream={stream!r} for xlnet; wanted 'content' or 'query'.")
    call = keywords(
        given, SOURCE.name, ("perm_mask", "input_mask", "attention_mask", "target_mapping")
    )
    masked = _masked(call)
    refuse_many_pairs(*masked.shape)
    evidence = ["perm_mask and input_mask mean masked where they are 1"]
    allowed = ~masked[:, None]
    if stream == "content":
        allowed |= np.eye(masked.shape[1], dtype=np.bool_)
        evidence.append("in the content stream every token sees itself, whatever the masks say")
    outcome = "XLNet subtracts 1e30 from every score there, which gives a mean of all values"
    asked = _asked(call, allowed) if stream == "query" else allowed
    warnings = warn_of_empty_rows(asked, outcome)
    return Read(allowed, tuple(evidence), 0, warnings, "ignore")


def _asked(call: dict[str, object], allowed: Bools) -> Bools:
    """Return the mask with the rows filled that are no targets: nothing comes of those."""
    if call.get("target_mapping") is None:
        return allowed
    mapping = flags(call["target_mapping"], "target_mapping", (3,))
    targets = np.logical_or.reduce(mapping, axis=1)
    if len(targets) not in (1, len(allowed)) or targets.shape[1] != allowed.shape[2]:
        raise ShapeMismatch(
            f"got target_mapping of {len(targets)} batch rows and {targets.shape[1]} tokens for "
            f"a mask of {len(allowed)} and {allowed.shape[2]}; wanted equal sizes."
        )
    return allowed | ~targets[:, None, :, None]


def _masked(call: dict[str, object]) -> Bools:
    """Return what is masked, ``[batch, S, S]``."""
    if call.get("input_mask") is not None and call.get("attention_mask") is not None:
        raise InvalidArgument(
            "got input_mask and attention_mask for xlnet; wanted one of them: they say opposite "
            "things, 1 for padding and 1 for tokens."
        )
    pairs = keys = None
    if call.get("perm_mask") is not None:
        pairs = flags(call["perm_mask"], "perm_mask", (3,))
        if pairs.shape[1] != pairs.shape[2]:
            raise ShapeMismatch(
                f"got perm_mask of shape {list(pairs.shape)}; wanted [batch, S, S]: XLNet attends "
                "from a sequence to itself."
            )
    for name, padding in (("input_mask", True), ("attention_mask", False)):
        if call.get(name) is not None:
            keys = (flags(call[name], name, (2,)) == padding)[:, None]
    if pairs is None and keys is None:
        raise InvalidArgument("got no perm_mask and no input_mask for xlnet; wanted one of them.")
    if pairs is None or keys is None:
        alone = pairs if keys is None else keys
        assert alone is not None
        return np.broadcast_to(alone, (len(alone), alone.shape[2], alone.shape[2]))
    if len(pairs) != len(keys) or pairs.shape[2] != keys.shape[2]:
        raise ShapeMismatch(
            f"got perm_mask of shape {list(pairs.shape)} and a padding mask of "
            f"{[len(keys), keys.shape[2]]}; wanted the same batch and length."
        )
    return pairs | keys
