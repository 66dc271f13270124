"""What a trained translator is worth: BLEU on the test set, examples, masks and attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sightline.errors import MissingExtra
from sightline.masks.mask import Mask
from sightline.models.seq2seq_masks import seq2seq_masks
from sightline.models.transformer import Transformer
from sightline.nn.batch import Batch
from sightline.recipes.training.outcome import AttentionMap, Figure, MaskShown, Outcome, Table
from sightline.recipes.training.recipe import Tell
from sightline.recipes.translation.decoding import Translated, translate
from sightline.recipes.translation.vocabulary import BEGIN, END

if TYPE_CHECKING:
    from sightline.recipes.translation.task import Translation

__all__ = ["results"]

# The tokens of a source, "end" at last, and of what is written for it, "begin" at first.
Pair = tuple[list[int], list[int]]

# SYSTEMS.md, row R13, and what it says of others' small models on this test set.
TARGET, PUBLISHED = 30.0, 35.7
_SOURCE = "public READMEs of small Transformers on Multi30k de-en: 30.6 to 35.7"
_EXAMPLES = 8
# Sentences of our own, short ones first, which are drawn: the corpus is not ours to print.
_GERMAN = (
    "Ein Hund läuft im Park.",
    "Zwei Kinder spielen am Strand.",
    "Im Schnee spielt ein kleiner Junge mit einem Ball.",
    "Eine Frau, die einen roten Hut trägt, wartet auf den Bus.",
    "Ein Mann fährt mit dem Fahrrad eine Straße hinunter.",
    "Drei Musiker machen auf der Straße Musik, während Leute zuhören.",
)
_DRAWN = 2


def results(task: Translation, model: Transformer, tell: Tell) -> Outcome:
    """Translate the test set, with beams and without, and look inside."""
    settings, test = task.settings, task.test.text
    options: dict[str, Any] = {"length_penalty": settings.length_penalty, "tell": tell}
    searched = translate(model, task.words, test.sources, beams=settings.beams, **options)
    greedy = translate(model, task.words, test.sources, beams=1, **options)
    # In other languages the test set has to do.
    own = _GERMAN if settings.source == "de" else test.sources[: len(_GERMAN)]
    ours = translate(model, task.words, own, beams=settings.beams, **options)
    drawn = [
        ([*tokens, END], [BEGIN, *made.tokens])
        for tokens, made in zip(task.words.tokens(own[:_DRAWN]), ours, strict=False)
    ]
    score, signature = bleu([each.text for each in searched], test.targets)
    greedy_score, _ = bleu([each.text for each in greedy], test.targets)
    loss = task.evaluate(model, tell)["loss"]
    return Outcome(
        figures=(
            Figure(
                f"test BLEU, {settings.beams} beams",
                score,
                target=TARGET,
                published=PUBLISHED,
                source=_SOURCE,
                note="those are mostly of lower-cased, tokenized text; this is of the text as it "
                f"stands, by sacrebleu: {signature}",
            ),
            Figure("test BLEU, greedy", greedy_score),
            Figure("held-out loss, nats a subword", loss, better="lower"),
            Figure("held-out perplexity of a subword", math.exp(loss), better="lower"),
        ),
        tables=(
            Table(
                "Other sentences",
                (settings.source, "the model's"),
                tuple((one, made.text) for one, made in zip(own, ours, strict=True)),
            ),
            _examples(task, searched),
        ),
        masks=_masks(task, drawn),
        attention=tuple(_attention(task, model, *pair) for pair in drawn),
        notes=(
            f"{len(test)} sentences of the test set; subwords and weights come from the training "
            f"text alone ({task.words.size} subwords, "
            f"{sum(p.numel() for p in model.parameters())} weights).",
        ),
        extra={
            "sacrebleu": signature,
            "unfinished": sum(not each.ended for each in searched),
        },
    )


def bleu(made: Sequence[str], wanted: Sequence[str]) -> tuple[float, str]:
    """Return BLEU, 0 to 100, and sacrebleu's signature, which says how it was counted.

    Source: Papineni et al. 2002; Post 2018, "A Call for Clarity in Reporting BLEU Scores".

    >>> bleu(["a dog runs in the park ."], ["a dog runs in the park ."])[0].__round__()
    100
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise MissingExtra(what="BLEU", package="sacrebleu", extra="train") from error
    metric = BLEU()
    score = metric.corpus_score(list(made), [list(wanted)]).score
    return score, str(metric.get_signature())


def _examples(task: Translation, made: Sequence[Translated]) -> Table:
    """Return sentences spread evenly over the test set, so that nobody has picked them."""
    test = task.test.text
    step = max(1, len(test) // _EXAMPLES)
    places = range(0, len(test), step)[:_EXAMPLES]
    return Table(
        "Test sentences, evenly spread",
        (task.settings.source, "the model's", "the reference"),
        tuple((test.sources[i], made[i].text, test.targets[i]) for i in places),
    )


def _masks(task: Translation, drawn: Sequence[Pair]) -> tuple[MaskShown, ...]:
    """Return the three masks of a packed batch of the drawn pairs."""
    sources, targets = zip(*drawn, strict=True)
    masks = seq2seq_masks(
        Batch.from_sequences(sources, side="packed"), Batch.from_sequences(targets, side="packed")
    )
    read, written = (
        task.words.pieces([token for row in rows for token in row]) for rows in (sources, targets)
    )
    return (
        MaskShown("The encoder's: two packed sentences", masks["source_mask"], read, read),
        MaskShown("The decoder's: nothing that follows", masks["target_mask"], written, written),
        MaskShown("From the decoder to the encoder", masks["memory_mask"], written, read),
    )


def _attention(
    task: Translation, model: Transformer, source: list[int], target: list[int]
) -> AttentionMap:
    """Return how the last decoder layer looks at a sentence while it writes the translation."""
    weights, mask = cross_attention(model, source, target)
    # What a position writes is the next token, so that is what its row is called.
    written = [*target[1:], END]
    return AttentionMap(
        f"Writing “{task.words.text(written)}”: last layer, mean of the heads; a row for each "
        "subword as it is written",
        weights,
        task.words.pieces(written),
        task.words.pieces(source),
        mask,
    )


def cross_attention(
    model: Transformer, source: Sequence[int], target: Sequence[int]
) -> tuple[np.ndarray, Mask]:
    """Return the last decoder layer's weights [target, source], mean of the heads, and the mask."""
    layer: Any = model.layers.decoder.layers[-1]
    calls: list[tuple[Any, Any]] = []
    hook = layer.multihead_attn.register_forward_pre_hook(
        lambda module, given, named: calls.append((given, named)), with_kwargs=True
    )
    batches = [Batch.from_sequences([list(row)]) for row in (source, target)]
    masks = seq2seq_masks(*batches)
    device = next(model.parameters()).device
    with torch.no_grad():
        try:
            model(*(each.tokens.to(device) for each in batches), **_on(device, masks))
        finally:
            hook.remove()
        given, named = calls[0]
        weights = layer.multihead_attn(*given, **{**named, "need_weights": True})[1]
    return weights[0].cpu().numpy(), masks["memory_mask"]


def _on(device: torch.device, masks: dict[str, Any]) -> dict[str, Any]:
    return {
        name: each.to(device) if isinstance(each, torch.Tensor) else each
        for name, each in masks.items()
    }
