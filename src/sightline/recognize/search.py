"""The search for the shortest expression that allows what is needed and nothing to be avoided.

Pieces: an atom between two regions; a conjunction of the least atoms that hold all needed cells
(each cell to avoid must be cut off by one of them: a set cover); a disjunction of the greatest
atoms that avoid; and one inside the other. Each part found is then written as short as the other
parts leave room for. A budget of looked-at cells bounds the work, never the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sightline.masks.explicit import per_batch, per_head
from sightline.masks.nodes import Everything, Nothing, all_of, any_of
from sightline.recognize.cost import Cost, Found, shortest
from sightline.recognize.covers import covers, joined, least
from sightline.recognize.families import families_for
from sightline.recognize.listing import listed
from sightline.recognize.region import Region

if TYPE_CHECKING:
    from sightline.masks.bits import Words
    from sightline.masks.mask import Mask
    from sightline.recognize.canvas import Canvas
    from sightline.recognize.covers import Left

# What looking at an atom costs besides the cells of its canvas.
COST_OF_ASKING = 20_000
# A single part of few letters: no other expression is looked for.
GOOD_PRICE = 65
# After so many batch rows or heads without an expression the others are not looked at.
MOST_LISTINGS = 2
# More batch rows or heads than this are not looked at each for itself.
MOST_APART = 64


class Budget:
    """How many cells may still be looked at."""

    def __init__(self, cells: int) -> None:
        self.left = cells

    def spend(self, canvas: Canvas) -> bool:
        """Pay for one look at a canvas; False if nothing is left."""
        self.left -= canvas.cells + COST_OF_ASKING
        return self.left > 0

    @contextmanager
    def share(self, parts: int) -> Iterator[Budget]:
        """Lend one of so many equal parts of what is left."""
        lent = Budget(max(0, self.left) // parts)
        self.left -= lent.left
        yield lent
        self.left += max(0, lent.left)


class Search:
    """Finds expressions on one canvas; with ``negated``, of complements of atoms too."""

    def __init__(self, canvas: Canvas, budget: Budget, *, negated: bool = False) -> None:
        self.canvas = canvas
        self.budget = budget
        self.negated = negated
        self._tops: dict[int, tuple[Region, list[Mask]]] = {}
        self._bottoms: dict[int, tuple[Region, list[Mask]]] = {}

    # -- atoms ------------------------------------------------------------------------------------

    def atom(self, need: Region, avoid: Region) -> Found | None:
        """Return the shortest atom that allows all of ``need`` and nothing of ``avoid``."""
        if need.empty:
            return Found.of(Nothing())
        if avoid.empty:
            return Found.of(Everything())
        if not self.budget.spend(self.canvas):
            return None
        families = families_for(need)
        masks = [mask for family in families for mask in family.between(need, avoid)]
        if self.negated:
            masks += [~mask for family in families for mask in family.between(avoid, need)]
        found = shortest(Found.of(mask) for mask in masks if self._fits(mask, need, avoid))
        return found or self._apart(need, avoid, Search.atom)

    def _fits(self, mask: Mask, need: Region, avoid: Region) -> bool:
        words = self.canvas.words(mask)
        return need.is_inside(words) and avoid.is_outside(words)

    def _apart(
        self,
        need: Region,
        avoid: Region,
        find: Callable[[Search, Region, Region], Found | None],
    ) -> Found | None:
        """Return what is found for each head, or else each batch row, by itself."""
        sizes = self.canvas.heads, self.canvas.batch
        for axis, size, together in ((1, sizes[0], per_head), (0, sizes[1], per_batch)):
            if not 1 < size <= MOST_APART:
                continue
            masks: list[Mask] = []
            listings = 0
            for index in range(size):
                part = need.part(axis, index)
                with self.budget.share(size - index) as budget:
                    search = Search(part.canvas, budget, negated=self.negated)
                    one = find(search, part, avoid.part(axis, index))
                listings += one is not None and one.cost.listed
                if one is None or listings == MOST_LISTINGS:
                    break
                masks.append(one.mask)
            else:
                return Found.of(together(masks))
            if axis == 1:
                return None  # heads that differ do not agree for a batch row either
        return None

    def tops(self, need: Region) -> list[Mask]:
        """Return the least atoms of each family that allow all of ``need``. Kept."""
        return self._outermost(self._tops, need, "above", "below", need.is_inside)

    def bottoms(self, avoid: Region) -> list[Mask]:
        """Return the greatest atoms of each family that allow nothing of ``avoid``. Kept."""
        return self._outermost(self._bottoms, avoid, "below", "above", avoid.is_outside)

    def _outermost(
        self,
        kept: dict[int, tuple[Region, list[Mask]]],
        region: Region,
        asked: str,
        negated: str,
        fits: Callable[[Words], bool],
    ) -> list[Mask]:
        """Return what the families answer about a region, where it is so; ``kept`` by region."""
        if id(region) not in kept:
            families = families_for(region)
            masks = [mask for family in families for mask in getattr(family, asked)(region)]
            if self.negated:
                masks += [~m for family in families for m in getattr(family, negated)(region)]
            good = [m for m in dict.fromkeys(masks) if fits(self.canvas.words(m))]
            kept[id(region)] = region, good
        return kept[id(region)][1]

    # -- several atoms ----------------------------------------------------------------------------

    def conjunction(self, need: Region, avoid: Region, most: int = 3) -> Found | None:
        """Return the shortest ``a & b`` or ``a & b & c`` of atoms, or a single atom."""
        if need.empty or avoid.empty:
            return self.atom(need, avoid)
        tops = self.tops(need)
        # What each of them leaves of the cells to avoid.
        left = least([(mask, avoid.words & self.canvas.words(mask)) for mask in tops], avoid.words)
        found = shortest(
            self._written(need, avoid, cover, conjunction=True) for cover in covers(left, most)
        )
        if found is None and self.canvas.batch * self.canvas.heads > 1:
            found = self._with_one_apart(need, avoid, left, conjunction=True)
        return found

    def disjunction(self, need: Region, avoid: Region, most: int = 3) -> Found | None:
        """Return the shortest ``a | b`` or ``a | b | c`` of atoms."""
        if need.empty or avoid.empty:
            return self.atom(need, avoid)
        bottoms = self.bottoms(avoid)
        left = least([(m, need.words & ~self.canvas.words(m)) for m in bottoms], need.words)
        found = self._with_one_apart(need, avoid, left, conjunction=False)
        if found is None and most > 2:
            found = shortest(
                self._written(need, avoid, cover, conjunction=False) for cover in covers(left, 3)
            ) or self._with_one_apart(need, avoid, joined(left), conjunction=False)
        return found

    def _with_one_apart(
        self,
        need: Region,
        avoid: Region,
        left: list[Left],
        *,
        conjunction: bool,
    ) -> Found | None:
        """Return the shortest of some atoms and one more that does what they leave to do."""
        found: list[Found | None] = []
        for masks, rest in left:
            if conjunction:
                last = self.atom(need, Region(self.canvas, rest))
            else:
                last = self.atom(Region(self.canvas, rest), avoid)
            if last is not None:
                parts = (*masks, last.mask)
                found.append(self._written(need, avoid, parts, conjunction=conjunction))
        return shortest(found)

    def _written(
        self, need: Region, avoid: Region, parts: tuple[Mask, ...], *, conjunction: bool
    ) -> Found | None:
        """Return the parts together, each as short as the others leave room for."""
        together = all_of if conjunction else any_of
        found = [Found.of(together(parts))]
        for order in (range(len(parts)), range(len(parts) - 1, -1, -1)):
            now = list(parts)
            for place in order:
                words = [self.canvas.words(m) for i, m in enumerate(now) if i != place]
                if conjunction:
                    one = self.atom(need, _cut(avoid, words))
                else:
                    one = self.atom(_uncovered(need, words), avoid)
                if one is not None and one.cost <= Cost.of(now[place]):
                    now[place] = one.mask
            found.append(Found.of(together(now)))
        return shortest(found)

    # -- one inside the other ---------------------------------------------------------------------

    def nested(self, need: Region, avoid: Region) -> Found | None:
        """Return the shortest ``a & (b | c)`` or ``a | (b & c)``, or with one part more."""
        found: list[Found | None] = []
        for masks, rest in self._open(avoid, self.tops(need), conjunction=True):
            inner = self.disjunction(need, Region(self.canvas, rest), most=2)
            if inner is not None:
                found.append(self._around(need, avoid, inner.mask, masks, conjunction=True))
        for masks, rest in self._open(need, self.bottoms(avoid), conjunction=False):
            inner = self.conjunction(Region(self.canvas, rest), avoid, most=2)
            if inner is not None:
                found.append(self._around(need, avoid, inner.mask, masks, conjunction=False))
        return shortest(found) or self._peeled(need, avoid)

    def _open(self, region: Region, masks: list[Mask], *, conjunction: bool) -> list[Left]:
        def rest(mask: Mask) -> Words:
            words = self.canvas.words(mask)
            return region.words & (words if conjunction else ~words)

        return least([(mask, rest(mask)) for mask in masks], region.words)

    def _around(
        self,
        need: Region,
        avoid: Region,
        inner: Mask,
        masks: tuple[Mask, ...],
        *,
        conjunction: bool,
    ) -> Found | None:
        """Return ``inner`` with the outer part as short as it leaves room for."""
        words = [self.canvas.words(inner)]
        if conjunction:
            outer = self.conjunction(need, _cut(avoid, words))
        else:
            outer = self.disjunction(_uncovered(need, words), avoid)
        together = all_of if conjunction else any_of
        plain = Found.of(together([inner, *masks]))
        return shortest([plain, outer and Found.of(together([inner, outer.mask]))])

    def _peeled(self, need: Region, avoid: Region) -> Found | None:
        """Return what is left once all least (or all greatest) atoms have done their part."""
        found: list[Found | None] = []
        tops = [self.canvas.words(mask) for mask in self.tops(need)]
        inner = self.disjunction(need, _cut(avoid, tops), most=3)
        if inner is not None:
            outer = self.conjunction(need, _cut(avoid, [self.canvas.words(inner.mask)]))
            found.append(outer and Found.of(inner.mask & outer.mask))
        bottoms = [self.canvas.words(mask) for mask in self.bottoms(avoid)]
        inner = self.conjunction(_uncovered(need, bottoms), avoid, most=3)
        if inner is not None:
            outer = self.disjunction(_uncovered(need, [self.canvas.words(inner.mask)]), avoid)
            found.append(outer and Found.of(inner.mask | outer.mask))
        return shortest(found)

    # -- everything together ----------------------------------------------------------------------

    def expression(self, need: Region, avoid: Region) -> Found | None:
        """Return the shortest expression that was found; None if none was."""
        found = self.atom(need, avoid)
        if found is not None and found.cost.price <= GOOD_PRICE:
            return found
        found = shortest([found, self.conjunction(need, avoid), self.disjunction(need, avoid)])
        if found is None or found.cost.parts > 2:
            again = Search(self.canvas, self.budget, negated=True)
            found = shortest([found, again.conjunction(need, avoid, most=2)])
            found = shortest([found, again.disjunction(need, avoid, most=2)])
        if found is None or found.cost.parts > 2:
            found = shortest([found, self.nested(need, avoid)])
        rows = max(self.canvas.batch, self.canvas.heads)
        if rows > 1 and (found is None or found.cost.parts > rows):
            found = shortest([found, self._apart(need, avoid, Search.complete)])
        return found

    def complete(self, need: Region, avoid: Region) -> Found:
        """Return the shortest expression that was found, or the list of what each row sees."""
        found = self.expression(need, avoid)
        listing = None if found and not found.cost.listed else Found.of(listed(need))
        best = shortest([listing, found])
        assert best is not None
        return best


def _cut(avoid: Region, words: list[Words]) -> Region:
    """Return the cells to avoid that all of the other parts of a conjunction would allow."""
    for each in words:
        avoid = avoid.within(each)
    return avoid


def _uncovered(need: Region, words: list[Words]) -> Region:
    """Return the needed cells that none of the other parts of a disjunction allows."""
    for each in words:
        need = need.minus(each)
    return need
