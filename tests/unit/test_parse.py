"""Reading masks from text: what is read, what is refused, and where the caret stands.

That the text of every mask reads back as that mask is in test_masks_against_oracle.py.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import sightline as sl
from sightline.masks import parser
from sightline.testing.specs import build
from sightline.testing.strategies import Frame, expressions

# -- what is read ------------------------------------------------------------------------------

READ: dict[str, Callable[[], sl.Mask]] = {
    "causal()": sl.causal,
    "causal(True)": lambda: sl.causal(strict=True),
    "causal(strict=False)": sl.causal,
    "window(3, 0)": lambda: sl.window(3, 0),
    "window(None, +2)": lambda: sl.window(right=2),
    "dilated(3, -1)": lambda: sl.dilated(3, -1),
    "dilated(3, phase=- -1)": lambda: sl.dilated(3, 1),
    "chunks(0x10)": lambda: sl.chunks(16),
    "chunks(1_000)": lambda: sl.chunks(1000),
    "keys(3)": lambda: sl.keys(3),
    "keys([1, 2, 5])": lambda: sl.keys([1, 2, 5]),
    "keys((1, 2, 5))": lambda: sl.keys([1, 2, 5]),
    "keys([])": sl.nothing,
    "keys(slice(2))": lambda: sl.prefix(2),
    "keys(slice(1, None))": lambda: sl.keys(slice(1, None)),
    "keys(slice(1, 9, 2))": lambda: sl.keys(range(1, 9, 2)),
    "keys(range(3))": lambda: sl.prefix(3),
    "keys(range(9, 1, -2))": lambda: sl.keys([9, 7, 5, 3]),
    "padding([2, 1], side='left')": lambda: sl.padding([2, 1], side="left"),
    'padding([2, 1], side="left")': lambda: sl.padding([2, 1], side="left"),
    "padding(valid=[[True, False], [True, True]])": lambda: sl.padding([1, 2]),
    "documents(lengths=[[1, 2], [3]])": lambda: sl.documents(lengths=[[1, 2], [3]]),
    "spans([-1, 0, 0])": lambda: sl.spans([-1, 0, 0]),
    "dense([[0.0, -1e9]], means='additive')": lambda: sl.dense([[1, 0]], "attend"),
    "shifted_window((4, 4), (2, 2), shift=1)": lambda: sl.shifted_window((4, 4), (2, 2), 1),
    "per_head([causal(), ~causal(), window(1) & chunks(2)])": lambda: sl.per_head(
        [sl.causal(), ~sl.causal(), sl.window(1) & sl.chunks(2)]
    ),
    "per_batch([block_causal(2).T, (causal() | prefix(1)).shift(key=1)])": lambda: sl.per_batch(
        [sl.block_causal(2).T, (sl.causal() | sl.prefix(1)).shift(key=1)]
    ),
    "block_causal(2).T": lambda: sl.block_causal(2).T,
    "block_causal(2).T.T": lambda: sl.block_causal(2),
    "block_causal(2).shift(1, 2)": lambda: sl.block_causal(2).shift(1, 2),
    "block_causal(2).shift(key=-2)": lambda: sl.block_causal(2).shift(key=-2),
    "(causal() & prefix(3)).T": lambda: (sl.causal() & sl.prefix(3)).T,
    "~~causal()": sl.causal,
    "causal() - prefix(1)": lambda: sl.causal() - sl.prefix(1),
    "causal() ^ prefix(1)": lambda: sl.causal() ^ sl.prefix(1),
    "causal() - prefix(1) - chunks(2)": lambda: sl.causal() - sl.prefix(1) - sl.chunks(2),
    "causal() ^ prefix(1) ^ chunks(2)": lambda: sl.causal() ^ sl.prefix(1) ^ sl.chunks(2),
    # Python's own precedence: ~ before -, then &, ^ and |.
    "causal() | prefix(1) & chunks(2)": lambda: sl.causal() | (sl.prefix(1) & sl.chunks(2)),
    "prefix(1) & chunks(2) - causal()": lambda: sl.prefix(1) & (sl.chunks(2) - sl.causal()),
    "chunks(2) | causal() ^ prefix(1)": lambda: sl.chunks(2) | (sl.causal() ^ sl.prefix(1)),
    "~causal() & prefix(1)": lambda: (~sl.causal()) & sl.prefix(1),
    "causal() - (prefix(1) - chunks(2))": lambda: sl.causal() - (sl.prefix(1) - sl.chunks(2)),
    "((((causal()))))": sl.causal,
    "causal(  strict = True  )": lambda: sl.causal(strict=True),
    "  causal()": sl.causal,
    "\n\tcausal()\n": sl.causal,
    "causal()\n& prefix(1)": lambda: sl.causal() & sl.prefix(1),
    "(causal() &\r\n prefix(1))": lambda: sl.causal() & sl.prefix(1),
}


@pytest.mark.parametrize("text", READ)
def test_text_is_read_as_python_would(text: str) -> None:
    assert sl.parse(text) == READ[text]()


def test_all_masks_but_predicates_are_known_by_name() -> None:
    from sightline.masks.names import NAMES

    assert {name for name in NAMES if not hasattr(sl, name)} == set()
    for name in NAMES:
        assert NAMES[name] is getattr(sl, name)
        with pytest.raises(sl.ParseError, match=f"{name} is not a mask yet; write {name}"):
            sl.parse(name)


# -- what is refused, and where ----------------------------------------------------------------

# "@" marks where the caret must stand.
REFUSED: dict[str, str] = {
    # names
    "@paddings(lengths=[5, 3])": "there is no mask 'paddings'; did you mean 'padding'?",
    "causal() & @paddings(lengths=[5, 3])": "did you mean 'padding'?",
    "causal() &   (  @casual() )": "there is no mask 'casual'; did you mean 'causal'?",
    "@qqqq()": "there is no mask 'qqqq'; see `sightline show --list`",
    "@causal": "causal is not a mask yet; write causal(...)",
    "causal() | @chunks": "chunks is not a mask yet; write chunks(...)",
    "@casual": "casual is not a mask yet; did you mean 'causal'?",
    "per_head([causal(), @causal])": "causal is not a mask yet; write causal(...)",
    "chunks(@size)": "size is not a mask yet",
    # arguments
    "chunks(@sise=3)": "chunks takes size; got 'sise'",
    "window(left=1, @middle=2)": "window takes left, right; got 'middle'",
    "everything(@x=1)": "everything takes no arguments; got 'x'",
    "block_causal(2).shift(@keys=1)": "shift takes query, key; got 'keys'",
    "chunks(size=1, @size=2)": "size is given twice",
    "chunks(size=1, @size=2, size=3)": "size is given twice",
    "@chunks(1, size=2)": "(...) got multiple values for argument 'size'",
    "@chunks()": "(...) missing 1 required positional argument: 'size'",
    "@causal(True, 2)": "(...) takes from 0 to 1 positional arguments but 2 were given",
    "causal() & @chunks(0)": "chunks(size=) must be at least 1, got 0",
    "causal() & ~@chunks(1.5)": "chunks(size=) must be an integer, got 1.5",
    "causal() & @padding(lengths=[[1], [1, 2]])": "rows of equal length",
    "@chunks(0x" + "f" * 5000 + ")": "got one of 20000 bits",
    "@keys(range(0, 1000000000000, 2))": "single positions",
    "@causal().shift(query=1.5)": "shift(query=) must be an integer, got 1.5",
    "@per_batch([])": "per_batch(masks=) is empty",
    "@per_batch(causal())": "wants a list of masks",
    "per_batch([causal(), @chunks(0)])": "chunks(size=) must be at least 1",
    # sizes
    "padding([1, 2]) & @padding([1, 2, 3])": "masks of 2 and 3 batch rows",
    "padding([1, 2]) & causal() | @padding([1, 2, 3])": "masks of 2 and 3 batch rows",
    "padding([1, 2]) - @padding([1, 2, 3])": "masks of 2 and 3 batch rows",
    # operators
    "causal() @+ prefix(1)": "masks combine with & | ~ - ^ only",
    "causal()@*prefix(1)": "masks combine with & | ~ - ^ only",
    "(causal()) @/ prefix(1)": "masks combine with & | ~ - ^ only",
    "(causal() ) @** (prefix(1))": "masks combine with & | ~ - ^ only",
    "causal() @<< 2": "masks combine with & | ~ - ^ only",
    "causal() & prefix(1) @// chunks(2)": "masks combine with & | ~ - ^ only",
    "chunks(1 @+ 2)": "masks combine with & | ~ - ^ only",
    "chunks(@3 - 1)": "a mask was expected here, such as causal()",
    "@causal() and prefix(1)": "combine masks with & | ~, not with and, or, not",
    "causal() & (@causal() or prefix(1))": "combine masks with & | ~, not with and, or, not",
    "@not causal()": "combine masks with & | ~, not with and, or, not",
    "@-causal()": "a mask was expected here",
    "causal() & @+causal()": "a mask was expected here",
    "@causal() == causal()": "a mask was expected here",
    "@3": "a mask was expected here",
    "causal() & @3": "a mask was expected here",
    "causal() & @'text'": "a mask was expected here",
    "@[causal()]": "a mask was expected here",
    # attributes
    "causal().@dense(3)": "masks have .T and .shift(...), not .dense",
    "causal().@t": "masks have .T and .shift(...), not .t",
    "(causal() & prefix(1)).@spec": "masks have .T and .shift(...), not .spec",
    "causal().@T()": "write .T without parentheses",
    "causal().@shift": "write .shift(query=..., key=...)",
    "causal() . @shift": "write .shift(query=..., key=...)",
    "causal().@__class__": "masks have .T and .shift(...), not .__class__",
    "causal().T.@real": "masks have .T and .shift(...), not .real",
    # what is not an expression
    "@": "the expression is empty; write for example causal()",
    "   \n @": "the expression is empty",
    "causal@(": "cannot read the expression: '(' was never closed",
    "causal()@)": "cannot read the expression: unmatched ')'",
    "causal() &@": "cannot read the expression: invalid syntax",
    "causal() @prefix(1)": "cannot read the expression: invalid syntax",
    "causal() & @& prefix(1)": "cannot read the expression: invalid syntax",
    "chunks(@3x)": "cannot read the expression: invalid decimal literal",
    "a @= causal()": "cannot read the expression: invalid syntax",
    "@import os": "cannot read the expression: invalid syntax",
    "@del x": "cannot read the expression: invalid syntax",
    "causal()@; causal()": "cannot read the expression: invalid syntax",
    # wide characters and several lines before the mistake
    "@掩码() & foo()": "there is no mask '掩码'",
    "padding([1], side='掩码') @foo()": "cannot read the expression: invalid syntax",
    "per_head(['因果', @casual()])": "there is no mask 'casual'",
    "(causal() &\n  @foo() &\n  chunks(2))": "there is no mask 'foo'",
    "\n\n  causal() & @foo()": "there is no mask 'foo'",
    "(causal()\r\n & @foo())": "there is no mask 'foo'",
    "(causal() &\r @foo())": "there is no mask 'foo'",
    "causal()\n& @chunks(0)": "chunks(size=) must be at least 1",
    "causal()\n& chunks(2)\n  @+ prefix(1)": "masks combine with",
    "\tcausal() & @foo()": "there is no mask 'foo'",
}


@pytest.mark.parametrize("marked", REFUSED)
def test_a_mistake_is_named_and_pointed_at(marked: str) -> None:
    text, position = marked.replace("@", "", 1), marked.index("@")
    with pytest.raises(sl.ParseError) as caught:
        sl.parse(text)
    error = caught.value
    assert REFUSED[marked] in str(error)
    assert error.text == text
    assert error.position == position


def caret(text: str) -> tuple[str, str]:
    """The last two lines of the message: the text with the mistake, and the caret under it."""
    with pytest.raises(sl.ParseError) as caught:
        sl.parse(text)
    lines = str(caught.value).split("\n")
    return lines[-2], lines[-1]


CARETS: dict[str, tuple[str, str]] = {
    "causal() & foo()": (
        "  causal() & foo()",
        "             ^",
    ),
    # Each of the four wide characters takes two places on the screen.
    "per_head(['因果掩码', casual()])": (
        "  per_head(['因果掩码', casual()])",
        "                        ^",
    ),
    "(causal() &\n foo() &\n chunks(2))": (
        "   foo() &",
        "   ^",
    ),
    "causal(": (
        "  causal(",
        "        ^",
    ),
    "chunks(2) & " * 20 + "foo() & " + "chunks(2) & " * 20 + "causal()": (
        "  ..." + "chunks(2) & " * 3 + "foo() & " + "chunks(2) & " * 2 + "chu" + "n...",
        "     " + " " * 36 + "^",
    ),
}


@pytest.mark.parametrize("text", CARETS)
def test_the_caret_stands_under_the_mistake(text: str) -> None:
    assert caret(text) == CARETS[text]


def test_what_is_not_text_is_refused() -> None:
    for wrong in (None, 3, b"causal()", ["causal()"], sl.causal()):
        with pytest.raises(sl.ParseError, match=f"must be text, got {type(wrong).__name__}"):
            sl.parse(wrong)  # type: ignore[arg-type]


def test_a_parse_error_is_a_value_error() -> None:
    for kind in (ValueError, sl.SightlineError):
        with pytest.raises(kind):
            sl.parse("foo()")


# -- nothing is evaluated ----------------------------------------------------------------------

NEVER = [
    "__import__('os').system('true')",
    "causal().__class__.__mro__[1].__subclasses__()",
    "().__class__.__bases__[0]",
    "os.system('true')",
    "eval('causal()')",
    "exec('x = 1')",
    "open('x')",
    "print('x')",
    "len([1])",
    "lambda: causal()",
    "(lambda: causal())()",
    "(x := causal())",
    "[causal() for _ in range(3)]",
    "per_head([causal() for _ in range(3)])",
    "per_head([*[causal()]])",
    "per_head(*[[causal()]])",
    "chunks(**{'size': 3})",
    "chunks(*[3])",
    "chunks(f'{3}')",
    "padding([1], side=f'left')",
    "padding([1], side='left'[0:4])",
    "padding([1], side='le' + 'ft')",
    "padding([1], side='left'.lower())",
    "chunks({3})",
    "keys({1: 2})",
    "keys({1, 2})",
    "window(...)",
    "window({1: 2})",
    "window(lambda: 3)",
    "chunks(-'3')",
    "window(-None)",
    "keys(-[1])",
    "chunks(b'3')",
    "chunks(3j)",
    "chunks(...)",
    "chunks(2 ** 3)",
    "chunks(-~3)",
    "chunks(not 3)",
    "chunks(3 if True else 4)",
    "chunks(3 == 3)",
    "causal() if True else nothing()",
    "await causal()",
    "yield causal()",
    "causal()[0]",
    "causal()()",
    "causal()(3)",
    "(causal)()",
    "keys(slice(1, 2)(3))",
    "keys(slice(start=1))",
    "keys(slice(1.5))",
    "keys(slice(True))",
    "keys(range())",
    "keys(range(1, 2, 0))",
    "keys(range(1, 2, 3, 4))",
    "keys(slice())",
    "keys(range(None))",
    "slice(1, 2)",
    "range(3)",
    "predicate(len)",
    "predicate(fn=causal())",
    "predicate(lambda b, h, q, k: k <= q)",
    "dense(array='causal()', means='attend')",
    "parse('causal()')",
    "Mask()",
    "And(())",
    "causal().shift.__func__",
    "causal().T.T.shift(1).dense(3)",
    "'causal()'",
    "None",
    "True",
    "causal(\0)",
    "\ud800",
    "causal('\ud800')",
    "causal('\\d')",
    "causal(1if 1else 2)",
]


@pytest.mark.parametrize("text", [text for text in NEVER if text != "(causal)()"])
def test_nothing_but_masks_and_literals_is_read(text: str) -> None:
    with pytest.raises(sl.ParseError):
        sl.parse(text)


def test_the_parser_asks_nothing_of_names_outside_the_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trap(*_: object, **__: object) -> Any:
        raise AssertionError("something was evaluated")

    for name in ("eval", "exec", "compile", "__import__", "open", "getattr", "input"):
        # ast.parse itself compiles; everything else of this list must stay untouched.
        if name not in ("compile", "__import__", "getattr"):
            monkeypatch.setattr(f"builtins.{name}", trap)
    for text in ("eval('1')", "open('x')", "input()", "exec('1')"):
        with pytest.raises(sl.ParseError, match="there is no mask"):
            sl.parse(text)


# -- limits ------------------------------------------------------------------------------------


def parse_error_of(text: str) -> str:
    """The message of the refusal, which must come soon (generous: the machine may be busy)."""
    started = time.perf_counter()
    with pytest.raises(sl.ParseError) as caught:
        sl.parse(text)
    assert time.perf_counter() - started < 60
    return str(caught.value).split("\n")[0]


TOO_MUCH: dict[str, tuple[str, str]] = {
    "length": ("causal()" + " " * 1_000_000, "longer than 1000000 characters"),
    "parentheses": ("(" * 65 + "causal()" + ")" * 65, "nested deeper than 64 levels"),
    "many parentheses": (
        "(" * 100_000 + "causal()" + ")" * 100_000,
        "nested deeper than 64 levels",
    ),
    "unclosed": ("(" * 500_000, "nested deeper than 64 levels"),
    "lists": ("keys(" + "[" * 64 + "]" * 64 + ")", "nested deeper than 64 levels"),
    "braces": ("keys(" + "{" * 64 + "}" * 64 + ")", "nested deeper than 64 levels"),
    "calls": ("per_head([" * 40 + "causal()" + "])" * 40, "nested deeper than 64 levels"),
    "complements": ("~" * 65 + "causal()", "nested deeper than 64 levels"),
    "spaced complements": ("~ " * 65 + "causal()", "nested deeper than 64 levels"),
    "many complements": ("~" * 100_000 + "causal()", "more than 1000 operators"),
    "signs": ("dilated(2, " + "-" * 65 + "1)", "nested deeper than 64 levels"),
    "and": (" & ".join(["causal()"] * 1002), "more than 1000 operators"),
    "a long and": (" & ".join(["causal()"] * 90_000), "more than 1000 operators"),
    "or": ("|".join(["causal()"] * 1002), "more than 1000 operators"),
    "minus": (" - ".join(["causal()"] * 1002), "more than 1000 operators"),
    "powers": ("**".join(["causal()"] * 1002), "more than 1000 operators"),
    "words": (" and ".join(["causal()"] * 1002), "more than 1000 operators"),
    "nots": ("not " * 1001 + "causal()", "more than 1000 operators"),
    "lambdas": ("lambda: " * 1001 + "causal()", "more than 1000 operators"),
    "comparisons": ("<".join(["causal()"] * 1002), "more than 1000 operators"),
    "swaps": ("causal()" + ".T" * 65, "more than 64 .T and .shift"),
    "many swaps": ("causal()" + ".T" * 100_000, "more than 64 .T and .shift"),
    "spaced swaps": ("causal()" + " . T" * 65, "more than 64 .T and .shift"),
    "shifts": ("causal()" + ".shift(1)" * 65, "more than 64 .T and .shift"),
    "xor": (" ^ ".join(f"chunks({i + 2})" for i in range(40)), "grows too large"),
    "digits": ("chunks(" + "9" * 5000 + ")", "cannot read the expression"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much_is_refused_soon_and_kindly(name: str) -> None:
    text, reason = TOO_MUCH[name]
    assert reason in parse_error_of(text)


JUST_RIGHT: dict[str, tuple[str, Callable[[], sl.Mask]]] = {
    "length": ("causal()" + " " * (1_000_000 - 8), sl.causal),
    "parentheses": ("(" * 63 + "causal()" + ")" * 63, sl.causal),
    "complements": ("~" * 64 + "causal()", sl.causal),
    "and": (" & ".join(["causal()"] * 1001), sl.causal),
    "swaps": ("block_causal(2)" + ".T" * 64, lambda: sl.block_causal(2)),
    "signs": ("dilated(9, " + "-" * 64 + "1)", lambda: sl.dilated(9, 1)),
    "negative numbers": (
        "spans([" + ", ".join(["-1", "0"] * 2000) + "])",
        lambda: sl.spans([-1, 0] * 2000),
    ),
    "different terms": (
        " & ".join(f"dilated({i + 2})" for i in range(500)),
        lambda: build(("and", *(("dilated", {"stride": i + 2}) for i in range(500)))),
    ),
}


@pytest.mark.parametrize("name", JUST_RIGHT)
def test_what_is_within_the_limits_is_read(name: str) -> None:
    text, make = JUST_RIGHT[name]
    assert sl.parse(text) == make()


def test_the_limits_are_where_they_are_said_to_be() -> None:
    assert parser.LONGEST_TEXT == 1_000_000
    assert parser.DEEPEST_NESTING == 64
    assert parser.MOST_OPERATORS == 1000
    assert parser.MOST_MOVES == 64


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("(" * 70 + "causal()", 64),
        ("causal() & " + "~" * 70, 11 + 64),
        ("causal()" + ".T" * 70, 8 + 2 * 64),
        ("  causal()" + ".T" * 70, 10 + 2 * 64),
        ("&" * 1001, 1000),
    ],
)
def test_the_caret_stands_where_it_became_too_much(text: str, position: int) -> None:
    with pytest.raises(sl.ParseError) as caught:
        sl.parse(text)
    assert caught.value.position == position


def test_reading_needs_no_deep_stack() -> None:
    """A thread with little room left on Python's stack is refused or served, never broken."""
    outcome: list[object] = []

    def low() -> None:
        limit = sys.getrecursionlimit()
        try:
            sys.setrecursionlimit(140)
            outcome.append(sl.parse("(" * 60 + "causal()" + ")" * 60))
        except sl.ParseError as error:
            outcome.append(error)
        finally:
            sys.setrecursionlimit(limit)

    thread = threading.Thread(target=low)
    thread.start()
    thread.join()
    assert outcome


