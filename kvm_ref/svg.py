# SPDX-License-Identifier: GPL-2.0-only
"""SVG that stands on its own: elements with all text escaped, and a page that is light or dark."""

from __future__ import annotations

import re
from collections.abc import Iterable

# What XML 1.0 cannot hold, however it is written.
_ILLEGAL = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})

_STYLE = """
.kvm-ref { background: #ffffff; color: #1b1f24; font: 13px monospace; }
.kvm-ref text { fill: currentColor; }
.kvm-ref .line { stroke: #57606a; fill: none; }
.kvm-ref .box { stroke: #57606a; fill: #f6f8fa; }
.kvm-ref .second { stroke: #57606a; fill: #fdf1d6; }
.kvm-ref .fail { stroke: #b3261e; fill: none; stroke-dasharray: 5 3; }
.kvm-ref .note { fill: #57606a; }
@media (prefers-color-scheme: dark) {
  .kvm-ref { background: #0d1117; color: #e6edf3; }
  .kvm-ref .line { stroke: #9198a1; }
  .kvm-ref .box { stroke: #9198a1; fill: #161b22; }
  .kvm-ref .second { stroke: #9198a1; fill: #3a2f14; }
  .kvm-ref .fail { stroke: #ff8a80; }
  .kvm-ref .note { fill: #9198a1; }
}
"""

# An arrow head for each kind of line: a marker does not take the colour of what it ends.
_HEADS = "".join(
    f'<marker id="{kind}-head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
    f'orient="auto"><path class="{kind}" style="stroke-dasharray: none" d="M1 1 L9 5 L1 9"/></marker>'
    for kind in ("line", "fail")
)


def legal(text: object) -> str:
    """Return text in which what XML cannot hold, such as NUL or half a character, is U+FFFD."""
    return _ILLEGAL.sub("\ufffd", str(text))


def escape(text: object) -> str:
    """Return text for XML, within an element or in quotes; what XML cannot hold becomes U+FFFD."""
    return legal(text).translate(_ENTITIES)


def element(name: str, /, inner: str = "", **attributes: object) -> str:
    """Return an element.

    Args:
        name: its name.
        inner: what is in it, as XML.
        attributes: escaped here; ``class_`` is the attribute class, and any other ``_`` a hyphen.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items()
    )
    return f"<{name}{given}>{inner}</{name}>" if inner else f"<{name}{given}/>"


def text(x: float, y: float, words: str, **attributes: object) -> str:
    """Return a line of text; `y` is its base line."""
    return element("text", escape(words), x=number(x), y=number(y), **attributes)


def path(points: Iterable[tuple[float, float]], class_: str, *, head: bool = False) -> str:
    """Return straight lines from point to point, with an arrow head at the last if `head`."""
    d = " ".join(f"{'L' if n else 'M'}{number(x)} {number(y)}" for n, (x, y) in enumerate(points))
    arrow = {"marker_end": f"url(#{class_}-head)"} if head else {}
    return element("path", class_=class_, d=d, **arrow)


def number(value: float) -> str:
    """Return a length in pixels, with at most one digit behind the point."""
    return f"{value:.1f}".removesuffix(".0")


def document(
    width: float, height: float, title: str, description: str, parts: Iterable[str], *, style: str = ""
) -> str:
    """Return a whole picture.

    Args:
        width, height: in pixels.
        title: its name, and `description` what it shows, for those who do not see it.
        parts: what is in it, as XML.
        style: more CSS, for this kind of picture.
    """
    inner = "\n".join(
        [
            "",
            element("title", escape(title)),
            element("desc", escape(description)),
            element("style", _STYLE + style),
            element("defs", _HEADS),
            *parts,
            "",
        ]
    )
    return element(
        "svg",
        inner,
        xmlns="http://www.w3.org/2000/svg",
        class_="kvm-ref",
        role="img",
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=number(width),
        height=number(height),
    )
