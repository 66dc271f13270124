"""Patterns other than the triangle: windows, chunks, prefixes, packed documents, tiles, sorting.

One layer of attention each, so that what the layer may see is what the model may see.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import sightline as sl

from .fault import ALWAYS, Claim, Condition, Fault, Inputs, Isolated, Sees
from .parts import BATCH, VOCAB, WIDTH, Block, Decoder, drawn, ids, numbers, seeded, sinusoids
from .sequence_attention import Attends

LENGTH = 11
WINDOW, CHUNK, PREFIX = 4, 3, 3
# Three documents a row, of different lengths in each row.
DOCUMENTS = ((4, 3, 4), (2, 6, 3), (5, 1, 5))


class Window(Attends):
    """The last WINDOW keys, oneself included."""

    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (key > query - WINDOW)


class WindowOneMore(Attends):
    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (key >= query - WINDOW)


class WindowBothWays(Attends):
    """The window's distance is taken without its sign."""

    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        return (query - key).abs() < WINDOW


class Chunks(Attends):
    """Causal, and never across a chunk's boundary."""

    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query // CHUNK == key // CHUNK)


class ChunksOneLate(Attends):
    """Boundaries are counted from 1."""

    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & ((query + 1) // CHUNK == (key + 1) // CHUNK)


class ChunksAfterAll(Attends):
    """The first 12 positions come in chunks; what lies beyond the table is one chunk."""

    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        chunk = torch.arange(4).repeat_interleave(CHUNK)
        ids = chunk[torch.cat([query, key.T]).clamp_max(len(chunk) - 1)]
        return (key <= query) & (ids[: len(query)] == ids[len(query) :].T)


class WholeChunks(Attends):
    """Sees its own chunk to the end, as a chunk's last token may."""

    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        return key // CHUNK <= query // CHUNK


class Causal(Attends):
    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        return key <= query


class Prefix(Attends):
    """The prefix is seen by all, the rest causally."""

    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) | (key < PREFIX)


class PrefixOneMore(Attends):
    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) | (key <= PREFIX)


class PrefixWholeText(Attends):
    """Whoever stands in the prefix sees everything, not only the prefix."""

    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) | (query < PREFIX)


class Tiles(Attends):
    """Works through tiles of 4 x 4 scores; a tile on the diagonal is cut."""

    cut = True

    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        before = key // 4 < query // 4
        on_diagonal = key // 4 == query // 4
        return before | (on_diagonal & (key <= query) if self.cut else on_diagonal)


class TilesUncut(Tiles):
    cut = False


class Sorted(Attends):
    """Sorts positions by content, attends among neighbours in that order, and undoes the sort."""

    by_origin = True

    def forward(self, x: Tensor) -> Tensor:
        order = x[..., 0].argsort(dim=1)
        back = order.argsort(dim=1)
        place = order if self.by_origin else torch.arange(x.shape[1]).expand_as(order)
        gathered = x.gather(1, order[..., None].expand_as(x))
        allowed = place[:, None, :] <= place[:, :, None]
        mixed = self.attend(gathered, allowed[:, None])
        return mixed.gather(1, back[..., None].expand_as(mixed))


class SortedByRank(Sorted):
    by_origin = False


class Landmarks(nn.Module):
    """Keys and values are projected along time to a few landmarks, for all queries the same."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = nn.Linear(64, 4, bias=False)
        self.mix = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        few = x.mT @ self.keys.weight[:, : x.shape[1]].mT
        return self.mix((x @ few).softmax(-1) @ few.mT)


class TimeMixer(nn.Module):
    """A weight for each pair of positions, as an MLP mixer has; the upper triangle is zero."""

    triangular = True

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(64, 64) / 8)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight[: x.shape[1], : x.shape[1]]
        return (weight.tril() if self.triangular else weight) @ x


class FullTimeMixer(TimeMixer):
    triangular = False


class Packed(nn.Module):
    """Documents in one row: tokens and the number of each token's document."""

    def __init__(self, mix: type[Attends]) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, WIDTH)
        self.blocks = nn.ModuleList([Block(mix()), Block(mix())])
        self.head = nn.Linear(WIDTH, VOCAB)

    def places(self, segment_ids: Tensor) -> Tensor:
        """Count positions anew in every document."""
        same = segment_ids[:, :, None] == segment_ids[:, None, :]
        return same.tril(-1).sum(-1)

    def forward(self, input_ids: Tensor, segment_ids: Tensor) -> Tensor:
        x = self.tokens(input_ids)
        x = x + sinusoids(x.shape[1], WIDTH, x.dtype)[self.places(segment_ids)]
        for block in self.blocks:
            x = block(x, segment_ids)
        return self.head(x)


