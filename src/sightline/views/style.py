"""The look of drawings and pages: colors, light and dark, said once for SVG and HTML.

Blue, orange and gray (after Okabe and Ito's palette for all kinds of color vision). Rules name
plain colors, not CSS variables, since not every SVG viewer knows variables. No drawing here.
"""

from __future__ import annotations

from typing import Literal

from sightline.errors import InvalidArgument

__all__ = [
    "CHARTS_CSS",
    "CURVES_CSS",
    "EXTRAS_CSS",
    "HOVER_CSS",
    "PAGE_CSS",
    "PALETTES",
    "SVG_CSS",
    "THEMES",
    "Theme",
    "root_class",
    "themed",
]

# "auto" follows the screen of whoever looks.
Theme = Literal["auto", "light", "dark"]
THEMES = ("auto", "light", "dark")
_DARK = "@media (prefers-color-scheme:dark){\n"

# The same colors for whatever draws without style sheets.
PALETTES: dict[str, dict[str, str]] = {
    "light": {
        "text": "#24292f",
        "note": "#57606a",
        "paper": "#fff",
        "out": "#eceff3",
        "hatch": "#cbd2da",
        "in": "#0067b1",
        "bad": "#d55e00",
        "frame": "#8c959f",
        "warn": "#b04a00",
        "added": "#007a5a",
        "removed": "#8f4a78",
        "mixed": "#8a6d00",
    },
    "dark": {
        "text": "#e6edf3",
        "note": "#9aa4b0",
        "paper": "#0f141a",
        "out": "#1c232c",
        "hatch": "#39434f",
        "in": "#4aa8ff",
        "bad": "#ff9d4d",
        "frame": "#5b6672",
        "warn": "#ffb077",
        "added": "#3fc79a",
        "removed": "#d690bd",
        "mixed": "#d9b84a",
    },
}


def root_class(theme: Theme) -> str:
    """Return the class of a drawing's root: drawings of another theme may stand on its page."""
    return "sl" if theme == "auto" else f"sl-{theme}"


def themed(css: str, theme: Theme) -> str:
    """Return a style sheet of this file for one theme.

    >>> themed(".sl .in{fill:blue}", "dark")
    '.sl-dark .in{fill:blue}'
    """
    if theme not in THEMES:
        raise InvalidArgument(f"got the theme {theme!r}, wanted one of {', '.join(THEMES)}.")
    if theme == "auto":
        return css
    sheets: list[str] = []
    for number, piece in enumerate(css.split(_DARK)):
        dark, _, rest = piece.partition("\n}\n") if number else ("", "", piece)
        sheets += [f"{dark}\n"] if number and theme == "dark" else []
        sheets.append(rest)
    return "".join(sheets).replace(".sl ", f".{root_class(theme)} ")


SVG_CSS = """\
.sl text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#24292f}
.sl .title{font-weight:600;font-size:13px}
.sl .note{fill:#57606a;font-size:11px}
.sl .paper{fill:#fff}
.sl .out{fill:#eceff3}
.sl .hatch{stroke:#cbd2da;stroke-width:1;fill:none}
.sl .in{fill:#0067b1}
.sl .bad{fill:#d55e00}
.sl .broken{fill:#24292f}
.sl .grid{stroke:#fff;fill:none}
.sl .frame{stroke:#8c959f;fill:none}
.sl .empty{fill:none;stroke:#d55e00;stroke-width:1.5}
.sl text.warn,.sl text.warned{fill:#b04a00}
.sl text.warn{font-weight:600}
.sl .tip{fill:#000;fill-opacity:0}
.sl .tip:hover{fill-opacity:.18}
@media (prefers-color-scheme:dark){
.sl text{fill:#e6edf3}
.sl .note{fill:#9aa4b0}
.sl .paper{fill:#0f141a}
.sl .out{fill:#1c232c}
.sl .hatch{stroke:#39434f}
.sl .in{fill:#4aa8ff}
.sl .bad{fill:#ff9d4d}
.sl .broken{fill:#e6edf3}
.sl .grid{stroke:#0f141a}
.sl .frame{stroke:#5b6672}
.sl .empty{stroke:#ff9d4d}
.sl text.warn,.sl text.warned{fill:#ffb077}
.sl .tip{fill:#fff}
}
"""

