"""How pictures look: colours, lines, sizes and how wide text is.

The colours are those of Okabe and Ito, which people with any colour vision tell apart; every
difference is also one of shape, line width or dashes.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BANDS",
    "CLEAR_BANDS",
    "DETAIL_SIZE",
    "EDGES",
    "FONTS",
    "INK",
    "LABEL_SIZE",
    "NODES",
    "PALE_INK",
    "SMALL_SIZE",
    "SQUARE_BANDS",
    "EdgeStyle",
    "NodeStyle",
    "printable",
    "shorten",
    "text_width",
]

FONTS = "Helvetica, Arial, sans-serif"
LABEL_SIZE = 12.0
"""Points of a node's first line."""
DETAIL_SIZE = 9.0
"""Points of most other text."""
SMALL_SIZE = 7.5
"""Points of labels on edges."""
INK, PALE_INK = "#222222", "#5f6b76"
"""Of texts, and of a node's second line."""
MOST_CHARACTERS = 36
"""Of a text in a box; what is longer is shortened in the middle."""


@dataclass(frozen=True, slots=True)
class NodeStyle:
    """How a node of one kind is drawn.

    Attributes
    ----------
    fill, line : str
        ``#rrggbb``.
    radius : float
        Of the corners, in points.
    meaning : str
        For the legend.
    """

    fill: str
    line: str
    radius: float
    meaning: str


@dataclass(frozen=True, slots=True)
class EdgeStyle:
    """How an edge of one kind is drawn.

    Attributes
    ----------
    line : str
        ``#rrggbb``.
    width : float
        Points.
    dashes : str
        Lengths of dash and gap, or nothing.
    meaning : str
        For the legend.
    """

    line: str
    width: float
    dashes: str
    meaning: str


NODES: dict[str, NodeStyle] = {
    "input": NodeStyle("#ffffff", "#333333", 17, "input"),
    "parameter": NodeStyle("#fbeeb0", "#8a6d00", 2, "parameter"),
    "constant": NodeStyle("#eeeeee", "#777777", 17, "constant"),
    "forward": NodeStyle("#dcebf7", "#0072b2", 6, "forward"),
    "tangent": NodeStyle("#f6e3ee", "#a8497f", 6, "tangent"),
    "backward": NodeStyle("#fde2d2", "#d55e00", 6, "backward"),
    "update": NodeStyle("#d3efe4", "#00795a", 6, "update"),
    "elision": NodeStyle("#ffffff", "#777777", 17, "not drawn"),
}
"""By a node's style, in the order of the legend."""

EDGES: dict[str, EdgeStyle] = {
    "data": EdgeStyle("#4f6d86", 1.1, "", "data"),
    "weight": EdgeStyle("#b8951a", 1.0, "", "weight"),
    "recurrent": EdgeStyle("#0072b2", 2.4, "", "recurrent: to another time step"),
    "saved": EdgeStyle("#8d6a9f", 1.0, "4 3", "saved for backward"),
    "tangent": EdgeStyle("#a8497f", 1.2, "", "tangent"),
    "gradient": EdgeStyle("#d55e00", 1.2, "", "gradient"),
    "bptt": EdgeStyle("#d55e00", 2.6, "", "gradient through time"),
    "update": EdgeStyle("#00795a", 1.2, "", "update"),
}
"""By an edge's kind, in the order of the legend."""

BANDS: dict[str, tuple[str, str]] = {
    "forward": ("#f3f8fc", "#0072b2"),
    "tangent": ("#fcf3f8", "#a8497f"),
    "backward": ("#fef5ef", "#b34f00"),
    "update": ("#eff9f5", "#00795a"),
    "step": ("#ffffff", "#777777"),
    "layer": ("#ffffff", "#777777"),
    "scope": ("#f7f7f7", "#555555"),
    "fusion": ("#fffdf4", "#7a6a2b"),
    "loop": ("#f2f6fb", "#0072b2"),
    "branch": ("#fbf3fa", "#8d4f86"),
    "repeat": ("#eef3ea", "#3f6b2a"),
    "added": ("#c9efd3", "#1a7f37"),
    "merged": ("#e2cff7", "#6639ba"),
    "leaves": ("#fbd0cc", "#b42318"),
    "strip": ("#fbfbfb", "#555555"),
    "live": ("#cfd9e2", "#3f5468"),
    "peak": ("#f0a35e", "#7a2f00"),
    "kept forward": ("#dcebf7", "#0072b2"),
    "kept tangent": ("#f6e3ee", "#a8497f"),
    "kept backward": ("#fde2d2", "#b34f00"),
    "kept update": ("#d3efe4", "#00795a"),
    "kept scratch": ("#eeeeee", "#666666"),
}
"""Fill and text of the areas behind nodes."""

CLEAR_BANDS = frozenset({"step", "layer"})
"""Those that lie over lanes, whose colours shine through."""

SQUARE_BANDS = frozenset(name for name in BANDS if name.startswith(("live", "peak", "kept")))
"""Those that lie side by side, so that nothing is cut off their corners."""

_WIDTHS = {
    0.33: " !'(),./:;I[\\]`ijl|",
    0.45: '"-fr{}tJ°',
    0.62: "*?Lacegksvxyz_FTSY0123456789ABEKPRXZbdhnopqu$^€",
    0.80: "CDGHNOQUV&#+<=>~×÷−•ΣΔ∂←→",
}
_EM = {character: width for width, group in _WIDTHS.items() for character in group}


def text_width(text: str, size: float) -> float:
    """Points that a text needs at most, in any of the usual sans-serif fonts.

    The widths are those of DejaVu Sans, the widest of them.
    """
    return size * sum(_EM.get(character, 1.0) for character in text)


def printable(text: str) -> str:
    """The text on one line, without characters that XML or a terminal could not show."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)


def shorten(text: str, most: int = MOST_CHARACTERS) -> str:
    """A printable text of at most that many characters, cut in the middle."""
    if len(text) <= most:
        return text if text.isprintable() else printable(text)
    half = (most - 1) // 2
    return printable(f"{text[: most - 1 - half]}…{text[len(text) - half :]}")
