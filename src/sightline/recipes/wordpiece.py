"""A WordPiece tokenizer trained on the spot, the same in every process.

The library tokenizers does the training and the cutting; here is only what makes its result
depend on the texts alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sightline.errors import InvalidArgument, MissingExtra

__all__ = ["CLS", "MASK", "PAD", "SEP", "SPECIAL", "UNKNOWN", "train_wordpiece"]

# The special tokens of BERT's vocabularies; their numbers are 0 to 4.
PAD, UNKNOWN, CLS, SEP, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_wordpiece(texts: Iterable[str], vocab: int, *, most_characters: int = 1000) -> Any:
    """Return a ``tokenizers.Tokenizer``: lower case, BERT's splitting into words, then WordPiece.

    Two runs over the same texts give the same vocabulary. (The trainer alone does not: it numbers
    characters in the order of a hash table, and numbers decide between equally frequent pairs.)

    Args:
        texts: what to learn from.
        vocab: the size of the vocabulary, special tokens included.
        most_characters: rarer characters than the first so many become [UNK].

    Raises:
        InvalidArgument: a vocabulary that has no room for the characters.
        MissingExtra: tokenizers is not installed.

    Source: Schuster and Nakajima 2012, section 3; Devlin et al. 2019, section 3.

    >>> tokenizer = train_wordpiece(["to see and to be seen", "he sees the sea"], 40)
    >>> tokenizer.encode("See!", add_special_tokens=False).tokens
    ['see', '[UNK]']
    """
    try:
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    except ImportError as error:
        raise MissingExtra(
            what="training a tokenizer", package="tokenizers", extra="train"
        ) from error
    read = list(texts)
    normalizer = normalizers.BertNormalizer(lowercase=True)
    splitter = pre_tokenizers.BertPreTokenizer()
    words = Counter(
        word
        for text in read
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
    )
    first = [*SPECIAL, *_pieces(words, most_characters)]
    known = {piece.removeprefix("##") for piece in first}
    if len(first) > vocab:
        raise InvalidArgument(
            f"got vocab={vocab}; wanted at least {len(first)}, so many special tokens and "
            "characters there are; raise vocab or lower most_characters."
        )
    # Numbers of the characters are given, so that they do not come from the trainer.
    trained = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    trained.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer: Any = trainers.WordPieceTrainer(
        vocab_size=vocab,
        min_frequency=2,
        special_tokens=first,
        show_progress=False,
    )
    kept = {word: count for word, count in words.items() if known.issuperset(word)}
    trained.train_from_iterator(_repeated(kept), trainer)
    made = Tokenizer(models.WordPiece(trained.get_vocab(), unk_token=UNKNOWN))
    made.normalizer, made.pre_tokenizer = normalizer, splitter
    made.decoder = decoders.WordPiece()
    made.add_special_tokens(list(SPECIAL))
    return made


def _pieces(words: Counter[str], most: int) -> Sequence[str]:
    """Return the characters as they begin and as they go on a word, in an order of their own."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    kept = {each for each, _ in sorted(counts.items(), key=lambda it: (-it[1], it[0]))[:most]}
    begin = {word[0] for word in words}
    go_on = {character for word in words for character in word[1:]}
    return [*sorted(begin & kept), *(f"##{each}" for each in sorted(go_on & kept))]


def _repeated(words: Mapping[str, int]) -> Iterable[str]:
    """Yield each word as often as it was counted, some at a time."""
    for word, count in words.items():
        for start in range(0, count, 1000):
            yield " ".join([word] * min(1000, count - start))
