"""Pre-training BERT as a task: batches of packed instances, the two losses, what is measured.

The instances come from data.py, the texts from held_out.py and overfit.py, what is shown at the end
from outcome.py.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sightline.models.bert import BERTConfig
from sightline.models.bert_heads import BERTForPreTraining, pretraining_losses
from sightline.recipes.bert.batches import call, moved, pack
from sightline.recipes.bert.data import Instance, Making, make_instances
from sightline.recipes.bert.outcome import attention_figures, examples, pictures
from sightline.recipes.training.outcome import Figure, Outcome
from sightline.recipes.training.recipe import Settings, Task, Tell
from sightline.recipes.training.seeds import generator, seed_for
from sightline.recipes.wordpiece import CLS, MASK, SEP, train_wordpiece
from sightline.views.files import write_atomically

__all__ = ["BertSettings", "PreTraining", "Texts", "evaluate"]

# Documents as text: each a list of its sentences.
Texts = Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class BertSettings(Settings):
    """What can be chosen in pre-training.

    Attributes:
        vocab: the size of the vocabulary that is learned from the training text.
        layers: blocks of the encoder.
        heads: heads of a block.
        width: features of a token.
        hidden: features inside the feed-forward parts.
        dropout: the rate of dropout.
        max_length: tokens of an instance at most.
        max_predictions: masked tokens of an instance at most.
        masked_share: the share of tokens that are masked.
        duplicates: how often the text is cut and masked anew.
        short_share: the share of documents that are cut to a length drawn at random.
        batch: instances of a batch; they are packed, so there is no padding.
        rate: the highest learning rate.
        warmup: updates over which the rate rises from 0; then it falls to 0 in a line.
        decay: weight decay, of all weights but biases and norms.
    """

    vocab: int = 4000
    layers: int = 4
    heads: int = 4
    width: int = 128
    hidden: int = 512
    dropout: float = 0.1
    max_length: int = 128
    max_predictions: int = 20
    masked_share: float = 0.15
    duplicates: int = 10
    short_share: float = 0.1
    batch: int = 32
    rate: float = 1e-3
    warmup: int = 100
    decay: float = 0.01


class PreTraining(Task):
    """Masked tokens and next sentences, learned from documents.

    Args:
        settings: sizes.
        texts: documents to learn from ("train"), to choose the weights by ("dev"), and to report
            on ("test").
        seed: what all draws come from.

    Attributes:
        tokenizer: WordPiece, trained on the training text.
        documents: the texts as token numbers.
        instances: of each part, pairs with masked tokens. Those of "dev" and "test" are made
            with one pass over their documents.
    """

    metric = "mlm_loss"
    notes: tuple[str, ...] = ()

    def __init__(self, settings: BertSettings, texts: Mapping[str, Texts], seed: int) -> None:
        self.settings, self.seed = settings, seed
        every_sentence = (sentence for document in texts["train"] for sentence in document)
        self.tokenizer = train_wordpiece(every_sentence, settings.vocab)
        self.documents = {part: self._numbers(each) for part, each in texts.items()}
        self.instances = {part: self._make(part) for part in texts}
        torch.manual_seed(seed_for(seed, "weights"))
        self.model = BERTForPreTraining(
            BERTConfig(
                vocab=self.tokenizer.get_vocab_size(),
                layers=settings.layers,
                heads=settings.heads,
                width=settings.width,
                hidden=settings.hidden,
                context=settings.max_length,
                dropout=settings.dropout,
                engine=settings.engine,
            )
        )

    def _numbers(self, texts: Texts) -> list[list[list[int]]]:
        """Return documents of sentences of token numbers."""
        # What looks like a special token in a text is text.
        self.tokenizer.encode_special_tokens = True
        made: list[list[list[int]]] = []
        for document in texts:
            encoded = self.tokenizer.encode_batch(list(document), add_special_tokens=False)
            made.append([each.ids for each in encoded])
        return made

    def _make(self, part: str) -> list[Instance]:
        settings, number = self.settings, self.tokenizer.token_to_id
        making = Making(
            vocab=self.tokenizer.get_vocab_size(),
            cls=number(CLS),
            sep=number(SEP),
            mask=number(MASK),
            max_length=settings.max_length,
            max_predictions=settings.max_predictions,
            masked_share=settings.masked_share,
            duplicates=settings.duplicates if part == "train" else 1,
            short_share=settings.short_share,
        )
        return make_instances(self.documents[part], making, seed_for(self.seed, part))

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, which the library tokenizers reads."""
        write_atomically(folder / "tokenizer.json", self.tokenizer.to_str(pretty=True))

    def optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW; biases and norms do not decay, as published."""
        named = list(self.model.named_parameters())
        plain = [weight for name, weight in named if name.endswith("bias") or "norm" in name]
        kept = {id(weight) for weight in plain}
        decaying = [weight for _, weight in named if id(weight) not in kept]
        groups = [
            {"params": decaying, "weight_decay": self.settings.decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.settings.rate, eps=1e-6)

    def rate(self, step: int) -> float:
        """Return a rate that rises in a line, then falls in a line to 0."""
        settings = self.settings
        if step <= settings.warmup:
            return settings.rate * step / settings.warmup
        left = settings.steps + 1 - step
        return settings.rate * left / max(1, settings.steps + 1 - settings.warmup)

    def batch(self, number: int) -> dict[str, Any]:
        """Return batch ``number``: each epoch goes through all instances in an order of its own."""
        instances, size = self.instances["train"], self.settings.batch
        per_epoch = max(1, len(instances) // size)
        epoch, place = divmod(number, per_epoch)
        order = generator(self.seed, "epoch", epoch).permutation(len(instances))
        return pack([instances[index] for index in order[place * size : (place + 1) * size]])

    def loss(self, model: Any, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the sum of the two losses, and both."""
        mlm, nsp = pretraining_losses(call(model, batch), batch["masked"], batch["is_random"])
        return mlm + nsp, {"mlm": float(mlm.detach()), "nsp": float(nsp.detach())}

    def evaluate(self, model: Any, tell: Tell) -> dict[str, float]:
        """Return losses and accuracies on "dev"."""
        return evaluate(model, self.instances["dev"], self.settings.batch, tell)

    def finish(self, model: Any, tell: Tell) -> Outcome:
        """Return the figures on "test", examples, the mask and attention."""
        test = self.instances["test"]
        measured = evaluate(model, test, self.settings.batch, tell)
        masks, attention = pictures(self, model, test)
        return Outcome(
            figures=(*self.figures(measured), *attention_figures(self, model, test)),
            tables=examples(self, model, test),
            masks=masks,
            attention=attention,
            notes=self.notes,
            extra={"measured": measured, "instances": len(self.instances["train"])},
        )

    @abstractmethod
    def figures(self, measured: dict[str, float]) -> tuple[Figure, ...]:
        """Return the recipe's own figures, from what ``evaluate`` measured on "test"."""


