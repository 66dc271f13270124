"""The words in a drawing of a mask, said once, so that a page in another language has its own.

The names in braces are filled in by svg.py and svg_labels.py.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["CHINESE", "ENGLISH", "Words"]

Words = Mapping[str, str]

ENGLISH: Words = {
    "cell": "1 cell = {queries} x {keys} pairs; stronger color: more allowed",
    "no pairs": "no pairs: nothing to draw",
    "unused": "pale: allowed, not used",
    "used leak": "orange cells: forbidden, yet used",
    "weights": "strongest: weight {heaviest:.3g}; hatched: may not attend",
    "leak": "orange cells: weight where none may be",
    "broken": "solid cells: not a number",
    "empty": "orange rows: a query sees nothing",
    "allowed": "may attend",
    "forbidden": "may not attend",
    "depends": "depends on it",
    "independent": "does not depend on it",
    "weight": "weight {weight:.4g}",
    "from": "from {pair}: {said}",
    "share": "{share} allowed",
    "about": "about ",
    "none": "none",
    "all": "all",
    "in both": "in both",
    "in neither": "in neither",
    "summary": "{queries} queries by {keys} keys, {count} pairs allowed",
}

CHINESE: Words = {
    "cell": "1 格 = {queries} x {keys} 对；颜色越浓，允许的越多",
    "no pairs": "没有配对，无可绘制",
    "unused": "浅色：允许，但没有用到",
    "used leak": "橙色格：禁止，却被用到",
    "weights": "最浓：权重 {heaviest:.3g}；斜线：不可关注",
    "leak": "橙色格：不该有权重的地方有权重",
    "broken": "实心格：不是数（NaN）",
    "empty": "橙色框的行：这个查询什么也看不到",
    "allowed": "可以关注",
    "forbidden": "不可关注",
    "depends": "依赖于它",
    "independent": "不依赖于它",
    "weight": "权重 {weight:.4g}",
    "from": "从 {pair} 起：{said}",
    "share": "允许 {share}",
    "about": "约",
    "none": "无",
    "all": "全部",
    "in both": "两者都是",
    "in neither": "两者都不",
    "summary": "{queries} 个查询，{keys} 个键，允许 {count} 对",
}
