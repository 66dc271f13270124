"""Sentences of a CoNLL-U file, with a tag for each word: what treebanks are kept in.

The package conllu reads word numbers and comments; what a sentence must look like is checked here,
line by line. Which file of a corpus is which is corpora.py's matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sightline.errors import DataError, MissingExtra
from sightline.readers.lines import read_lines

__all__ = ["TAGS", "Sentence", "read_conllu"]

# The universal parts of speech, in the order of universaldependencies.org/u/pos.
_TAGS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X"
TAGS = tuple(_TAGS.split())

_COLUMNS = "ID FORM LEMMA UPOS XPOS FEATS HEAD DEPREL DEPS MISC"


@dataclass(frozen=True)
class Sentence:
    """One sentence of a treebank.

    Attributes:
        words: its syntactic words; of "don't", "do" and "n't".
        tags: one of ``TAGS`` for each word.
        text: as its comment ``# text = ...`` has it; without one, the words with spaces between.
        document: the name after ``# newdoc id =`` before it; None before the first such line. A
            document without a name is called ``newdoc at line N``.
        line: the line of its first word, counted from 1.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    text: str
    document: str | None
    line: int


def read_conllu(path: str | Path) -> Iterator[Sentence]:
    r"""Yield the sentences of a CoNLL-U file, gunzipped if it ends in .gz.

    Multiword tokens (``1-2``) and empty nodes (``8.1``) are no words of their own; they are passed
    over.

    Raises:
        DataError: what is no CoNLL-U, with the file, the line and what was expected: bytes that
            are not UTF-8, a wrong number of columns, a word number that is none or out of order,
            an empty word, an unknown tag, a sentence without a blank line after it or without
            words, a file without sentences.
        MissingExtra: the package conllu is not installed.
        OSError: a file that cannot be opened.

    Source: universaldependencies.org/format.html.

    >>> from tempfile import TemporaryDirectory
    >>> rows = [["1", "I", "PRON"], ["2", "saw", "VERB"]]
    >>> lines = ["\t".join([number, word, "_", tag] + ["_"] * 6) for number, word, tag in rows]
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "two.conllu"
    ...     _ = path.write_text("\n".join(["# newdoc id = d1", *lines, "", ""]))
    ...     (sentence,) = read_conllu(path)
    >>> sentence
    Sentence(words=('I', 'saw'), tags=('PRON', 'VERB'), text='I saw', document='d1', line=2)
    """
    _require_conllu()
    reading = _Reading(str(path))
    last, found = 0, False
    for number, text in read_lines(Path(path)):
        last = number
        line = text.removeprefix("\ufeff") if number == 1 else text
        if line:
            reading.take(number, line)
        elif (sentence := reading.end()) is not None:
            found = True
            yield sentence
    if reading.begun is not None:
        raise DataError(
            "got a sentence that the file ends in; wanted a blank line after each sentence, the "
            "last one too; add one, or fetch the file again if it was cut off.",
            path=str(path),
            line=last,
        )
    if not found:
        raise DataError(
            "got no sentences; wanted CoNLL-U: a line of ten columns for each word, a blank line "
            "after each sentence.",
            path=str(path),
        )


def _require_conllu() -> None:
    try:
        import conllu  # noqa: F401  (asked for before the file is opened)
    except ImportError as error:
        raise MissingExtra(what="reading CoNLL-U files", package="conllu", extra="train") from error


@dataclass
class _Reading:
    """A file as it is read: the sentence that is not over yet, and the document it stands in."""

    path: str
    document: str | None = None
    begun: int | None = None  # the line that the block began at
    first: int = 0  # the line of the first word
    text: str | None = None
    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)

    def take(self, number: int, line: str) -> None:
        """Take one line that is not blank."""
        if self.begun is None:
            self.begun = number
        if line.startswith("#"):
            self._take_comment(number, line)
        else:
            self._take_word(number, line)

    def end(self) -> Sentence | None:
        """Return the sentence that a blank line ends; None where there is nothing to end."""
        if self.begun is None:
            return None
        if not self.words:
            raise DataError(
                "got a block without words; wanted at least one line of ten columns before the "
                "blank line.",
                path=self.path,
                line=self.begun,
            )
        text = " ".join(self.words) if self.text is None else self.text
        made = Sentence(tuple(self.words), tuple(self.tags), text, self.document, self.first)
        self.begun, self.text, self.words, self.tags = None, None, [], []
        return made

    def _take_comment(self, number: int, line: str) -> None:
        from conllu.parser import parse_comment_line

        if self.words:
            raise DataError(
                "got a comment between words; wanted a blank line before it, where the sentence "
                "ends.",
                path=self.path,
                line=number,
            )
        # conllu leaves out comments without a value, unless told what to make of them.
        kept = {"newdoc id": lambda key, value: (key, value)}
        for key, value in parse_comment_line(line, metadata_parsers=kept):
            if key == "newdoc" or (key == "newdoc id" and not value):
                self.document = f"newdoc at line {number}"
            elif key == "newdoc id":
                self.document = value
            elif key == "text":
                self.text = value

    def _take_word(self, number: int, line: str) -> None:
        columns = line.split("\t")
        if len(columns) != 10:
            raise DataError(
                f"got {len(columns)} columns; wanted 10 with a tab between each two ({_COLUMNS}).",
                path=self.path,
                line=number,
            )
        place, word, tag = columns[0], columns[1], columns[3]
        if not self._is_next(number, place):
            return
        if not word:
            raise DataError(
                "got an empty word; wanted its form in column 2.", path=self.path, line=number
            )
        if tag not in TAGS:
            raise DataError(
                f"got the tag {tag!r} in column 4; wanted one of {', '.join(TAGS)}.",
                path=self.path,
                line=number,
            )
        if not self.words:
            self.first = number
        self.words.append(word)
        self.tags.append(tag)

    def _is_next(self, number: int, place: str) -> bool:
        """Whether a line is that of the next word; False for multiword tokens and empty nodes."""
        from conllu.exceptions import ParseException
        from conllu.parser import parse_id_value

        wanted = len(self.words) + 1
        try:
            read = parse_id_value(place)
        except ParseException:
            read = None
        if isinstance(read, tuple):
            return False
        if read != wanted:
            after = ", or a blank line where the sentence ends" if self.words else ""
            raise DataError(
                f"got {place!r} in column 1; wanted the word number {wanted}{after} (or a range "
                "such as 1-2, or an empty node such as 8.1).",
                path=self.path,
                line=number,
            )
        return True
