"""Words as rows of numbers: what is equal, what differs, and files that are no list of words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sightline.errors import DataError, InvalidArgument
from sightline.models.tagger_words import COLUMNS, UNKNOWN, Words, shape_of, split_words

TEXT = "The cat saw the dog and the cat slept"
WORDS = Words.from_text(TEXT.split(), least=2, buckets=10**6)


def test_frequent_words_have_numbers_without_regard_to_case() -> None:
    assert WORDS.known == ("the", "cat")
    assert WORDS.rows(["The", "the", "CAT", "dog"])[:, 0].tolist() == [2, 2, 3, UNKNOWN]
    assert WORDS.size == 4


def test_equally_frequent_words_stand_in_order() -> None:
    one = Words.from_text(["b", "a", "c", "c"], least=1)
    assert one == Words.from_text(["c", "a", "b", "c"], least=1)
    assert one.known == ("c", "a", "b")


def test_affixes_and_shape_are_columns_of_their_own() -> None:
    walking, talking = WORDS.rows(["walking", "talking"])
    same = (walking == talking).tolist()
    # number, prefixes of 1 to 4, suffixes of 1 to 4 (lking is 5 letters), shape
    assert same == [True] + [False] * 4 + [True] * 4 + [True]
    upper, lower = WORDS.rows(["Walking", "walking"])
    assert (upper == lower).tolist() == [True] * 9 + [False]
    assert len(walking) == COLUMNS
    assert walking[1:].min() >= 1
    assert walking[1:].max() <= WORDS.buckets


def test_a_prefix_is_no_suffix_and_has_its_length() -> None:
    (row,) = WORDS.rows(["aaaaaaaa"])
    assert len(set(row[1:].tolist())) == COLUMNS - 1


def test_few_buckets_hold_all() -> None:
    few = Words((), buckets=3)
    rows = few.rows([chr(97 + n) * 5 for n in range(20)])
    assert set(rows[:, 1:].flatten().tolist()) == {1, 2, 3}


def test_numbers_are_the_same_in_every_process() -> None:
    code = (
        "from sightline.models.tagger_words import Words;"
        "print(Words(('a',), 999).rows(['Grüße', 'a']).tolist())"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        )
        assert json.loads(done.stdout) == Words(("a",), 999).rows(["Grüße", "a"]).tolist()


def test_odd_words() -> None:
    assert WORDS.rows([]).shape == (0, COLUMNS)
    assert WORDS.rows(["\udcff", "a b", "\n"]).shape == (3, COLUMNS)
    with pytest.raises(InvalidArgument, match="empty word"):
        WORDS.rows(["a", ""])
    with pytest.raises(InvalidArgument, match="'a' twice"):
        Words(("a", "b", "a"))
    with pytest.raises(InvalidArgument, match="buckets=0"):
        Words(("a",), buckets=0)


@pytest.mark.parametrize(
    ("word", "shape"),
    [
        ("Anna", "Xx"),
        ("NASA's", "X'x"),
        ("3.14", "0.0"),
        ("x86-64", "x0-0"),
        ("...", "."),
        ("α1", "x0"),
    ],
)
def test_shapes(word: str, shape: str) -> None:
    assert shape_of(word) == shape


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I saw a saw", "I saw a saw"),
        ("I saw a saw.", "I saw a saw ."),
        ("I can't; they're Kim's.", "I ca n't ; they 're Kim 's ."),
        ("She’ll say “no”!!", "She ’ll say “ no ” !!"),
        ("$1,250.50 (approx)", "$ 1,250.50 ( approx )"),
        ("the dogs' bowl", "the dogs ' bowl"),
        ("n't 's", "n't ' s"),
        ("word,word", "word , word"),
        ("  ", ""),
    ],
)
def test_splitting(text: str, words: str) -> None:
    assert split_words(text) == words.split()


def test_words_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    path.write_text(WORDS.to_json(), encoding="utf-8")
    read = Words.from_file(path)
    assert read == WORDS
    assert np.array_equal(read.rows(["catty"]), WORDS.rows(["catty"]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"buckets": 5}',
        '{"buckets": "5", "known": []}',
        '{"buckets": 5, "known": [1]}',
        '{"buckets": 5, "known": ["a", "a"]}',
        '{"buckets": 0, "known": []}',
        '{"buckets": 5, "known": 7}',
    ],
)
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    path.write_text(text)
    with pytest.raises(DataError, match="wanted the words that a training run has saved"):
        Words.from_file(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: got no such file"):
        Words.from_file(tmp_path / "none.json")
