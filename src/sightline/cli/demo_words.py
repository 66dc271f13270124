"""What `sightline demo` says around its tables and pictures, for the terminal and the page.

Sentences that claim something are made from the measured records, and say so when it fails.
Code stands between backquotes.
"""

from __future__ import annotations

from sightline.recipes.demo.records import DemoReport
from sightline.recipes.demo.text import EOS, phrase

__all__ = [
    "HEADINGS",
    "INTRODUCTION",
    "RIGHT",
    "TITLE",
    "about_decoding",
    "about_drawn",
    "about_filling",
    "about_frame",
    "about_learning",
    "about_left",
    "about_masks",
    "about_mistakes",
    "about_pairs",
    "about_rounding",
    "about_self",
    "about_twins",
    "about_writing",
]

TITLE = "Sightline: who may look at whom"
INTRODUCTION = (
    "Attention lets every word of a sentence look at every other; a mask says who may look at "
    "whom. Here is what masks do to real sentences, first done right, then done wrongly. "
    "The weights are random at first, because what a mask does to the numbers does not depend on "
    "what they have learned; then a small model learns the sentences and writes. Every figure is "
    "measured now, on this machine."
)
RIGHT = "sl.attend(q, k, v, sl.causal() & sl.padding(lengths=lengths))"
HEADINGS = (
    "One batch, several lengths",
    "Four masks over one sentence",
    "In the batch or alone: the same answer",
    "Every prefix out of one pass",
    "A model that learns them, and writes",
    "The same, done wrongly",
)


def about_frame(report: DemoReport) -> str:
    """Say how large the frame is and how much of it is padding."""
    batch = report.batch
    places, tokens = len(batch.lengths) * batch.width, sum(batch.lengths)
    return (
        f"A batch is a rectangle: {len(batch.lengths)} x {batch.width} = {places} places for "
        f"{tokens} tokens (words, punctuation, and <eos> at the end). The other "
        f"{places - tokens} places hold padding, which is not language and must not be heard."
    )


def about_masks(report: DemoReport) -> str:
    """Say how to read the pictures of masks, and how much of the frame they show."""
    first, last, width = *report.drawn_places, report.batch.width
    part = f" Drawn are places {first + 1} to {last} of {width}." if last - first < width else ""
    return f"Each row is a word that looks, each column a word that is looked at.{part}"


def about_left(report: DemoReport) -> str:
    """Say what becomes of queries that may see nothing."""
    found = report.empty_rows
    clean = found.nan_outputs == found.nan_gradients == 0
    return (
        f"With padding on the left, {sum(found.empty_rows)} queries of this batch may see nothing "
        f"under both masks. Their largest output is {found.largest_output:g}; "
        + (
            "no output and no gradient is NaN."
            if clean
            else f"{found.nan_outputs} outputs and {found.nan_gradients} gradients are NaN."
        )
    )


def about_self(report: DemoReport) -> str:
    """Introduce the table of self-attention."""
    engine = dict(report.environment)["engine chosen by auto"]
    return (
        "Every sentence goes through multi-head self-attention twice: padded in the batch under "
        "the padding mask, and by itself without any. `auto` is the engine that Sightline "
        f"chooses, here {engine}; `reference` is its slow and obvious one. Largest difference at "
        "the sentence's own words (0 = equal to the last bit):"
    )


def about_rounding(report: DemoReport) -> str:
    """Explain the differences, as far as the figures bear it out."""
    exact = {a.way for a in report.self_agreements}
    exact -= {a.way for a in report.self_agreements if not a.identical}
    inexact = [w for w in dict.fromkeys(a.way for a in report.self_agreements) if w not in exact]
    if not inexact:
        return "All of them agree to the last bit."
    largest = [
        f"{max(a.max_difference for a in report.self_agreements if a.way == way):.0e} ({way})"
        for way in inexact
    ]
    return (
        "What is left is rounding, because a matrix product of another size adds up in another "
        f"order: {', '.join(largest)}."
        + (
            f" Where each token is computed by itself ({', '.join(sorted(exact))}), padded and "
            "alone agree to the last bit."
            if exact
            else ""
        )
    )


def about_filling(report: DemoReport) -> str:
    """Say what other content of the padding does: the proof that nothing leaks."""
    names = [found.way.split("filled with ")[-1] for found in report.filled_agreements]
    moved = [found for found in report.filled_agreements if not found.identical]
    if moved:
        worst = max(found.max_difference for found in moved)
        return f"But what stands in the padding moves real words by up to {worst:.1e}: a leak."
    return (
        "And it is no leak: with the sizes kept and the padding filled with "
        f"{', '.join(names[:-1])} or {names[-1]}, not one bit of a real word changes."
    )


