"""Every sentence of the playground in English and Chinese, side by side.

Names in braces are filled in. What is said about mistakes stands in mistake_words.py.
"""

from __future__ import annotations

from typing import get_args

from sightline.views.svg.words import Language

__all__ = ["LANGUAGES", "WORDS", "Language", "language_of", "said"]

LANGUAGES: tuple[Language, ...] = get_args(Language)

# name: (English, Chinese)
WORDS: dict[str, tuple[str, str]] = {
    # The page.
    "title": ("Playground", "练习场"),
    "lead": (
        "Type sentences, pick a system, and see its masks and its attention step by step; then "
        "make the classic mistakes and see what each one does.",
        "输入句子，选择系统，逐步查看它的掩码与注意力；再犯一遍经典错误，看看各有什么后果。",
    ),
    "fine print": (
        "One head with {width} numbers per token. Its weights are random, not trained, but always "
        "the same ones: what a token is like follows from its text alone. Words are cut at spaces "
        "and punctuation, Chinese and Japanese by character; [CLS], [SEP], <eos>, <bos> and "
        "padding are added as each system has them, and [MASK] can be typed. At most {lines} "
        "lines of {tokens} tokens.",
        "一个头，每个词元 {width} 个数。参数是随机的，没有训练过，但每次都一样："
        "词元的向量只由它的文字决定。单词按空格和标点切分，中文、日文按字切分；"
        "[CLS]、[SEP]、<eos>、<bos> 和填充按各系统的惯例添加，[MASK] 可以直接输入。"
        "最多 {lines} 行，每行 {tokens} 个词元。",
    ),
    "system": ("System", "系统"),
    "first text": ("Sentences, one a line", "句子，每行一句"),
    "source text": ("Sources, one a line", "源句，每行一句"),
    "target text": ("Targets, one a line", "目标句，每行一句"),
    "pair text": ("Second sentences, one a line (or none)", "第二句，每行一句（可不填）"),
    "picture text": ("A picture, one patch a character", "一幅图像，每个字符一个图块"),
    "side option": ("Padding", "填充"),
    "side right": ("on the right", "在右侧"),
    "side left": ("on the left", "在左侧"),
    "window option": ("Window", "窗口"),
    "shuffle option": ("Order of prediction", "预测顺序"),
    "shuffle 0": ("from left to right", "从左到右"),
    "shuffle n": ("shuffled, no. {n}", "打乱，第 {n} 种"),
    "attention": ("Attention", "注意力"),
    "row": ("Sentence", "句子"),
    "row n": ("{n}: {text}", "{n}：{text}"),
    "step": ("Step", "步骤"),
    "query": ("Query", "查询"),
    "written": ("Written so far", "已写到"),
    "before": ("Previous", "上一个"),
    "after": ("Next", "下一个"),
    "mistake": ("Mistake", "错误"),
    "no mistake": ("none: do it right", "不犯错"),
    "mistakes heading": ("What if it is done wrongly?", "做错了会怎样？"),
    "other language": ("中文", "English"),
    "waiting": ("Connecting to the server …", "正在连接服务器……"),
    "lost": (
        "The server no longer answers. Start it again and reload this page.",
        "服务器没有响应。请重新启动它并刷新页面。",
    ),
    "shortened": (" (shortened)", "（有删节）"),
    # Systems, and what they are.
    "encoder": ("Encoder", "编码器"),
    "decoder": ("Decoder (GPT)", "解码器（GPT）"),
    "seq2seq": ("Encoder and decoder", "编码器-解码器"),
    "bert": ("BERT", "BERT"),
    "xlnet": ("XLNet", "XLNet"),
    "unilm": ("UniLM", "UniLM"),
    "swin": ("Swin (pictures)", "Swin（图像）"),
    "about encoder": (
        "Every token sees every real token of its sentence.",
        "每个词元都能看到本句的所有真实词元。",
    ),
    "about decoder": (
        "Each token sees itself and what is before it, and predicts the next one.",
        "每个词元看到自己和前面的词元，预测下一个。",
    ),
    "about seq2seq": (
        "A source is read in both directions and a target is written from left to right, with "
        "three attentions (Vaswani et al. 2017).",
        "双向阅读源句，从左到右写出目标句，共有三种注意力（Vaswani 等，2017）。",
    ),
    "about bert": (
        "Every token sees every real token, [MASK] included, on both sides of it (Devlin et al. "
        "2019).",
        "每个词元都能看到两侧的所有真实词元，包括 [MASK]（Devlin 等，2019）。",
    ),
    "about xlnet": (
        "Tokens are predicted in a shuffled order, in two streams. The number before a token is "
        "its turn (Yang et al. 2019).",
        "词元按打乱的顺序预测，分为两个流。词元前的数字是它的次序（Yang 等，2019）。",
    ),
    "about unilm": (
        "One network under four masks: only the mask says how it reads (Dong et al. 2019).",
        "一个网络，四种掩码：怎样阅读只由掩码决定（Dong 等，2019）。",
    ),
    "about swin": (
        "Patches of a picture see each other within windows, which are shifted in every other "
        "layer. The numbers before a patch are its row and column (Liu et al. 2021).",
        "图像的图块在窗口内互相关注，窗口每隔一层移动一次。图块前的数字是它的行和列"
        "（Liu 等，2021）。",
    ),
    # Attentions.
    "attention encoder": ("all to all", "全部到全部"),
    "attention decoder": ("to all before", "到前面全部"),
    "attention window": ("to the nearest before", "到前面最近的几个"),
    "attention source": ("source to source", "源句到源句"),
    "attention target": ("target to target", "目标到目标"),
    "attention memory": ("target to source", "目标到源句"),
    "attention bert": ("all to all", "全部到全部"),
    "attention content": ("content stream", "内容流"),
    "attention query": ("query stream", "查询流"),
    "attention seq2seq": ("source to target", "源句到目标"),
    "attention bidirectional": ("both sides", "双向"),
    "attention left to right": ("left to right", "从左到右"),
    "attention right to left": ("right to left", "从右到左"),
    "attention windows": ("windows", "窗口"),
    "attention shifted": ("shifted windows", "移动窗口"),
    # Steps.
    "step tokens": ("1 vectors", "1 向量"),
    "step scores": ("2 scores", "2 分数"),
    "step mask": ("3 mask", "3 掩码"),
    "step weights": ("4 weights", "4 权重"),
    "step output": ("5 output", "5 输出"),
    "told tokens": (
        "Each token becomes {width} numbers: a vector for its text plus one for its position. "
        "Blue is positive; purple with a minus sign is negative.",
        "每个词元变成 {width} 个数：文字的向量加上位置的向量。蓝色为正，带负号的紫色为负。",
    ),
    "told tokens keys": (
        "Queries come from the target, keys and values from the source: here are the source's "
        "vectors, one row a key.",
        "查询来自目标句，键和值来自源句：这里是源句的向量，每行一个键。",
    ),
    "told tokens blind": (
        "The query stream knows where a token stands but not what it is: its queries are made of "
        "positions alone. Shown here; keys and values come from the content.",
        "查询流只知道词元的位置，不知道是什么词：它的查询只由位置构成（如图）；键和值来自内容。",
    ),
    "told scores": (
        "Every query meets every key: score = query · key / √{width}. Nothing is hidden yet. Rows "
        "are queries, columns are keys.",
        "每个查询与每个键相乘：分数 = 查询 · 键 / √{width}。此时还没有遮住任何东西。"
        "行是查询，列是键。",
    ),
    "told mask": (
        "The mask says which pairs count. Blue may attend, gray may not.",
        "掩码决定哪些配对有效：蓝色可以关注，灰色不可以。",
    ),
    "told weights": (
        "Softmax over the allowed scores of each row: weights that add up to 1. The deeper the "
        "blue, the more weight. Hatched pairs take no part.",
        "对每行允许的分数做 softmax：权重之和为 1。蓝色越浓，权重越大；斜线的配对不参与。",
    ),
    "told output": (
        "Each row's output is the sum of the values, each times its weight.",
        "每行的输出是各个值乘以权重后的和。",
    ),
    "empty told": (
        "This query may see nothing: its weights are 0 and its output is 0.",
        "这个查询什么也看不到：权重为 0，输出为 0。",
    ),
    # One query.
    "query heading": ("What “{token}” sees", "“{token}”看到什么"),
    "key": ("key", "键"),
    "score": ("score", "分数"),
    "sees": ("sees it", "能否看到"),
    "weight": ("weight", "权重"),
    "yes": ("yes", "能"),
    "no": ("no", "不能"),
    "the output": ("output", "输出"),
    "patch picture": ("where this patch looks", "这个图块看向哪里"),
    # Mistakes.
    "people write": ("What people write", "常见的错误写法"),
    "write instead": ("With Sightline", "用 Sightline 这样写"),
    "wrong way": ("Wrong", "错误"),
    "right way": ("Right", "正确"),
    "measured": ("Measured on this sentence", "在这句话上的测量"),
    "figure change": ("largest change of an output", "输出的最大变化"),
    "change at": ("{value} (at “{token}”)", "{value}（在“{token}”处）"),
    "figure leaked": ("weight on keys that may not be seen, at most", "落在不可见键上的权重，最多"),
    "figure lost": ("weights of a row: how far from adding up to 1", "一行权重之和与 1 相差最多"),
    "figure moved": (
        "an output moves when a key that it may not see becomes another token, by up to",
        "把不可见的键换成别的词元，输出的变化最多",
    ),
    "figure broken": ("outputs that are not a number (NaN)", "成为 NaN 的输出"),
    "figure spread": (
        "real tokens that are NaN after one more layer",
        "再过一层后成为 NaN 的真实词元",
    ),
    "figure filled": (
        "largest output of a query that may see nothing",
        "本应什么也看不到的查询的最大输出",
    ),
    "of": ("{n} of {total}: {tokens}", "{total} 个中有 {n} 个：{tokens}"),
    "harmless": (
        "With these sentences it changes nothing.",
        "对这些句子没有影响。",
    ),
    # What is refused.
    "no text": ("Type at least one sentence.", "请至少输入一个句子。"),
    "no system": (
        "There is no such system; wanted one of {names}.",
        "没有这个系统；可选：{names}。",
    ),
    "many characters": (
        "{got} characters are too many; {most} are taken. Make the text shorter.",
        "{got} 个字符太多了，最多 {most} 个。请缩短文本。",
    ),
    "many lines": (
        "{got} lines are too many; {most} are taken. Remove some.",
        "{got} 行太多了，最多 {most} 行。请删去几行。",
    ),
    "many tokens": (
        "Line {line} has {got} tokens; {most} are taken. Make it shorter.",
        "第 {line} 行有 {got} 个词元，最多 {most} 个。请缩短这一行。",
    ),
    "pairs": (
        "The first text has {first} lines, the second {second}; give both as many.",
        "第一个文本有 {first} 行，第二个有 {second} 行；两者的行数应当相同。",
    ),
    "ragged": (
        "The picture's lines have {least} to {most} patches; give all lines as many.",
        "图像各行有 {least} 到 {most} 个图块；每行的图块数应当相同。",
    ),
    "side": (
        "A side of the picture has {got} patches; {least} to {most} are taken.",
        "图像的一边有 {got} 个图块；应为 {least} 到 {most} 个。",
    ),
    "window": (
        "A window of {got} by {got} holds the whole picture, whose shorter side is {side}; "
        "choose a smaller window or type a larger picture.",
        "{got}×{got} 的窗口已装下整幅图像（短边为 {side}）；请选更小的窗口或输入更大的图像。",
    ),
    "bad request": (
        "The page asked for something unknown: {what}. Reload it.",
        "页面请求了未知的内容：{what}。请刷新页面。",
    ),
}


def language_of(text: str) -> Language:
    """Return the language that a visitor asked for; English where it is none of ours.

    >>> language_of("zh"), language_of("zh-CN"), language_of("fr")
    ('zh', 'zh', 'en')
    """
    return "zh" if text.lower().startswith("zh") else "en"


def said(language: Language, name: str, **values: object) -> str:
    """Return a sentence in a language, its names filled in.

    >>> said("en", "many lines", got=9, most=6)
    '9 lines are too many; 6 are taken. Remove some.'
    """
    return WORDS[name][LANGUAGES.index(language)].format(**values)
