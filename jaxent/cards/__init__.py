"""The facts of a loss, measured: will it train, and what will it do differently?

    card(loss)                 what one loss does, each fact with the point where it was found
    comparison_table(cards)    several losses side by side

A card answers for any ``loss(logits, targets)`` of one example, [C] and [C], a scalar, by calling
it. Is it proper, and through which link? How does it curve, and how long may a step be? Where does
it push, and where does it fade? How long does it take to unlearn a confident mistake? What is its
range? What is left of its gradient in half precision? What does it not notice? A function that does
not look like such a loss gets warnings, and they come first.

All is measured in float64, at points that are searched. A supremum is the largest value that was
found, or the limit of values along a ray. A law holds at margins that it was not fitted to. Nothing
is proved.

Where a truth is needed it is class 0 with certainty, P = (1, 0, …, 0). For a loss that tells the
classes apart (`Invariance.permutation`) the facts are those of each truth, or of the worst one.
"""

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
from tabulate import tabulate

from jaxent import _arguments as arguments
from jaxent._examples import Loss, calls_back, float64_in_all_threads
from jaxent.cards._curvature import Curvature
from jaxent.cards._derivatives import Derivatives
from jaxent.cards._escape import EscapeLaw
from jaxent.cards._escape import Law as Law
from jaxent.cards._facts import MEASUREMENTS
from jaxent.cards._invariance import Invariance
from jaxent.cards._measuring import Subject
from jaxent.cards._noise import Noise
from jaxent.cards._precision import Precisions
from jaxent.cards._properness import Properness
from jaxent.cards._push import Push
from jaxent.cards._warnings import Warnings


class LossCard(NamedTuple):
    """The facts of a loss, each with the point at which it was found.

    Attributes:
        name: of the loss.
        num_classes: C.
        points: the number of logits at which extremes and shares were searched first. With 31
            classes or more they have three different logits: of the truth, of one other class and
            of the rest.
    """

    name: str
    num_classes: int
    points: int
    warnings: Warnings
    properness: Properness
    curvature: Curvature
    push: Push
    escape: EscapeLaw
    noise: Noise
    invariance: Invariance
    derivatives: Derivatives
    precisions: Precisions

    def long_words(self) -> dict[str, str]:
        """Every fact in words, by what it is about."""
        words = {"classes": str(self.num_classes)}
        if self.points < _FEW_POINTS:
            words["points"] = f"few, {self.points:,}; the classes are many or the loss takes long"
        for fact in self[3:]:
            words |= fact.long_words(self.invariance.permutation)
        return words

    def short_words(self) -> dict[str, str]:
        """The main facts in fewer words, for a picture."""
        words = {said: words for fact in self[3:] for said, words in fact.short_words().items()}
        if "WARNING" in words:  # a picture has room for twelve
            words.pop("push, uniform q")
        return words


_FEW_POINTS = 2000
# Examples that a card evaluates, by the thinning of its points.
_EXAMPLES = {1: 60_000, 4: 30_000, 16: 22_000, 64: 20_000}
_LONG = 5.0


def card(
    loss: Loss,
    num_classes: int = 3,
    *,
    name: str | None = None,
    seed: int = 0,
    progress: Callable[[str], object] | None = None,
) -> LossCard:
    """Measure the facts of a loss.

    Args:
        loss: `loss(logits, targets)` of one example, [C] and [C], a scalar, which `jax.jit` and
            `jax.vmap` can trace. It is called with one-hot and soft targets, and with logits up to
            1e6 apart.
        num_classes: C, at least 2.
        name: what to call the loss; its own name if not given.
        seed: of the points that are drawn at random.
        progress: is called with the name of each part before it is measured.

    Returns:
        A `LossCard`, all its arrays NumPy's, in float64.

    Raises:
        TypeError: num_classes is not an int.
        ValueError: num_classes is less than 2, the loss does not return a scalar, or it is finite
            nowhere.
        MemoryError: the card of so many classes needs more memory than this machine has.
        Whatever the loss itself raises.

    Example:
        Squared error on the softmax is as proper as cross-entropy and nearly as smooth. But it is
        not convex over most of the simplex, and takes a time of the order of eᵐ to unlearn a
        mistake of m logits, where cross-entropy takes one of the order of m.

        >>> from jaxent import cards, losses
        >>> for loss in losses.softmax_cross_entropy, losses.softmax_brier_score:
        ...     facts = cards.card(loss)
        ...     print(facts.properness.strict, round(facts.curvature.smoothness, 4),
        ...           f"{facts.curvature.not_convex_share:.0%}", facts.escape.law)
        True 0.5 0% linear
        True 0.6162 60% exponential

    References:
        T. Gneiting, A. E. Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation,
        JASA 102, 2007: properness. Y. Nesterov, Introductory Lectures on Convex Optimization,
        2004, section 1.2: smoothness and the step 2/L.
    """
    arguments.check_count(num_classes, "num_classes", least=2)
    if not callable(loss):
        raise TypeError(f"loss must be a function of (logits, targets), but it is {loss!r}.")
    arguments.check_memory(_memory(num_classes), f"A card of {num_classes:,} classes")
    facts: dict[str, Any] = {}
    outside = calls_back(loss, num_classes)
    everywhere = float64_in_all_threads() if outside else contextlib.nullcontext()
    with everywhere, jax.enable_x64(True):
        subject = Subject(loss, num_classes, seed)
        seconds = 1 + _EXAMPLES[subject.thinning] * subject.seconds_of_one
        estimate = f" (the card takes about {seconds:.0f} s)" if seconds > _LONG else ""
        for fact, measure in MEASUREMENTS.items():
            if progress is not None:
                progress(fact + estimate)
            facts[fact] = measure(subject, facts)
    points = len(subject.places)
    return LossCard(name or arguments.name_of(loss), num_classes, points, **facts)


def _memory(num_classes: int) -> int:
    """About how many bytes a card needs at its peak: a few Hessians, and the rows of points."""
    return 8 * (6 * num_classes**2 + 4096 * num_classes)


def comparison_table(cards: LossCard | Iterable[LossCard], *, markdown: bool = False) -> str:
    """Several cards side by side, one column a loss.

    Args:
        cards: of `card`: several, or one.
        markdown: as a table in Markdown, not as aligned text.

    Returns:
        The table, without a line break at its end. Points are given as Q = softmax(z).

    Raises:
        TypeError: something other than cards was given, such as losses.
        ValueError: there are no cards.

    Example:
        >>> from jaxent import cards, losses
        >>> facts = cards.card(losses.softmax_brier_score)
        >>> print(cards.comparison_table([facts]).splitlines()[5])
        2/L                        3.246
    """
    if isinstance(cards, LossCard) or not isinstance(cards, Iterable):
        cards = [cards]
    cards = list(cards)
    for one in cards:
        if not isinstance(one, LossCard):
            raise TypeError(
                f"cards must be a card or several, as cards.card(loss) returns them, but there is "
                f"{one!r}: measure a loss first, comparison_table([card(loss)])."
            )
    if not cards:
        raise ValueError("There must be at least one card to compare.")
    columns = [{"": card.name, **card.long_words()} for card in cards]
    facts = dict.fromkeys(fact for column in columns for fact in column)
    facts = sorted(facts, key=lambda fact: fact not in ("", "WARNING"))  # a warning comes first
    rows = [[fact, *(column.get(fact, "–") for column in columns)] for fact in facts]
    if markdown:
        rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    head, *body = rows
    layout = "github" if markdown else "plain"
    return tabulate(body, head, tablefmt=layout, disable_numparse=True)
