"""Numbers and points in words: long ones for tables, short ones for pictures."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def number(x: float, digits: int = 4) -> str:
    """A number of a table: 0.4808, 1.129e-05, ∞."""
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    if math.isnan(x):
        return "unknown"
    return f"{x + 0.0:.{digits}g}"


def distribution(q: "np.ndarray") -> str:
    """A point of a table, by its first four entries."""
    shown = [f"{x:.3g}" if 5e-4 <= abs(x) < 1e3 else f"{x:.0f}" for x in q[:4] + 0.0]
    return f"({', '.join([*shown, '…'] if len(q) > 4 else shown)})"


def vector(numbers: "np.ndarray") -> str:
    """All numbers, as an error needs them: those that reproduce it."""
    return f"({', '.join(f'{number:.4g}' for number in numbers)})"


def short(x: float) -> str:
    """Three digits, as one writes them: −0.481, 4.92×10⁻⁵, ∞."""
    if math.isnan(x):
        return "NaN"
    digits, _, exponent = number(x, 3).partition("e")
    if exponent:
        digits += "×10" + raised(f"{int(exponent)}")
    return digits.replace("-", "−")


def raised(exponent: str) -> str:
    """An exponent in letters: a formula set by matplotlib is taller than a line of text."""
    return exponent.translate(str.maketrans("-.0123456789", "⁻·⁰¹²³⁴⁵⁶⁷⁸⁹"))


def of_each_truth(rows: Sequence[tuple[int, dict[str, str]]]) -> dict[str, str]:
    """Rows of a table for several truths in one: a line for each truth where they differ."""
    if len(rows) == 1:
        return rows[0][1]
    together = {}
    for said, words in rows[0][1].items():
        lines = [f"truth {label}: {row[said]}" for label, row in rows]
        together[said] = words if all(row[said] == words for _, row in rows) else "\n".join(lines)
    return together
