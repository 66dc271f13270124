"""What comes out of training UniLM: figures, translations, the four masks and what is attended to.

The losses are judging.py's; here texts are written and pictures chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from sightline.errors import MissingExtra
from sightline.masks.mask import Mask
from sightline.models.unilm_masks import (
    MODES,
    Mode,
    bidirectional,
    left_to_right,
    right_to_left,
    segment_ids,
    sequence_to_sequence,
)
from sightline.nn.batch import Batch
from sightline.nn.generation.generate import generate
from sightline.recipes.training.outcome import AttentionMap, Figure, MaskShown, Outcome, Table
from sightline.recipes.training.recipe import Tell
from sightline.recipes.unilm.cloze import CLS, MASK, SEP, Pair, lay_out
from sightline.recipes.unilm.judging import figures, unigram_loss

if TYPE_CHECKING:
    from sightline.recipes.unilm.task import UniLMTask

__all__ = ["outcome", "write"]

_AT_ONCE = 50
_EXAMPLES = 8
# Pictures stay readable up to so many tokens.
_MOST_SHOWN = 18
# A target may have so many tokens more than its source.
_LONGER = 20

_TITLES: dict[Mode, str] = {
    "bidirectional": "bidirectional: every token sees every token",
    "left_to_right": "left to right: nobody sees what stands behind",
    "right_to_left": "right to left: nobody sees what stands before",
    "seq2seq": "sequence to sequence: all see the source; the target sees itself left to right",
}
_CLOZE_NOTE = "the same tokens of the same pairs are asked for under each mask"
_NOTES = (
    "The pairs are captions, which no next sentence follows: with both sides in view the model is "
    "asked whether the target is the source's own, which half of the time it is not.",
    "Under all four masks the text is source and target, so that their losses can be compared; the "
    "published training reads single segments from either side.",
    "In fine-tuning a part of the sequences goes on as before (tuning_share), so that one set of "
    "weights keeps all four ways of reading; the published fine-tuning has the target alone.",
    "All text is in lower case, and BLEU is that of lower case.",
)


def outcome(task: UniLMTask, model: Any, tell: Tell) -> Outcome:
    """Return figures on held-out and test pairs, examples, masks and attention."""
    found = figures(task, model, tell)
    unigram = unigram_loss(task)
    texts = task.texts["test_2016_flickr"][: task.settings.test]
    pairs = task.pairs["test_2016_flickr"][: task.settings.test]
    written = write(task, model, pairs, tell)
    references = [target for _, target in texts]
    by_mask = [_cloze_figure(mode, found[mode], unigram) for mode in MODES]
    rows = zip((source for source, _ in texts), references, written, strict=True)
    example = _short(task)
    return Outcome(
        figures=(
            *by_mask,
            Figure("unigram loss (nats)", unigram, better="lower", note=_CLOZE_NOTE),
            Figure("target loss when written (nats)", found["writing"], better="lower"),
            Figure("pairs judged rightly", found["follows"], note="chance is .5"),
            Figure(
                f"test BLEU of {len(pairs)} captions",
                _bleu(written, references),
                note="no published figure for this corpus; see the notes",
            ),
            Figure(
                "test BLEU of the source left as it is", _bleu([s for s, _ in texts], references)
            ),
        ),
        tables=(
            Table(
                "Written from the source alone",
                ("source", "reference", "written"),
                tuple(rows)[:_EXAMPLES],
            ),
        ),
        masks=tuple(_mask_shown(task, example, mode) for mode in MODES),
        attention=tuple(_attention(task, model, example, mode) for mode in MODES),
        notes=_NOTES,
    )


def write(task: UniLMTask, model: Any, pairs: list[Pair], tell: Tell) -> list[str]:
    """Return what a model writes for each pair's source."""
    settings = task.settings
    found: list[str] = []
    writer = model.writer(MASK)
    for start in range(0, len(pairs), _AT_ONCE):
        # A source that leaves no room for a target of its own length is cut.
        longest = settings.context // 2 - 2
        part = pairs[start : start + _AT_ONCE]
        sources = [[CLS, *pair.source[:longest], SEP] for pair in part]
        width = max(len(source) for source in sources)
        made = generate(
            writer,
            sources,
            max_new_tokens=min(width + _LONGER, settings.context - width - 1),
            strategy="greedy" if settings.beams == 1 else "beam",
            beams=settings.beams,
            eos=SEP,
        )
        found += task.tokenizer.decode_batch([row.tolist() for row in made.tokens])
        tell("writing", len(found), len(pairs))
    return found


def _bleu(written: list[str], references: list[str]) -> float:
    try:
        import sacrebleu
    except ImportError as error:
        raise MissingExtra(what="BLEU", package="sacrebleu", extra="train") from error
    return float(sacrebleu.corpus_bleu(written, [references], lowercase=True).score)


def _cloze_figure(mode: Mode, loss: float, unigram: float) -> Figure:
    name = f"cloze loss, {mode.replace('_', ' ')} (nats)"
    return Figure(name, loss, target=unigram, better="lower", note=_CLOZE_NOTE)


def _short(task: UniLMTask) -> Pair:
    """Return the first held-out pair that a picture has room for, or else the shortest."""
    pairs = task.pairs["val"]
    fits = (p for p in pairs if 10 <= len(p.source) + len(p.target) + 3 <= _MOST_SHOWN)
    return next(fits, min(pairs, key=lambda p: len(p.source) + len(p.target)))


def _tokens(task: UniLMTask, pair: Pair) -> tuple[str, ...]:
    tokens = lay_out(pair, "seq2seq").tokens.tolist()
    return tuple(task.tokenizer.id_to_token(token).replace("▁", " ").strip() for token in tokens)


def _mask_shown(task: UniLMTask, pair: Pair, mode: Mode) -> MaskShown:
    labels = _tokens(task, pair)
    return MaskShown(_TITLES[mode], _mask(pair, mode), labels, labels)


def _mask(pair: Pair, mode: Mode) -> Mask:
    """Return a mode's mask over one sequence, in the fewest words."""
    words = {
        "bidirectional": bidirectional,
        "left_to_right": left_to_right,
        "right_to_left": right_to_left,
    }
    return words[mode]() if mode in words else sequence_to_sequence([len(pair.source) + 2])


def _attention(task: UniLMTask, model: Any, pair: Pair, mode: Mode) -> AttentionMap:
    """Return the last block's attention, the mean of its heads."""
    laid = lay_out(pair, mode)
    device = next(model.parameters()).device
    batch = Batch.from_sequences([torch.from_numpy(laid.tokens)])
    mask = _mask(pair, mode)
    weights = model.bert.attention(
        batch.tokens.to(device),
        segments=segment_ids(batch, mode, [laid.source]).to(device),
        mask=mask,
    )
    labels = _tokens(task, pair)
    title = f"last block, mean of heads, {mode.replace('_', ' ')}"
    return AttentionMap(title, weights[-1][0].mean(0).cpu().numpy(), labels, labels, mask)
