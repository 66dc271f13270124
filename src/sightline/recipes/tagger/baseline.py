"""The tagger without context: each word gets the tag that it had most often in training."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from sightline.readers.conllu import Sentence

__all__ = ["MostFrequentTag"]


class MostFrequentTag:
    """Words without regard to case, each with its most frequent tag.

    A word that training did not have gets PROPN if it begins with a capital, NOUN otherwise (the
    two most frequent tags of rare words in English).

    >>> sentence = Sentence(("They", "saw", "Saws"), ("PRON", "VERB", "NOUN"), "", None, 1)
    >>> baseline = MostFrequentTag([sentence])
    >>> baseline.tag(["they", "SAW", "Kim", "sleeping"])
    ['PRON', 'VERB', 'PROPN', 'NOUN']
    """

    def __init__(self, sentences: Iterable[Sentence]) -> None:
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for sentence in sentences:
            for word, tag in zip(sentence.words, sentence.tags, strict=True):
                counts[word.lower()][tag] += 1
        self.counts = dict(counts)
        # Of two tags that are equally frequent, the one that stood first.
        self._best = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}

    def tag(self, words: Sequence[str]) -> list[str]:
        """Return a tag for each word."""
        return [self._best.get(word.lower(), _unseen(word)) for word in words]

    def seen(self, word: str) -> bool:
        """Whether training had the word."""
        return word.lower() in self.counts

    def ambiguous(self, word: str) -> bool:
        """Whether training had the word with several tags."""
        return len(self.counts.get(word.lower(), ())) > 1


def _unseen(word: str) -> str:
    return "PROPN" if word[:1].isupper() else "NOUN"
