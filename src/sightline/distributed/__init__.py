"""One sequence on several devices: context parallelism for any mask, on torch.distributed.

``sl.distributed.spread`` says which rank holds which tokens of a batch under a mask,
``shard_batch`` gives a rank its share, and inside ``context_parallel`` Sightline's layers and
patched Hugging Face models attend to all keys of the sequence, wherever those are. Needs torch.

The words, one for each idea:

- A process is what torchrun starts; a rank is its place in a group of those that share a sequence.
- Shards (``sl.shard``) are a plan that is cut: arithmetic, which no process need run.
- A spread is a sequence as it lies on the ranks of this run, whose shards are ``spread.cut``.
- A share is what one rank holds: its tokens, and its rows of a batch's tensors.
- A portion is what one rank does of attention under one mask: what it sends, what it sees.
- A trip is one journey of keys and values to who needs them, and of their gradients home.
- A call is anything that ranks do together; first they agree on it, and where one does not come,
  a roll call names it.
"""

from __future__ import annotations

from sightline.lazy import lazy_names

# The files that hold the public names. Adding a name: a word here.
_ROOMS = {
    "attention": "attend",
    "batch": "shard_batch unshard",
    "context": "context_parallel",
    "hugging_face": "HFShare hf_parallel",
    "labels": "next_token_labels",
    "layout": "Spread spread",
    "losses": "average_gradients cross_entropy mean_loss mean_over_ranks",
    "ranks": "Ranks",
}
__all__, __getattr__ = lazy_names("sightline.distributed", _ROOMS)


def __dir__() -> list[str]:
    return list(__all__)
