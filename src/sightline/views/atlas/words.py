"""Every word of the atlas's page, in English and in Chinese.

What a mask's own sentences say (errors, reasons) comes from the rooms that say it, in English.
"""

from __future__ import annotations

__all__ = ["WORDS", "words"]

# name: (English, Chinese)
WORDS: dict[str, tuple[str, str]] = {
    "title": ("Sightline atlas", "Sightline 图集"),
    "skip": ("Skip to the map", "跳到图"),
    "expression": ("Mask", "掩码"),
    "compare": ("Compare with", "与之比较"),
    "compare_hint": ("another mask, or nothing", "另一个掩码，可留空"),
    "size": ("Size", "大小"),
    "size_hint": ("such as 1m, 4k, 16x4k", "例如 1m、4k、16x4k"),
    "offset": ("First query", "首个查询位置"),
    "batch": ("Batch row", "批次行"),
    "head": ("Head", "头"),
    "draw": ("Draw", "绘制"),
    "whole": ("Whole", "全部"),
    "zoom_in": ("Zoom in", "放大"),
    "zoom_out": ("Zoom out", "缩小"),
    "diagonal": ("To the diagonal", "到对角线"),
    "map": ("Map: queries downwards, keys to the right", "图：查询向下，键向右"),
    "query": ("query", "查询"),
    "key": ("key", "键"),
    "facts": ("What it holds", "概况"),
    "why": ("Why?", "为什么？"),
    "why_hint": (
        "Click a cell, or give a pair: which part of the expression decides?",
        "点击一格，或输入一对位置：由表达式的哪一部分决定？",
    ),
    "explain": ("Explain", "解释"),
    "allowed": ("allowed", "允许"),
    "forbidden": ("forbidden", "禁止"),
    "some": ("some allowed: the more, the stronger", "部分允许：越多，颜色越浓"),
    "empty": ("queries that see nothing", "看不到任何键的查询"),
    "empty_first": ("queries that see nothing by the first", "按第一个看不到任何键的查询"),
    "of_first": ("Of the first mask:", "第一个掩码："),
    "edge": ("edges of documents or sequences", "文档或序列的边界"),
    "unsure": ("estimated from a sample", "由抽样估计"),
    "both": ("both allow", "两者都允许"),
    "neither": ("neither allows", "两者都禁止"),
    "first_only": ("only the first allows", "只有第一个允许"),
    "second_only": ("only the second allows", "只有第二个允许"),
    "both_ways": ("differs both ways within the cell", "格内两种差异都有"),
    "one_cell": ("1 cell = {q} × {k} pairs", "1 格 = {q} × {k} 对"),
    "one_pair": ("1 cell = 1 pair", "1 格 = 1 对"),
    "center": (
        "This cell holds {q} × {k} pairs; explained is the one at its center.",
        "这一格有 {q} × {k} 对；解释的是中心的一对。",
    ),
    "may": ("query {q} may attend to key {k}", "查询 {q} 可以关注键 {k}"),
    "may_not": ("query {q} may not attend to key {k}", "查询 {q} 不可以关注键 {k}"),
    "outside": (
        "query {q}, key {k} is outside the map: queries {q_first} to {q_last}, keys 0 to {k_last}.",
        "查询 {q}、键 {k} 在图外：查询 {q_first} 到 {q_last}，键 0 到 {k_last}。",
    ),
    "decides": ("decides", "起决定作用"),
    "says_yes": ("allows", "允许"),
    "says_no": ("forbids", "禁止"),
    "first": ("first", "第一个"),
    "second": ("second", "第二个"),
    "busy": ("working…", "计算中…"),
    "unknown": ("unknown (not found out in time)", "未知（时间内没有算出）"),
    "Time": (
        "this takes longer than {limit} s, the most that the atlas gives it; "
        "try a smaller size or a simpler expression.",
        "所需时间超过上限 {limit} 秒；请用更小的大小或更简单的表达式。",
    ),
    "Memory": (
        "this needs more memory than the atlas gives it ({most} MB); "
        "try a smaller size or a simpler expression.",
        "所需内存超过上限（{most} MB）；请用更小的大小或更简单的表达式。",
    ),
    "stale": ("The map still shows what was drawn before.", "图中仍是之前的内容。"),
    "pick": (
        "there are {most} of them, 0 to {last}; got {got}.",
        "共有 {most} 个，0 到 {last}；得到 {got}。",
    ),
    "numbers": ("give two whole numbers: a query and a key.", "请输入两个整数：查询和键。"),
    "too_long": ("too long for a link", "太长，无法放进链接"),
    "pairs": ("Allowed pairs", "允许的对"),
    "density": ("Density", "密度"),
    "blocks": ("Blocks of 128 × 128", "128 × 128 的块"),
    "blocks_empty": ("empty, skipped", "空，跳过"),
    "blocks_partial": ("partial", "部分"),
    "blocks_full": ("full", "满"),
    "flops": ("FLOPs forward, 1 head of 64", "前向 FLOPs（1 个 64 维头）"),
    "of_dense": ("{share} of {dense} dense", "稠密 {dense} 的 {share}"),
    "empty_rows": ("Empty rows", "空行"),
    "none": ("none", "无"),
    "cut": ("only the first million runs of them are hatched", "只标出前一百万段"),
    "parts": ("In words", "用文字说"),
    "documents": ("Documents and edges", "文档与边界"),
    "same": ("the same at {scope}", "在{scope}相同"),
    "every_shape": ("every size", "任何大小"),
    "this_shape": ("this size", "此大小"),
    "differ": ("they differ, first at query {q}, key {k}", "不同，例如查询 {q}、键 {k}"),
    "comparison": ("Compared", "比较"),
    "only_first_count": ("pairs only the first allows", "仅第一个允许的对"),
    "only_second_count": ("pairs only the second allows", "仅第二个允许的对"),
    "lost": (
        "The server has stopped, or the connection is lost.",
        "服务器已停止，或连接已断开。",
    ),
    "noscript": ("The atlas needs JavaScript.", "图集需要 JavaScript。"),
    "full_server": ("Too many pages are open; close some.", "打开的页面太多，请关闭一些。"),
}


def words(lang: str) -> dict[str, str]:
    """Return every word in one language.

    >>> words("en")["draw"], words("zh")["draw"]
    ('Draw', '绘制')
    """
    column = 1 if lang == "zh" else 0
    return {name: both[column] for name, both in WORDS.items()}
