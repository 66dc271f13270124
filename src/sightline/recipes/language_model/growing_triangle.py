"""The growing triangle of autoregressive attention: step t sees words 1 to t, and no more.

A model of one block learns one sentence by heart, so that what it sees can be shown beside what
it says. Drawing is report.py's matter.
"""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from sightline.masks.positional import causal
from sightline.models.gpt import GPT, GPTConfig
from sightline.nn.generation.generate import generate
from sightline.recipes.training.outcome import AttentionMap, Figure, MaskShown, Table
from sightline.recipes.training.seeds import seed_for

__all__ = ["SENTENCE", "GrowingTriangle"]

SENTENCE = ("I", "have", "a", "dream", "<eos>")
_STEPS, _RATE = 60, 1e-2


class GrowingTriangle:
    """A small GPT that knows "I have a dream <eos>", word by word.

    Args:
        seed: of its first weights.
        engine: which engine computes its attention.

    >>> triangle = GrowingTriangle(seed=0)
    >>> triangle.says("I")
    ('have', 'a', 'dream', '<eos>')
    >>> (triangle.weights > 0).int()
    tensor([[1, 0, 0, 0, 0],
            [1, 1, 0, 0, 0],
            [1, 1, 1, 0, 0],
            [1, 1, 1, 1, 0],
            [1, 1, 1, 1, 1]], dtype=torch.int32)
    """

    def __init__(self, seed: int, engine: str = "auto") -> None:
        size = len(SENTENCE)
        config = GPTConfig(vocab=size, layers=1, heads=2, width=16, context=size, engine=engine)
        tokens = torch.arange(size)[None]
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(seed_for(seed, "growing triangle"))
            self.model = GPT(config)
            optimizer = torch.optim.Adam(self.model.parameters(), lr=_RATE)
            for _ in range(_STEPS):
                loss = cross_entropy(self.model(tokens[:, :-1])[0], tokens[0, 1:])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        self.model.eval()
        with torch.no_grad():
            (weights,) = self.model.attention_weights(tokens)
        self.weights = weights[0].mean(0)

    def says(self, *words: str) -> tuple[str, ...]:
        """Return how the model goes on after these words, through the cache, up to <eos>."""
        prompt = [SENTENCE.index(word) for word in words]
        end = len(SENTENCE) - 1
        found = generate(self.model, [prompt], max_new_tokens=len(SENTENCE) - len(prompt), eos=end)
        return tuple(SENTENCE[token] for token in found.tokens[0].tolist())

    def figures(self) -> list[Figure]:
        """Return the greatest weight above the diagonal."""
        name = f"greatest weight on a later word of {' '.join(SENTENCE)!r}"
        later = float(self.weights.triu(1).abs().max())
        return [Figure(name, later, target=0.0, better="lower", note="an exact zero")]

    def table(self) -> Table:
        """Return what each step sees, and what it says next."""
        rows = [
            (str(step), " ".join(SENTENCE[:step]), self.says(*SENTENCE[:step])[0])
            for step in range(1, len(SENTENCE))
        ]
        return Table("The growing triangle", ("step", "sees", "says"), tuple(rows))

    def mask(self) -> MaskShown:
        """Return who may see whom."""
        return MaskShown("step t sees words 1 to t", causal(), SENTENCE, SENTENCE)

    def attention(self) -> AttentionMap:
        """Return who looks at whom, the mean of the heads."""
        title = "a model that knows the sentence by heart"
        return AttentionMap(title, self.weights.numpy(), SENTENCE, SENTENCE, mask=causal())