def about_pairs(report: DemoReport) -> str:
    """Introduce the three attentions."""
    pair, several = report.pairs[report.example_pair], len(report.pairs) > 1
    source, target = report.batch.texts[pair.source], report.batch.texts[pair.target]
    return (
        "An encoder-decoder step, as in translation, has three attentions, each with its own "
        f'mask. From "{source}" to "{target}"'
        + (f" and the like; the worst of {len(report.pairs)} pairs:" if several else ":")
    )


def about_decoding(report: DemoReport) -> str:
    """Say what one pass answers, and by how much it is off."""
    found = report.decoding
    return (
        f"Row by row one word more is seen, so one pass answers every prefix at once: "
        f"{found.prefixes} in this batch. That is what training uses and generation must repeat. "
        f"Against a pass for each prefix alone the largest difference is "
        f"{difference_words(found.max_difference_alone)}, against one new query a step "
        f"(`q_offset=t`) {difference_words(found.max_difference_decode)}; "
        + (
            "every guess is the same word (a guess of random weights means nothing by itself)."
            if found.different_guesses == 0
            else f"{found.different_guesses} guesses differ."
        )
    )


def difference_words(value: float) -> str:
    """Return a difference inside a sentence."""
    return "0" if value == 0 else f"{value:.0e}"


def about_twins(report: DemoReport) -> str | None:
    """Say what tells two places of one word apart; None where no word occurs twice."""
    found = report.twins
    if found is None:
        return None
    return (
        f'And order? "{found.word}" stands twice in "{report.batch.texts[found.sentence]}": '
        f"without positions and mask its two outputs differ by {difference_words(found.plain)}, "
        f"since attention sees a set of words; a causal mask alone moves them apart by "
        f"{found.with_causal_mask:.2f}, positions alone by {found.with_positions:.2f}."
    )


def about_learning(report: DemoReport) -> str:
    """Say what was trained, on what, and how far it came."""
    found, sentences = report.learning, len(report.batch.lengths)
    first = f"the first {found.sentences} of " if found.sentences < sentences else ""
    floor = (
        f" No model that sees the past only can be below {found.lowest_loss:.2f}, because "
        "sentences begin alike."
        if found.lowest_loss > 0
        else ""
    )
    return (
        f"Now weights are trained: a GPT of {found.parameters:,} parameters learns {first}these "
        "sentences, padded into one batch, under `sl.causal() & sl.padding(lengths=lengths)`. "
        f"{found.steps} steps ({found.training_seconds:.1f} s) bring the loss from "
        f"{found.losses[0]:.2f} to {found.losses[-1]:.2f} nats a token.{floor} From the start of "
        "each sentence it then goes on by itself, all of them in one batch, word after word "
        "against a cache of keys and values (`sl.nn.generate`):"
    )


def about_drawn(report: DemoReport) -> str:
    """Give the texts that were drawn at random."""
    drawn = list(dict.fromkeys(phrase(_without_end(text.words)) for text in report.learning.drawn))
    return "Drawn at random from nothing but <bos>: " + " / ".join(drawn)


def about_writing(report: DemoReport) -> str:
    """Say whether what was written is what one pass says, and how quickly it was written."""
    found = report.learning
    same = (
        "the same numbers to the last bit"
        if found.max_difference_cache == 0
        else f"numbers that differ by at most {difference_words(found.max_difference_cache)}"
    )
    batch = (
        "every text is the same when it is written alone"
        if found.different_in_batch == 0
        else f"{found.different_in_batch} texts are not the same when written alone"
    )
    times = found.cached_per_second / found.anew_per_second
    return (
        f"One full pass over each text gives {same}, and {batch}. After {found.timed_past} words "
        f"in each of {len(found.texts)} rows there are {found.cached_per_second:,.0f} next words "
        f"a second with the cache, and {found.anew_per_second:,.0f} with everything computed anew: "
        f"{times:.0f} times as many."
    )


def _without_end(words: tuple[str, ...]) -> tuple[str, ...]:
    return words[:-1] if words and words[-1] == EOS else words


def about_mistakes(report: DemoReport) -> str:
    """Introduce the mistakes."""
    return (
        f"The {len(report.mistakes)} mistakes below are common; none of them stops a program. "
        "Same sentences, the random weights from before; only the mask is used wrongly. Where "
        f"nothing else is said, the right way is `{RIGHT}`."
    )
