"""What a trained tagger brings home: figures beside the baseline's, examples, masks, attention.

Records only; how they are drawn is left to training/report.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sightline.masks.data import documents
from sightline.models.tagger_words import Words
from sightline.readers.conllu import TAGS, Sentence
from sightline.recipes.tagger.baseline import MostFrequentTag
from sightline.recipes.tagger.settings import TaggerSettings
from sightline.recipes.tagger.tagging import probabilities
from sightline.recipes.tagger.treebank import Treebank
from sightline.recipes.training.outcome import AttentionMap, Figure, MaskShown, Outcome, Table
from sightline.recipes.training.recipe import Tell

__all__ = ["PROBE", "PROBES", "outcome"]

# Sentences of ours whose words say little without their places, and the tags they are meant to get.
PROBE = ("I saw a saw", "PRON VERB DET NOUN")
PROBES = (
    PROBE,
    ("We saw the new saw .", "PRON VERB DET ADJ NOUN PUNCT"),
    ("They can can the can .", "PRON AUX VERB DET NOUN PUNCT"),
    ("Time flies like an arrow .", "NOUN VERB ADP DET NOUN PUNCT"),
    ("Fruit flies like a banana .", "NOUN NOUN VERB DET NOUN PUNCT"),
    ("The gnorps were blicking a vorpy dax .", "DET NOUN AUX VERB DET ADJ NOUN PUNCT"),
)
_PUBLISHED = 0.9694
_SOURCE = "spaCy, en_udv25_englishewt_trf: pre-trained, UD 2.5, its own word boundaries"
_MOST_CONFUSIONS, _MOST_EXAMPLES = 12, 8


def outcome(
    model: Any, words: Words, bank: Treebank, settings: TaggerSettings, tell: Tell
) -> Outcome:
    """Return all of it; ``model`` is in eval mode."""
    baseline = MostFrequentTag(bank.train)
    found = probabilities(model, words, [each.words for each in bank.test], tell)
    tagged = [[TAGS[best] for best in each.argmax(1)] for each in found]
    probes = [text.split() for text, _ in PROBES]
    probed = probabilities(model, words, probes)
    figures = _figures(bank.test, tagged, baseline, settings)
    right = [TAGS[best] for best in probed[0].argmax(1)] == PROBE[1].split()
    transformer = settings.encoder == "transformer"
    return Outcome(
        figures=(
            *figures,
            Figure(
                f"{PROBE[0]!r} right (1) or not (0)",
                float(right),
                target=1.0 if settings.target else None,
            ),
            Figure(
                "largest difference between the vectors of the two 'saw'",
                _apart(model, words),
                note="0 without positions, whatever was learned: equal words see equal sentences",
            ),
        ),
        tables=(
            _probe_table(probed, baseline),
            _tag_table(bank.test, tagged),
            _confusion_table(bank.test, tagged),
            _example_table(bank.test, tagged, baseline),
        ),
        masks=_masks(model) if transformer else (),
        attention=_attention(model, words) if transformer else (),
        notes=(
            "The tagger gets the treebank's own words; the published one finds them itself, and "
            "began with a Transformer that had read far more text.",
            "The baseline gives each word, without regard to case, its most frequent tag of "
            "training; an unknown word PROPN if it begins with a capital, else NOUN.",
        ),
        extra={
            "probes": [
                {
                    "words": text,
                    "tags": [TAGS[best] for best in each.argmax(1)],
                    "meant": tags.split(),
                }
                for text, each, (_, tags) in zip(probes, probed, PROBES, strict=True)
            ]
        },
    )


def _figures(
    gold: Sequence[Sentence],
    tagged: Sequence[Sequence[str]],
    baseline: MostFrequentTag,
    settings: TaggerSettings,
) -> list[Figure]:
    """Return accuracies: of all words, of ambiguous and of unknown ones; the baseline's too."""
    words = [word for each in gold for word in each.words]
    wanted = np.array([tag for each in gold for tag in each.tags])
    ours = np.array([tag for each in tagged for tag in each]) == wanted
    theirs = np.array([tag for each in gold for tag in baseline.tag(each.words)]) == wanted
    groups = {
        "": np.ones(len(words), bool),
        " on words that had several tags in training": np.array([*map(baseline.ambiguous, words)]),
        " on words that training did not have": ~np.array([*map(baseline.seen, words)]),
    }
    figures: list[Figure] = []
    for name, group in groups.items():
        if not group.any():
            continue
        share = f"{group.mean():.1%} of the words"
        held: dict[str, Any] = {}
        if settings.target and not name:  # a sample of our own has no published figure
            held = {"target": settings.target, "published": _PUBLISHED, "source": _SOURCE}
        figures.append(
            Figure(f"test accuracy{name}", float(ours[group].mean()), note=share, **held)
        )
        beside = f"most-frequent-tag accuracy{name}"
        figures.append(Figure(beside, float(theirs[group].mean()), note=share))
    return figures


