"""One sequence on several devices: context parallelism for any mask, on torch.distributed.

``sl.distributed.spread`` says which rank holds which tokens of a batch under a mask,
``shard_batch`` gives a rank its share, and inside ``context_parallel`` Sightline's layers and
patched Hugging Face models attend to all keys of the sequence, wherever those are. Needs torch.
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
