"""Contracts read from text, and mistakes in them, each with its caret."""

from __future__ import annotations

import pytest

import sightline as sl
from sightline.audit.contracts import clauses_of
from sightline.audit.contracts_text import PROMISES, contract_of
from sightline.errors import ParseError

DOCUMENTS = sl.documents(lengths=[3, 2])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("causal() | prefix(3)", sl.causal() | sl.prefix(3)),
        ("strict()", sl.audit.strict()),
        ("pad_invariant(left=False)", sl.audit.pad_invariant(left=False)),
        ("  pad_invariant( mask='a:b' )", sl.audit.pad_invariant(mask="a:b")),
        ("isolated(documents(lengths=[3, 2]))", sl.audit.isolated(DOCUMENTS)),
        ("isolated(documents = documents(\n lengths=[3, 2]))", sl.audit.isolated(DOCUMENTS)),
        ("cache_parity([4, 1])", sl.audit.cache_parity([4, 1])),
        ("batch_invariant()", sl.audit.batch_invariant()),
        ("mask_sensitive('keep')", sl.audit.mask_sensitive("keep")),
        ("clicks: causal(strict=True)", {"clicks": sl.causal(strict=True)}),
        ("x[0:4] -> out.scores : strict()", {"x[0:4] -> out.scores": sl.audit.strict()}),
        ("größe: cache_parity()", {"größe": sl.audit.cache_parity()}),
    ],
)  # fmt: skip
def test_what_is_read(text: str, wanted: object) -> None:
    read = contract_of(text)
    assert read == wanted
    assert clauses_of(read) == clauses_of(wanted)


def test_a_clause_is_read_back_from_its_text() -> None:
    for contract in (
        {"clicks -> scores": sl.causal(strict=True)},
        {"ids": sl.audit.pad_invariant(other_ids=False)},
        sl.audit.isolated(sl.documents(lengths=[4, 3])),
        sl.audit.cache_parity([2, 5]),
    ):
        (clause,) = clauses_of(contract)
        assert clauses_of(contract_of(str(clause))) == (clause,)


@pytest.mark.parametrize(
    ("text", "words", "under"),
    [
        ("ids: causl()", "did you mean 'causal'", "causl"),
        ("pad_invariants()", "no contract 'pad_invariants'; did you mean 'pad_invariant'", "pad_"),
        ("isolated(document(lengths=[3, 2]))", "did you mean 'documents'", "document("),
        ("ü: isolated(documents(lengths=[3, 'x']))", "lengths", "documents("),
        ("isolated(3)", "a mask was expected", "3"),
        ("a b: causal()", "name of an input was expected", "a b"),
        ("pad_invariant(lef=1)", "unexpected keyword argument 'lef'", "pad_"),
        ("cache_parity([0])", "at least 1, got [0]", "cache_"),
        ("cache_parity(open('x'))", "was expected here", "open"),
        ("cache_parity(**{})", "** is not read", "{}"),
        ("strict() & causal()", "stands alone", "strict"),
        ("cache_parity([4]) more", "cannot read the contract", "more"),
        ("ids:", "expression is empty", ""),
    ],
)
def test_a_mistake_is_shown_where_it_stands(text: str, words: str, under: str) -> None:
    with pytest.raises(ParseError) as caught:
        contract_of(text)
    assert words in str(caught.value)
    assert caught.value.text == text
    assert text[caught.value.position :].startswith(under)
    assert under or caught.value.position == len(text)


def test_every_promise_of_the_package_can_be_written() -> None:
    promised = {name for name in sl.audit.__all__ if name[0].islower()}
    functions = {n for n in promised if getattr(sl.audit, n).__module__.endswith(".contracts")}
    assert functions == set(PROMISES)
