"""Subwords by byte pair encoding, trained on the spot; what they spell is the text again.

The library tokenizers does the training and the cutting; WordPiece, whose spelling forgets where
spaces were, is wordpiece.py's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sightline.errors import InvalidArgument, MissingExtra

__all__ = ["train_subwords"]


def train_subwords(
    texts: Iterable[str], vocab: int, special: tuple[str, ...], *, lowercase: bool = False
) -> Any:
    """Return a ``tokenizers.Tokenizer``: words apart from punctuation, then merged pairs.

    A space belongs to the word behind it, so ``decode`` gives back the text (in lower case, if
    asked for, and with single spaces). Two runs over the same texts give the same subwords.

    Args:
        texts: what to learn from.
        vocab: the most subwords, special tokens and single characters included.
        special: special tokens, numbered from 0; the second one stands for unknown characters.
        lowercase: whether all is read in lower case.

    Raises:
        InvalidArgument: fewer than two special tokens, or no room beside them.
        MissingExtra: tokenizers is not installed.

    Source: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units",
    section 3.2.

    >>> words = train_subwords(["der Hund sieht den Hund."] * 3, 40, ("[PAD]", "[UNK]"))
    >>> read = words.encode("der Hund  sieht.")
    >>> read.tokens[:2], words.decode(read.ids)
    (['▁der', '▁Hund'], 'der Hund sieht.')
    """
    try:
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    except ImportError as error:
        raise MissingExtra(
            what="training a tokenizer", package="tokenizers", extra="train"
        ) from error
    if len(special) < 2 or vocab <= len(special):
        raise InvalidArgument(
            f"got vocab={vocab} and {len(special)} special tokens; wanted at least two special "
            "tokens, the second for what is unknown, and room for subwords beside them."
        )
    made = Tokenizer(models.BPE(unk_token=special[1]))
    steps: list[Any] = [normalizers.NFC(), normalizers.Replace(_spaces(), " "), normalizers.Strip()]
    made.normalizer = normalizers.Sequence(steps + [normalizers.Lowercase()] * lowercase)
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
    )
    made.decoder = decoders.Metaspace()
    trainer: Any = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=list(special), show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    return made


def _spaces() -> Any:
    from tokenizers import Regex

    return Regex(r"\s+")
