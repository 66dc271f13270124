"""Which pages a paged cache's rows are made of: tables, reference counts, copy on write.

Numbers only, on the host. The memory behind the numbers is paged.py's.
"""

from __future__ import annotations

import numpy as np

from sightline.errors import InvalidArgument
from sightline.nn.caches.arguments import Ints

Copies = list[tuple[int, int]]


class Pages:
    """A table of pages for each row: page i holds positions ``i * size`` and on.

    A page may belong to several rows as long as none of them writes to it.
    """

    def __init__(self, count: int, size: int, rows: int) -> None:
        self.size = size
        self.users = np.zeros(count, dtype=np.int64)
        self.tables: list[list[int]] = [[] for _ in range(rows)]
        # Popped from the end: the lowest numbers are given out first.
        self._free = list(range(count - 1, -1, -1))

    @property
    def free(self) -> int:
        """How many pages belong to nobody."""
        return len(self._free)

    def needed(self, starts: Ints, counts: Ints) -> int:
        """Return how many free pages it takes to write ``counts[b]`` tokens from ``starts[b]``."""
        fresh = self._reach(starts + counts) - self._reach(starts)
        # Of the users of a page that write to it, the last one need not copy it if it is alone.
        writers: dict[int, int] = {}
        for row in self._writers_within(starts, counts):
            page = self.tables[row][-1]
            writers[page] = writers.get(page, 0) + 1
        copied = sum(min(n, int(self.users[page]) - 1) for page, n in writers.items())
        return int(fresh.sum()) + copied

    def make_room(self, starts: Ints, counts: Ints) -> Copies:
        """Give each row the pages for its new tokens, and return which are to be copied, and to.

        Raises:
            InvalidArgument: there are not so many free pages; nothing has changed then.
        """
        needed = self.needed(starts, counts)
        if needed > self.free:
            raise InvalidArgument(
                f"got {int(counts.sum())} new tokens, which need {needed} free pages of "
                f"{self.size} tokens, and {self.free} of {len(self.users)} are free; wanted enough "
                f"pages; make the cache with pages={len(self.users) + needed - self.free} or more, "
                "or crop rows that are done to 0."
            )
        copies: Copies = []
        for row in self._writers_within(starts, counts):
            shared = self.tables[row][-1]
            if self.users[shared] > 1:
                self.users[shared] -= 1
                self.tables[row][-1] = self._take()
                copies.append((shared, self.tables[row][-1]))
        for row, reach in enumerate(self._reach(starts + counts).tolist()):
            while len(self.tables[row]) < reach:
                self.tables[row].append(self._take())
        return copies

    def cut(self, lengths: Ints) -> None:
        """Let go of the pages beyond each row's length."""
        for table, reach in zip(self.tables, self._reach(lengths).tolist(), strict=True):
            while len(table) > reach:
                self._release(table.pop())

    def take_rows(self, rows: Ints) -> None:
        """Make row i a user of the pages of what was row ``rows[i]``."""
        self.replace([list(self.tables[row]) for row in rows.tolist()])

    def replace(self, tables: list[list[int]]) -> None:
        """Put other tables, made of pages in use, in the place of all."""
        for table in tables:
            self.users[table] += 1  # a page stands at most once in a table
        for table in self.tables:
            for page in table:
                self._release(page)
        self.tables = tables

    def grid(self) -> Ints:
        """Return the tables as integers [rows, most pages]; page 0 fills up short rows."""
        widest = max(len(table) for table in self.tables)
        grid = np.zeros((len(self.tables), widest), dtype=np.int64)
        for row, table in enumerate(self.tables):
            grid[row, : len(table)] = table
        return grid

    def _writers_within(self, starts: Ints, counts: Ints) -> list[int]:
        """Return the rows that go on writing in a page that they have begun."""
        return np.flatnonzero((counts > 0) & (starts % self.size > 0)).tolist()

    def _reach(self, lengths: Ints) -> Ints:
        return -(-lengths // self.size)

    def _take(self) -> int:
        page = self._free.pop()
        self.users[page] = 1
        return page

    def _release(self, page: int) -> None:
        self.users[page] -= 1
        if not self.users[page]:
            self._free.append(page)
