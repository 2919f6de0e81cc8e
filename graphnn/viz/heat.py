"""How numbers on boxes look: colours, the scale behind them, and the words for a number.

The colours are those of the table *cividis* (J. Nuñez, C. Anderton and R. Renslow, 2018): equal
steps of the scale look equally far apart, also to people with a colour vision deficiency, and grow
lighter all the way. NaN and infinities have a colour that the table lacks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphnn.viz.scene import Overlay

__all__ = ["INK_OF_NOTHING", "NOTHING", "NOT_FINITE", "Scale", "heat_color", "ink_on", "value_text"]

TABLE = (
    (0, 34, 78),
    (8, 51, 112),
    (53, 69, 108),
    (79, 87, 108),
    (102, 105, 112),
    (125, 124, 120),
    (148, 142, 119),
    (174, 163, 113),
    (200, 184, 102),
    (229, 207, 82),
    (254, 232, 56),
)
"""Red, green and blue from 0 to 255 at equal distances along the scale."""

NOTHING = "#f4f4f4"
"""Fill of boxes without a number."""
INK_OF_NOTHING = "#666666"
NOT_FINITE = "#c2185b"
"""Fill of boxes with NaN or infinity."""
LINEAR = 12.92, 0.055, 2.4  # sRGB: slope near black, offset, exponent


@dataclass(frozen=True, slots=True)
class Scale:
    """Where on the way from the lowest colour to the highest a number lies."""

    low: float
    high: float
    is_log: bool

    @staticmethod
    def of(overlay: Overlay) -> Scale:
        """That of an overlay."""
        return Scale(overlay.low, overlay.high, overlay.is_log)

    def part(self, value: float) -> float:
        """From 0 at the low end to 1 at the high end; what is beyond an end is at that end."""
        if value >= self.high:
            return 1.0 if self.high > self.low else 0.5
        if value <= self.low:
            return 0.0
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def at(self, part: float) -> float:
        """The number at a part of the way."""
        if self.is_log:
            return float(self.low * (self.high / self.low) ** part)
        return self.low + (self.high - self.low) * part


def heat_color(part: float) -> str:
    """``#rrggbb`` for a part of the way, from 0 to 1."""
    position = min(max(part, 0.0), 1.0) * (len(TABLE) - 1)
    before = min(int(position), len(TABLE) - 2)
    share = position - before
    pairs = zip(TABLE[before], TABLE[before + 1], strict=True)
    return "#" + "".join(f"{round(low + (high - low) * share):02x}" for low, high in pairs)


def ink_on(fill: str) -> str:
    """Black or white, whichever is told apart better from a ground (contrast of at least 4.5)."""
    slope, offset, exponent = LINEAR
    light = 0.0
    for start, weight in ((1, 0.2126), (3, 0.7152), (5, 0.0722)):
        value = int(fill[start : start + 2], 16) / 255
        linear = value / slope if value <= 0.04045 else ((value + offset) / 1.055) ** exponent
        light += weight * linear
    return "#ffffff" if 1.05 / (light + 0.05) > (light + 0.05) / 0.05 else "#000000"


def value_text(value: float, unit: str = "") -> str:
    """A number in a few characters: ``0.0123``, ``4.1e-09``, ``37 %``, ``NaN``."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size == 0 or 1e-3 <= size < 1e4:
        text = f"{value:.3g}" if size < 1e3 else f"{value:.0f}"
    else:
        mantissa, exponent = f"{value:.1e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
    return f"{text} {unit}".rstrip().replace("-", "−")