# What lies over a mask: differences, blocks, borders and names of its parts.
EXTRAS_CSS = """\
.sl .added{fill:#007a5a}
.sl .removed{fill:#8f4a78}
.sl .mixed{fill:#8a6d00}
.sl .sign{stroke:#fff;fill:none}
.sl .dots{fill:#fff}
.sl .cut{stroke:#24292f;stroke-width:1.5;fill:none}
.sl .bracket{stroke:#57606a;fill:none}
.sl .halo{stroke:#fff;stroke-width:3;stroke-opacity:.75;fill:none}
.sl .block{stroke:#fff;stroke-width:1.5;fill:none}
.sl .part{stroke:#24292f;stroke-width:1.25;stroke-dasharray:3 2;fill:none}
.sl .disc{stroke:#24292f;stroke-width:9.5;stroke-linecap:round}
.sl .hollow{stroke:#fff;stroke-width:7.5;stroke-linecap:round}
.sl .half{fill:#24292f}
@media (prefers-color-scheme:dark){
.sl .added{fill:#3fc79a}
.sl .removed{fill:#d690bd}
.sl .mixed{fill:#d9b84a}
.sl .sign{stroke:#0f141a}
.sl .dots{fill:#0f141a}
.sl .cut{stroke:#e6edf3}
.sl .bracket{stroke:#9aa4b0}
.sl .halo{stroke:#0f141a}
.sl .block{stroke:#0f141a}
.sl .part{stroke:#e6edf3}
.sl .disc{stroke:#e6edf3}
.sl .hollow{stroke:#0f141a}
.sl .half{fill:#e6edf3}
}
"""

# Around drawings that answer to whoever points at them.
HOVER_CSS = """\
.sl .sheet{display:inline-block;box-sizing:border-box;max-width:100%;padding:12px;
border-radius:6px;background:#fff;color:#24292f;
font:14px/1.5 system-ui,-apple-system,"Segoe UI","PingFang SC","Noto Sans CJK SC",sans-serif}
.sl .sheet p{margin:0 0 6px;overflow-wrap:anywhere}
.sl .name{font-weight:600}
.sl .sheet p.note{color:#57606a;font-size:12px}
.sl .panels{display:flex;flex-wrap:wrap;gap:8px;margin:0 0 6px}
.sl .sheet figure{margin:0;max-width:100%}
.sl .sheet svg{display:block;max-width:100%;height:auto}
.sl .panels svg{width:100%}
.sl .sheet p.said{min-height:3em;margin:6px 0 0}
.sl .at{fill:none;stroke:#24292f;stroke-width:2;paint-order:stroke}
@media (prefers-color-scheme:dark){
.sl .sheet{background:#0f141a;color:#e6edf3}
.sl .sheet p.note{color:#9aa4b0}
.sl .at{stroke:#e6edf3}
}
"""

# Apart from SVG_CSS, so that drawings of masks need not carry it.
CURVES_CSS = """\
.sl .rule{stroke:#e3e7ec;fill:none}
.sl .axis{stroke:#8c959f;fill:none}
.sl .line{fill:none;stroke-width:1.75;stroke-linejoin:round;stroke-linecap:round}
.sl .c0{stroke:#0067b1}
.sl .c1{stroke:#d55e00;stroke-dasharray:7 3}
.sl .c2{stroke:#007a5a;stroke-dasharray:2 3.5}
.sl .c3{stroke:#8f4a78;stroke-dasharray:9 3 2 3}
.sl .f0{fill:#0067b1}
.sl .f1{fill:#d55e00}
.sl .f2{fill:#007a5a}
.sl .f3{fill:#8f4a78}
.sl .band{fill-opacity:.22}
.sl .target{stroke:#57606a;stroke-width:1.25;stroke-dasharray:1 4;stroke-linecap:round;fill:none}
@media (prefers-color-scheme:dark){
.sl .rule{stroke:#242d38}
.sl .axis{stroke:#5b6672}
.sl .c0{stroke:#4aa8ff}
.sl .c1{stroke:#ff9d4d}
.sl .c2{stroke:#3fc79a}
.sl .c3{stroke:#d690bd}
.sl .f0{fill:#4aa8ff}
.sl .f1{fill:#ff9d4d}
.sl .f2{fill:#3fc79a}
.sl .f3{fill:#d690bd}
.sl .target{stroke:#9aa4b0}
}
"""