# -- random texts ------------------------------------------------------------------------------

valid = st.builds(build, expressions(Frame(4, 6, 0, 0, 2, 3), depth=2, opaque=False)).map(
    lambda mask: mask.text()
)
PIECES = [
    *"()[]{},.:;=+-*/%&|^~<>!@#$?'\"\\ \n\t0123456789abTxé掩",
    "causal()",
    "chunks(2)",
    "prefix",
    ".T",
    ".shift(1)",
    "slice(",
    "range(",
    " and ",
    " not ",
    "lambda: ",
    "None",
    "-1",
    "1e400",
    "**",
    "size=",
    "[[1, 0], [1]]",
]


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A valid text with a few pieces cut out, put in, doubled or swapped."""
    text = draw(valid)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 6)))
        kind = draw(st.sampled_from(["cut", "put", "double", "replace"]))
        piece = draw(st.sampled_from(PIECES))
        middle = {"cut": "", "put": piece + text[start:stop], "double": text[start:stop] * 2}
        text = text[:start] + middle.get(kind, piece) + text[stop:]
    return text


def read_or_refusal(text: str) -> sl.Mask | sl.ParseError:
    """What parse makes of a text; any other error than its own fails the test."""
    try:
        return sl.parse(text)
    except sl.ParseError as refusal:
        return refusal


def assert_read_or_refused(text: str) -> None:
    answer = read_or_refusal(text)
    if isinstance(answer, sl.ParseError):
        assert answer.text == text
        assert 0 <= answer.position <= len(text)
        assert str(answer).endswith("^")
    else:
        assert sl.parse(answer.text()) == answer


@given(damaged())
@example("causal(")
@example("chunks(1e400)")
@example("keys(slice(0, 3, 1))")
@example("documents(lengths=[[1,[2]],[3]])")
@example("shifted_window((4,4),[1,[2]],0)")
@example("documents(lengths=[281474976710656])")
def test_a_damaged_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    assert_read_or_refused(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    assert_read_or_refused(text)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_any_pieces_are_read_or_refused_and_nothing_else(text: str) -> None:
    assert_read_or_refused(text)