def _apart(model: Any, words: Words) -> float:
    """Return how far the vectors of the two equal words of the probe are apart."""
    with torch.no_grad():
        vectors = model.encode(_one(model, words, PROBE[0].split()))[0]
    return float((vectors[1] - vectors[3]).abs().max())


def _one(model: Any, words: Words, sentence: Sequence[str]) -> torch.Tensor:
    device = next(model.parameters()).device
    return torch.from_numpy(words.rows(sentence))[None].to(device)


def _probe_table(probed: Sequence[np.ndarray], baseline: MostFrequentTag) -> Table:
    rows: list[tuple[str, ...]] = []
    for (text, meant), found in zip(PROBES, probed, strict=True):
        tags = " ".join(f"{TAGS[int(row.argmax())]} {row.max():.2f}" for row in found)
        rows.append((text, meant, tags, " ".join(baseline.tag(text.split()))))
    header = ("sentence", "meant", "tagger, with its probability", "most frequent tag")
    return Table("Words that say little without their places", header, tuple(rows))


def _tag_table(gold: Sequence[Sentence], tagged: Sequence[Sequence[str]]) -> Table:
    wanted = [tag for each in gold for tag in each.tags]
    given = [tag for each in tagged for tag in each]
    hits = Counter(a for a, b in zip(wanted, given, strict=True) if a == b)
    of_wanted, of_given = Counter(wanted), Counter(given)
    rows = tuple(
        (
            tag,
            str(of_wanted[tag]),
            _share(hits[tag], of_given[tag]),
            _share(hits[tag], of_wanted[tag]),
        )
        for tag in sorted(of_wanted, key=lambda tag: -of_wanted[tag])
    )
    return Table("Tag by tag, test part", ("tag", "words", "precision", "recall"), rows)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "-"


def _confusion_table(gold: Sequence[Sentence], tagged: Sequence[Sequence[str]]) -> Table:
    """Return which tags are taken for which, most frequent first, with the words it happens to."""
    counts: Counter[tuple[str, str]] = Counter()
    words: dict[tuple[str, str], Counter[str]] = {}
    for sentence, tags in zip(gold, tagged, strict=True):
        for word, wanted, given in zip(sentence.words, sentence.tags, tags, strict=True):
            if wanted != given:
                counts[wanted, given] += 1
                words.setdefault((wanted, given), Counter())[word.lower()] += 1
    rows = tuple(
        (*pair, str(count), ", ".join(word for word, _ in words[pair].most_common(4)))
        for pair, count in counts.most_common(_MOST_CONFUSIONS)
    )
    return Table("Mistakes, test part", ("tag", "taken for", "words", "such as"), rows)


def _example_table(
    gold: Sequence[Sentence], tagged: Sequence[Sequence[str]], baseline: MostFrequentTag
) -> Table:
    """Return the first short sentences of the test part on which tagger and baseline differ."""
    rows: list[tuple[str, ...]] = []
    for sentence, tags in zip(gold, tagged, strict=True):
        plain = baseline.tag(sentence.words)
        if 4 <= len(sentence.words) <= 12 and plain != list(tags):
            marked = (_marked(each, sentence.tags) for each in (tags, plain))
            rows.append((" ".join(sentence.words), *marked))
        if len(rows) == _MOST_EXAMPLES:
            break
    header = ("sentence", "tagger", "most frequent tag")
    return Table("Sentences of the test part; a wrong tag has a star", header, tuple(rows))


def _marked(tags: Sequence[str], wanted: Sequence[str]) -> str:
    return " ".join(a if a == b else f"{a}*" for a, b in zip(tags, wanted, strict=True))


def _masks(model: Any) -> tuple[MaskShown, ...]:
    first, second = (tuple(PROBES[n][0].split()) for n in (0, 2))
    packed = model.mask & documents(lengths=[len(first), len(second)])
    return (
        MaskShown("A sentence: who may see whom", model.mask, first, first),
        MaskShown("Two sentences end to end in a row", packed, first + second, first + second),
    )


def _attention(model: Any, words: Words) -> tuple[AttentionMap, ...]:
    """Return each head's weights on the probe, layer by layer."""
    tokens = tuple(PROBE[0].split())
    with torch.no_grad():
        layers = model.attention(_one(model, words, tokens))
    return tuple(
        AttentionMap(
            f"layer {layer}, head {head}", weights.cpu().numpy(), tokens, tokens, model.mask
        )
        for layer, heads in enumerate(layers, 1)
        for head, weights in enumerate(heads[0], 1)
    )
