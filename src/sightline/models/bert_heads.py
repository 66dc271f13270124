"""What BERT is pre-trained with: a head for masked tokens, one for the next sentence, the losses.

The encoder is in bert.py; what is masked and which pairs are made is recipes/bert/data.py's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.models.bert import BERT, BERTConfig, draw
from sightline.nn.linear import linear
from sightline.nn.silent import activate, layer_norm

__all__ = ["BERTForPreTraining", "MLMHead", "NSPHead", "PreTrainingLogits", "pretraining_losses"]


class MLMHead(nn.Module):
    """Logits of the token at a place: a layer, erf-GELU, a norm, and the tokens' own embedding.

    Args:
        config: the sizes.
        embedding: the token embedding, whose weight the last layer shares.

    Source: Devlin et al. 2019, section 3.1, task 1, and their published code.
    """

    def __init__(self, config: BERTConfig, embedding: nn.Embedding) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, config.epsilon)
        self.decoder = nn.Linear(config.width, config.vocab)
        self.apply(draw)
        self.decoder.weight = embedding.weight

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits [..., vocab] of vectors [..., width]."""
        x = activate(linear(hidden, self.dense.weight, self.dense.bias), functional.gelu)
        return linear(layer_norm(x, self.norm), self.decoder.weight, self.decoder.bias)


class NSPHead(nn.Module):
    """Logits of the two answers: 0, the second segment follows the first; 1, it is from elsewhere.

    Args:
        config: the sizes.

    Source: Devlin et al. 2019, section 3.1, task 2.
    """

    def __init__(self, config: BERTConfig) -> None:
        super().__init__()
        self.classifier = nn.Linear(config.width, 2)
        self.apply(draw)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return logits [..., 2] of pooled vectors [..., width]."""
        return linear(pooled, self.classifier.weight, self.classifier.bias)


class PreTrainingLogits(NamedTuple):
    """What BERTForPreTraining says.

    Attributes:
        mlm: [batch, length, vocab], or [n, vocab] of the places that were asked for.
        nsp: [sequences, 2].
    """

    mlm: torch.Tensor
    nsp: torch.Tensor


class BERTForPreTraining(nn.Module):
    """BERT with the two heads that it is pre-trained with.

    Args:
        config: the sizes.

    Source: Devlin et al. 2019, section 3.1.

    >>> import torch
    >>> from sightline.models.bert import BERTConfig
    >>> from sightline.models.bert_heads import BERTForPreTraining
    >>> model = BERTForPreTraining(BERTConfig(vocab=11, layers=2, heads=4, width=32, context=16))
    >>> logits = model(torch.tensor([[1, 2, 3], [4, 5, 6]]), places=torch.tensor([1, 5]))
    >>> logits.mlm.shape, logits.nsp.shape
    (torch.Size([2, 11]), torch.Size([2, 2]))
    """

    def __init__(self, config: BERTConfig) -> None:
        super().__init__()
        if not config.pooler:
            raise InvalidArgument(
                "got a configuration without a pooler; wanted one, the next sentence is told from "
                "what it gives; make it with BERTConfig(pooler=True)."
            )
        self.bert = BERT(config)
        self.mlm = MLMHead(config, self.bert.token_embedding)
        self.nsp = NSPHead(config)

    @property
    def config(self) -> BERTConfig:
        """The sizes."""
        return self.bert.config

    @property
    def mask(self) -> Mask:
        """Who may see whom, where a call says nothing else."""
        return self.bert.mask

    def forward(
        self,
        tokens: torch.Tensor,
        *,
        segments: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        mask: Mask | None = None,
        places: torch.Tensor | None = None,
        first: torch.Tensor | None = None,
    ) -> PreTrainingLogits:
        """Return the logits of tokens and of the next sentence.

        Args:
            tokens: [batch, length] int64, some of them masked.
            segments: as for ``BERT``.
            positions: as for ``BERT``.
            mask: as for ``BERT``.
            places: [n] int64, where logits of tokens are wanted, as row * length + column; None
                for everywhere. Elsewhere they are not computed.
            first: [sequences] int64, where each sequence begins, likewise; None for column 0 of
                each row.
        """
        hidden = self.bert(tokens, segments=segments, positions=positions, mask=mask)
        asked = hidden if places is None else hidden.flatten(0, 1).index_select(0, places)
        return PreTrainingLogits(self.mlm(asked), self.nsp(self.bert.pooled(hidden, first)))

    @classmethod
    def from_transformers(cls, model: Any) -> BERTForPreTraining:
        """Return one with the weights (copied) of a ``transformers`` BertForPreTraining.

        Raises:
            InvalidArgument: an option of its configuration that this model lacks.
        """
        from sightline.models.bert_weights import load_pretraining, read_config

        made = cls(BERTConfig(**read_config(model.bert))).to(model.dtype)
        load_pretraining(made, model.state_dict())
        return made.to(model.device).train(model.training)

    def transformers_state(self) -> dict[str, torch.Tensor]:
        """Return copies of the weights, named and shaped as BertForPreTraining loads them."""
        from sightline.models.bert_weights import pretraining_state

        return pretraining_state(self)


def pretraining_losses(
    logits: PreTrainingLogits, masked: torch.Tensor, is_random: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the two losses whose sum BERT lowers, in nats: of tokens, and of the next sentence.

    Args:
        logits: ``mlm`` [n, vocab] at the masked places, ``nsp`` [sequences, 2].
        masked: [n] int64, the tokens that stood there.
        is_random: [sequences] int64, 1 where the second segment is from elsewhere.

    Raises:
        ShapeMismatch: not as many logits as answers.

    Source: Devlin et al. 2019, section 3.1 and appendix A.2.
    """
    refuse_shared(
        "pretraining_losses",
        reason="a mean over this rank's tokens is not that of all",
        alternative="sl.distributed.cross_entropy",
    )
    for name, got, wanted in (("mlm", logits.mlm, masked), ("nsp", logits.nsp, is_random)):
        if got.shape[:-1] != wanted.shape:
            raise ShapeMismatch(
                f"got {name} logits {list(got.shape)} for answers {list(wanted.shape)}; wanted one "
                "row of logits for each answer; ask the model for the masked places= only."
            )
    return (
        functional.cross_entropy(logits.mlm, masked),
        functional.cross_entropy(logits.nsp, is_random),
    )
