"""What each mask says, in a line, in English and Chinese: the words of the algebra pages' table.

The definitions are the docstrings of the constructors, which docs/masks.md shows in full.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["COLUMNS", "COMPOSED", "SAYS", "Composed", "Words"]


class Words(NamedTuple):
    """A text in both languages."""

    en: str
    zh: str


class Composed(NamedTuple):
    """A mask put together from others.

    Attributes:
        use: what it is for.
        expression: at 4,096 tokens, where its cost is counted.
        small: the same idea at a size that can be drawn, and that size.
    """

    use: Words
    expression: str
    small: str
    size: int


SAYS = {
    "everything": Words("everybody sees everybody", "谁都看得见谁"),
    "nothing": Words("nobody sees anything", "谁都什么也看不见"),
    "causal": Words("itself and what came before", "自己和之前的位置"),
    "window": Words("keys within a distance, inclusive", "一定距离之内的键，含端点"),
    "prefix": Words("the first keys", "最前面的几个键"),
    "sinks": Words("the first keys, kept as sinks", "最前面的几个键，留作汇点"),
    "keys": Words("these keys, whoever asks", "指定的键，对所有查询都可见"),
    "queries": Words("all keys, for these queries", "指定的查询，看得见所有键"),
    "chunks": Words("one's own chunk", "自己所在的块"),
    "block_causal": Words("one's own chunk and earlier ones", "自己所在的块和之前的块"),
    "dilated": Words("every n-th key, counted from oneself", "从自己数起，每隔 n 个键"),
    "strided": Words("the last keys, and every n-th", "最近的键，以及每隔 n 个键"),
    "fixed": Words("one's chunk, and summaries of all chunks", "自己的块，以及各块末尾的摘要"),
    "log_sparse": Words("distances 1, 2, 4, 8, ...", "距离为 1、2、4、8…… 的键"),
    "log_sparse_row_mask": Words("what copied code calls LogSparse", "流传代码里的 LogSparse"),
    "random_blocks": Words("blocks drawn at random", "随机抽取的块"),
    "block_diffusion": Words("noised blocks, then clean ones", "先是加噪的块，再是干净的块"),
    "shifted_window": Words("windows of an image, shifted", "图像上的移位窗口"),
    "neighborhood": Words("the neighbours on a grid", "网格上的邻居"),
    "axial": Words("one's row or column of a grid", "网格上的同一行或同一列"),
    "padding": Words("real tokens, not padding", "真实词元，而非填充"),
    "documents": Words("one's own document", "自己所在的文档"),
    "spans": Words("one's own span; -1 is in none", "自己所在的片段；-1 不属于任何片段"),
    "prefix_lm": Words("the prompt whole, the rest causal", "提示全部可见，其余为因果"),
    "seq2seq": Words("the source whole, the target causal", "源句全部可见，目标句为因果"),
    "permutation": Words("whose turn was before, in any order", "按任意顺序，轮次在前的位置"),
    "tree": Words("one's ancestors in a tree", "树上的祖先"),
    "per_batch": Words("another mask for each batch row", "批次的每一行各有一个掩码"),
    "per_head": Words("another mask for each head", "每个头各有一个掩码"),
    "dense": Words("as an array says", "按数组所写"),
    "intervals": Words("for each query, from here to there", "每个查询，从哪里到哪里"),
    "predicate": Words("as a Python function says", "按一个 Python 函数所说"),
}

COMPOSED = {
    "packed": Composed(
        Words(
            "Packed language model, with a window and sinks",
            "打包的语言模型，带窗口和汇点",
        ),
        "causal() & documents(lengths=[1500, 2596]) & (window(left=511) | keys([0, 1500]))",
        "causal() & documents(lengths=[5, 9]) & (window(left=3) | keys([0, 5]))",
        14,
    ),
    "streaming": Composed(
        Words("Streaming decoder: a window and sinks", "流式解码：窗口加汇点"),
        "causal() & (window(left=511) | sinks(4))",
        "causal() & (window(left=3) | sinks(2))",
        14,
    ),
    "prompt": Composed(
        Words("Prefix LM", "前缀语言模型（prefix LM）"),
        "prefix_lm(1024)",
        "prefix_lm(4)",
        10,
    ),
    "longformer": Composed(
        Words("Longformer: a window and global tokens", "Longformer：窗口加全局词元"),
        "window(left=256, right=256) | keys(range(64)) | queries(range(64))",
        "window(left=2, right=2) | keys([0]) | queries([0])",
        14,
    ),
    "image": Composed(
        Words("Text with an image seen both ways", "文本中夹一幅双向可见的图像"),
        "causal() | (keys(range(1000, 1576)) & queries(range(1000, 1576)))",
        "causal() | (keys(range(3, 8)) & queries(range(3, 8)))",
        12,
    ),
    "xlnet_content": Composed(
        Words("XLNet, content stream", "XLNet 的内容流"),
        "permutation(order)",
        "permutation([2, 0, 5, 3, 1, 4])",
        6,
    ),
    "xlnet_query": Composed(
        Words("XLNet, query stream: not oneself", "XLNet 的查询流：看不见自己"),
        "permutation(order, stream='query')",
        "permutation([2, 0, 5, 3, 1, 4], stream='query')",
        6,
    ),
    "unilm": Composed(
        Words("UniLM, source to target", "UniLM，源句到目标句"),
        "seq2seq(1024) & padding(lengths=[3584])",
        "seq2seq(4) & padding(lengths=[9])",
        10,
    ),
    "swin": Composed(
        Words("Swin, shifted windows", "Swin 的移位窗口"),
        "shifted_window((64, 64), window=8, shift=4)",
        "shifted_window((4, 4), window=2, shift=1)",
        16,
    ),
}

COLUMNS = {
    "masks": Words("| mask | a query sees |", "| 掩码 | 查询看得见什么 |"),
    "composed": Words(
        "| what for, and the expression | density | computed |",
        "| 用途与表达式 | 密度 | 需计算 |",
    ),
}
