"""Sentences from a file: read, checked, cut into tokens and numbered.

Only text is handled here; vectors are made in ``layer``. A file that is not one sentence a line
in UTF-8, or that is too large to draw, is refused with ``DataError``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from unicodedata import east_asian_width

from sightline.errors import DataError, MissingExtra

__all__ = [
    "BOS",
    "EOS",
    "MAX_BYTES",
    "MAX_SENTENCES",
    "MAX_TOKENS",
    "PAD",
    "SHIPPED",
    "Corpus",
    "Sentence",
    "phrase",
    "read_corpus",
]

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"

# The demo draws every token and runs every prefix, so it is for a handful of sentences.
MAX_BYTES = 200_000
MAX_SENTENCES = 32
MAX_TOKENS = 48

SHIPPED = Path(__file__).with_name("sentences.txt")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One line of the file and its tokens, without the special ones."""

    text: str
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Corpus:
    """The sentences and the vocabulary that was built from them; a token's id is its index.

    The vocabulary opens with ``PAD``, ``BOS`` and ``EOS``; words follow in order of appearance.
    """

    source: str
    sentences: tuple[Sentence, ...]
    vocabulary: tuple[str, ...]

    def ids(self, tokens: Iterable[str]) -> list[int]:
        """Return the ids of ``tokens``, each of which must be in the vocabulary."""
        return [self.vocabulary.index(token) for token in tokens]


def read_corpus(path: Path | None = None) -> Corpus:
    """Read one sentence a line from ``path`` (default: the sentences shipped here).

    Blank lines are skipped. Raises ``DataError`` with the line where there is one, and
    ``MissingExtra`` where the ``tokenizers`` library is absent.
    """
    chosen = SHIPPED if path is None else path
    name = "the sentences shipped with Sightline" if path is None else str(path)
    numbered = [
        (number, line.strip())
        for number, line in enumerate(_decode(chosen).split("\n"), start=1)
        if line.strip()
    ]
    if not numbered:
        raise DataError("it holds no sentence; write one sentence a line", path=str(chosen))
    if len(numbered) > MAX_SENTENCES:
        raise DataError(
            f"it holds {len(numbered):,} sentences, and the demo takes at most {MAX_SENTENCES}, "
            "because it draws and runs every one of them; keep the first few lines",
            path=str(chosen),
            line=numbered[MAX_SENTENCES][0],
        )
    cut = _word_cutter()
    sentences = tuple(_sentence(line, cut(line), number, chosen) for number, line in numbered)
    words = dict.fromkeys(token for sentence in sentences for token in sentence.tokens)
    return Corpus(name, sentences, (PAD, BOS, EOS, *words))


def phrase(tokens: Iterable[str]) -> str:
    """Write tokens as a reader would: words apart, Han characters together.

    >>> phrase(["I", "saw", "a", "saw", "."]), phrase(["我", "看", "见", "，"])
    ('I saw a saw.', '我看见，')
    """
    text = ""
    for token in tokens:
        apart = token[0].isalnum() or token[0] == "<"
        together = not apart or (_is_wide(token[0]) and text and _is_wide(text[-1]))
        text += token if together or not text else f" {token}"
    return text


def _is_wide(character: str) -> bool:
    return east_asian_width(character) in "WF"


def _sentence(line: str, tokens: tuple[str, ...], number: int, path: Path) -> Sentence:
    """Check one line's tokens and keep its printable characters."""
    if not tokens:
        raise DataError(
            "nothing on this line can be seen (only invisible characters); write words or "
            "delete the line",
            path=str(path),
            line=number,
        )
    if len(tokens) > MAX_TOKENS:
        raise DataError(
            f"this sentence has {len(tokens):,} tokens, and the demo takes at most {MAX_TOKENS} "
            "a sentence, because it draws every one of them; break the line into shorter ones",
            path=str(path),
            line=number,
        )
    # Escape sequences in a file must not reach the reader's terminal.
    printable = "".join(c if c.isprintable() else " " for c in line)
    return Sentence(printable, tokens)


def _decode(path: Path) -> str:
    """Return the file's text, or say which line is not UTF-8 text."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise DataError(
            "there is no such file; name a text file with one sentence a line", path=str(path)
        ) from None
    except IsADirectoryError:
        raise DataError(
            "this is a folder; name a text file with one sentence a line", path=str(path)
        ) from None
    except OSError as error:
        raise DataError(f"it cannot be read ({error.strerror})", path=str(path)) from error
    if b"\x00" in data:
        raise DataError(
            "this is not text (it holds zero bytes); save it as UTF-8, one sentence a line",
            path=str(path),
            line=data.count(b"\n", 0, data.index(b"\x00")) + 1,
        )
    if len(data) > MAX_BYTES:
        raise DataError(
            f"it is larger than {MAX_BYTES:,} bytes, and the demo is for a handful of "
            "sentences; keep the first few lines",
            path=str(path),
        )
    data = data.removeprefix(b"\xef\xbb\xbf")  # the mark that some editors put first
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"this line is not UTF-8 (byte {data[error.start]:#04x}); save the file as UTF-8",
            path=str(path),
            line=data.count(b"\n", 0, error.start) + 1,
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _word_cutter():
    """Return a function from a line to its tokens: words, punctuation, single Han characters.

    The rules are BERT's (Devlin et al. 2019), with upper case and accents kept.
    """
    try:
        from tokenizers import normalizers, pre_tokenizers
    except ImportError as error:
        raise MissingExtra(
            what="cutting sentences into tokens", package="tokenizers", extra="train"
        ) from error
    normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False
    )
    splitter = pre_tokenizers.BertPreTokenizer()

    def cut(line: str) -> tuple[str, ...]:
        pieces = splitter.pre_tokenize_str(normalizer.normalize_str(line))
        return tuple(token for token, _ in pieces)

    return cut
