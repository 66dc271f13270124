"""What is said about each mistake: its title, what goes wrong, and what makes it show.

Each as a pair of English and Chinese; the numbers beside it are measured, not written here.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MISTAKE_WORDS", "MistakeWords"]

Pair = tuple[str, str]


@dataclass(frozen=True)
class MistakeWords:
    """The words for one mistake, (English, Chinese).

    Attributes:
        title: a few words.
        wrong: what goes wrong, and why.
        shows: what to type or choose so that it can be seen.
    """

    title: Pair
    wrong: Pair
    shows: Pair


_UNEQUAL: Pair = (
    "Type two lines of different length, and look at the shorter one.",
    "请输入两行长度不同的句子，并查看较短的一行。",
)
_EMPTY: Pair = (
    "A query must see nothing: put the padding of a decoder on the left, or take UniLM's shorter "
    "sentence or XLNet's query stream.",
    "需要有一个什么也看不到的查询：让解码器在左侧填充，或查看 UniLM 较短的一行、XLNet 的查询流。",
)
_FORBIDDEN: Pair = (
    "Something must be forbidden: type two lines of different length, and look at the shorter one.",
    "需要有被禁止的位置：请输入两行长度不同的句子，并查看较短的一行。",
)
_LONGER: Pair = ("Type more tokens.", "请输入更多词元。")

MISTAKE_WORDS = {
    "unmasked shift": MistakeWords(
        ("Shifted windows without a mask", "移动窗口却没有掩码"),
        (
            "Rolling the picture brings patches from one border to the other. Without a mask, "
            "patches from opposite ends of the picture look at each other as neighbors.",
            "滚动图像会把一侧边缘的图块带到另一侧。没有掩码时，图像两端的图块会被当成邻居互相关注。",
        ),
        _LONGER,
    ),
    "content for query": MistakeWords(
        ("The content stream's mask for the query stream", "查询流用了内容流的掩码"),
        (
            "The query stream predicts a token, so it must not see it. The content stream's mask "
            "lets each token see itself: the answer is in the question.",
            "查询流要预测某个词元，因此不能看到它。内容流的掩码让每个词元看到自己：答案就在题目里。",
        ),
        _LONGER,
    ),
    "target seen by source": MistakeWords(
        ("Everyone sees the target", "所有词元都能看到目标"),
        (
            "With the mask of a reader, the source and every target token see the words that are "
            "still to be written. The loss gets wonderful, the writing does not.",
            "用了阅读时的掩码，源句和每个目标词元都能看到还没写出的词。损失变得很好看，写作却不行。",
        ),
        _LONGER,
    ),
    "causal for everyone": MistakeWords(
        ("The source read from left to right only", "源句只从左往右读"),
        (
            "A causal mask over source and target is safe, but a source token no longer sees the "
            "rest of its own sentence, which is known in full.",
            "对源句和目标都用因果掩码不会泄漏，但源句的词元看不到本句后面的词，而源句本来是全部已知的。",
        ),
        _LONGER,
    ),
    "no causal mask": MistakeWords(
        ("No causal mask", "忘了因果掩码"),
        (
            "Each token sees the words after it, which it is meant to predict. Training looks "
            "excellent; writing fails.",
            "每个词元都能看到它本该预测的后文。训练时看上去极好，生成时却失败。",
        ),
        _LONGER,
    ),
    "strict": MistakeWords(
        ("Off by one: a token does not see itself", "差一错误：词元看不到自己"),
        (
            "With diagonal=-1 a token sees what is before it but not itself, and the first token "
            "sees nothing at all: its weights add up to 0.",
            "diagonal=-1 让词元只看到前面的词而看不到自己；第一个词元什么也看不到，权重之和为 0。",
        ),
        _LONGER,
    ),
    "wrong direction": MistakeWords(
        ("tril and triu mixed up", "tril 与 triu 弄反"),
        (
            "The triangle is turned over: what was to be hidden is all that is seen.",
            "三角形翻转了：本该遮住的，恰恰成了唯一看得到的。",
        ),
        _LONGER,
    ),
    "wrong corner": MistakeWords(
        ("A decode step with is_causal", "解码一步时用 is_causal"),
        (
            "With a cache there is one new query, and this flag counts it as position 0 (top "
            "left). At every step it sees the first key only and forgets the rest.",
            "有缓存时只有一个新查询，这个标志却把它当作第 0 位（左上角对齐）。"
            "每一步它都只看到第一个键，忘了其余的。",
        ),
        _LONGER,
    ),
    "window and one": MistakeWords(
        ("A window of W keys, or of W before", "窗口是 W 个键，还是往前 W 个"),
        (
            "Some libraries count the keys in a window, others how far it reaches back. Copied "
            "from one to the other, the window holds one key too many.",
            "有的库数窗口里的键，有的库数往回多远。照搬过去，窗口就多装了一个键。",
        ),
        (
            "Type more tokens than the window holds.",
            "请输入比窗口更长的句子。",
        ),
    ),
    "causal memory": MistakeWords(
        ("The causal mask on the source, too", "对源句也用了因果掩码"),
        (
            "The target's triangle laid over the source: the first words that are written see "
            "one or two words of a source that is there in full.",
            "把目标的三角形套在源句上：最先写出的词只看到源句的一两个词，而源句是完整给出的。",
        ),
        _LONGER,
    ),
    "no padding mask": MistakeWords(
        ("No mask on the padding", "没有遮住填充"),
        (
            "Padding is read as if it were language, and a sentence means something else when a "
            "longer one stands beside it.",
            "填充被当成语言来读；旁边换一句更长的话，这句的结果就变了。",
        ),
        _UNEQUAL,
    ),
    "padding on queries": MistakeWords(
        ("The padding mask on the wrong axis", "填充掩码放错了轴"),
        (
            "Broadcast over keys instead of queries, the mask silences the padding's own rows "
            "and leaves its columns open: every real token reads padding.",
            "掩码沿键而不是沿查询广播：它关掉了填充自己的行，却敞开了填充的列，真实词元都会读到填充。",
        ),
        _UNEQUAL,
    ),
    "first row for all": MistakeWords(
        ("One sentence's mask for the whole batch", "整批都用了第一句的掩码"),
        (
            "The mask of the first sentence is used for all. It fits only the sentences that "
            "happen to be as long; tests with one sentence cannot notice.",
            "整批都用第一句的掩码，只对恰好一样长的句子是对的；只用一句的测试发现不了。",
        ),
        (
            "Type two lines of different length, and look at the second one.",
            "请输入两行长度不同的句子，并查看第二行。",
        ),
    ),
    "positions of padding": MistakeWords(
        ("Padding on the left that shifts the positions", "左侧填充挤动了位置"),
        (
            "The mask is right, but positions are counted from the padding. The same sentence "
            "stands elsewhere as soon as a longer one is beside it.",
            "掩码没错，但位置从填充开始数。旁边一有更长的句子，同一句话的位置就变了。",
        ),
        (
            "Put the padding on the left and look at the shorter sentence.",
            "请选择左侧填充，并查看较短的一行。",
        ),
    ),
    "swapped": MistakeWords(
        ("True and False swapped", "True 与 False 弄反"),
        (
            'To nn.MultiheadAttention True means "ignore", to scaled_dot_product_attention '
            '"attend". Given the wrong one, attention goes exactly where it must not.',
            "在 nn.MultiheadAttention 里 True 表示“忽略”，在 scaled_dot_product_attention 里表示"
            "“关注”。弄反了，注意力恰好去了不该去的地方。",
        ),
        _FORBIDDEN,
    ),
    "after softmax": MistakeWords(
        ("Mask after softmax", "softmax 之后才掩码"),
        (
            "What is hidden has already taken its part of the weight. The rows no longer add up "
            "to 1, and the hidden keys still sit in the denominator.",
            "被遮住的键早已分走了权重：每行之和不再是 1，而且它们仍留在分母里。",
        ),
        _FORBIDDEN,
    ),
    "zeroed scores": MistakeWords(
        ("Scores set to zero", "把分数设成零"),
        (
            "A score of 0 is no prohibition: e^0 = 1, so hidden keys keep a share of the weight.",
            "分数为 0 并不等于禁止：e^0 = 1，被遮住的键照样分到权重。",
        ),
        _FORBIDDEN,
    ),
    "added": MistakeWords(
        ("A mask of 0 and 1 that is added", "把 0/1 掩码加到分数上"),
        (
            "Taken as floats, a mask is added to the scores: what may be seen gets 1 more, and "
            "nothing at all is hidden.",
            "掩码成了浮点数，就会加到分数上：可见的只是多了 1，什么也没有被遮住。",
        ),
        _FORBIDDEN,
    ),
    "thrown away": MistakeWords(
        ("A masked copy that nobody uses", "遮好的副本没人用"),
        (
            "masked_fill returns a new tensor; without its underscore, and without an "
            "assignment, the scores stay as they were and the mask does nothing.",
            "masked_fill 返回新的张量；没有下划线、也没有赋值，分数就原封不动，掩码形同虚设。",
        ),
        _FORBIDDEN,
    ),
    "large number": MistakeWords(
        ("A large negative number where nothing may be seen", "什么也看不到时填大负数"),
        (
            "In a row in which every score is the same -1e9, softmax shares the weight out "
            "evenly: a query that may see nothing sees everything, padding and future included.",
            "一行的分数全是同一个 -1e9 时，softmax 会平均分配权重："
            "本该什么也看不到的查询看到了一切，填充和后文都在内。",
        ),
        _EMPTY,
    ),
    "minus infinity": MistakeWords(
        ("Softmax over nothing", "对空集做 softmax"),
        (
            "Minus infinity is right for a hidden key, but a row of nothing else is 0 / 0 = NaN. "
            "In the next layer 0 x NaN is NaN, so that it reaches the real tokens.",
            "负无穷用来遮住键没有错，但整行都是负无穷时就是 0/0 = NaN。"
            "到了下一层，0 × NaN 还是 NaN，于是传给真实词元。",
        ),
        _EMPTY,
    ),
}
