"""BERT's pre-training data: every statistic within its sampling error, every invariant always.

Documents are made of tokens of their own, so that each token of an instance tells which document
and which place in it it is from.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import InvalidArgument
from sightline.recipes.bert.data import (
    Instance,
    Making,
    Pair,
    make_instances,
    make_pairs,
    mask_tokens,
)

CLS, SEP, MASK, FIRST = 1, 2, 3, 10
VOCAB = 30_000
DEVIATIONS = 4.5  # a sound pipeline is further off once in 150,000 tests


def making(**options: Any) -> Making:
    return Making(**{"vocab": VOCAB, "cls": CLS, "sep": SEP, "mask": MASK, **options})


def corpus(sizes: list[list[int]]) -> list[list[list[int]]]:
    """Return documents with sentences of these lengths; no token comes twice."""
    numbers = iter(range(FIRST, VOCAB))
    return [[[next(numbers) for _ in range(size)] for size in document] for document in sizes]


def drawn(documents: int, sentences: int, words: int, seed: int = 0) -> list[list[list[int]]]:
    rng = np.random.default_rng(seed)
    return corpus(
        [
            rng.integers(1, 2 * words, size=rng.integers(1, 2 * sentences)).tolist()
            for _ in range(documents)
        ]
    )


def owners(documents: list[list[list[int]]]) -> dict[int, int]:
    """Return the document of each token."""
    return {
        token: index
        for index, document in enumerate(documents)
        for sentence in document
        for token in sentence
    }


def assert_share(count: int, of: int, share: float) -> None:
    """Check a count of independent draws against the share they should have."""
    assert of > 100
    deviation = math.sqrt(of * share * (1 - share))
    assert abs(count - of * share) <= DEVIATIONS * deviation, (count, of, share)


def segments_of(instance: Instance) -> tuple[list[int], list[int]]:
    """Return A and B of an instance, as they were before masking."""
    second = int(np.argmax(instance.segments))
    original = instance.original
    assert (original[0], original[second - 1], original[-1]) == (CLS, SEP, SEP)
    return original[1 : second - 1].tolist(), original[second:-1].tolist()


# -- invariants ------------------------------------------------------------------------------------

corpora = st.lists(
    st.lists(st.integers(0, 40), min_size=0, max_size=9), min_size=2, max_size=6
).filter(lambda sizes: sum(any(document) for document in sizes) >= 2)
options = st.fixed_dictionaries(
    {
        "max_length": st.integers(5, 70),
        "max_predictions": st.integers(1, 12),
        "masked_share": st.floats(0, 1),
        "duplicates": st.integers(1, 3),
        "short_share": st.floats(0, 1),
    }
)


@settings(deadline=None, max_examples=60)
@given(sizes=corpora, chosen=options, seed=st.integers(0, 99))
def test_what_holds_for_every_instance(
    sizes: list[list[int]], chosen: dict[str, Any], seed: int
) -> None:
    documents, how = corpus(sizes), making(**chosen)
    owner = owners(documents)
    for each in make_instances(documents, how, seed):
        length = len(each)
        assert 5 <= length <= how.max_length
        assert each.tokens.shape == each.segments.shape
        assert (np.diff(each.segments) >= 0).all()
        first, second = segments_of(each)
        assert first
        assert second
        # Nothing but a document's own tokens in their own order, however it was cut.
        for part in (first, second):
            assert len({owner[token] for token in part}) == 1
            assert part == list(range(part[0], part[0] + len(part)))
        if not each.is_random:
            assert owner[first[0]] == owner[second[0]]
            assert second[0] > first[-1]
        assert (np.diff(each.places) > 0).all()
        assert not set(each.masked.tolist()) & {CLS, SEP}
        assert (each.original[each.places] == each.masked).all()
        untouched = np.delete(np.arange(length), each.places)
        assert (each.tokens[untouched] == each.original[untouched]).all()
        wanted = max(1, round(length * how.masked_share))
        assert len(each.places) == min(how.max_predictions, wanted, length - 3)


@settings(deadline=None, max_examples=60)
@given(sizes=corpora, chosen=options, seed=st.integers(0, 99), index=st.integers(0, 5))
def test_a_pass_uses_every_sentence_once_unless_it_was_cut(
    sizes: list[list[int]], chosen: dict[str, Any], seed: int, index: int
) -> None:
    """What a random B pushed out goes back and is collected again."""
    documents = [[s for s in document if s] for document in corpus(sizes)]
    documents = [document for document in documents if document]
    how, index = making(**{**chosen, "max_length": 10_000}), index % len(documents)  # nothing cut
    used: list[int] = []
    for pair in make_pairs(documents, index, how, np.random.default_rng(seed)):
        used += pair.first if pair.is_random else pair.first + pair.second
    assert used == [token for sentence in documents[index] for token in sentence]


@settings(deadline=None, max_examples=30)
@given(sizes=corpora, seed=st.integers(0, 99))
def test_the_seed_decides_all(sizes: list[list[int]], seed: int) -> None:
    documents, how = corpus(sizes), making(max_length=20, duplicates=2)
    one, other = (make_instances(documents, how, seed) for _ in range(2))
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert (left.tokens == right.tokens).all()
        assert (left.places == right.places).all()
        assert left.is_random == right.is_random


def test_another_seed_gives_other_instances() -> None:
    documents = drawn(20, 8, 9)
    one, other = (make_instances(documents, making(duplicates=1), seed) for seed in (0, 1))
    assert [each.tokens.tolist() for each in one] != [each.tokens.tolist() for each in other]


# -- statistics ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def masked() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return 2,000 rows before and after masking, and the places."""
    rng, rows = np.random.default_rng(3), []
    for _ in range(2000):
        length = int(rng.integers(40, 126))
        tokens = rng.integers(FIRST, VOCAB, size=length)
        tokens[0], tokens[length // 2], tokens[-1] = CLS, SEP, SEP
        rows.append((tokens, *mask_tokens(tokens, making(), rng)))
    return rows


def test_fifteen_in_a_hundred_are_masked(masked: Any) -> None:
    for before, _, places in masked:
        assert len(places) == round(0.15 * len(before))
    share = sum(len(places) for _, _, places in masked) / sum(len(before) for before, *_ in masked)
    assert share == pytest.approx(0.15, abs=0.002)  # whole numbers of tokens


def test_any_token_may_be_masked_and_all_alike(masked: Any) -> None:
    """The places are even over the row: its first half has as many as the second."""
    early = late = 0
    for before, _, places in masked:
        middle = len(before) // 2  # a [SEP]; as many tokens before it as behind, or one less
        if len(before) % 2 == 0:
            continue
        early += int((places < middle).sum())
        late += int((places > middle).sum())
    assert_share(early, early + late, 0.5)
    neighbours = sum(int((np.diff(places) == 1).sum()) for _, _, places in masked)
    wanted = sum(
        len(places) * (len(places) - 1) / (len(before) - 3) for before, _, places in masked
    )
    assert neighbours == pytest.approx(wanted, rel=0.1)  # in no order: not spread out, not in runs


def test_eighty_ten_ten(masked: Any) -> None:
    fate: Counter[str] = Counter()
    changed_to: list[int] = []
    for before, after, places in masked:
        was, now = before[places], after[places]
        fate["mask"] += int((now == MASK).sum())
        fate["kept"] += int((now == was).sum())
        changed_to += now[(now != MASK) & (now != was)].tolist()
    total = sum(len(places) for _, _, places in masked)
    assert_share(fate["mask"], total, 0.8)
    assert_share(fate["kept"], total, 0.1)
    assert_share(len(changed_to), total, 0.1)
    # A random token is any of the vocabulary, special ones too: its quarters are hit alike.
    for quarter in range(4):
        hits = sum(quarter * VOCAB / 4 <= token < (quarter + 1) * VOCAB / 4 for token in changed_to)
        assert_share(hits, len(changed_to), 0.25)


def test_random_tokens_may_be_special_ones() -> None:
    rng = np.random.default_rng(0)
    how = Making(vocab=5, cls=CLS, sep=SEP, mask=MASK)
    tokens = np.array([CLS, *[4] * 60, SEP, *[4] * 60, SEP])
    seen = {int(token) for _ in range(50) for token in mask_tokens(tokens, how, rng)[0][1:60]}
    assert seen == {0, 1, 2, 3, 4}


def pairs_of(documents: Any, how: Making, seed: int = 0) -> list[tuple[int, Pair]]:
    rng = np.random.default_rng(seed)
    return [
        (index, pair)
        for _ in range(how.duplicates)
        for index in range(len(documents))
        for pair in make_pairs(documents, index, how, rng)
    ]


def test_half_of_the_next_sentences_are_random() -> None:
    documents = drawn(40, 30, 8)
    owner = owners(documents)
    pairs = pairs_of(documents, making(max_length=64))
    # Where one sentence fills the instance or is left over, B has to be random.
    length = {d: [len(s) for s in document] for d, document in enumerate(documents)}
    ends = {
        token: (d, s) for d, doc in enumerate(documents) for s, se in enumerate(doc) for token in se
    }
    free = [(i, p) for i, p in pairs if not alone(p, ends, length)]
    assert_share(sum(pair.is_random for _, pair in free), len(free), 0.5)
    for index, pair in pairs:
        assert owner[pair.first[0]] == index
        assert (owner[pair.second[0]] != index) == pair.is_random


def alone(pair: Pair, ends: dict[int, tuple[int, int]], length: dict[int, list[int]]) -> bool:
    """Whether A may have been the only sentence that was collected."""
    document, sentence = ends[pair.first[0]]
    last = ends[pair.first[-1]][1]
    fills = length[document][sentence] >= 2  # a short aim may be as short as that
    return sentence == last and (fills or sentence == len(length[document]) - 1)


def test_a_lone_sentence_is_followed_by_a_random_one() -> None:
    documents = corpus([[5], [7], [3]])
    pairs = pairs_of(documents, making(duplicates=50))
    assert len(pairs) == 150
    assert all(pair.is_random for _, pair in pairs)


def test_random_segments_come_from_all_other_documents_alike() -> None:
    documents = corpus([[6] * 4 for _ in range(5)])
    owner = owners(documents)
    pairs = pairs_of(documents, making(duplicates=400))
    from_where = Counter(owner[p.second[0]] for index, p in pairs if p.is_random and index == 2)
    assert set(from_where) == {0, 1, 3, 4}
    for count in from_where.values():
        assert_share(count, sum(from_where.values()), 0.25)


def test_one_in_ten_passes_aims_at_a_random_length() -> None:
    """Sentences of one token, B their next ones: the first pair of a pass is as long as the aim."""
    documents = corpus([[1] * 400, [1] * 400])
    how, rng = making(max_length=103), np.random.default_rng(5)
    begun = [next(make_pairs(documents, 0, how, rng)) for _ in range(6000)]
    sizes = [len(pair.first) + len(pair.second) for pair in begun if not pair.is_random]
    short = [size for size in sizes if size < 100]
    # Aims are even over 2, ..., 100; that of 100 cannot be told from the others.
    assert_share(len(short), len(sizes), 0.1 * 98 / 99)
    assert_share(sum(size < 51 for size in short), len(short), 49 / 98)
    assert min(short) <= 4


def test_without_short_aims_all_but_the_last_are_full() -> None:
    documents = corpus([[3] * 300, [3] * 300])
    pairs = pairs_of(documents, making(short_share=0.0))
    true = [len(pair.first) + len(pair.second) for _, pair in pairs if not pair.is_random]
    assert len(true) > 60
    assert sum(size < 125 for size in true) <= 20  # the end of the document, once a pass


def test_where_a_ends_is_drawn_evenly() -> None:
    documents = corpus([[1] * 11, [1] * 11])
    pairs = pairs_of(documents, making(duplicates=800, short_share=0.0))
    ends = Counter(
        len(pair.first) for _, pair in pairs if pair.first[0] in (FIRST, FIRST + 11)
    )  # pairs that begin a document: 1 to 10 sentences of A
    assert set(ends) == set(range(1, 11))
    for count in ends.values():
        assert_share(count, sum(ends.values()), 0.1)


def test_pairs_are_cut_at_both_ends_alike_and_the_longer_first() -> None:
    documents = corpus([[90, 40], [90, 40]])
    front = back = 0
    pairs = pairs_of(documents, making(max_length=83, duplicates=60, short_share=0.0))
    for _, pair in pairs:
        assert len(pair.first) + len(pair.second) <= 80
        for part in (pair.first, pair.second):
            begin = next(start for start in (10, 100, 140, 230) if start + 90 > part[0] >= start)
            whole = 90 if begin in (10, 140) else 40
            if begin in (10, 140) and part[-1] < begin + 90:
                front += part[0] - begin
                back += begin + whole - 1 - part[-1]
            if begin in (100, 230) and len(pair.first) + len(pair.second) == 80:
                assert len(part) == 40  # the other one was the longer all the way
    assert_share(front, front + back, 0.5)


# -- refusals --------------------------------------------------------------------------------------


def test_one_document_is_not_enough() -> None:
    with pytest.raises(InvalidArgument, match="at least two"):
        make_instances([[[5, 6], [7]], [[]], []], making(), 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_length": 4},
        {"max_predictions": 0},
        {"duplicates": 0},
        {"masked_share": 1.1},
        {"short_share": -0.1},
        {"cls": VOCAB},
        {"mask": -1},
    ],
)
def test_numbers_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(InvalidArgument, match=f"{name}="):
        making(**wrong)