class Documents(Attends):
    """Causal within each document."""

    def same(self, segments: Tensor) -> Tensor:
        return segments[:, :, None] == segments[:, None, :]

    def forward(self, x: Tensor, segments: Tensor) -> Tensor:
        place = torch.arange(x.shape[1])
        causal = place[None, :] <= place[:, None]
        return self.attend(x, (self.same(segments) & causal)[:, None])


class DocumentsUnseparated(Documents):
    """Only positions start anew; nothing keeps documents apart."""

    def same(self, segments: Tensor) -> Tensor:
        return torch.ones(1, 1, 1, dtype=torch.bool)


class DocumentsOfTheFirst(Documents):
    """The first row's documents for all rows."""

    def same(self, segments: Tensor) -> Tensor:
        return super().same(segments[:1])


class DocumentsUpTo(Documents):
    """Earlier documents are seen too: "not greater" for "the same"."""

    def same(self, segments: Tensor) -> Tensor:
        return segments[:, :, None] >= segments[:, None, :]


class DocumentsWithinReach(Documents):
    """A document's first token still counts to the one before it."""

    def same(self, segments: Tensor) -> Tensor:
        before = torch.cat([segments[:, :1], segments[:, :-1]], dim=1)
        return super().same(segments) | (before[:, :, None] == segments[:, None, :])


def packed(length: int) -> dict[str, Tensor]:
    """Return packed documents; `DOCUMENTS` fill a row of LENGTH."""
    segments = torch.stack(
        [torch.arange(3).repeat_interleave(torch.tensor(row)) for row in DOCUMENTS]
    )
    return {"input_ids": drawn(BATCH, LENGTH), "segment_ids": segments}


def vectors(length: int) -> dict[str, Tensor]:
    """Return features for the layers that project along time."""
    return {"features": numbers(BATCH, length, WIDTH)}


SEPARATE = Sees({"input_ids": sl.causal() & sl.documents(lengths=[list(row) for row in DOCUMENTS])})


def _one(
    name: str,
    wrong: type[nn.Module],
    right: type[nn.Module],
    mask: sl.Mask,
    cause: tuple[str, ...],
    when: Condition = ALWAYS,
) -> Fault:
    return Fault(
        name=name,
        family="patterns",
        wrong=seeded(lambda: Decoder(wrong())),
        right=seeded(lambda: Decoder(right())),
        claim=Sees({"input_ids": mask}),
        inputs=ids,
        module="blocks.0.mix",
        cause=cause,
        when=when,
    )


def _packed(
    name: str,
    wrong: type[Documents],
    cause: tuple[str, ...],
    claim: Claim = SEPARATE,
    inputs: Inputs = packed,
) -> Fault:
    return Fault(
        name=name,
        family="packed documents",
        wrong=seeded(lambda: Packed(wrong)),
        right=seeded(lambda: Packed(Documents)),
        claim=claim,
        inputs=inputs,
        module="blocks.0.mix",
        cause=cause,
    )


NEAR = sl.causal() & sl.window(left=WINDOW - 1)
CHUNKED = sl.causal() & sl.chunks(CHUNK)
PREFIXED = sl.causal() | sl.prefix(PREFIX)

FAULTS = (
    _one("window one too wide", WindowOneMore, Window, NEAR, ("off by one", "window")),
    _one("window to both sides", WindowBothWays, Window, NEAR, ("both", "window")),
    _one("chunks counted from one", ChunksOneLate, Chunks, CHUNKED, ("chunk", "off by one")),
    _one(
        "chunks end with their table",
        ChunksAfterAll,
        Chunks,
        CHUNKED,
        ("length", "chunk"),
        Condition(length=19),
    ),
    _one("whole chunks for causal", WholeChunks, Causal, sl.causal(), ("chunk", "block")),
    _one("prefix one too long", PrefixOneMore, Prefix, PREFIXED, ("prefix", "off by one")),
    _one("prefix sees the whole text", PrefixWholeText, Prefix, PREFIXED, ("prefix",)),
    _one("diagonal tiles taken as full", TilesUncut, Tiles, sl.causal(), ("tile", "block")),
    _one(
        "causal in sorted order", SortedByRank, Sorted, sl.causal(), ("content", "order", "compete")
    ),
    _one("landmarks over all time", Landmarks, Causal, sl.causal(), ("projection", "time")),
    _one("time mixer not triangular", FullTimeMixer, TimeMixer, sl.causal(), ("time", "mix")),
    _packed("documents not separated", DocumentsUnseparated, ("document",)),
    _packed("the first row's documents", DocumentsOfTheFirst, ("document", "batch")),
    _packed("earlier documents seen", DocumentsUpTo, ("document",), Isolated()),
    _packed("first token sees the last document", DocumentsWithinReach, ("document",), Isolated()),
)