# Charts may have more curves than those of a training.
CHARTS_CSS = (
    CURVES_CSS
    + """\
.sl .c4{stroke:#8a6d00;stroke-dasharray:12 4}
.sl .c5{stroke:#4c5661;stroke-dasharray:1.5 5}
.sl .f4{fill:#8a6d00}
.sl .f5{fill:#4c5661}
@media (prefers-color-scheme:dark){
.sl .c4{stroke:#d9b84a}
.sl .c5{stroke:#b3bdc8}
.sl .f4{fill:#d9b84a}
.sl .f5{fill:#b3bdc8}
}
"""
)

PAGE_CSS = """\
*{box-sizing:border-box}
html{color-scheme:light dark;-webkit-text-size-adjust:100%}
body{margin:0 auto;padding:2rem 1.25rem 4rem;max-width:66rem;background:#fff;color:#24292f;
font:16px/1.6 system-ui,-apple-system,"Segoe UI","PingFang SC","Noto Sans CJK SC",sans-serif}
h1{font-size:1.9rem;line-height:1.25;margin:0 0 1rem}
h2{font-size:1.35rem;line-height:1.3;margin:2.75rem 0 .75rem;padding-top:1.25rem;
border-top:1px solid #d8dee4}
h3{font-size:1.08rem;margin:1.75rem 0 .5rem}
p{margin:.6rem 0;max-width:46rem}
h1,h2,h3,p,td,th,figcaption,li{overflow-wrap:break-word}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
font-size:.9em}
pre{background:#f4f6f8;border-radius:6px;padding:.8rem 1rem;overflow-x:auto;line-height:1.45}
.note{border-left:4px solid #0067b1;background:#f0f6fb;padding:.6rem 1rem;margin:1rem 0;
border-radius:0 6px 6px 0;max-width:46rem}
.note.warn{border-color:#d55e00;background:#fdf3ec}
.scroll{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.94rem}
th,td{text-align:left;vertical-align:top;padding:.42rem .9rem .42rem 0;
border-bottom:1px solid #d8dee4}
th{font-weight:600;border-bottom-color:#8c959f}
.number{text-align:right}
.good,.bad{font-weight:600}
td.good{color:#00558f}
td.bad{color:#b04a00}
.good::before{content:"\\2713\\00a0"}
.bad::before{content:"\\2717\\00a0"}
.pictures{display:flex;flex-wrap:wrap;gap:1.5rem 2rem;margin:1.25rem 0;align-items:flex-start}
figure{margin:0;max-width:100%}
figcaption{font-size:.9rem;color:#57606a;margin-top:.4rem;max-width:26rem}
figure svg{display:block;max-width:100%;height:auto}
footer{margin-top:3rem;font-size:.85rem;color:#57606a}
@media (max-width:40rem){
body{padding:1.25rem .9rem 3rem}
h1{font-size:1.5rem}
.pictures{gap:1.25rem}
}
@media (prefers-color-scheme:dark){
body{background:#0f141a;color:#e6edf3}
h2{border-color:#2f3944}
pre{background:#1a2129}
.note{background:#13202d;border-color:#4aa8ff}
.note.warn{background:#2a1e14;border-color:#ff9d4d}
th,td{border-color:#2f3944}
th{border-bottom-color:#5b6672}
td.good{color:#7cc0ff}
td.bad{color:#ffb077}
figcaption,footer{color:#9aa4b0}
}
@media print{body{max-width:none;padding:0}figure,table{break-inside:avoid}}
"""
