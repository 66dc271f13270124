"""The words of docs/conventions.md and docs/conventions.zh.md; what stands in their tables is made.

What the code itself says in English has its Chinese in SAID: a text that is not there stops the
program that makes the pages, by name.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CHINESE", "ENGLISH", "Language", "Section"]


@dataclass(frozen=True)
class Section:
    """What stands above a table: its title, a paragraph, and the heads of the columns."""

    title: str
    text: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Language:
    """The page in one language.

    Attributes:
        file: the page, in docs/.
        introduction: with {example}, {drawing} and {empty}.
        forms, causal, windows, padding, nothing, sources: the tables, in order.
        of: what stands before another example, with {expression} and {shape}.
        shape: of an example that is not 3 x 3, with {q_len}, {kv_len} and {start}.
        start: with {offset}, where its queries begin.
        none: where there are no options.
        said: what the code says in English -> this language; empty for English.
    """

    file: str
    introduction: str
    forms: tuple[str, ...]
    causal: Section
    windows: Section
    padding: Section
    nothing: Section
    sources: Section
    of: str
    shape: str
    start: str
    none: str
    said: Mapping[str, str]

    def tell(self, text: str) -> str:
        """Return what the code says, in this language."""
        if not self.said:
            return text
        if text not in self.said:
            raise SystemExit(f"docs/conventions_words.py has no Chinese for: {text!r}")
        return self.said[text]

    def paragraph(self, text: str) -> str:
        """Return text in lines of ordinary length; Chinese, which has no blanks, stays as it is."""
        if self.said:
            return text + "\n"
        return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False) + "\n"


WRONG = """\
```python
>>> import torch
>>> import torch.nn.functional as F
>>> import sightline as sl
>>> future = torch.ones(4, 4, dtype=torch.bool).triu(1)  # {comment}
>>> x = torch.randn(1, 4, 8)
>>> with sl.guard() as watch:
...     output = F.scaled_dot_product_attention(x, x, x, attn_mask=future)
>>> print(watch.findings[0].message)
attn_mask shows each query what follows it ... is the wrong way round: pass ~attn_mask.
>>> sl.recognize(future, means="attend").mask, sl.recognize(future, means="ignore").mask
(~causal(), causal())

```
"""

ENGLISH = Language(
    file="conventions.md",
    introduction="""\
# Conventions, side by side

[中文](conventions.zh.md)

<!-- Made by docs/make_conventions.py; `make docs` makes it again. -->

Libraries disagree about what True means, where a causal mask is aligned, how wide a window is, and
what becomes of a query that may see nothing. Nothing fails where they are mixed up: the shapes fit,
the loss falls, and the model has learnt to read its future. This mask is right for
`nn.MultiheadAttention` and upside down for the function that it calls:

"""
    + WRONG.format(comment="True: ignore")
    + """
In Sightline True means "may attend", positions are absolute, and `sl.lower(mask, to=...)` writes
the form that a library wants, exactly, or refuses. `sl.recognize(given, source=...)` reads it back,
and [a guard](guard.md) watches the calls that others make.

## One mask in every form

The example is `{example}` for three queries (rows) and three keys; in the
second batch row the last key is padding:

```text
{drawing}
```

The values are those that `sl.lower` gives; a group of digits is a row of bools, batch rows are
parted by semicolons, and axes of size 1 are left out. Where a form cannot say this mask, another
one is shown and named. The last column says whether the form can say a mask in which a query may
see nothing, such as `{empty}`; where that is refused, the library would give NaN or a
mean of values.
""",
    forms=("Form", "True, or 1", "The example in it", "A query that sees nothing"),
    padding=Section(
        "How padding is said",
        "Two rows of three tokens, the last of the second row is padding: `padding(lengths=[3, "
        "2])`. In one library a real token is 1, in the next it is False.",
        ("Form", "True, or 1", "padding(lengths=[3, 2])"),
    ),
    causal=Section(
        "Where causal is aligned",
        "Two queries, four keys. Top left counts the queries from the first key on, bottom right "
        "lets the last query stand at the last key. Sightline has no such flag: the first is "
        "`causal()` at `q_offset=0`, the second at `q_offset=2`.",
        ("Library", "Call", "seen, two rows of four keys"),
    ),
    windows=Section(
        "How wide a window is",
        "Three queries, three keys. Sightline counts distances, as these do: `window(left=1, "
        "right=0)` sees two keys. Others count keys: `sliding_window=2` of transformers, and "
        "of Keras with `use_causal_mask`, is `window(left=1)`, the query's own key included.",
        ("Library", "Call", "seen, three rows of three keys"),
    ),
    nothing=Section(
        "What no mask means",
        "In Sightline a mask is never None; `everything()` says so. For a transformers model no "
        "`attention_mask` means the model's own mask, and that packed sequences are looked for in "
        "`position_ids`; one of all ones switches that off.",
        ("Library", "Call", "seen, two rows of two keys"),
    ),
    sources=Section("What can be read back", "", ("`source=`", "Give", "True, or 1", "Options")),
    of="of {expression}{shape}:",
    shape=", {q_len} x {kv_len}{start}",
    start=" from position {offset}",
    none="none",
    said={},
)

CHINESE = Language(
    file="conventions.zh.md",
    introduction="""\