def evaluate(model: Any, instances: Sequence[Instance], size: int, tell: Tell) -> dict[str, float]:
    """Return means over all masked tokens and over all instances.

    Args:
        model: a BERTForPreTraining in eval mode.
        instances: what to tell.
        size: instances of a batch.
        tell: is told how far it is.

    Returns:
        ``mlm_loss``, ``nsp_loss`` in nats; ``mlm_accuracy``, ``nsp_accuracy`` 0 to 1.
    """
    device = next(model.parameters()).device
    sums: defaultdict[str, float] = defaultdict(float)
    tokens = 0
    for start in range(0, len(instances), size):
        tell("evaluating", start, len(instances))
        batch = moved(pack(instances[start : start + size]), device)
        logits = call(model, batch)
        answers = (batch["masked"], batch["is_random"])
        losses = pretraining_losses(logits, *answers)
        tokens += len(batch["masked"])
        for name, loss, told, right in zip(("mlm", "nsp"), losses, logits, answers, strict=True):
            sums[f"{name}_loss"] += float(loss) * len(right)
            sums[f"{name}_accuracy"] += int((told.argmax(-1) == right).sum())
    tell("evaluating", len(instances), len(instances))
    counts = {"mlm": tokens, "nsp": len(instances)}
    return {name: value / counts[name[:3]] for name, value in sums.items()}
