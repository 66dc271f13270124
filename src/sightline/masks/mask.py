"""What a mask is: an immutable value that says, for absolute positions, who may see whom.

Here is the base class with its operators and questions. The nodes of an expression live in
nodes.py, the atoms in positional.py, sparse.py, grid.py, data.py and explicit.py, the laws that
bring an expression to canonical form in rewrite.py, the text form in text.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np

from sightline.errors import InvalidMask, NoTruthValue
from sightline.lazy import room
from sightline.masks.arguments import as_int, mask_wanted
from sightline.masks.arrays import Array, Cells
from sightline.masks.bounds import one_by_one
from sightline.masks.numbers import enter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.bounds import Ints, Rows, Run, States, Tiles

# The plain-tuple form of an expression: (name, {keyword: value}) for an atom,
# ("and", *parts), ("or", *parts), ("not", part), ("transpose", part),
# ("shift", part, {"query": rows, "key": columns}) for the rest.
Spec = tuple[Any, ...]
# How far the data of a mask reach, on the query and on the key axis; None is without end.
Extent = tuple[int | None, int | None]

Kind = TypeVar("Kind", bound="Mask")

# More than anyone writes; a chain of ^ reaches it after ten or so.
MOST_XOR_NODES = 1000


class Mask:
    """Who may see whom: ``allowed(batch, head, query, key)`` over absolute positions.

    True means "may attend", always. A mask has no shape of its own except the number of batch
    rows and heads that its data name (1 where it is the same for all of them). Combine masks
    with ``& | ~ - ^``, swap queries and keys with ``.T``, move the picture with ``.shift``; ask
    with ``dense``, ``rows``, ``count``, ``density`` and ``empty_rows``. ``==`` and ``hash``
    compare canonical forms, so that ``window(left=None, right=0) == causal()``.

    >>> import sightline as sl
    >>> mask = sl.causal() & sl.padding(lengths=[3, 2])
    >>> mask
    causal() & padding(lengths=[3, 2])
    >>> mask.dense(3)[1, 0].astype(int)
    array([[1, 0, 0],
           [1, 1, 0],
           [1, 1, 0]])
    """

    __slots__ = ("__weakref__", "number")

    # The mask's own: two masks never have the same one, not even where one is gone. A compiled
    # graph names its mask by it, see numbers.py.
    number: int

    def __new__(cls: type[Kind], *_arguments: Any, **_named: Any) -> Kind:
        """Make a mask with a number of its own."""
        made = object.__new__(cls)
        object.__setattr__(made, "number", enter(made))
        return made

    # Makes `array & mask` come to us instead of becoming an array of objects.
    __array_ufunc__ = None

    # -- what each kind of mask must say ------------------------------------------------------

    @property
    def batch(self) -> int:
        """The number of batch rows that the mask tells apart; 1 if it is the same for all."""
        return 1

    @property
    def heads(self) -> int:
        """The number of heads that the mask tells apart; 1 if it is the same for all."""
        return 1

    def allowed(self, cells: Cells) -> Array:
        """Return bools for ``cells``, of a shape that broadcasts to theirs."""
        raise NotImplementedError

    def spec(self) -> Spec:
        """Return the expression as nested plain tuples, with the public constructors' names."""
        raise NotImplementedError

    def bounds(self, tiles: Tiles) -> States:
        """Return EMPTY, PARTIAL or FULL for each of the tiles, ``[T]``; see bounds.py."""
        raise NotImplementedError

    def signature(self, tiles: Tiles) -> list[Ints]:
        """Return ``[T]`` integers such that equal ones, in tiles of a size, mean equal cells."""
        return one_by_one(tiles)

    def bounds_and_signature(self, tiles: Tiles) -> tuple[States, list[Ints]]:
        """Return both, for masks of which the second is cheap once the first is known."""
        return self.bounds(tiles), self.signature(tiles)

    @property
    def asks_key_alone(self) -> bool:
        """Whether it is known of this kind of mask that the query does not matter."""
        return False

    @property
    def asks_distance_alone(self) -> bool:
        """Whether it is known of this kind of mask that only key - query matters."""
        return False

    def runs(self, rows: Rows) -> list[Run] | None:
        """Return the keys that each row may see as a union of runs; None if they are not few.

        Runs may overlap, be empty, and begin before key 0.
        """
        return None

    def cuts(self) -> Ints:
        """Return where a new sequence begins in each batch row, ``[1|B, n]``, in no order."""
        return np.zeros((1, 0), dtype=np.int64)

    def transposed(self) -> Mask:
        """Return the mask with the roles of query and key swapped (``.T``)."""
        raise NotImplementedError

    def moved(self, rows: int, columns: int) -> Mask:
        """Return the mask moved by ``rows`` and ``columns`` (``.shift``)."""
        raise NotImplementedError

    def complement(self) -> Mask:
        """Return the mask that allows exactly what this one forbids (``~``)."""
        raise NotImplementedError

    def extent(self) -> Extent:
        """Return how far the mask's data reach: (queries, keys), None where without end."""
        return None, None

    def check_reach(self, q_stop: int, k_stop: int) -> None:
        """Raise ShapeMismatch if the mask is bound to fewer than these queries and keys."""

    def node_count(self) -> int:
        """Return the number of masks that the expression is made of."""
        return 1

    def order_key(self) -> tuple[Any, ...]:
        """Return the key by which the parts of a connective are sorted: cheap and total."""
        raise NotImplementedError

    # -- the algebra --------------------------------------------------------------------------

    def __and__(self, other: Mask) -> Mask:
        """Allowed where both masks allow."""
        from sightline.masks.rewrite import conjunction  # the laws know the nodes, not vice versa

        return conjunction([self, _operand(other, "&")])

    def __or__(self, other: Mask) -> Mask:
        """Allowed where at least one of the masks allows."""
        from sightline.masks.rewrite import disjunction

        return disjunction([self, _operand(other, "|")])

    def __invert__(self) -> Mask:
        """Allowed exactly where this mask forbids."""
        return self.complement()

    def __sub__(self, other: Mask) -> Mask:
        """Allowed where this mask allows and the other does not."""
        return self & ~_operand(other, "-")

    def __xor__(self, other: Mask) -> Mask:
        """Allowed where exactly one of the masks allows."""
        other = _operand(other, "^")
        # Each ^ holds both operands twice, so that a chain of them doubles with every step.
        if self.node_count() + other.node_count() > MOST_XOR_NODES:
            raise InvalidMask(
                f"^ of expressions of {self.node_count()} and {other.node_count()} masks grows too "
                "large; combine fewer with ^, or write the parity as a predicate."
            )
        return (self & ~other) | (~self & other)

    def __rand__(self, other: object) -> NoReturn:
        _refuse_left(other, "&")

    def __ror__(self, other: object) -> NoReturn:
        _refuse_left(other, "|")

    def __rsub__(self, other: object) -> NoReturn:
        _refuse_left(other, "-")

    def __rxor__(self, other: object) -> NoReturn:
        _refuse_left(other, "^")

    @property
    def T(self) -> Mask:
        """The mask with the roles of query and key swapped: ``padding(...).T`` masks queries."""
        return self.transposed()

    def shift(self, query: int = 0, key: int = 0) -> Mask:
        """Move the picture ``query`` rows down and ``key`` columns to the right.

        What the move uncovers is forbidden: the new mask allows (q, k) iff q >= query, k >= key
        and the old one allows (q - query, k - key). Negative numbers move up and to the left.

        >>> import sightline as sl
        >>> sl.causal().shift(key=-1) == sl.causal(strict=True)
        True
        >>> sl.chunks(2).shift(query=1, key=1).dense(4)[0, 0].astype(int)
        array([[0, 0, 0, 0],
               [0, 1, 1, 0],
               [0, 1, 1, 0],
               [0, 0, 0, 1]])
        """
        rows, columns = as_int(query, "shift(query=)"), as_int(key, "shift(key=)")
        return self.moved(rows, columns) if rows or columns else self

    def __bool__(self) -> NoReturn:
        raise NoTruthValue(
            "a mask has no truth value; combine masks with & | ~ instead of and/or/not, "
            "compare them with ==, and ask count(...) or empty_rows(...) for facts"
        )

    # -- questions ----------------------------------------------------------------------------

    def dense(
        self, q_len: int, kv_len: int | None = None, q_offset: int = 0, kv_offset: int = 0
    ) -> NDArray[np.bool_]:
        """Return the mask as bools ``[batch, heads, q_len, kv_len]``; True may attend.

        Row i is the query at absolute position ``q_offset + i``, column j the key at
        ``kv_offset + j``. ``kv_len`` None means ``q_len``. The batch and head axes have size 1
        where the mask is the same for all. This is the one question that materialises.

        Raises:
            ShapeMismatch: if a length is negative, or beyond the array of a ``dense`` mask.
        """
        from sightline.masks import evaluate

        return evaluate.dense(self, evaluate.Frame.of(q_len, kv_len, q_offset, kv_offset))

    def rows(
        self, q_start: int, q_stop: int, kv_len: int | None = None, kv_offset: int = 0
    ) -> NDArray[np.bool_]:
        """Return the rows of the queries from ``q_start`` up to but not including ``q_stop``.

        Bools ``[batch, heads, q_stop - q_start, kv_len]``; ``kv_len`` None means ``q_stop``.
        """
        from sightline.masks import evaluate

        return evaluate.dense(self, evaluate.Frame.of_rows(q_start, q_stop, kv_len, kv_offset))

    def count(
        self, q_len: int, kv_len: int | None = None, q_offset: int = 0, kv_offset: int = 0
    ) -> int:
        """Return the number of allowed pairs, over the mask's own batch rows and heads."""
        from sightline.masks import evaluate

        return evaluate.count(self, evaluate.Frame.of(q_len, kv_len, q_offset, kv_offset))

    def density(
        self, q_len: int, kv_len: int | None = None, q_offset: int = 0, kv_offset: int = 0
    ) -> float:
        """Return allowed pairs ÷ all pairs, between 0 and 1; 0 if there is no pair at all."""
        from sightline.masks import evaluate

        return evaluate.density(self, evaluate.Frame.of(q_len, kv_len, q_offset, kv_offset))

    def empty_rows(
        self, q_len: int, kv_len: int | None = None, q_offset: int = 0, kv_offset: int = 0
    ) -> NDArray[np.bool_]:
        """Return bools ``[batch, heads, q_len]``: True where a query may see no key at all."""
        from sightline.masks import evaluate

        return evaluate.empty_rows(self, evaluate.Frame.of(q_len, kv_len, q_offset, kv_offset))

    def first_key(
        self, q_len: int, kv_len: int | None = None, q_offset: int = 0, kv_offset: int = 0
    ) -> NDArray[np.int64]:
        """Return the first key that each query may see, ``[batch, heads, q_len]``; -1 for none.

        >>> import sightline as sl
        >>> sl.window(left=1, right=0).first_key(4)
        array([[[0, 0, 1, 2]]])
        """
        from sightline.masks import evaluate

        frame = evaluate.Frame.of(q_len, kv_len, q_offset, kv_offset)
        return evaluate.summarize(self, frame).first

    def last_key(
        self, q_len: int, kv_len: int | None = None, q_offset: int = 0, kv_offset: int = 0
    ) -> NDArray[np.int64]:
        """Return the last key that each query may see, ``[batch, heads, q_len]``; -1 for none."""
        from sightline.masks import evaluate

        frame = evaluate.Frame.of(q_len, kv_len, q_offset, kv_offset)
        return evaluate.summarize(self, frame).last

    # -- text ---------------------------------------------------------------------------------

    def text(self) -> str:
        """Return the whole expression as text: ``sl.parse(mask.text()) == mask``."""
        from sightline.masks.text import write

        return write(self.spec())

    def __repr__(self) -> str:
        from sightline.masks.text import write

        return write(self.spec(), most_values=512)

    # -- pictures -----------------------------------------------------------------------------

    def show(self, q_len: int | None = None, kv_len: int | None = None, **wishes: Any) -> None:
        """Show who may see whom: a picture in a notebook, text in a terminal.

        Takes what ``sl.draw`` takes; both lengths None means as many as there are tokens, else as
        the mask's data cover, else 8.

        >>> import sightline as sl
        >>> sl.causal().show(3)
        causal()
          0 1 2
        0 ■ · ·
        1 ■ ■ ·
        2 ■ ■ ■
        ■ may attend   · may not
        """
        room("views.notebook").show(self, q_len, kv_len, **wishes)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Return what a notebook may show: the text, and a small picture."""
        return room("views.notebook").mask_bundle(self)

    def _repr_html_(self) -> str | None:
        """Return the picture for notebooks that ask for one kind; None if there is none."""
        return self._repr_mimebundle_().get("text/html")


def _refuse_left(other: object, operator: str) -> NoReturn:
    _operand(other, operator)
    raise AssertionError("a mask on the left is asked first")


def _operand(other: object, operator: str) -> Mask:
    if isinstance(other, Mask):
        return other
    raise InvalidMask(f"{operator} wants two masks, {mask_wanted(other)}")