# 各库的约定，并排对照

[English](conventions.md)

<!-- 由 docs/make_conventions.py 生成；`make docs` 会重新生成。 -->

True 是什么意思，因果掩码对齐到哪一角，窗口有多宽，什么都看不见的查询会怎样，各个库的说法
都不一样。弄混了也不会报错：形状对得上，损失照样下降，只是模型学会了偷看未来。下面这个掩码对
`nn.MultiheadAttention` 是对的，而交给它内部调用的那个函数，就正好反了：

"""
    + WRONG.format(comment="True 表示忽略")
    + """
在 Sightline 里，True 表示“可以看见”，位置是绝对位置；`sl.lower(mask, to=...)` 写出某个库要的
形式，要么精确，要么拒绝。`sl.recognize(given, source=...)` 把它读回来；[监视](guard.md)（英文）
则盯着别的代码发出的每一次注意力调用。

## 同一个掩码的各种形式

例子是 `{example}`，三个查询（行），三个键（列）；批次第二行的最后一个键是填充：

```text
{drawing}
```

表中的值就是 `sl.lower` 给出的值：一组数字是一行布尔值，批次的各行用分号隔开，大小为 1 的轴略去。
如果某种形式表达不了这个掩码，就换一个例子并注明。最后一列说明，这种形式能否表达含有“什么都看
不见的查询”的掩码，例如 `{empty}`；凡是拒绝的，那个库本来会给出 NaN，或者值的平均。
""",
    forms=("形式", "True 或 1", "例子写成的样子", "什么都看不见的查询"),
    padding=Section(
        "填充怎样表示",
        "两行，每行三个词元，第二行的最后一个是填充：`padding(lengths=[3, 2])`。"
        "真实词元在一个库里是 1，在下一个库里却是 False。",
        ("形式", "True 或 1", "padding(lengths=[3, 2])"),
    ),
    causal=Section(
        "因果掩码对齐到哪里",
        "两个查询，四个键。左上对齐是让查询从第一个键数起，"
        "右下对齐是让最后一个查询站在最后一个键上。"
        "Sightline 没有这样的开关：前者是 `q_offset=0` 的 `causal()`，后者是 `q_offset=2` 的。",
        ("库", "调用", "看得见的键：两行，各四个键"),
    ),
    windows=Section(
        "窗口有多宽",
        "三个查询，三个键。Sightline 数的是距离，下面这几个也是："
        "`window(left=1, right=0)` 看得见两个键。"
        "也有的库数的是键的个数：transformers 的 `sliding_window=2`，"
        "以及 Keras 在 `use_causal_mask` 下的同名参数，"
        "都相当于 `window(left=1)`，查询自己的键也算在内。",
        ("库", "调用", "看得见的键：三行，各三个键"),
    ),
    nothing=Section(
        "不给掩码是什么意思",
        "在 Sightline 里掩码从来不是 None，谁都看得见谁就写 `everything()`。"
        "对 transformers 的模型来说，"
        "不给 `attention_mask` 表示用模型自己的掩码，并从 `position_ids` 里寻找打包在一起的序列；"
        "给一个全 1 的掩码会关掉这一查找。",
        ("库", "调用", "看得见的键：两行，各两个键"),
    ),
    sources=Section("哪些可以读回来", "", ("`source=`", "给出", "True 或 1", "选项")),
    of="{expression} 的{shape}：",
    shape="（{q_len} x {kv_len}{start}）",
    start="，从位置 {offset} 起",
    none="无",
    said={
        "may attend": "可以看见",
        "may attend; floats are added": "可以看见；浮点数则相加",
        "is ignored; floats are added": "被忽略；浮点数则相加",
        "mask_mod gives True: may attend": "mask_mod 返回 True：可以看见",
        "there is no mask; offsets say where sequences begin": (
            "没有掩码；由偏移说明各序列从哪里开始"
        ),
        "there is no mask; a bias object says where sequences begin": (
            "没有掩码；由一个偏置对象说明各序列从哪里开始"
        ),
        "there is no mask; for each key the queries that do not see it": (
            "没有掩码；对每个键列出看不见它的查询"
        ),
        "there is no mask; ranges of queries and of keys that they see": (
            "没有掩码；写出一段段查询，和它们看得见的一段段键"
        ),
        "a bit of 1 may attend": "为 1 的比特可以看见",
        "floats are added: 0 may attend": "浮点数相加：0 可以看见",
        "floats are added to the scores: 0 may attend": "浮点数加到分数上：0 可以看见",
        "1 is a token that may be seen, 0 is padding": "1 是可以被看见的词元，0 是填充",
        "there is no mask; a position that is not the one before plus 1 begins a sequence": (
            "没有掩码；位置编号若不是前一个加 1，就从这里开始一个新序列"
        ),
        "1 is masked, in perm_mask and input_mask; 1 is a token in attention_mask": (
            "在 perm_mask 和 input_mask 里 1 是被遮住；在 attention_mask 里 1 是词元"
        ),
        "may attend, in lazy masks; equal segment ids see each other": (
            "在惰性掩码里是可以看见；段编号相同的彼此看得见"
        ),
        "may attend; in query_mask, key_mask and value_mask: is a token": (
            "可以看见；在 query_mask、key_mask 和 value_mask 里是真实词元"
        ),
        "refused": "拒绝",
        "can be said": "可以表达",
        "no such mask can be said": "表达不了这样的掩码",
        "none of the examples": "这些例子都表达不了",
        "attn_mask, or a dict of attn_mask and is_causal": (
            "attn_mask，或含 attn_mask 和 is_causal 的字典"
        ),
        "attn_mask, or a dict of attn_mask, key_padding_mask, is_causal, need_weights": (
            "attn_mask，或含 attn_mask、key_padding_mask、is_causal、need_weights 的字典"
        ),
        "a dict of src_mask, tgt_mask, memory_mask, their key padding masks and is_causal hints": (
            "含 src_mask、tgt_mask、memory_mask 及各自的填充掩码和 is_causal 提示的字典"
        ),
        "a BlockMask, or a dict with block_mask": "BlockMask，或含 block_mask 的字典",
        "a dict of cu_seq_q, cu_seq_k and window_size, seqused_k, or what lower gives": (
            "含 cu_seq_q、cu_seq_k 和 window_size、seqused_k 的字典，或 lower 给出的结果"
        ),
        "a dict of cu_seqlens_q, cu_seqlens_k (or the options q_len and kv_len for one sequence), "
        "causal and window_size, or what lower gives": (
            "含 cu_seqlens_q、cu_seqlens_k（只有一个序列时可改用选项 q_len 和 kv_len）、causal 和 "
            "window_size 的字典，或 lower 给出的结果"
        ),
        "attention_mask [batch, K], or a dict with it (position_ids are not looked at)": (
            "attention_mask [batch, K]，或含有它的字典（不看 position_ids）"
        ),
        "attention_mask [batch|1, heads|1, Q, K] of bools or floats, or a dict with it": (
            "布尔或浮点的 attention_mask [batch|1, heads|1, Q, K]，或含有它的字典"
        ),
        "position_ids [batch, S], or a dict with it": "position_ids [batch, S]，或含有它的字典",
        "perm_mask [batch, S, S], or a dict of perm_mask, input_mask (or attention_mask), "
        "target_mapping": (
            "perm_mask [batch, S, S]，或含 perm_mask、input_mask（或 attention_mask）、"
            "target_mapping 的字典"
        ),
        "attn_mask [windows, N, N] of 0 and -100 (None without a shift), or a dict with it": (
            "由 0 和 -100 组成的 attn_mask [windows, N, N]（没有移位时为 None），或含有它的字典"
        ),
        "attention_mask [batch, Q, K], or a dict of attention_mask, query_mask, value_mask, "
        "key_mask and use_causal_mask": (
            "attention_mask [batch, Q, K]，或含 attention_mask、query_mask、value_mask、key_mask "
            "和 use_causal_mask 的字典"
        ),
        "mask, or a dict of mask, is_causal, query_seq_lengths, key_value_seq_lengths and "
        "local_window_size": (
            "mask，或含 mask、is_causal、query_seq_lengths、key_value_seq_lengths 和 "
            "local_window_size 的字典"
        ),
        "mask [batch|1, heads|1, Q, K], or a dict with it": (
            "mask [batch|1, heads|1, Q, K]，或含有它的字典"
        ),
    },
)
